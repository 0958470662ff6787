package flow

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/snapshot"
)

// pool holds the endpoints of one upstream. It outlives snapshots.
type pool struct {
	name string
	set  atomic.Pointer[endpointSet] // stored under Proxy.upsMu
	held atomic.Int64                // calls that wait
}

// endpointSet never changes; a new one replaces it.
type endpointSet struct {
	eps      []*Endpoint
	closed   *snapshot.Closed // there are none, and none is awaited
	replaced chan struct{}    // closed when this is no longer the set
}

func newPool(name string) *pool {
	p := &pool{name: name}
	p.set.Store(&endpointSet{replaced: make(chan struct{})})
	return p
}

// Endpoint is one place where an upstream answers, over its whole life.
type Endpoint struct {
	snapshot.Endpoint
	inflight atomic.Int64 // requests and connections it holds
	draining atomic.Bool  // taken away: nothing new
	idle     chan struct{}
	idleOnce sync.Once // closes idle, when draining and inflight is 0

	refusals atomic.Int32 // in a row
	suspect  atomic.Int64 // unix nanoseconds until which it is passed over, since it refused

	kept [2]atomic.Pointer[kept] // by engine
}

// Kept is what an engine keeps with an endpoint: its connections.
type Kept interface {
	// CloseIdle closes what is not in use, so that a server which waits for its
	// connections to close can end. Called when the endpoint holds nothing more.
	CloseIdle()
}

// kept is what one engine keeps.
type kept struct{ Kept }

// Keep gives what the engine of this number (0 or 1) keeps with e, which make makes if
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
	next := &endpointSet{closed: closed, replaced: make(chan struct{})}
	for _, se := range eps {
		e := known[se]
		if e == nil {
			e = &Endpoint{Endpoint: se, idle: make(chan struct{})}
		}
		delete(known, se)
		next.eps = append(next.eps, e)
	}
	u.set.Store(next)
	p.upsMu.Unlock()
	close(old.replaced)
	for _, e := range known {
		p.drain(e)
	}
}

// Endpoints gives the ready endpoints of upstream and what each holds now.
func (p *Plane) Endpoints(upstream string) (eps []snapshot.Endpoint, inflight []int64) {
	for _, e := range p.pool(upstream).set.Load().eps {
		eps = append(eps, e.Endpoint)
		inflight = append(inflight, e.inflight.Load())
	}
	return eps, inflight
}

// drain takes e out of use. p.draining keeps it until it is idle.
func (p *Plane) drain(e *Endpoint) {
	p.drainMu.Lock()
	p.draining[e.ID] = append(p.draining[e.ID], e)
	p.drainMu.Unlock()
	e.draining.Store(true)
	if e.inflight.Load() == 0 {
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
				Err: fault.New(fault.Unavailable, "", "%d requests still in flight: %w", e.inflight.Load(), ctx.Err())}
		}
	}
	return nil
}

// acquire takes a place at e, unless it is draining.
func (e *Endpoint) acquire() bool {
	e.inflight.Add(1)
	// Draining is set before inflight is read there, and inflight raised before
	// draining is read here: one of the two sees the other.
	return !e.draining.Load()
}

// release gives a place back.
func (p *Plane) release(e *Endpoint) {
	if e.inflight.Add(-1) == 0 && e.draining.Load() {
		p.becameIdle(e)
	}
}

// Back-off of an endpoint that refuses connections, so that others are tried first.
const (
	suspectMin = 20 * time.Millisecond
	suspectMax = 500 * time.Millisecond
)

// Refused notes that e made no connection.
func (e *Endpoint) Refused() {
	n := min(e.refusals.Add(1), 6)
	e.suspect.Store(time.Now().Add(min(suspectMin<<(n-1), suspectMax)).UnixNano())
}

// Connected notes that e made a connection.
func (e *Endpoint) Connected() {
	if e.refusals.Load() != 0 {
		e.refusals.Store(0)
		e.suspect.Store(0)
	}
}

// pick chooses by power of two choices: of two different endpoints at random the one
// that holds less. Endpoints that refused lately are passed over; if there are only
// such, it gives nil and when the first may be tried again.
func (s *endpointSet) pick(now int64) (e *Endpoint, again int64) {
	n := len(s.eps)
	if n == 0 {
		return nil, 0
	}
	i, j := rand.IntN(n), 0
	if n > 1 {
		if j = rand.IntN(n - 1); j >= i {
			j++
		}
	} else {
		j = i
	}
	a, b := s.eps[i], s.eps[j]
	aok, bok := a.suspect.Load() <= now, b.suspect.Load() <= now
	switch {
	case aok && bok:
		if b.inflight.Load() < a.inflight.Load() {
			return b, 0
		}
		return a, 0
	case aok:
		return a, 0
	case bok:
		return b, 0
	}
	for k := range n {
		c := s.eps[(i+k)%n]
		until := c.suspect.Load()
		if until <= now {
			return c, 0
		}
		if again == 0 || until < again {
			again = until
		}
	}
	return nil, again
}

// take gives an endpoint with a place on it, and waits for one until the hold is over.
// The caller releases it. With a nil ctx it waits for nothing: nil says that it would.
func (p *Plane) take(ctx context.Context, u *Upstream, until time.Time, rec *hop.Record) (*Endpoint, *Refusal) {
	var began time.Time
	for {
		set := u.pool.set.Load()
		e, again := set.pick(time.Now().UnixNano())
		if e != nil {
			if e.acquire() {
				if !began.IsZero() {
					rec.Held += time.Since(began)
				}
				return e, nil
			}
			p.release(e) // it drains, so there is a newer set
			continue
		}
		if c := set.closed; c != nil {
			return nil, &Refusal{Reason: c.Reason, Status: 503, Text: c.Text, Hint: c.Hint}
		}
		now := time.Now()
		if !now.Before(until) {
			return nil, noEndpoint(u, len(set.eps))
		}
		if ctx == nil {
			return nil, nil
		}
		if began.IsZero() {
			began = now
			if u.pool.held.Add(1) > int64(p.o.MaxHeld) {
				u.pool.held.Add(-1)
				return nil, &Refusal{Reason: hop.Overload, Status: 503,
					Text: "too many calls wait for " + u.Service, Hint: "See why it is not ready: stoa why " + u.Service}
			}
			defer u.pool.held.Add(-1)
		}
		wait := until.Sub(now)
		if again > 0 {
			wait = min(wait, time.Duration(again-now.UnixNano()))
		}
		t := time.NewTimer(max(wait, time.Millisecond))
		select {
		case <-set.replaced:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, Gone(ctx, u)
		}
		t.Stop()
	}
}

func noEndpoint(u *Upstream, known int) *Refusal {
	f := &Refusal{Reason: hop.NoEndpoint, Status: 503, Text: u.Service + " has no ready endpoint", Hint: "See its state: stoa why " + u.Service}
	if known > 0 {
		f.Reason, f.Text = hop.Connect, "no connection to "+u.Service+" at any endpoint"
	}
	return f
}
