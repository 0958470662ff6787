package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"example.com/shop/internal/serve"
)

// The other contexts, as an order sees them. Each call may be repeated with the
// order's id and then changes nothing. Warehouse and Till tell a refusal (a *Refusal)
// from every other error, after which nobody knows.

// Warehouse holds stock.
type Warehouse interface {
	Reserve(ctx context.Context, order string, items []Item) error
	Release(ctx context.Context, order string) error
}

// Till takes money.
type Till interface {
	Charge(ctx context.Context, order string, amount int64, card Card) (charge string, err error)
	Refund(ctx context.Context, order string) error // all that was charged for it
}

// Carrier takes parcels and follows them.
type Carrier interface {
	Quote(ctx context.Context, country, method string, grams int) (amount int64, err error)
	Ship(ctx context.Context, o Order) (trackingNumber string, err error)
	Follow(ctx context.Context, trackingNumber string) (*Shipment, error)
}

// Shelf knows titles and prices.
type Shelf interface {
	Price(ctx context.Context, items []Item) error // fills in title, price and weight
}

// A Refusal is a clear no.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return r.Reason }

// A Card is handed on and never stored.
type Card struct {
	Number string `json:"number"`
	Expiry string `json:"expiry"`
	CVC    string `json:"cvc"`
}

const (
	// A request may work on its order this long; only then may another take it up.
	workTime = 30 * time.Second

	// An order that waits is tried again after so long, doubling up to the second.
	firstRetry, lastRetry = 2 * time.Second, time.Minute

	// The repeats of one sweep, so that a long outage is not ended by a flood.
	sweepAtOnce = 20
)

// A Desk carries orders from one step to the next. It holds no state: the Book does,
// and every step is written there before the next is taken.
type Desk struct {
	book      *Book
	warehouse Warehouse
	till      Till
	carrier   Carrier
	log       *slog.Logger
}

// Carry takes e through its steps until it rests or waits, and returns it. Without a
// card it will not charge. ctx carries the trace; its end does not stop what was begun.
func (d *Desk) Carry(ctx context.Context, e Entry, card *Card) (Entry, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), workTime-5*time.Second)
	defer cancel()
	if card == nil {
		e.Order = e.Order.Abandon()
	}
	for {
		step := e.Order.Next()
		if step == None {
			return e, nil
		}
		before := e.Order.Status
		out := d.take(ctx, step, e.Order, card)
		e.Order = e.Order.After(step, out)
		waits := e.Order.Status == before && e.Order.Next() != None
		if waits {
			e.Tries++
		}
		var err error
		if e, err = d.book.Save(ctx, e, waits); err != nil {
			return e, err
		}
		log := d.log.With("order", e.Order.ID, "step", step, "status", e.Order.Status)
		if e.Order.Reason != "" {
			log = log.With("reason", e.Order.Reason)
		}
		if waits {
			log = log.With("tries", e.Tries)
		}
		log.InfoContext(ctx, "order went on")
		if waits {
			return e, nil
		}
	}
}

// take asks for one step.
func (d *Desk) take(ctx context.Context, step Step, o Order, card *Card) Outcome {
	var ref string
	var err error
	switch step {
	case Reserve:
		err = d.warehouse.Reserve(ctx, o.ID, o.Items)
	case Charge:
		ref, err = d.till.Charge(ctx, o.ID, o.Total, *card)
	case Ship:
		ref, err = d.carrier.Ship(ctx, o)
	case Undo:
		// Money first: it hurts more to miss.
		if err = d.till.Refund(ctx, o.ID); err == nil {
			err = d.warehouse.Release(ctx, o.ID)
		}
	}
	var no *Refusal
	switch {
	case err == nil:
		return Outcome{Kind: Done, Ref: ref}
	case errors.As(err, &no):
		return Outcome{Kind: Refused, Reason: no.Reason}
	}
	d.log.WarnContext(ctx, "step without an answer", "order", o.ID, "step", step, "err", err)
	return Outcome{Kind: Unknown}
}

// Sweep goes on with orders that wait, or whose request died, until ctx ends.
func (d *Desk) Sweep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if d.book.Ready(ctx) != nil {
				continue // what is missing is told by /readyz
			}
			if err := d.SweepOnce(ctx, time.Now()); err != nil && ctx.Err() == nil {
				d.log.Error("waiting orders not looked through", "err", err)
			}
		}
	}
}

// SweepOnce goes on with the orders that are due at now.
func (d *Desk) SweepOnce(ctx context.Context, now time.Time) error {
	due, err := d.book.Due(ctx, now, sweepAtOnce)
	if err != nil {
		return err
	}
	for _, e := range due {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		claimed, err := d.book.Claim(ctx, e, now)
		if errors.Is(err, errMoved) {
			continue // another instance was faster
		}
		if err != nil {
			return err
		}
		if _, err := d.Carry(serve.WithTraceparent(ctx, claimed.Trace), claimed, nil); err != nil && !errors.Is(err, errMoved) {
			return err
		}
	}
	return nil
}

// wait is how long an order rests after so many tries.
func wait(tries int) time.Duration {
	return min(firstRetry<<min(max(tries-1, 0), 10), lastRetry)
}
