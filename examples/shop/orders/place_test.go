package main

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/shop/internal/contract"
	"example.com/shop/internal/serve"
)

const request = `{
	"items": [{"sku": "bowl", "quantity": 2}],
	"customer": {"name": "Thea Lykos", "email": "thea@example.com"},
	"address": {"street": "Odos Ermou 12", "city": "Athens", "postcode": "10563", "country": "GR"},
	"delivery": "standard",
	"card": {"number": "4242424242424242", "expiry": "12/39", "cvc": "123"},
	"cartId": "cart_1"}`

func open(t *testing.T) (*world, *Desk, *contract.Client) {
	w := newWorld()
	d := w.desk(t)
	return w, d, contract.Serve(t, "openapi.yaml", serve.Traced(Handler(d, w, w, slog.New(slog.DiscardHandler))))
}

// place orders, with the answer expected, and returns the order's id.
func place(c *contract.Client, want int, key string) string {
	a := c.Do(want, "POST", "/api/orders", request, "Idempotency-Key", key)
	if want < 300 {
		return a.Text("id")
	}
	return a.Text("orderId")
}

// The service gives what openapi.yaml promises.
func TestContract(t *testing.T) {
	w, d, c := open(t)
	id := place(c, 201, "k1")
	c.Do(200, "GET", "/api/orders/"+id, "")
	c.Do(404, "GET", "/api/orders/ord_none", "")
	c.Do(400, "POST", "/api/orders", `{`)
	c.Do(400, "POST", "/api/orders", request, "Idempotency-Key", strings.Repeat("k", 201))
	c.Do(422, "POST", "/api/orders", `{}`)
	c.Do(409, "POST", "/api/orders", strings.Replace(request, `"quantity": 2`, `"quantity": 3`, 1), "Idempotency-Key", "k1")

	w.refuses["reserve"] = "bowl: 1 left"
	place(c, 409, "k2")
	w.refuses = map[string]string{"charge": "card_declined"}
	place(c, 402, "k3")
	w.refuses = map[string]string{"quote": "address.country"}
	place(c, 422, "k4")
	w.refuses = map[string]string{}
	w.away["price"] = true
	place(c, 503, "k5")
	w.away = map[string]bool{"charge": true}
	place(c, 503, "k6")
	w.away = map[string]bool{"ship": true}
	place(c, 201, "k7")
	w.away = map[string]bool{"follow": true}
	c.Do(200, "GET", "/api/orders/"+id, "")

	// One that another request is working on.
	e, err := d.book.Order(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	e.Order.ID, e.Order.Status, e.Order.TrackingNumber, e.Key = "ord_busy", Reserved, "", "k8"
	if _, _, err := d.book.Open(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	place(c, 202, "k8")
	c.Done()
}

func TestAnOrderIsReservedChargedAndSent(t *testing.T) {
	w, _, c := open(t)
	a := c.Do(201, "POST", "/api/orders", request, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	id := a.Text("id")
	if got, want := strings.Join(w.calls, " "), "price quote reserve charge ship empty follow"; got != want {
		t.Errorf("calls %q, want %q", got, want)
	}
	if w.charged[id] != 2500 || w.sent[id] != 1 || len(w.held[id]) != 1 {
		t.Errorf("charged %d, sent %d, held %v; want 2500, once, one item", w.charged[id], w.sent[id], w.held[id])
	}
	if got := a.Text("traceId"); got != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("traceId %q, want that of the request", got)
	}
	if a.Text("status") != "confirmed" || a.Text("shipment", "trackingNumber") != "PX1" || len(w.emptied) != 1 {
		t.Errorf("got %s with parcel %q and cart emptied %v; want confirmed, PX1, [cart_1]", a.Text("status"), a.Text("shipment", "trackingNumber"), w.emptied)
	}
}

func TestADeclinedPaymentReleasesTheStock(t *testing.T) {
	w, _, c := open(t)
	w.refuses["charge"] = "card_declined"
	a := c.Do(402, "POST", "/api/orders", request)
	id := a.Text("orderId")
	if a.Text("code") != "card_declined" || len(w.held) != 0 || len(w.charged) != 0 || len(w.emptied) != 0 {
		t.Errorf("code %q, held %v, charged %v, emptied %v; want card_declined and nothing else", a.Text("code"), w.held, w.charged, w.emptied)
	}
	if s := c.Do(200, "GET", "/api/orders/"+id, "").Text("status"); s != "declined" {
		t.Errorf("the order is %s, want declined", s)
	}
}

// A charge whose answer was lost may have happened: the money goes back.
func TestALostAnswerOfPaymentsIsRefunded(t *testing.T) {
	w, _, c := open(t)
	w.deaf["charge"] = true
	place(c, 503, "k")
	if len(w.charged) != 0 || len(w.held) != 0 {
		t.Errorf("charged %v, held %v; want neither", w.charged, w.held)
	}
}

func TestTheSameKeyGivesTheSameOrder(t *testing.T) {
	w, _, c := open(t)
	first, again := place(c, 201, "k"), place(c, 201, "k")
	if first != again || len(w.charged) != 1 {
		t.Errorf("orders %s and %s, %d charged; want one", first, again, len(w.charged))
	}
	w.refuses["charge"] = "card_declined"
	first, again = place(c, 402, "k2"), place(c, 402, "k2")
	if first != again {
		t.Errorf("declined orders %s and %s, want one", first, again)
	}
	if place(c, 402, "") == place(c, 402, "") {
		t.Error("two requests without a key gave one order")
	}
}

func TestTheSameKeyAtOnceGivesOneOrder(t *testing.T) {
	w := newWorld()
	server := httptest.NewServer(serve.Traced(Handler(w.desk(t), w, w, slog.New(slog.DiscardHandler))))
	defer server.Close()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			r, err := http.NewRequest("POST", server.URL+"/api/orders", strings.NewReader(request))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Idempotency-Key", "k")
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode != 201 && res.StatusCode != 202 {
				t.Errorf("status %d, want 201 or 202", res.StatusCode)
			}
		})
	}
	all.Wait()
	if len(w.charged) != 1 {
		t.Errorf("%d orders were charged, want 1", len(w.charged))
	}
}

// What waits is taken up again when the other side answers.
func TestSweepGoesOn(t *testing.T) {
	for _, c := range []struct {
		name    string
		away    string
		refuses string
		answer  int
		before  Status
		after   Status
	}{
		{"paid, and the carrier was away", "ship", "", 201, Paid, Confirmed},
		{"declined, and the warehouse was away", "release", "charge", 402, Undoing, Declined},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, d, client := open(t)
			w.away[c.away] = true
			if c.refuses != "" {
				w.refuses[c.refuses] = "card_declined"
			}
			id := place(client, c.answer, "k")
			status := func() Status {
				e, err := d.book.Order(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				return e.Order.Status
			}
			if got := status(); got != c.before {
				t.Fatalf("status %s, want %s", got, c.before)
			}
			sweep := func(in time.Duration) {
				if err := d.SweepOnce(t.Context(), time.Now().Add(in)); err != nil {
					t.Fatal(err)
				}
			}
			sweep(3 * time.Second) // still away
			if got := status(); got != c.before {
				t.Fatalf("still away, status %s, want %s", got, c.before)
			}
			delete(w.away, c.away)
			sweep(0) // not due yet: the pause has grown
			if got := status(); got != c.before {
				t.Fatalf("before its time, status %s, want %s", got, c.before)
			}
			sweep(time.Minute)
			if got := status(); got != c.after {
				t.Errorf("status %s, want %s", got, c.after)
			}
			if due, err := d.book.Due(t.Context(), time.Now().Add(time.Hour), 10); err != nil || len(due) != 0 {
				t.Errorf("still due: %v, %v; want nothing", due, err)
			}
		})
	}
}

// A process that died at any point leaves nothing held or charged that is not paid for.
func TestSweepEndsWhatADeadRequestBegan(t *testing.T) {
	for _, c := range []struct {
		at    Status
		after Status
	}{{Placed, Cancelled}, {Reserved, Cancelled}, {Paid, Confirmed}, {Undoing, Cancelled}} {
		t.Run(string(c.at), func(t *testing.T) {
			w := newWorld()
			d := w.desk(t)
			o := Order{ID: "ord_1", Status: c.at, Items: []Item{{SKU: "bowl", Quantity: 1}}, PlacedAt: time.Now()}
			if c.at == Undoing {
				o.Reason = unavailable
			}
			// What it had done, and what it may have done without writing it down.
			w.held["ord_1"] = o.Items
			if c.at != Placed {
				w.charged["ord_1"] = 1000
			}
			if _, _, err := d.book.Open(t.Context(), Entry{Order: o, Key: "k"}); err != nil {
				t.Fatal(err)
			}
			if err := d.SweepOnce(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
			if len(w.calls) != 0 {
				t.Fatalf("calls %v while its request may still be alive, want none", w.calls)
			}
			if err := d.SweepOnce(t.Context(), time.Now().Add(workTime+time.Second)); err != nil {
				t.Fatal(err)
			}
			e, err := d.book.Order(t.Context(), "ord_1")
			if err != nil || e.Order.Status != c.after {
				t.Errorf("status %s (%v), want %s", e.Order.Status, err, c.after)
			}
			if kept := c.after == Confirmed; (len(w.charged) == 1) != kept || (len(w.held) == 1) != kept {
				t.Errorf("charged %v, held %v, want that only if it is confirmed", w.charged, w.held)
			}
		})
	}
}

// Of two instances that find the same order, one goes on with it.
func TestAnEntryIsSavedOnlyOverWhatWasRead(t *testing.T) {
	d := newWorld().desk(t)
	if _, _, err := d.book.Open(t.Context(), Entry{Order: Order{ID: "ord_1", Status: Paid}, Key: "k"}); err != nil {
		t.Fatal(err)
	}
	e, err := d.book.Order(t.Context(), "ord_1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.book.Claim(t.Context(), e, time.Now()); err != nil {
		t.Errorf("the first claim: %v, want none", err)
	}
	if _, err := d.book.Claim(t.Context(), e, time.Now()); !errors.Is(err, errMoved) {
		t.Errorf("the second claim: %v, want %v", err, errMoved)
	}
}

func TestWaitGrowsAndStops(t *testing.T) {
	for tries, want := range map[int]time.Duration{0: 2 * time.Second, 1: 2 * time.Second, 2: 4 * time.Second, 5: 32 * time.Second, 6: time.Minute, 1000: time.Minute} {
		if got := wait(tries); got != want {
			t.Errorf("wait(%d): %s, want %s", tries, got, want)
		}
	}
}
