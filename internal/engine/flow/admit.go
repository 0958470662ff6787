package flow

import (
	"context"
	"net/netip"
	"time"

	"stoa/internal/engine/balance"
	"stoa/internal/engine/breaker"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/rate"
	"stoa/internal/engine/snapshot"
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
		return x.spared(wait, x.Up.Service+" fails, and is left alone for a while")
	}
	if h := x.hurries(); h != nil {
		if x.hastyPass, wait, ok = h.breaker.Allow(x.now); !ok {
			u.breaker.Done(pass, breaker.Ignored, x.now)
			return x.spared(wait, x.Up.Service+" does not answer within "+h.patience.String()+", and is left alone for a while by who waits no longer")
		}
		x.hasty = h
	}
	x.pass, x.passed = pass, true
	u.budget.Deposit(x.now)
	return nil
}

// rates asks every rate of the route, and takes from all or from none: a request that one
// refuses spends nothing of the others. Two requests at one moment that each want the last
// of what the other has may both be refused; never do more pass than any rate allows.
func (x *Exchange) rates() *Refusal {
	switch rates := x.policy.rates; len(rates) {
	case 0:
		return nil
	case 1:
		r := rates[0]
		x.rated, x.rate = &r.limit, r.take(r.tag(x), x.now)
		if !x.rate.OK {
			return x.tooMany()
		}
		return nil
	default:
		return x.ratesOf(rates)
	}
}

// ratesOf is rates for several.
func (x *Exchange) ratesOf(rates []*rateLimit) *Refusal {
	var tags [snapshot.MaxRates]rate.Tag
	var taken [snapshot.MaxRates]rate.Verdict
	x.rated = nil
	for i, r := range rates {
		tags[i] = r.tag(x)
		if v := r.peek(tags[i], x.now); !v.OK {
			x.refusing(r, v)
		}
	}
	if x.rated != nil {
		return x.tooMany()
	}
	for i, r := range rates {
		v := r.take(tags[i], x.now)
		if !v.OK { // another request came between
			since := time.Duration(Now() - x.now)
			for j, before := range rates[:i] {
				before.giveBack(tags[j], taken[j], since)
			}
			x.rated = nil
			x.refusing(r, v)
			return x.tooMany()
		}
		taken[i] = v
		if x.rated == nil || v.Remaining < x.rate.Remaining {
			x.rated, x.rate = &r.limit, v // what is told is the one that is nearest
		}
	}
	return nil
}

// refusing notes a rate that refuses: what is told is the one that does so longest.
func (x *Exchange) refusing(r *rateLimit, v rate.Verdict) {
	if x.rated == nil || v.Retry > x.rate.Retry {
		x.rated, x.rate = &r.limit, v
	}
}

// tooMany refuses for rated.
func (x *Exchange) tooMany() *Refusal {
	x.Route.rated.add(&x.P.meters, x.Rec.Listener, x.Rec.Route)
	f := &Refusal{Reason: hop.Rate, Status: 429, Text: "more requests than " + x.Rec.Route + " allows",
		Retry: int(x.rate.RetryAfter()), Fields: x.rateFields()}
	x.rated = nil
	return f
}

// tag gives whose quota of r the request spends; 0 where all share one.
func (r *rateLimit) tag(x *Exchange) rate.Tag {
	switch r.from.kind {
	case balance.NoKey:
		return 0
	case balance.Client:
		if a, err := netip.ParseAddr(x.Req.Client()); err == nil {
			return rate.TagOfAddr(a)
		}
	}
	return rate.TagOf(x.keyOf(r.from))
}

func (r *rateLimit) peek(t rate.Tag, now int64) rate.Verdict {
	if r.from.kind == balance.NoKey {
		return r.limit.Peek(&r.spent.cell, now)
	}
	return r.spent.keyed.Peek(&r.limit, t, now)
}

func (r *rateLimit) take(t rate.Tag, now int64) rate.Verdict {
	if r.from.kind == balance.NoKey {
		return r.limit.Take(&r.spent.cell, now)
	}
	return r.spent.keyed.TakeTag(&r.limit, t, now)
}

func (r *rateLimit) giveBack(t rate.Tag, v rate.Verdict, since time.Duration) {
	if r.from.kind == balance.NoKey {
		r.limit.Return(&r.spent.cell, v, since)
		return
	}
	r.spent.keyed.Return(&r.limit, t, v, since)
}

// entered is what follows an answer of the limiter.
func (x *Exchange) entered(a limit.Answer) *Refusal {
	x.stage = admitted
	if a == limit.Admitted {
		x.placed, x.entry = true, x.now
		x.bequeath()
		return nil
	}
	f := &Refusal{Reason: hop.Limit, Status: 503, Text: x.Up.Service + " has as many requests as it can take",
		Hint: "See its limit: stoa why " + x.Up.Service, NoRetry: true}
	why := byLimit
	if a == limit.Shed {
		why = byShed
		f.Reason, f.Text = hop.Shed, x.Up.Service+" is overloaded, and serves what is more important first"
	}
	x.Up.pool.refused.add(&x.P.meters, x.Up.Name, why, x.priority)
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
