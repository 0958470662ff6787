package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// shop is a stand-in that knows what a customer may ask for. It calls done when there
// were twenty orders and one that was declined.
func shop(t *testing.T, orders, declined *atomic.Int64, done func()) *httptest.Server {
	mux := http.NewServeMux()
	ok := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
	}
	mux.HandleFunc("GET /{$}", ok("<html>"))
	mux.HandleFunc("GET /api/catalog/products", ok(`{"products":[{"sku":"bowl"},{"sku":"vase"}]}`))
	mux.HandleFunc("GET /api/catalog/products/{sku}", ok("{}"))
	mux.HandleFunc("GET /api/catalog/products/{sku}/picture.svg", ok("<svg/>"))
	mux.HandleFunc("GET /bff/stock", ok(`{"stock":{"bowl":3}}`))
	mux.HandleFunc("GET /bff/rates", ok(`{"rates":[{"id":"standard"}]}`))
	mux.HandleFunc("POST /api/cart", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"id":"c1"}`)
	})
	mux.HandleFunc("PUT /api/cart/c1/lines/{sku}", ok("{}"))
	mux.HandleFunc("POST /api/orders", func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if orders.Load() >= 20 && declined.Load() >= 1 {
				done()
			}
		}()
		var in struct{ Card struct{ Number string } }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		if in.Card.Number == declinedCard {
			declined.Add(1)
			w.WriteHeader(http.StatusPaymentRequired)
			return
		}
		orders.Add(1)
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"id":"ord_1"}`)
	})
	mux.HandleFunc("GET /api/orders/ord_1", ok("{}"))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a customer asks for %s %s, which the shop has not", r.Method, r.URL)
		http.NotFound(w, r)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// Customers look, buy and are declined, and what is counted is what the shop saw.
func TestCustomers(t *testing.T) {
	var orders, declined atomic.Int64
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := shop(t, &orders, &declined, cancel)
	var out strings.Builder // the handler locks its writes, and it is read when drive has ended
	drive(ctx, slog.New(slog.NewTextHandler(&out, nil)), s.Client(), s.URL, 5000)
	if orders.Load() < 20 || declined.Load() < 1 {
		t.Errorf("%d orders and %d declined cards in a minute", orders.Load(), declined.Load())
	}
	if !strings.Contains(out.String(), "errors=0") {
		t.Errorf("customers saw errors: %s", out.String())
	}
}

// answer is a shop that answers each request after some time, without a network.
type answer struct {
	after    time.Duration
	requests atomic.Int64
}

func (a *answer) RoundTrip(r *http.Request) (*http.Response, error) {
	a.requests.Add(1)
	select {
	case <-time.After(a.after):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	body := `{"id":"c1","products":[{"sku":"bowl"}]}`
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// Requests come at the rate that was asked for while the shop is quick, and at that of the
// shop when it is not: at most so many visits are under way. A line is written every ten
// seconds, and one at the end.
func TestRate(t *testing.T) {
	for _, tt := range []struct {
		rate        int
		after       time.Duration
		least, most int64 // requests in a minute
	}{
		{1, time.Millisecond, 59, 60},
		{20, 5 * time.Millisecond, 1199, 1200},
		{20, time.Second, 1199, 1200},
		{1000, time.Second, 3000, 64 * 60},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			a := &answer{after: tt.after}
			var out strings.Builder
			drive(ctx, slog.New(slog.NewTextHandler(&out, nil)), &http.Client{Transport: a}, "http://shop", tt.rate)
			if n := a.requests.Load(); n < tt.least || n > tt.most {
				t.Errorf("%d a second, answers after %v: %d requests in a minute, want %d to %d", tt.rate, tt.after, n, tt.least, tt.most)
			}
			if lines := strings.Count(out.String(), "\n"); lines < 6 || lines > 7 { // at the end of the minute both are due
				t.Errorf("%d lines in a minute, want one every ten seconds and one at the end:\n%s", lines, out.String())
			}
		})
	}
}

func TestRateOf(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int // 0: refused
	}{{"", 10}, {"1", 1}, {"10000", 10000}, {"0", 0}, {"-3", 0}, {"10001", 0}, {"20/s", 0}} {
		if n, err := rateOf(tt.in); n != tt.want || (err != nil) != (tt.want == 0) {
			t.Errorf("rateOf(%q) = %d, %v; want %d", tt.in, n, err, tt.want)
		}
	}
}

// A line tells durations of its own ten seconds, and counts since the start.
func TestTally(t *testing.T) {
	var seen tally
	for i := range 100 {
		seen.add(func(t *tally) {
			t.requests++
			t.took = append(t.took, time.Duration(100-i)*time.Millisecond)
		})
	}
	for _, want := range []string{
		"[requests 100 errors 0 orders 0 declined 0 soldOut 0 p50 51ms p99 100ms]",
		"[requests 100 errors 0 orders 0 declined 0 soldOut 0 p50 - p99 -]",
	} {
		if got := fmt.Sprint(seen.attrs()[:14]); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// Of those who buy, about one in ten has a card that is declined.
func TestDeclinedCards(t *testing.T) {
	const visitors = 100_000
	v := visit{rand: rand.New(rand.NewPCG(1, 2))}
	n := 0
	for range visitors {
		if v.card() == declinedCard {
			n++
		}
	}
	if n < visitors*9/100 || n > visitors*11/100 {
		t.Errorf("%d of %d cards are declined", n, visitors)
	}
}

// Each request is counted with what it was for, and good is what brought the customer on.
func TestKinds(t *testing.T) {
	var seen tally
	for _, r := range []struct {
		path     string
		status   int
		degraded bool
	}{
		{"/", 200, false}, {"/api/catalog/products/bowl/picture.svg", 503, false}, // pages
		{"/api/catalog/products?q=oak", 200, false}, {"/bff/stock?skus=bowl", 200, true}, {"/bff/rates?country=GR&grams=1", 504, false}, // browse
		{"/api/cart", 429, false},                                                                                                // cart
		{"/api/orders", 201, false}, {"/api/orders", 402, false}, {"/api/orders", 599, false}, {"/api/orders/ord_1", 200, false}, // checkout
	} {
		seen.kinds[kindOf(r.path)].count(r.status, r.degraded)
	}
	for i, want := range []string{
		"[asked=2 good=1 shed=1 degraded=0 goodput=0.1]",
		"[asked=3 good=2 shed=0 degraded=1 goodput=0.2]",
		"[asked=1 good=0 shed=1 degraded=0 goodput=0]",
		"[asked=4 good=3 shed=0 degraded=0 goodput=0.3]",
	} {
		if got := seen.kinds[i].LogValue().String(); got != want {
			t.Errorf("%s: %s, want %s", kinds[i], got, want)
		}
	}
	seen.attrs()
	if k := seen.kinds[checkout]; k.since != 0 || k.good != 3 {
		t.Errorf("after a report: %+v, want what was counted, and none since", k)
	}
}
