package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/mail"
	"strings"
	"time"

	"example.com/shop/internal/serve"
)

const (
	maxItems    = 50 // in one order
	maxQuantity = 20 // of one product
)

type orderRequest struct {
	Items []struct {
		SKU      string `json:"sku"`
		Quantity int    `json:"quantity"`
	} `json:"items"`
	Customer Customer `json:"customer"`
	Address  Address  `json:"address"`
	Delivery string   `json:"delivery"`
	Card     Card     `json:"card"`
	CartID   string   `json:"cartId"` // emptied when the order stands
}

// Basket is the port to the cart; its failure fails no order.
type Basket interface {
	Empty(ctx context.Context, id string) error
}

// Handler serves openapi.yaml.
func Handler(desk *Desk, shelf Shelf, basket Basket, log *slog.Logger) http.Handler {
	h := handlers{desk, shelf, basket, log}
	mux := http.NewServeMux()
	mux.Handle("POST /api/orders", serve.Handle(log, h.place))
	mux.Handle("GET /api/orders/{id}", serve.Handle(log, h.show))
	return mux
}

type handlers struct {
	desk   *Desk
	shelf  Shelf
	basket Basket
	log    *slog.Logger
}

func (h handlers) place(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	id := "ord_" + rand.Text()
	key := r.Header.Get("Idempotency-Key")
	if len(key) > 200 {
		return serve.Fail(http.StatusBadRequest, "idempotency_key", "An Idempotency-Key may have 200 characters.")
	}
	var in orderRequest
	if err := serve.Read(w, r, &in); err != nil {
		return err
	}
	if p := in.check(); p != nil {
		return p
	}
	if key == "" {
		key = id // used by nobody else
	} else if e, err := h.desk.book.ByKey(ctx, key); err == nil {
		return h.again(w, r, in, e)
	} else if !errors.Is(err, errNoOrder) {
		return err
	}

	o, err := h.draw(ctx, id, in)
	if err != nil {
		return err
	}
	e, isNew, err := h.desk.book.Open(ctx, Entry{Order: o, Key: key, Request: in.digest(), Trace: serve.Traceparent(ctx)})
	if err != nil {
		return err
	}
	if !isNew { // the same key came twice at once
		return h.again(w, r, in, e)
	}
	if e, err = h.desk.Carry(ctx, e, &in.Card); err != nil {
		return err
	}
	if in.CartID != "" && (e.Order.Status == Confirmed || e.Order.Status == Paid) {
		if err := h.basket.Empty(ctx, in.CartID); err != nil {
			h.log.WarnContext(ctx, "cart not emptied", "cart", in.CartID, "err", err)
		}
	}
	return h.answer(w, r, e.Order)
}

// draw makes the order that was asked for, with today's prices. It changes nothing anywhere.
func (h handlers) draw(ctx context.Context, id string, in orderRequest) (Order, error) {
	o := Order{
		ID: id, Status: Placed, Currency: "EUR", Customer: in.Customer, Address: in.Address,
		Delivery: Delivery{Method: in.Delivery}, TraceID: serve.TraceID(ctx),
		PlacedAt: time.Now().UTC().Truncate(time.Millisecond),
	}
	for _, it := range in.Items {
		o.Items = append(o.Items, Item{SKU: it.SKU, Quantity: it.Quantity})
	}
	err := h.shelf.Price(ctx, o.Items)
	if err == nil {
		for _, it := range o.Items {
			o.Subtotal += it.Price * int64(it.Quantity)
		}
		o.Delivery.Amount, err = h.desk.carrier.Quote(ctx, o.Address.Country, o.Delivery.Method, o.Grams())
		o.Total = o.Subtotal + o.Delivery.Amount
	}
	var no *Refusal
	switch {
	case errors.As(err, &no):
		return o, serve.Invalid([]serve.Field{{Path: no.Reason, Want: "something we have"}})
	case err != nil:
		h.log.WarnContext(ctx, "order not drawn up", "err", err)
		return o, serve.Fail(http.StatusServiceUnavailable, unavailable, "We cannot take orders at the moment. Nothing was charged: please try again.")
	}
	return o, nil
}

// again answers a request whose key was used before.
func (h handlers) again(w http.ResponseWriter, r *http.Request, in orderRequest, e Entry) error {
	if e.Request != in.digest() {
		return serve.Fail(http.StatusConflict, "key_used", "This Idempotency-Key was used for another order.")
	}
	return h.answer(w, r, e.Order)
}

func (h handlers) show(w http.ResponseWriter, r *http.Request) error {
	e, err := h.desk.book.Order(r.Context(), r.PathValue("id"))
	if errors.Is(err, errNoOrder) {
		return serve.Fail(http.StatusNotFound, "not_found", "There is no such order.")
	}
	if err != nil {
		return err
	}
	serve.JSON(w, http.StatusOK, h.followed(r.Context(), e.Order))
	return nil
}

// answer tells how placing an order ended.
func (h handlers) answer(w http.ResponseWriter, r *http.Request, o Order) error {
	var p *serve.Problem
	switch {
	case o.Status == Confirmed || o.Status == Paid:
		w.Header().Set("Location", "/api/orders/"+o.ID)
		serve.JSON(w, http.StatusCreated, h.followed(r.Context(), o))
		return nil
	case o.Status == Placed || o.Status == Reserved:
		w.Header().Set("Location", "/api/orders/"+o.ID)
		serve.JSON(w, http.StatusAccepted, o)
		return nil
	case o.Status == OutOfStock:
		p = serve.Fail(http.StatusConflict, "out_of_stock", "There is not enough of everything: %s.", o.Reason)
	case o.Reason == unavailable:
		p = serve.Fail(http.StatusServiceUnavailable, unavailable, "This order could not be completed. Nothing will be charged: please try again.")
	default:
		p = serve.Fail(http.StatusPaymentRequired, o.Reason, "%s", declinedText(o.Reason))
	}
	p.OrderID = o.ID
	return p
}

// followed adds where the parcel is, if shipping can say.
func (h handlers) followed(ctx context.Context, o Order) Order {
	if o.TrackingNumber == "" {
		return o
	}
	s, err := h.desk.carrier.Follow(ctx, o.TrackingNumber)
	if err != nil {
		h.log.WarnContext(ctx, "parcel not followed", "order", o.ID, "err", err)
		return o
	}
	o.Shipment = s
	return o
}

func (in orderRequest) check() *serve.Problem {
	var wrong []serve.Field
	bad := func(path, want string) { wrong = append(wrong, serve.Field{Path: path, Want: want}) }
	if n := len(in.Items); n < 1 || n > maxItems {
		bad("items", fmt.Sprintf("1 to %d", maxItems))
	}
	seen := map[string]bool{}
	for i, it := range in.Items {
		if it.SKU == "" || seen[it.SKU] {
			bad(fmt.Sprintf("items[%d].sku", i), "a product, each once")
		}
		seen[it.SKU] = true
		if it.Quantity < 1 || it.Quantity > maxQuantity {
			bad(fmt.Sprintf("items[%d].quantity", i), fmt.Sprintf("1 to %d", maxQuantity))
		}
	}
	if _, err := mail.ParseAddress(in.Customer.Email); err != nil {
		bad("customer.email", "name@example.com")
	}
	for _, f := range []struct{ path, value string }{
		{"customer.name", in.Customer.Name}, {"address.street", in.Address.Street}, {"address.city", in.Address.City},
		{"address.postcode", in.Address.Postcode}, {"address.country", in.Address.Country}, {"delivery", in.Delivery},
		{"card.number", in.Card.Number}, {"card.expiry", in.Card.Expiry}, {"card.cvc", in.Card.CVC},
	} {
		if strings.TrimSpace(f.value) == "" || len(f.value) > 200 {
			bad(f.path, "1 to 200 characters")
		}
	}
	return serve.Invalid(wrong)
}

// digest names what was asked, so that a key cannot be used for something else. The
// card is left out: nothing of it is kept here, not even that.
func (in orderRequest) digest() string {
	in.Card = Card{}
	b, err := json.Marshal(in)
	if err != nil {
		panic(err) // strings and integers always encode
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func declinedText(reason string) string {
	text := map[string]string{
		"card_declined":      "The bank declined this card.",
		"insufficient_funds": "There is not enough money on this card.",
		"expired_card":       "This card has expired.",
		"invalid_number":     "This is not a card number.",
		"limit_exceeded":     "This card may not pay so much at once.",
	}[reason]
	if text == "" {
		text = "The payment was declined."
	}
	return text + " Nothing was charged."
}
