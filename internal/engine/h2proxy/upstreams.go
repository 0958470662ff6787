package h2proxy

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h2"
	"stoa/internal/engine/snapshot"
)

// Upstreams are the connections to services, of all listeners of a node. Close ends them.
type Upstreams struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	log  *slog.Logger

	mu     sync.Mutex
	all    map[*ways]struct{} // guarded by mu
	closed bool               // guarded by mu
}

// NewUpstreams returns none; dial makes them.
func NewUpstreams(dial func(ctx context.Context, network, addr string) (net.Conn, error), log *slog.Logger) *Upstreams {
	return &Upstreams{dial: dial, log: log, all: map[*ways]struct{}{}}
}

// engine is the number under which this engine keeps its ways with an endpoint.
const engine = 2

// ways are the connections to one endpoint.
type ways struct {
	up   *Upstreams
	of   wants
	addr string
	h2   *h2.Pool
	h1   idle
}

// wants is what of an upstream decides how connections are made.
type wants struct{ connect, idle time.Duration }

// The windows of answers.
const (
	answerWindow = 256 << 10
	answerConn   = 4 << 20
)

// ways gives the ways to e as u wants them, made anew when u has changed.
func (us *Upstreams) ways(e *flow.Endpoint, u *flow.Upstream) *ways {
	of := wants{u.Connect, u.Idle}
	if k := e.Kept(engine); k != nil && k.(*ways).of == of {
		return k.(*ways)
	}
	return e.Keep(engine, func(k flow.Kept) bool { return k.(*ways).of == of }, func() flow.Kept {
		w := &ways{up: us, of: of, addr: e.Address}
		rest := flow.OrDefault(u.Idle, snapshot.DefaultIdle)
		if rest == 0 {
			rest = 1 << 60 // no bound was asked for
		}
		w.h1.keep = rest
		w.h2 = h2.NewPool(h2.Config{Window: answerWindow, ConnWindow: answerConn, MaxHead: 256 << 10, Idle: rest, Stall: -1, Log: us.log}, w.connect)
		us.mu.Lock()
		defer us.mu.Unlock()
		for other := range us.all {
			if other.over() {
				delete(us.all, other)
			}
		}
		if us.all[w] = struct{}{}; us.closed {
			w.h2.Close()
			w.h1.close()
		}
		return w
	}).(*ways)
}

// over says whether w was closed and nothing is left of it.
func (w *ways) over() bool { return w.h1.isClosed() && w.h2.Empty() }

// connect makes a connection.
func (w *ways) connect(ctx context.Context) (net.Conn, error) {
	if d := flow.OrDefault(w.of.connect, snapshot.DefaultConnect); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	return w.up.dial(ctx, "tcp", w.addr)
}

// CloseIdle closes what is not in use, and what is given back later.
func (w *ways) CloseIdle() {
	w.h2.CloseIdle()
	w.h1.close()
}

// Close cuts all connections and waits for what serves them.
func (us *Upstreams) Close() {
	us.mu.Lock()
	us.closed = true
	all := us.all
	us.all = map[*ways]struct{}{}
	us.mu.Unlock()
	for w := range all {
		w.h1.close()
		w.h2.Close()
	}
}
