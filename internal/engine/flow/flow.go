// Package flow decides what becomes of a request, whichever engine carries it.
//
//	Begin -> Find (which rule) -> Admit -> Take (which endpoint) -> an attempt, by the engine
//	      -> Answered or Failed (relay it, try again, or refuse) -> Finish (record, series, all given back)
//
// The packages of patterns decide, this one asks them, and holds what they learn:
//
//	Find      deadline (the route's or the caller's), priority, which side of a split
//	Admit     rate (429), deadline (504), breaker (503), limit (503, or a wait); the call counts for the budget
//	Take      balance, passing over what failed before and what outlier ejected
//	Answered, latency to balance, result to outlier; retry: whether another attempt follows
//	Failed
//	Finish    how it ended to breaker and limit; of a stream that is told with its head
//
// A Plane holds what is known: the snapshot in force, behind one atomic pointer, and the
// endpoints of every upstream with all that was learned of them, which outlives
// snapshots. An Exchange is one request. It does no I/O and reads no header but through
// Request: engines read requests, make attempts and write answers, and both engines of
// engine/proxy ask the same questions in the same order.
//
// Invariants: a request keeps the snapshot it began with; an endpoint that was taken
// away gets nothing new and finishes what it holds (Drained); Take waits no longer than
// the upstream's hold. What is learned and spent is kept by name (of an upstream, of a rule) or by the
// endpoint, and outlives snapshots. A refusal of ours says nothing of a service, and is made before
// the body is read. A request that passes takes no lock and allocates nothing here.
//
// Time and priority follow the trace. A service need not know Stoa's fields: it must pass traceparent on
// for its traces anyway. While an exchange is at a service that has a declared or told deadline, or
// a priority, the plane remembers both by trace and service (estate), and a call of that service in that
// trace that says nothing itself takes what is left of the time, and the priority. See
// docs/adr/0018-time-follows-the-trace.md.
//
// Limits: a gRPC status that comes in trailers is told to outlier and breaker when the stream
// ends; a stream has given its place at the limiter back by then.
package flow

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/inject"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/meter"
)

// Options tune a Plane. The zero value is a good default.
type Options struct {
	Log    *slog.Logger    // nil: no log
	Meters *meter.Registry // nil: counted, not shown
	Sink   hop.Sink        // takes the records of hops, all while there are few, else a sample; nil: none

	// Candid tells callers from outside what callers inside are told: which service could
	// not answer, why, and what its operator can do. It is for development.
	Candid bool

	MaxHeld int // calls that wait for one upstream; 0: 1,024
}

// Plane is what one node knows of the traffic it carries. All methods may be called
// concurrently.
type Plane struct {
	o       Options
	meters  meters
	samples samples
	cur     atomic.Pointer[Table]
	marks   marks
	faults  atomic.Pointer[faultSet]   // nil: none
	counted atomic.Pointer[inject.Set] // the faults of the last SetFaults, for what they did

	faultsMu sync.Mutex
	injected []inject.Fault // of the last SetFaults, without those that have ended; guarded by faultsMu; replaced, never changed

	recalled recalled
	estate   estate

	upsMu  sync.Mutex
	ups    map[string]*pool // by upstream; guarded by upsMu
	secret []byte           // signs what cookies say of endpoints; guarded by upsMu

	drainMu  sync.Mutex
	draining map[string][]*Endpoint // by endpoint id, taken away but not idle; guarded by drainMu

	lookMu sync.Mutex // one at a time works out what is slow
	looks  int        // guarded by lookMu

	swapMu sync.Mutex                // one Swap at a time
	spent  map[spendingKey]*spending // of rates; guarded by swapMu
}

// New returns a plane that knows nothing yet.
func New(o Options) *Plane {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meters == nil {
		o.Meters = meter.New()
	}
	if o.Sink == nil {
		o.Sink = hop.SinkFunc(func(*hop.Record) {})
	}
	o.MaxHeld = cmp.Or(o.MaxHeld, 1024)
	p := &Plane{o: o, meters: newMeters(o.Meters), ups: map[string]*pool{}, draining: map[string][]*Endpoint{}}
	p.marks = newMarks(o.Meters)
	p.samples.init(p.meters.dropped.With())
	p.secret = make([]byte, 32)
	_, _ = rand.Read(p.secret) // it does not fail
	p.cur.Store(&Table{Listeners: map[string]*Listener{}, upstreams: map[string]*Upstream{}, Replaced: make(chan struct{})})
	return p
}

// Swap puts s in force, atomically: requests that begin afterwards follow it. A snapshot
// with a problem is refused as a whole and the old one stays.
func (p *Plane) Swap(s *snapshot.Snapshot) error {
	p.swapMu.Lock()
	defer p.swapMu.Unlock()
	if err := s.Check(); err != nil {
		return &fault.Error{Op: "proxy.swap", Subject: "snapshot", Kind: fault.Invalid, Err: err,
			Hint: "The snapshot before it stays in force."}
	}
	c := p.compile(s)
	old := p.cur.Swap(c)
	close(old.Replaced)
	p.forgetPools(c)
	return nil
}

// Table is the snapshot in force, compiled.
func (p *Plane) Table() *Table { return p.cur.Load() }

// Heads bound the head of a request at a listener, by the snapshot in force; of one that it does
// not have, as outside.
func (p *Plane) Heads(listener string) snapshot.Heads {
	if l := p.cur.Load().Listeners[listener]; l != nil {
		return l.Bounds()
	}
	return snapshot.Listener{}.Bounds()
}

// Candid says whether callers outside are told what those inside are.
func (p *Plane) Candid() bool { return p.o.Candid }

// AtOnce is the context of who does not wait, for Admit and Take.
var AtOnce context.Context

// epoch is what Now counts from.
var epoch = time.Now()

// Now gives the time as patterns count it: nanoseconds of the monotonic clock, above 0.
func Now() int64 { return int64(time.Since(epoch)) + 1 }

// nowAt is Now for a time that was read already.
func nowAt(t time.Time) int64 { return int64(t.Sub(epoch)) + 1 }

// OrDefault reads a duration of a snapshot: 0 is the default, negative is none (0).
func OrDefault(d, def time.Duration) time.Duration {
	switch {
	case d == 0:
		return def
	case d < 0:
		return 0
	}
	return d
}

// Pause waits, and says whether ctx let it.
func Pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
