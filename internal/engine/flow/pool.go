package flow

import (
	"context"
	"sync"
	"sync/atomic"

	"stoa/api/fault"
	"stoa/internal/engine/balance"
	"stoa/internal/engine/breaker"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/outlier"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/snapshot"
)

// pool holds the endpoints of one upstream, and what is known of it as a whole. It outlives
// snapshots.
type pool struct {
	name string
	set  atomic.Pointer[endpointSet] // stored under Plane.upsMu
	held atomic.Int64                // calls that wait for an endpoint

	detector outlier.Detector
	breaker  *breaker.Breaker
	hasty    []hasty // by patience, ascending; guarded by Plane.upsMu
	budget   *retry.Budget
	limiter  *limit.Limiter
	due      atomic.Int64 // the next look
	refused  sheds
	sticky   stickiness
	gauges   atomic.Pointer[gauges] // nil before the first snapshot that has it

	declared snapshot.Upstream // in force; guarded by Plane.upsMu
}

// endpointSet never changes; a new one replaces it.
type endpointSet struct {
	eps      []*Endpoint
	balance  *balance.Set    // of eps, in their order
	hosts    []*outlier.Host // the same
	mixed    bool            // some speak another protocol than their upstream
	seals    []string        // what a cookie says that names them, in their order
	bySeal   map[string]int
	closed   *snapshot.Closed // there are none, and none is awaited
	replaced chan struct{}    // closed when this is no longer the set
}

// newSet is the set of eps of an upstream under c. upsMu is held.
func (p *Plane) newSet(upstream string, eps []*Endpoint, c balance.Config, closed *snapshot.Closed) *endpointSet {
	s := &endpointSet{eps: eps, closed: closed, replaced: make(chan struct{}), bySeal: make(map[string]int, len(eps))}
	sealer := newSealer(p.secret, upstream)
	members, ids := make([]*balance.Member, len(eps)), make([]string, len(eps))
	for i, e := range eps {
		members[i], ids[i] = e.member, e.ID
		s.hosts = append(s.hosts, &e.host)
		seal := sealer.of(e.ID)
		s.seals, s.bySeal[seal] = append(s.seals, seal), i
		s.mixed = s.mixed || e.Protocol != ""
	}
	s.balance = balance.NewSet(c, members, ids, nil)
	if len(eps) > balance.MaxMembers {
		s.eps = eps[:balance.MaxMembers]
	}
	return s
}

// newPool is a pool without endpoints. upsMu is held.
func (p *Plane) newPool(name string) *pool {
	now := Now()
	u := &pool{name: name, breaker: breaker.New(breaker.Config{}, now), budget: retry.NewBudget(retry.BudgetConfig{}), limiter: limit.New(limit.Config{})}
	u.set.Store(p.newSet(name, nil, balance.Config{}, nil))
	return u
}

// declare puts what a snapshot says of the upstream in force; what was learned stays.
func (p *Plane) declare(u *pool, s snapshot.Upstream) {
	p.upsMu.Lock()
	old, hasty := u.declared, u.hasty
	u.declared = s
	var replaced *endpointSet
	if old.Balance != s.Balance {
		replaced = u.set.Load()
		u.set.Store(p.newSet(u.name, replaced.eps, s.Balance, replaced.closed))
	}
	if u.gauges.Load() == nil {
		u.gauges.Store(p.meters.gauges(u.name))
	}
	p.upsMu.Unlock()
	if replaced != nil {
		close(replaced.replaced)
	}
	now := Now()
	if old.Outliers != s.Outliers {
		u.detector.Use(s.Outliers)
	}
	if old.Breaker != s.Breaker {
		u.breaker.Configure(s.Breaker, now)
		for _, h := range hasty {
			h.breaker.Configure(s.Breaker, now)
		}
	}
	if old.Budget != s.Budget {
		u.budget.Configure(s.Budget)
	}
	if old.Limit != s.Limit {
		u.limiter.Set(now, s.Limit)
	}
}

// Endpoint is one place where an upstream answers, over its whole life.
type Endpoint struct {
	snapshot.Endpoint
	member   *balance.Member // what it holds and how long it takes
	host     outlier.Host
	draining atomic.Bool // taken away: nothing new
	idle     chan struct{}
	idleOnce sync.Once // closes idle, when draining and nothing is held

	kept  [3]atomic.Pointer[kept] // by engine
	stuck atomic.Int64            // requests of late that a cookie led here, or were given one; see stickiness
}

// Kept is what an engine keeps with an endpoint: its connections.
type Kept interface {
	// CloseIdle closes what is not in use, so that a server which waits for its
	// connections to close can end. Called when the endpoint holds nothing more.
	CloseIdle()
}

// kept is what one engine keeps.
type kept struct{ Kept }

// Keep gives what the engine of this number (0 to 2) keeps with e, which make makes if
// fits says that there is none, or not the right one. What is replaced is closed.
func (e *Endpoint) Keep(engine int, fits func(Kept) bool, make func() Kept) Kept {
	at := &e.kept[engine]
	for {
		old := at.Load()
		if old != nil && fits(old.Kept) {
			return old.Kept
		}
		fresh := &kept{make()}
		if at.CompareAndSwap(old, fresh) {
			if old != nil {
				old.CloseIdle()
			}
			return fresh.Kept
		}
	}
}

// Kept gives what the engine of this number keeps with e, or nil.
func (e *Endpoint) Kept(engine int) Kept {
	if k := e.kept[engine].Load(); k != nil {
		return k.Kept
	}
	return nil
}

func (e *Endpoint) closeIdle() {
	for i := range e.kept {
		if k := e.kept[i].Load(); k != nil {
			k.CloseIdle()
		}
	}
}

// Speaks gives the protocol of e as an endpoint of u.
func (e *Endpoint) Speaks(u *Upstream) snapshot.Protocol {
	if e.Protocol != "" {
		return e.Protocol
	}
	return u.Protocol
}

// Only says whether every endpoint of u speaks p.
func (u *Upstream) Only(p snapshot.Protocol) bool {
	set := u.pool.set.Load()
	if !set.mixed {
		return u.Protocol == p
	}
	for _, e := range set.eps {
		if e.Speaks(u) != p {
			return false
		}
	}
	return u.Protocol == p
}

// Draining says whether e was taken away.
func (e *Endpoint) Draining() bool { return e.draining.Load() }

// SetEndpoints says which endpoints of upstream are ready. An endpoint that is new gets
// its share at once; one that is missing gets nothing more and finishes what it holds,
// see Drained. An endpoint is the same as before if all its fields are.
func (p *Plane) SetEndpoints(upstream string, eps []snapshot.Endpoint) {
	p.setEndpoints(upstream, eps, nil)
}

// Close says that upstream has no endpoint and that none is on its way. Calls that wait
// and those that come are refused with why, until SetEndpoints is called for it. The
// endpoints that it had finish what they hold.
func (p *Plane) Close(upstream string, why snapshot.Closed) { p.setEndpoints(upstream, nil, &why) }

func (p *Plane) setEndpoints(upstream string, eps []snapshot.Endpoint, closed *snapshot.Closed) {
	p.upsMu.Lock()
	u := p.poolLocked(upstream)
	old := u.set.Load()
	known := make(map[snapshot.Endpoint]*Endpoint, len(old.eps))
	for _, e := range old.eps {
		known[e.Endpoint] = e
	}
	now := Now()
	var next []*Endpoint
	for _, se := range eps {
		e := known[se]
		if e == nil {
			e = &Endpoint{Endpoint: se, member: balance.NewMember(now), idle: make(chan struct{})}
		}
		delete(known, se)
		next = append(next, e)
	}
	u.set.Store(p.newSet(u.name, next, u.declared.Balance, closed))
	p.upsMu.Unlock()
	u.limiter.Endpoints(now, len(next))
	close(old.replaced)
	for _, e := range known {
		p.drain(e)
	}
}

// Endpoints gives the ready endpoints of upstream and what each holds now.
func (p *Plane) Endpoints(upstream string) (eps []snapshot.Endpoint, inflight []int64) {
	for _, e := range p.pool(upstream).set.Load().eps {
		eps = append(eps, e.Endpoint)
		inflight = append(inflight, e.member.Inflight())
	}
	return eps, inflight
}

// drain takes e out of use. p.draining keeps it until it is idle.
func (p *Plane) drain(e *Endpoint) {
	p.drainMu.Lock()
	p.draining[e.ID] = append(p.draining[e.ID], e)
	p.drainMu.Unlock()
	e.draining.Store(true)
	if e.member.Inflight() == 0 {
		p.becameIdle(e)
	}
}

// becameIdle is called when a draining endpoint holds nothing more.
func (p *Plane) becameIdle(e *Endpoint) {
	e.idleOnce.Do(func() {
		e.closeIdle()
		p.drainMu.Lock()
		all := p.draining[e.ID]
		for i, d := range all {
			if d == e {
				all = append(all[:i:i], all[i+1:]...)
				break
			}
		}
		if len(all) == 0 {
			delete(p.draining, e.ID)
		} else {
			p.draining[e.ID] = all
		}
		p.drainMu.Unlock()
		close(e.idle)
	})
}

// Drained waits until endpoints of this id that SetEndpoints took away hold no request
// and no connection; at once if there are none. The error is ctx's, as
// Unavailable, with what is still held.
func (p *Plane) Drained(ctx context.Context, endpointID string) error {
	p.drainMu.Lock()
	all := append([]*Endpoint(nil), p.draining[endpointID]...)
	p.drainMu.Unlock()
	for _, e := range all {
		select {
		case <-e.idle:
		case <-ctx.Done():
			return &fault.Error{Op: "proxy.drain", Subject: "endpoint/" + endpointID, Kind: fault.Unavailable,
				Err: fault.New(fault.Unavailable, "", "%d requests still in flight: %w", e.member.Inflight(), ctx.Err())}
		}
	}
	return nil
}

// acquire takes a place at e, unless it is draining.
func (e *Endpoint) acquire() bool {
	e.member.Begin()
	// Draining is set before what is held is read there, and that raised before
	// draining is read here: one of the two sees the other.
	return !e.draining.Load()
}

// release gives a place back.
func (p *Plane) release(e *Endpoint) {
	if e.member.Done() == 0 && e.draining.Load() {
		p.becameIdle(e)
	}
}
