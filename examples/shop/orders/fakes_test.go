package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/shop/internal/sqlitedb"
	"example.com/shop/orders/schema"
)

// A world is every other context in memory, with a switch for each.
type world struct {
	mu      sync.Mutex
	away    map[string]bool // reserve, release, charge, refund, ship, quote, price, follow: does not answer
	deaf    map[string]bool // does it, but the answer is lost
	refuses map[string]string
	held    map[string][]Item
	charged map[string]int64
	sent    map[string]int
	emptied []string
	calls   []string
}

func newWorld() *world {
	return &world{
		away: map[string]bool{}, deaf: map[string]bool{}, refuses: map[string]string{},
		held: map[string][]Item{}, charged: map[string]int64{}, sent: map[string]int{},
	}
}

// do counts a call and says how it ends; act is what it does if it does.
func (w *world) do(call string, act func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, call)
	switch {
	case w.away[call]:
		return errors.New(call + " does not answer")
	case w.refuses[call] != "":
		return &Refusal{w.refuses[call]}
	}
	act()
	if w.deaf[call] {
		return errors.New("the answer of " + call + " was lost")
	}
	return nil
}

func (w *world) Reserve(_ context.Context, order string, items []Item) error {
	return w.do("reserve", func() { w.held[order] = items })
}

func (w *world) Release(_ context.Context, order string) error {
	return w.do("release", func() { delete(w.held, order) })
}

func (w *world) Charge(_ context.Context, order string, amount int64, _ Card) (string, error) {
	return "ch_1", w.do("charge", func() { w.charged[order] = amount })
}

func (w *world) Refund(_ context.Context, order string) error {
	return w.do("refund", func() { delete(w.charged, order) })
}

func (w *world) Quote(context.Context, string, string, int) (int64, error) {
	return 500, w.do("quote", func() {})
}

func (w *world) Ship(_ context.Context, o Order) (string, error) {
	return "PX1", w.do("ship", func() { w.sent[o.ID]++ })
}

func (w *world) Follow(context.Context, string) (*Shipment, error) {
	s := &Shipment{TrackingNumber: "PX1", Status: "registered", ExpectedAt: time.Now().UTC(), Events: []ShipmentEvent{{At: time.Now().UTC(), Status: "registered", Text: "here"}}}
	return s, w.do("follow", func() {})
}

func (w *world) Price(_ context.Context, items []Item) error {
	return w.do("price", func() {
		for i := range items {
			items[i].Title, items[i].Price, items[i].Grams = "Thing "+items[i].SKU, 1000, 300
		}
	})
}

func (w *world) Empty(_ context.Context, id string) error {
	return w.do("empty", func() { w.emptied = append(w.emptied, id) })
}

// desk returns a desk in that world with a book on disk.
func (w *world) desk(t *testing.T) *Desk {
	t.Helper()
	db, err := sqlitedb.Open("sqlite://" + filepath.Join(t.TempDir(), "db.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := sqlitedb.Migrate(t.Context(), db, schema.Steps); err != nil {
		t.Fatal(err)
	}
	return &Desk{book: &Book{db}, warehouse: w, till: w, carrier: w, log: slog.New(slog.DiscardHandler)}
}
