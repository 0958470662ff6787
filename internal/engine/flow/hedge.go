package flow

import (
	"sync"
	"sync/atomic"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/ground/meter"
)

// usual is how long the answers of a route usually take: the 95th percentile of the last
// ten seconds or more, worked out once a second when it is asked for, and sooner until there
// is one.
type usual struct {
	next  atomic.Int64 // when it is worked out again
	value atomic.Int64 // ns; 0: not known yet

	mu     sync.Mutex
	base   meter.Dist // what there was when the window began; guarded by mu
	began  int64      // when it did; guarded by mu
	before meter.Dist // the base of the window before; guarded by mu
}

const (
	usualEvery  = int64(time.Second)
	usualSoon   = int64(50 * time.Millisecond)
	usualWindow = int64(10 * time.Second)
	usualLeast  = 20 // answers, for a percentile that means anything
)

// p95 gives it, of a histogram in seconds.
func (u *usual) p95(h *meter.Histogram, now int64) time.Duration {
	every := usualEvery
	if u.value.Load() == 0 {
		every = usualSoon
	}
	if next := u.next.Load(); h != nil && now >= next && u.next.CompareAndSwap(next, now+every) {
		u.mu.Lock()
		d := h.Read()
		if now-u.began >= usualWindow {
			u.before, u.base, u.began = u.base, d, now
		}
		if w := d.Since(u.before); w.Count >= usualLeast {
			u.value.Store(int64(w.Quantile(0.95) * float64(time.Second)))
		}
		u.mu.Unlock()
	}
	return time.Duration(u.value.Load())
}

// Hedges says whether the route sends second attempts beside slow first ones: then
// HedgeAfter says when.
func (x *Exchange) Hedges() bool { return x.policy.hedges }

// HedgeAfter gives the time after which an attempt that is about to begin, of a safe request without body, is
// to have a second beside it; 0: never.
func (x *Exchange) HedgeAfter() time.Duration {
	if x.run.Hedged {
		return 0
	}
	now := Now()
	var p95 time.Duration
	if x.series != nil && x.Route != nil {
		p95 = x.Route.usual.p95(x.series.duration.Load(), now)
	}
	after, ok := x.policy.retry.HedgeAfter(true, p95, x.left(now))
	if !ok {
		return 0
	}
	return after
}

// Second gives, when that time has come, the exchange of a second attempt with a place on
// another endpoint; nil if there is none, or the budget does not allow it. It may be called
// while the first attempt is under way, and ends with Won or Lost.
func (x *Exchange) Second() (*Exchange, *Endpoint) {
	now, u := Now(), x.Up.pool
	set := u.set.Load()
	tried := x.tried
	tried.Add(x.held.member)
	i, _ := set.balance.Pick(now, x.key, &tried)
	if i < 0 || set.eps[i] == x.held {
		return nil, nil
	}
	e := set.eps[i]
	if v := x.policy.retry.Hedge(&x.run, x.left(now), now, u.budget); !v.Again {
		x.P.marks.hedges.With(x.Up.Service, "refused").Add(1)
		return nil, nil
	}
	if !e.acquire() {
		x.P.release(e)
		return nil, nil
	}
	y := &Exchange{P: x.P, Req: x.Req, Route: x.Route, Up: x.Up, Edge: x.Edge,
		policy: x.policy, deadline: x.deadline, short: x.short, grpcTold: x.grpcTold, priority: x.priority, held: e}
	y.Rec = hop.Record{Start: x.Rec.Start, Method: x.Rec.Method, GRPC: -1}
	return y, e
}

// Won makes the attempt of y, of which the answer is taken, that of x. The first one is over.
func (x *Exchange) Won(y *Exchange) {
	now := Now()
	if x.held != nil && x.began != 0 {
		x.held.member.Observe(now, time.Duration(now-x.began), false) // so slow it is, at least
	}
	x.giveBack()
	x.held, y.held = y.held, nil
	x.Rec.Endpoint, x.Rec.Address, x.Rec.Instance = x.held.ID, x.held.Address, x.held.Instance
	x.Rec.Attempts += y.Rec.Attempts
	x.Rec.Head, x.Sent = y.Rec.Head, max(x.Sent, y.Sent)
	x.began, x.headAt, x.reported = y.began, y.headAt, false
	x.P.marks.hedges.With(x.Up.Service, "won").Add(1)
}

// Lost ends the attempt of y, of which nothing is taken.
func (x *Exchange) Lost(y *Exchange) {
	y.giveBack()
	x.Rec.Attempts += y.Rec.Attempts
	x.P.marks.hedges.With(x.Up.Service, "lost").Add(1)
}

// Held is the endpoint on which x has a place, nil if none.
func (x *Exchange) Held() *Endpoint { return x.held }
