package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The parts of a visit, in hundredths of all visitors.
const (
	searches  = 25 // look for a word
	fillsCart = 35 // put something into a cart
	buys      = 40 // of those, go to the till
	declines  = 10 // of those, have a card that is declined
)

// The cards of the shop's payments.
const (
	goodCard     = "4242 4242 4242 4242"
	declinedCard = "4000 0000 0000 0002"
)

var words = []string{"vase", "bowl", "lamp", "oak", "glass", "linen", "nothing-of-the-kind"}

// A visit is one customer from the door to the till, or to the door again.
type visit struct {
	client  *http.Client
	gateway string
	seen    *tally
	rand    *rand.Rand
	ticket  func() bool // waits until another request may be made; false: the shop closes
	asked   bool        // whether the first ticket was used
}

// chance says yes in so many of a hundred cases.
func (v *visit) chance(percent int) bool { return v.rand.IntN(100) < percent }

// card gives what the customer pays with.
func (v *visit) card() string {
	if v.chance(declines) {
		return declinedCard
	}
	return goodCard
}

// run makes the visit. It ends early when the shop closes or something fails.
func (v *visit) run(ctx context.Context) {
	var shelf struct {
		Products []struct {
			SKU string `json:"sku"`
		} `json:"products"`
	}
	if !v.ask(ctx, http.MethodGet, "/", nil, nil) || !v.ask(ctx, http.MethodGet, "/api/catalog/products", nil, &shelf) || len(shelf.Products) == 0 {
		return
	}
	skus := make([]string, len(shelf.Products))
	for i, p := range shelf.Products {
		skus[i] = p.SKU
	}
	v.ask(ctx, http.MethodGet, "/bff/stock?skus="+url.QueryEscape(strings.Join(skus, ",")), nil, nil)
	if v.chance(searches) {
		v.ask(ctx, http.MethodGet, "/api/catalog/products?q="+url.QueryEscape(words[v.rand.IntN(len(words))]), nil, nil)
	}
	var sku string
	for range 1 + v.rand.IntN(3) {
		sku = skus[v.rand.IntN(len(skus))]
		v.ask(ctx, http.MethodGet, "/api/catalog/products/"+sku, nil, nil)
		v.ask(ctx, http.MethodGet, "/api/catalog/products/"+sku+"/picture.svg", nil, nil)
	}
	if !v.chance(fillsCart) {
		return
	}
	var cart struct {
		ID    string `json:"id"`
		Grams int    `json:"grams"`
	}
	if !v.ask(ctx, http.MethodPost, "/api/cart", nil, &cart) {
		return
	}
	quantity := 1 + v.rand.IntN(2)
	if !v.ask(ctx, http.MethodPut, "/api/cart/"+cart.ID+"/lines/"+sku, map[string]int{"quantity": quantity}, &cart) || !v.chance(buys) {
		return
	}
	v.ask(ctx, http.MethodGet, fmt.Sprintf("/bff/rates?country=GR&grams=%d", cart.Grams), nil, nil)
	v.buy(ctx, cart.ID, sku, quantity)
}

// buy goes to the till with one line.
func (v *visit) buy(ctx context.Context, cart, sku string, quantity int) {
	var order struct {
		ID string `json:"id"`
	}
	status := v.send(ctx, http.MethodPost, "/api/orders", map[string]any{
		"items":    []any{map[string]any{"sku": sku, "quantity": quantity}},
		"customer": map[string]string{"name": "Thea Lykos", "email": "thea@example.com"},
		"address":  map[string]string{"street": "Odos Ermou 12", "city": "Athens", "postcode": "10563", "country": "GR"},
		"delivery": []string{"standard", "express"}[v.rand.IntN(2)],
		"card":     map[string]string{"number": v.card(), "expiry": "12/39", "cvc": "123"},
		"cartId":   cart,
	}, &order)
	switch status {
	case http.StatusCreated, http.StatusAccepted:
		v.seen.add(func(t *tally) { t.orders++ })
		v.ask(ctx, http.MethodGet, "/api/orders/"+order.ID, nil, nil)
	case http.StatusPaymentRequired:
		v.seen.add(func(t *tally) { t.declined++ })
	case http.StatusConflict: // sold out until the next delivery
		v.seen.add(func(t *tally) { t.soldOut++ })
	case 0:
	default:
		v.seen.add(func(t *tally) { t.errors++ })
	}
}

// ask makes a request that must succeed, and says whether it did.
func (v *visit) ask(ctx context.Context, method, path string, in, out any) bool {
	status := v.send(ctx, method, path, in, out)
	if status == 0 {
		return false
	}
	if status >= 300 {
		v.seen.add(func(t *tally) { t.errors++ })
		return false
	}
	return true
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 4 << 20

// send makes a request when there is a ticket for it, and gives the status of the
// answer: 0 if the shop closes, 599 if there was none.
func (v *visit) send(ctx context.Context, method, path string, in, out any) int {
	if v.asked && !v.ticket() {
		return 0
	}
	v.asked = true
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			panic(fmt.Sprintf("load: a request that is no JSON: %v", err))
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, v.gateway+path, body)
	if err != nil {
		return 599
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	began := time.Now()
	resp, err := v.client.Do(req)
	if ctx.Err() != nil {
		return 0
	}
	status, degraded := 599, false
	if err == nil {
		status = resp.StatusCode
		degraded = resp.Header.Get("Stoa-Fallback") != "" // the platform's word; the shop's own stands in the answer
		b, rerr := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		resp.Body.Close()
		degraded = degraded || bytes.Contains(b, []byte(`"degraded":`))
		if rerr != nil || out != nil && status < 300 && json.Unmarshal(b, out) != nil {
			status = 599
		}
	}
	took := time.Since(began)
	v.seen.add(func(t *tally) {
		t.requests++
		t.took = append(t.took, took)
		t.kinds[kindOf(path)].count(status, degraded)
	})
	return status
}

// kindOf says what a path is for.
func kindOf(path string) int {
	switch {
	case strings.HasPrefix(path, "/api/orders"):
		return checkout
	case strings.HasPrefix(path, "/api/cart"):
		return cart
	case path == "/" || strings.HasSuffix(path, ".svg"):
		return pages
	}
	return browse
}

// count adds an answer.
func (k *kind) count(status int, degraded bool) {
	k.asked++
	switch {
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		k.shed++
	case status < 500:
		k.good++
		k.since++
		if degraded {
			k.degraded++
		}
	}
}
