// Package h2proxy is the data plane's own engine for callers of HTTP/2: gRPC and browsers.
//
//	h2.Server -> a stream, on a goroutine of its own -> flow: Find, Admit, Take
//	     -> HTTP/2 to the service (h2.Pool): both directions on this one goroutine
//	     -> or HTTP/1.1 (h1.Response): an upload beside it, if the body is not here whole
//	     -> flow: Answered -> forwarded, with trailers -> Finish
//
// What decides is package flow; what is on the wire are packages h2 and h1. What is rare
// is handed to Options.Portable, as a request of net/http whose head this package has read
// (bridge.go): files, upstreams over TLS, routes that keep answers, mirror or hedge, bodies
// that wait for a 100, and everything while a fault is injected.
//
// A request that passes allocates nothing here but what its body needs: heads, fields and
// buffers are of a work, which is used again.
//
// A body is kept as it is sent, up to 64 KiB, so that an attempt can be repeated; a peer that has
// not looked at a request (REFUSED_STREAM, GOAWAY) is asked again on another connection at no
// cost, whatever the method (RFC 9113, section 8.7).
package h2proxy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/h2"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/route"
)

// Options are what a Server needs. All but Edge are required.
type Options struct {
	Plane *flow.Plane
	Name  string // of the listener
	Log   *slog.Logger
	Edge  bool // callers are outside: the windows of a stranger

	// Listener gives the listener as the snapshot in force has it; it waits a while for one that has it.
	Listener  func(context.Context) (*flow.Listener, *flow.Refusal)
	Upstreams *Upstreams
	Portable  http.Handler // answers what this engine does not carry

	Head    time.Duration // for the preface, and for a head that comes in parts
	Idle    time.Duration // a connection without a stream
	Stall   time.Duration // an outside caller that sends nothing of a body
	MaxHead int           // bytes of a head
}

// Server serves the connections of one listener.
type Server struct {
	o       Options
	h2      *h2.Server
	ctx     context.Context // ended by Close
	cancel  context.CancelFunc
	numbers atomic.Uint32
}

// The bounds of callers inside: services that are trusted to read what they ask for.
const (
	meshStreams = 250
	meshWindow  = 256 << 10
	meshConn    = 4 << 20
	meshResets  = 1000
)

// New returns a server of the connections that Serve is given.
func New(o Options) *Server {
	s := &Server{o: o}
	s.ctx, s.cancel = context.WithCancel(context.Background()) // it ends with Close, whoever asked for it
	cfg := h2.Config{MaxHead: o.MaxHead, First: o.Head, Idle: o.Idle, Log: o.Log.With("listener", o.Name)}
	if !o.Edge {
		cfg.Streams, cfg.Window, cfg.ConnWindow, cfg.Resets = meshStreams, meshWindow, meshConn, meshResets
		cfg.HeadMemory = 4 << 20
		cfg.Stall = -1 // a service may take its time
	}
	s.h2 = h2.NewServer(cfg, s.stream)
	return s
}

// Serve takes nc over, whose first bytes are the preface of HTTP/2. state is nil for a
// connection in clear text.
func (s *Server) Serve(nc net.Conn, state *tls.ConnectionState) {
	s.h2.Serve(nc, state, nil, s.numbers.Add(1))
}

// Shutdown takes nothing new, and waits until no stream is left, or ctx ends.
func (s *Server) Shutdown(ctx context.Context) { s.h2.Shutdown(ctx) }

// Close cuts every connection and waits until all that served them has ended.
func (s *Server) Close() {
	s.cancel()
	s.h2.Close()
}

// work is what a stream needs while it passes.
type work struct {
	srv *Server
	s   *h2.Stream
	c   *h2.ServerConn

	x     flow.Exchange
	hit   route.Hit
	span  hop.Context
	own   bool       // the trace is the caller's: its tracestate goes on
	path  string     // of the target, with the query
	begun bool       // something of an answer was sent
	us    *h2.Stream // of the attempt in work, over HTTP/2; nil: there is none
	one   attempt    // the attempt in work, over HTTP/1.1
	body  body

	fields []h2.Field // to send
	text   []byte     // names and values of fields
	out    []byte     // to write to a service of HTTP/1.1
	spare  []byte     // in exchange for data that came
	up     []byte     // what was read of a service of HTTP/1.1; up[ur:uw] is unread
	ur, uw int
	resp   h1.Response
	chunks h1.Chunks
}

var works = sync.Pool{New: func() any { return new(work) }}

// maxKept is the size up to which buffers of a work are used again.
const maxKept = 16 << 10

func (w *work) free() {
	w.x = flow.Exchange{}
	w.srv, w.s, w.c = nil, nil, nil
	w.one = attempt{}
	w.path, w.begun, w.own = "", false, false
	w.body.free()
	clear(w.fields[:cap(w.fields)])
	for _, b := range []*[]byte{&w.text, &w.out, &w.spare, &w.up} {
		if cap(*b) > maxKept {
			*b = nil
		}
	}
	works.Put(w)
}

// stream serves one stream.
func (s *Server) stream(st *h2.Stream) {
	w := works.Get().(*work)
	w.srv, w.s, w.c = s, st, st.Conn()
	defer func() {
		if v := recover(); v != nil {
			s.o.Log.Error("panic in the proxy", "listener", s.o.Name, "panic", v, "stack", string(debug.Stack()))
			w.panicked(v)
			st.Close() // w is let go: nobody knows in what state it is
			return
		}
		st.Close()
		w.free()
	}()
	w.serve()
}

// panicked ends the request that was in work: its place is given back, its record made, and
// the caller told if nothing of an answer was sent.
func (w *work) panicked(v any) {
	defer func() {
		if v := recover(); v != nil { // what broke the request breaks its refusal, too
			w.srv.o.Log.Error("panic in the proxy, again", "listener", w.srv.o.Name, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	if w.us != nil {
		w.us.Close()
	}
	if w.one.uc != nil {
		w.one.end(false)
	}
	if w.x.P == nil {
		return
	}
	f := w.x.Panicked(v)
	if !w.begun {
		w.refuse(f)
	} else {
		w.s.Reset(h2.InternalError)
	}
	w.x.Finish()
}
