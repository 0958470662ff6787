// Package fast is the data plane's own HTTP/1.1 engine: a goroutine per connection, or an event
// loop for what is plain and quick (loops.go), the strict parser of package h1, pools of
// upstream connections, and no allocation for a request that passes.
//
//	idle (no buffer) -> read -> h1.Request.Parse -> flow: Find, Admit, Take
//	     -> head rebuilt from the bytes that came, written with the first bytes of the body
//	     -> h1.Response.Parse -> flow: Answered -> forwarded from the read buffer -> Finish
//
// In the steady state a request costs four system calls: two reads and two writes. What
// decides is package flow; this engine reads, sends and forwards. It carries requests
// over HTTP/1.1 to upstreams that speak HTTP/1.1. The rest it hands on: a connection that
// begins with the preface of HTTP/2 to Options.HTTP2 (package h2proxy); a request that leads to files, or
// to an upstream of another protocol, to Options.Portable, as a request of net/http whose
// head this package has read (bridge.go).
//
// Ownership: the goroutine of a connection owns it and the work (buffers, head, exchange)
// that it holds while a request is in work. Two helpers may run beside it for a request:
// an upload, which sends a body that was not whole in the first read, and a watch, which
// reads on while the service is slow, to notice that the caller has left. It waits for
// both before it goes on.
package fast

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/snapshot"
)

// Options are what a Server needs. All funcs are required.
type Options struct {
	Plane *flow.Plane
	Name  string // of the listener
	Log   *slog.Logger

	// Listener gives the listener as the snapshot in force has it; it waits a while for one that has it.
	Listener func(context.Context) (*flow.Listener, *flow.Refusal)
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	Portable http.Handler // answers what this engine does not carry
	// Elsewhere asks another upstream in the place of that of x, and answers with what it says, or with f.
	Elsewhere func(w http.ResponseWriter, r *http.Request, x *flow.Exchange, m *flow.Memo, up *flow.Upstream, target string, f *flow.Refusal)
	// Mirror sends a copy of a request to up, aside.
	Mirror func(r *http.Request, x *flow.Exchange, up *flow.Upstream, target string, body []byte)
	// Refresh asks for a newer answer than the stale one that m gave, aside.
	Refresh func(r *http.Request, x *flow.Exchange, m *flow.Memo, target string)
	HTTP2   func(net.Conn) // takes a connection over; its first bytes are the preface
	Loops   *Loops         // that carry what is plain; nil: none
	Enter   func() bool    // takes a place for a tunnel
	Leave   func()         // gives it back

	Head    time.Duration         // for the head of a request, from its first byte, or from the start of a connection
	Idle    time.Duration         // a kept connection of a caller
	Stall   time.Duration         // an outside caller that takes nothing, or sends nothing of a body
	MaxHead int                   // bytes of a head, where Heads is nil
	Heads   func() snapshot.Heads // bounds of the head of a request; nil: MaxHead, and the defaults of h1
}

// Server serves the connections of one listener.
type Server struct {
	o      Options
	ctx    context.Context // ended by Close
	cancel context.CancelFunc

	draining atomic.Bool
	numbers  atomic.Uint32 // of connections, for shards

	mu    sync.Mutex
	conns map[*conn]struct{} // guarded by mu
	quiet chan struct{}      // capacity 1: a connection ended
	wg    sync.WaitGroup

	closed sync.Once
}

// New returns a server of the connections that Serve is given.
func New(o Options) *Server {
	o.Idle = cmp.Or(o.Idle, 75*time.Second)
	s := &Server{o: o, conns: map[*conn]struct{}{}, quiet: make(chan struct{}, 1)}
	o.Loops.enter()
	s.ctx, s.cancel = context.WithCancel(context.Background()) // it ends with Close, whoever asked for it
	return s
}

// limits bound the heads of requests.
func (s *Server) limits() h1.Limits {
	if s.o.Heads == nil {
		return h1.Limits{Head: s.o.MaxHead}
	}
	h := s.o.Heads()
	return h1.Limits{Head: h.Bytes, Target: h.Target, Fields: h.Fields}
}

// Serve takes nc over and serves it on a goroutine of its own. state is nil for a
// connection in clear text.
func (s *Server) Serve(nc net.Conn, state *tls.ConnectionState) {
	c := &conn{s: s, nc: nc, tls: state, n: s.numbers.Add(1)}
	if host, _, err := net.SplitHostPort(nc.RemoteAddr().String()); err == nil {
		c.client = host
	}
	c.open()
	s.mu.Lock()
	if s.draining.Load() {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	go c.serve(nil)
}

// open makes the connection ready to be read.
func (c *conn) open() {
	if c.tls == nil {
		c.socket.open(c.nc)
		c.await1 = c.tryAwait
	}
}

// left is called when a connection is served no more.
func (s *Server) left(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	select {
	case s.quiet <- struct{}{}:
	default:
	}
	s.wg.Done()
}

// long ago, as a deadline, ends what waits.
var longAgo = time.Unix(1, 0)

// Shutdown takes nothing new, closes what is idle, and waits until no request is in
// flight, or ctx ends.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.draining.Store(true)
	for c := range s.conns {
		if c.nc != nil && c.idle.Load() {
			c.nc.SetReadDeadline(longAgo)
		}
	}
	s.mu.Unlock()
	s.o.Loops.each(func(l *loop) { l.retire(s, false) })
	for {
		s.mu.Lock()
		n := len(s.conns)
		s.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-s.quiet:
		case <-ctx.Done():
			return
		}
	}
}

// Close cuts every connection and waits until its goroutine has ended.
func (s *Server) Close() {
	s.cancel()
	s.mu.Lock()
	s.draining.Store(true)
	for c := range s.conns {
		if c.nc != nil {
			c.nc.Close()
		}
	}
	s.mu.Unlock()
	s.o.Loops.each(func(l *loop) { l.retire(s, true) })
	s.wg.Wait()
	s.closed.Do(s.o.Loops.leave)
}

// work is what a request needs while it passes. A connection holds one from the first
// byte of a request to the last of its answer.
type work struct {
	in   []byte // what was read of the caller; in[r:w] is unread
	r, w int
	out  []byte // what is written next, of both sides in turn
	rest []byte // what the caller did not take at once, at a loop
	up   []byte // what was read of the service; up[ur:uw] is unread
	ur   int
	uw   int

	x      flow.Exchange
	one    request // in work, not on the stack of a goroutine that then waits with it
	req    h1.Request
	resp   h1.Response
	chunks h1.Chunks // of the request
	answer h1.Chunks // of the answer
	taped  h1.Chunks // of the answer, as it is recorded
}

// The buffers of a work: for a head of the usual size and what comes with it. They grow
// up to maxKept where more comes, and are kept so.
const (
	inSize  = 4 << 10
	upSize  = 8 << 10
	maxKept = 16 << 10
)

var works = sync.Pool{New: func() any {
	return &work{in: make([]byte, inSize), out: make([]byte, 0, inSize), up: make([]byte, upSize)}
}}

func take() *work { return works.Get().(*work) }

// put gives w back. Buffers that grew are let go.
func put(w *work) {
	w.r, w.w, w.ur, w.uw, w.rest = 0, 0, 0, 0, nil
	if len(w.in) > maxKept {
		w.in = make([]byte, inSize)
	}
	if len(w.up) > maxKept {
		w.up = make([]byte, upSize)
	}
	if cap(w.out) > 2*maxKept {
		w.out = make([]byte, 0, inSize)
	}
	w.req.Reset()
	w.x = flow.Exchange{}
	w.one = request{}
	works.Put(w)
}
