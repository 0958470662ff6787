package flow

import (
	"time"

	"stoa/internal/engine/outlier"
)

// lookGap is the time between two looks at a pool: who is ejected or back, and what the
// gauges show.
const lookGap = time.Second

// consider ejects e if its failures in a row are its own.
func (p *Plane) consider(u *pool, e *Endpoint, now int64) {
	set := u.set.Load()
	if d, ok := u.detector.Consider(now, &e.host, set.hosts); ok {
		p.decided(u, set, d)
	}
}

// decided carries a decision out.
func (p *Plane) decided(u *pool, set *endpointSet, d outlier.Decision) {
	e := set.eps[d.Index]
	e.member.Eject(d.Until)
	if !d.Ejected {
		p.o.Log.Info("endpoint is back", "upstream", u.name, "endpoint", e.ID, "why", d.Why)
		return
	}
	p.meters.ejections.With(u.name, string(d.Why)).Add(1)
	p.o.Log.Info("endpoint ejected", "upstream", u.name, "endpoint", e.ID, "why", d.Why, "text", d.Text)
}

// Look sees to what is due without requests: who comes back from ejection, what the gauges show,
// which hops are slow, which faults have ended. engine/proxy calls it once a second.
func (p *Plane) Look() {
	p.upsMu.Lock()
	all := make([]*pool, 0, len(p.ups))
	for _, u := range p.ups {
		all = append(all, u)
	}
	p.upsMu.Unlock()
	for _, u := range all {
		p.look(u, Now())
	}
	p.learnSlow()
	p.expire()
}

// look is called with every request that ends.
func (p *Plane) look(u *pool, now int64) {
	due := u.due.Load()
	if now < due || !u.due.CompareAndSwap(due, now+int64(lookGap)) {
		return
	}
	set := u.set.Load()
	for _, d := range u.detector.Sweep(now, set.hosts) {
		p.decided(u, set, d)
	}
	if u.sticky.declared.Load() {
		p.meters.skew.With(u.name).Set(skew(set.eps))
	}
	g := u.gauges.Load()
	if g == nil {
		return // of a snapshot that is not in force yet
	}
	p.upsMu.Lock()
	hasty := u.hasty
	p.upsMu.Unlock()
	out := 0
	for _, e := range set.eps {
		if e.member.EjectedUntil(now) != 0 {
			out++
		}
	}
	g.ejected.Set(float64(out))
	for _, h := range hasty {
		p.meters.hasty.With(u.name, h.patience.String()).Set(float64(h.breaker.State(now).Phase))
		if n := h.breaker.Openings(); n > 0 {
			p.meters.openings.With(u.name, h.patience.String()).Add(n)
		}
	}
	if n := u.breaker.Openings(); n > 0 {
		p.meters.openings.With(u.name, "").Add(n)
	}
	g.breaker.Set(float64(u.breaker.State(now).Phase))
	s := u.limiter.Stats(now)
	g.limit.Set(float64(s.Limit))
	g.inflight.Set(float64(s.InFlight))
	g.waiting.Set(float64(s.Waiting))
	g.overload.Set(s.Overload)
	g.budget.Set(u.budget.State(now).Level)
}
