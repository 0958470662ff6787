// Package proxy is the data plane over HTTP and TCP: what every request of a system passes.
//
//	caller -> listener (a socket; says who calls) -> route (one atomic load of the snapshot)
//	       -> endpoint (policies of flow; held until one is ready; the balancer) -> attempt -> answer streamed back
//	       -> hop.Record and series, when the answer's body has closed
//
// What is known comes from outside by Swap (a snapshot), SetEndpoints (who is ready) and
// Close (nobody is, and nobody is awaited); all may be called at any time and nothing in flight is touched: a request keeps the
// snapshot it began with, an endpoint that was taken away finishes what it holds (Drained).
// Listeners are made by Bind (on the node's loopback) and by Run (those of the
// snapshot that have an address: the gateway's). Call sends a request from inside Stoa.
//
// Two engines carry requests: our own (package fast for HTTP/1.1, h2proxy for HTTP/2), and the
// portable one, which is here, for what is rare, or all of it (Options.Engine). It stands on net/http: its server reads
// requests, its transport (one per endpoint) sends them. It is the oracle of the other; both
// pass the suite in proxytest.
//
// Invariants:
//   - Path and query leave as they came, byte for byte, unless the rule rewrites the path.
//   - A request is sent again only as its route's policy says (package retry, within the budget
//     of the upstream), before a byte of an answer has left, and if what was sent of its body was
//     kept. Two repeats cost no budget: nothing was sent because no connection came about; and,
//     once, a kept connection died before a byte of answer. All are counted in
//     hop.Record.Attempts. net/http's own repetitions are switched off, see repeat.go.
//   - An answer of the proxy itself bears Stoa-Reason; one of a service never does. What no
//     service gave just now is marked: Cache-Status (kept, or shared with another caller),
//     Stoa-Fallback (in the place of a failure), Stoa-Injected (a fault).
//   - Bodies stream both ways through buffers of fixed size.
//
// Limits of net/http, which the portable engine shares: it unfolds obsolete line folding, takes a
// bare LF, and lets Transfer-Encoding win over Content-Length; since what leaves is
// framed anew, none of it reaches a service. What its parser refuses (400, 431) makes no
// record. Field names are passed on in canonical case. What a service sends unasked on a kept
// connection is noticed a moment later; a request within that moment is given it as its answer.
//
// Limits of this form: CONNECT and TRACE are refused; an upgrade (WebSocket) goes over
// HTTP/1.1 only; what a cache gives is not counted by the rates of its route; Call uses no
// cache, fallback, mirror or hedge.
package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"stoa/internal/engine/fast"
	"stoa/internal/engine/flow"
	"stoa/internal/engine/h2proxy"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/inject"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/meter"
)

// Engine names one of the two engines. Both keep every promise of package proxytest.
type Engine string

// Portable is the engine on net/http: the oracle of the other, and the way out if it fails.
const Portable Engine = "portable"

// Looped is Stoa's own engine, with each connection on an event loop as soon as it is idle. By
// default only those move there whose requests are quick. It is for tests.
const Looped Engine = "looped"

// Options tune a Proxy. The zero value is a good default.
type Options struct {
	Log    *slog.Logger    // nil: no log
	Meters *meter.Registry // nil: counted, not shown
	Sink   hop.Sink        // takes the record of every hop; nil: none

	Dial   func(ctx context.Context, network, addr string) (net.Conn, error) // to endpoints; nil: the system's
	Listen func(network, addr string) (net.Listener, error)                  // nil: the system's

	// Candid tells callers from outside what callers inside are told: which service could
	// not answer, why, and what its operator can do. It is for development.
	Candid bool

	// Engine carries HTTP/1.1 and HTTP/2: "" for Stoa's own (packages fast and h2proxy), or
	// Portable for net/http.
	Engine Engine

	Keys string // folder for the keys of the development CA and of ACME; "" keeps none: only files serve TLS

	TLS *tls.Config // for https origins; nil: the system's roots

	EdgeHead  time.Duration // for the head of a request from outside; 0: 5 s
	MeshHead  time.Duration // the same from a service; 0: 10 s
	Idle      time.Duration // a kept connection of a caller; 0: 75 s
	Stall     time.Duration // an outside caller that takes nothing of its answer; 0: 60 s
	Drain     time.Duration // for requests in flight when a listener is released; 0: 10 s
	MaxHead   int           // bytes of a request's head; 0: as its listener says (snapshot.Heads)
	MaxHeld   int           // calls that wait for one upstream; 0: 1,024
	MaxTunnel int           // TCP and upgraded connections of one listener; 0: 4,096
}

func (o *Options) defaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	if o.Listen == nil {
		o.Listen = net.Listen
	}
	o.EdgeHead = cmp.Or(o.EdgeHead, 5*time.Second)
	o.MeshHead = cmp.Or(o.MeshHead, 10*time.Second)
	o.Idle = cmp.Or(o.Idle, 75*time.Second)
	o.Stall = cmp.Or(o.Stall, 60*time.Second)
	o.Drain = cmp.Or(o.Drain, 10*time.Second)
	o.MaxTunnel = cmp.Or(o.MaxTunnel, 4096)
}

// Proxy is the data plane of one node. All methods may be called concurrently.
type Proxy struct {
	o     Options
	plane *flow.Plane
	ups   *h2proxy.Upstreams // of callers of HTTP/2
	loops fast.Loops         // of all listeners

	bindMu   sync.Mutex
	bindings map[*binding]bool // guarded by bindMu
	stopped  bool              // guarded by bindMu

	gateMu       sync.Mutex
	gates        map[string]*gate // by listener; guarded by gateMu
	gatesChanged chan struct{}    // closed and replaced when what Gateways gives changes; guarded by gateMu
	running      bool             // guarded by gateMu
	closing      bool             // by CloseGateways; guarded by gateMu
	retired      sync.WaitGroup   // gates that drain
}

// New returns a proxy that knows nothing yet: calls wait for a snapshot. It opens nothing.
func New(o Options) *Proxy {
	o.defaults()
	return &Proxy{
		loops:    fast.Loops{Eager: o.Engine == Looped},
		o:        o,
		plane:    flow.New(flow.Options{Log: o.Log, Meters: o.Meters, Sink: o.Sink, Candid: o.Candid, MaxHeld: o.MaxHeld}),
		ups:      h2proxy.NewUpstreams(o.Dial, o.Log),
		bindings: map[*binding]bool{}, gates: map[string]*gate{}, gatesChanged: make(chan struct{}),
	}
}

// Swap puts s in force, atomically: requests that begin afterwards follow it. A snapshot
// with a problem is refused as a whole and the old one stays. Listeners with an address
// are opened and closed as s says while Run runs; what could not be opened is tried again every
// second and shown by Gateways, and is no error of Swap.
func (p *Proxy) Swap(s *snapshot.Snapshot) error {
	if err := p.plane.Swap(s); err != nil {
		return err
	}
	p.openGates()
	return nil
}

// Version is the version of the snapshot in force.
func (p *Proxy) Version() snapshot.Version { return p.plane.Table().Version }

// Snapshot gives the snapshot in force, nil before the first Swap; not to be changed.
func (p *Proxy) Snapshot() *snapshot.Snapshot { return p.plane.Table().Snapshot }

// SetEndpoints says which endpoints of upstream are ready; see flow.Plane.SetEndpoints.
func (p *Proxy) SetEndpoints(upstream string, eps []snapshot.Endpoint) {
	p.plane.SetEndpoints(upstream, eps)
}

// Close says that upstream has no endpoint and that none is on its way; see flow.Plane.Close.
func (p *Proxy) Close(upstream string, why snapshot.Closed) { p.plane.Close(upstream, why) }

// Endpoints gives the ready endpoints of upstream and what each holds now.
func (p *Proxy) Endpoints(upstream string) (eps []snapshot.Endpoint, inflight []int64) {
	return p.plane.Endpoints(upstream)
}

// Drained waits until endpoints of this id that were taken away hold nothing; see flow.Plane.Drained.
func (p *Proxy) Drained(ctx context.Context, endpointID string) error {
	return p.plane.Drained(ctx, endpointID)
}

// Look sees to what is due without requests; see flow.Plane.Look.
func (p *Proxy) Look() { p.plane.Look() }

// SetFaults says which faults are injected from now on, in the place of those before; see
// flow.Plane.SetFaults.
func (p *Proxy) SetFaults(faults []inject.Fault) { p.plane.SetFaults(faults) }

// gateRetry is how often a gateway listener that could not be opened is tried again.
const gateRetry = time.Second

// Run opens the listeners of the snapshot that have an address, and follows later
// snapshots, until ctx is cancelled. It calls ready when each has been tried once.
// Then it drains every listener, also those of Bind, and returns.
func (p *Proxy) Run(ctx context.Context, ready func()) error {
	p.gateMu.Lock()
	if p.running {
		p.gateMu.Unlock()
		return errors.New("proxy: Run called twice")
	}
	p.running = true
	p.gateMu.Unlock()
	p.openGates()
	ready()
	tick := time.NewTicker(gateRetry)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.openGates()
			p.plane.Look()
			continue
		case <-ctx.Done():
		}
		break
	}
	p.gateMu.Lock()
	p.running = false
	for _, g := range p.gates {
		if g.tls != nil {
			p.retired.Go(g.tls.stop)
		}
	}
	p.gates = map[string]*gate{}
	p.gateMu.Unlock()
	p.releaseAll()
	p.retired.Wait()
	p.ups.Close()
	return nil
}
