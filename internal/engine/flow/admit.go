package flow

import (
	"context"
	"net/netip"
	"time"

	"stoa/internal/engine/balance"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/rate"
)

// The stages of admission.
const (
	asking   = iota // nothing was asked
	allowed         // by rates and breaker; an endpoint and a place are waited for
	awaiting        // a place, in the queue
	admitted
)

// Admit asks the policies of the route and of its upstream whether the request may go on:
// rates, deadline, breaker, limit. It is asked once, before the body is read. It may wait, for
// an endpoint of a service that starts and for a place at one that is busy; ctx may be nil, then wait
// says that it would: ask again with one.
func (x *Exchange) Admit(ctx context.Context) (wait bool, f *Refusal) {
	if x.stage == asking {
		if f := x.allow(); f != nil {
			return false, f
		}
		x.stage = allowed
	}
	if x.Up == nil { // files
		return false, nil
	}
	u := x.Up.pool
	if x.stage == allowed {
		// Who waits for a service to start holds no place at it.
		if set := u.set.Load(); len(set.eps) == 0 && set.closed == nil {
			if ctx == nil {
				return true, nil
			}
			if _, _, f := x.await(ctx); f != nil {
				return false, f
			}
			x.now = Now()
		}
		answer, w := u.limiter.Enter(x.now, limit.Request{Priority: x.priority, Cohort: x.cohort(), Deadline: x.limitUntil()})
		if answer != limit.Queued {
			return false, x.entered(answer)
		}
		x.waiter, x.stage = w, awaiting
	}
	if x.stage == awaiting {
		if ctx == nil {
			return true, nil
		}
		t := time.NewTimer(time.Duration(max(x.waiter.Until()-Now(), 0)))
		defer t.Stop()
		select {
		case <-x.waiter.Decided():
		case <-t.C:
		case <-ctx.Done():
			x.unqueue()
			return false, Gone(ctx, x.Up)
		}
		x.now = Now()
		w := x.waiter
		x.waiter = nil
		return false, x.entered(u.limiter.Settle(x.now, w))
	}
	return false, nil
}

// limitUntil is the deadline as the limiter wants it.
func (x *Exchange) limitUntil() int64 {
	if x.deadline == deadline.Never {
		return 0
	}
	return x.deadline
}

// allow asks what needs no waiting.
func (x *Exchange) allow() *Refusal {
	if x.now == 0 { // no rule was found for it, as there is none
		x.now = nowAt(x.Rec.Start)
	}
	if f := x.rates(); f != nil {
		return f
	}
	if x.Up == nil {
		return nil
	}
	if f := x.late(x.now); f != nil {
		return f
	}
	u := x.Up.pool
	pass, wait, ok := u.breaker.Allow(x.now)
	if !ok {
		x.P.meters.shed.With(x.Up.Name, string(hop.Breaker), x.priority.String()).Add(1)
		return &Refusal{Reason: hop.Breaker, Status: 503, Text: x.Up.Service + " fails, and is left alone for a while",
			Hint: "See what fails: stoa why " + x.Up.Service, Retry: seconds(int64(wait)), NoRetry: true}
	}
	x.pass, x.passed = pass, true
	u.budget.Deposit(x.now)
	return nil
}

// rates takes from every rate of the route. Where one refuses, those before it are spent
// all the same.
func (x *Exchange) rates() *Refusal {
	for _, r := range x.policy.rates {
		v := x.take(r)
		if x.rated == nil || !v.OK || v.Remaining < x.rate.Remaining {
			x.rated, x.rate = &r.limit, v // what is told is the one that is nearest
		}
		if !v.OK {
			x.P.meters.rated.With(x.Rec.Listener, x.Rec.Route).Add(1)
			f := &Refusal{Reason: hop.Rate, Status: 429, Text: "more requests than " + x.Rec.Route + " allows",
				Retry: int(v.RetryAfter()), Fields: x.rateFields()}
			x.rated = nil
			return f
		}
	}
	return nil
}

func (x *Exchange) take(r *rateLimit) rate.Verdict {
	switch r.from.kind {
	case balance.NoKey:
		return r.limit.Take(&r.spent.cell, x.now)
	case balance.Client:
		if a, err := netip.ParseAddr(x.Req.Client()); err == nil {
			return r.spent.keyed.TakeAddr(&r.limit, a, x.now)
		}
	}
	return r.spent.keyed.Take(&r.limit, x.keyOf(r.from), x.now)
}

// entered is what follows an answer of the limiter.
func (x *Exchange) entered(a limit.Answer) *Refusal {
	x.stage = admitted
	if a == limit.Admitted {
		x.placed = true
		return nil
	}
	f := &Refusal{Reason: hop.Limit, Status: 503, Text: x.Up.Service + " has as many requests as it can take",
		Hint: "See its limit: stoa why " + x.Up.Service, NoRetry: true}
	if a == limit.Shed {
		f.Reason, f.Text = hop.Shed, x.Up.Service+" is overloaded, and serves what is more important first"
	}
	x.P.meters.shed.With(x.Up.Name, string(f.Reason), x.priority.String()).Add(1)
	return f
}

// unqueue ends the waiting of a request that is over.
func (x *Exchange) unqueue() {
	if x.waiter == nil {
		return
	}
	w := x.waiter
	x.waiter = nil
	if x.Up.pool.limiter.Settle(Now(), w) == limit.Admitted {
		x.Up.pool.limiter.Leave(Now(), 0, limit.Ignored)
	}
}
