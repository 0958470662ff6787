package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/shop/internal/contract"
	"example.com/shop/internal/sqlitedb"
)

func ledger(t *testing.T) *Ledger {
	t.Helper()
	db, err := sqlitedb.Open(filepath.Join(t.TempDir(), "db.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	l, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func serveContract(t *testing.T) *contract.Client {
	return contract.Serve(t, "openapi.yaml", Handler(ledger(t), Rules{DeclineAbove: 500_000}, slog.New(slog.DiscardHandler)))
}

func request(order string, amount int, number string) string {
	return fmt.Sprintf(`{"orderId":%q,"amount":%d,"currency":"EUR","card":{"number":%q,"expiry":"12/39","cvc":"123"}}`, order, amount, number)
}

const good, bad = "4242 4242 4242 4242", "4000 0000 0000 0002"

// The service gives what openapi.yaml promises.
func TestContract(t *testing.T) {
	c := serveContract(t)
	id := c.Do(201, "POST", "/charges", request("o1", 4900, good), "Idempotency-Key", "k1").Text("id")
	c.Do(402, "POST", "/charges", request("o2", 4900, bad), "Idempotency-Key", "k2")
	c.Do(400, "POST", "/charges", request("o3", 4900, good))
	c.Do(400, "POST", "/charges", `{"orderId":`, "Idempotency-Key", "k4")
	c.Do(400, "POST", "/charges", `{"oderId":"o1"}`, "Idempotency-Key", "k5")
	c.Do(409, "POST", "/charges", request("o1", 5000, good), "Idempotency-Key", "k1")
	c.Do(422, "POST", "/charges", request("", -1, ""), "Idempotency-Key", "k6")
	c.Do(200, "GET", "/charges/"+id, "")
	c.Do(404, "GET", "/charges/ch_none", "")
	c.Do(200, "GET", "/charges?orderId=o1", "")
	c.Do(422, "GET", "/charges", "")
	c.Do(200, "POST", "/charges/"+id+"/refund", "")
	c.Do(404, "POST", "/charges/ch_none/refund", "")
	declined := between(string(c.Do(200, "GET", "/charges?orderId=o2", "").Body), `"id":"`, `"`)
	c.Do(409, "POST", "/charges/"+declined+"/refund", "")
	c.Done()
}

func TestTheSameKeyChargesOnce(t *testing.T) {
	c := serveContract(t)
	first := c.Do(201, "POST", "/charges", request("o1", 4900, good), "Idempotency-Key", "k")
	again := c.Do(201, "POST", "/charges", request("o1", 4900, good), "Idempotency-Key", "k")
	if a, b := first.Text("id"), again.Text("id"); a != b {
		t.Errorf("the same key and request: charges %s and %s, want one", a, b)
	}
	// A refusal is kept as well: the card does not become good by asking again.
	c.Do(402, "POST", "/charges", request("o2", 4900, bad), "Idempotency-Key", "k2")
	if code := c.Do(402, "POST", "/charges", request("o2", 4900, bad), "Idempotency-Key", "k2").Text("code"); code != "card_declined" {
		t.Errorf("code %q, want card_declined", code)
	}
}

func TestTheSameKeyAtOnceChargesOnce(t *testing.T) {
	l := ledger(t)
	ids := make([]string, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			c, err := l.Enter(t.Context(), Charge{key: "k", request: "r", OrderID: "o", Amount: 1, Currency: "EUR", Status: "succeeded", CreatedAt: time.Now()})
			if err != nil {
				t.Error(err)
			}
			ids[i] = c.ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("charges %v, want one", ids)
		}
	}
}

func TestARefundCanBeRepeated(t *testing.T) {
	c := serveContract(t)
	id := c.Do(201, "POST", "/charges", request("o1", 4900, good), "Idempotency-Key", "k1").Text("id")
	for range 2 {
		if s := c.Do(200, "POST", "/charges/"+id+"/refund", "").Text("status"); s != "refunded" {
			t.Errorf("status %q, want refunded", s)
		}
	}
}

func TestDecide(t *testing.T) {
	now := time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, number, expiry string
		amount               int64
		want                 string
	}{
		{"good", "4242424242424242", "06/26", 100, ""},
		{"spaces are fine", "4242 4242 4242 4242", "12/30", 100, ""},
		{"good to the last day of its month", "4242424242424242", "06/26", 100, ""},
		{"expired last month", "4242424242424242", "05/26", 100, "expired_card"},
		{"no date", "4242424242424242", "soon", 100, "expired_card"},
		{"declined by number", "4000000000000002", "12/30", 100, "card_declined"},
		{"empty account", "4000000000009995", "12/30", 100, "insufficient_funds"},
		{"wrong check digit", "4242424242424241", "12/30", 100, "invalid_number"},
		{"too short", "4242", "12/30", 100, "invalid_number"},
		{"letters", "4242x24242424242", "12/30", 100, "invalid_number"},
		{"as much as it may", "4242424242424242", "12/30", 5000, ""},
		{"a cent more", "4242424242424242", "12/30", 5001, "limit_exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (Rules{DeclineAbove: 5000}).Decide(Card{Number: c.number, Expiry: c.expiry}, c.amount, now); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}
