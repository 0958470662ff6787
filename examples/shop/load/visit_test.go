package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
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
	drive(ctx, slog.New(slog.NewTextHandler(&out, nil)), s.URL, 5000)
	if orders.Load() < 20 || declined.Load() < 1 {
		t.Errorf("%d orders and %d declined cards in a minute", orders.Load(), declined.Load())
	}
	if !strings.Contains(out.String(), "errors=0") {
		t.Errorf("customers saw errors: %s", out.String())
	}
}
