package flow

import (
	"time"

	"stoa/internal/engine/breaker"
	"stoa/internal/engine/hop"
)

// Who waits 100 ms for a service sees timeouts where who waits 2 s sees answers. So timeouts are
// judged among those who wait equally long, and all other failures by all together: every upstream
// has one breaker for all calls, and one more for each time that some callers wait and which is
// not the longest. A call of these passes both; a timeout of it counts at its own alone. See
// docs/adr/0016-who-shares-a-breaker.md.

// hasty is the breaker of those who wait less than others.
type hasty struct {
	patience time.Duration
	breaker  *breaker.Breaker
}

// hastyOf gives those of an upstream for which patience, ascending, is declared. What was learned
// stays with a patience; upsMu is not held.
func (p *Plane) hastyOf(u *pool, patience []time.Duration) []hasty {
	if len(patience) < 2 {
		patience = nil
	} else {
		patience = patience[:len(patience)-1]
	}
	p.upsMu.Lock()
	old := u.hasty
	u.hasty = nil
	for _, d := range patience {
		u.hasty = append(u.hasty, hasty{d, nil})
	}
	for i := range u.hasty {
		h := &u.hasty[i]
		for _, o := range old {
			if o.patience == h.patience {
				h.breaker = o.breaker
			}
		}
		if h.breaker == nil {
			h.breaker = breaker.New(u.declared.Breaker, Now())
		}
	}
	now := u.hasty
	p.upsMu.Unlock()
	for _, o := range old {
		stays := false
		for _, h := range now {
			stays = stays || h.patience == o.patience
		}
		if !stays {
			p.meters.hasty.Drop(u.name, o.patience.String())
		}
	}
	return now
}

// hurries gives the breaker of those who wait as long for u as x does, nil if nobody waits longer.
func (x *Exchange) hurries() *hasty {
	for i := range x.Up.hasty {
		if h := &x.Up.hasty[i]; h.patience == x.policy.patience {
			return h
		}
	}
	return nil
}

// tooSlow says whether the call got no answer in the time that it had, or the answer of a service
// that had no more: where x.short, it is the caller who was in a hurry.
func (x *Exchange) tooSlow() bool {
	switch rec := &x.Rec; rec.Reason {
	case hop.Deadline:
		return true
	case "":
		return rec.GRPC == 4 || rec.GRPC < 0 && rec.Status == 504
	}
	return false
}

// spared refuses a call that a breaker lets not through.
func (x *Exchange) spared(wait time.Duration, text string) *Refusal {
	x.Up.pool.refused.add(&x.P.meters, x.Up.Name, byBreaker, x.priority)
	return &Refusal{Reason: hop.Breaker, Status: 503, Text: text,
		Hint: "See what fails: stoa why " + x.Up.Service, Retry: seconds(int64(wait)), NoRetry: true}
}
