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

// idle are the connections over HTTP/1.1 that are not in use: the last that came is the first
// that goes, so that the others grow old.
type idle struct {
	keep time.Duration

	mu     sync.Mutex
	conns  []*upConn   // guarded by mu
	closed bool        // guarded by mu
	timer  *time.Timer // sweeps while there are some; guarded by mu
}

const (
	maxIdle  = 256
	sweepGap = 5 * time.Second
)

// get gives a connection, or nil. sure asks for one that is known to be open: for a request
// that must not be sent twice.
func (p *idle) get(now time.Time, sure bool) *upConn {
	for {
		p.mu.Lock()
		n := len(p.conns)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.conns[n-1]
		p.conns[n-1] = nil
		p.conns = p.conns[:n-1]
		p.mu.Unlock()
		rested := now.Sub(c.since)
		if rested < min(c.keep, p.keep) && (!sure && rested < time.Second || c.open()) {
			return c
		}
		c.nc.Close()
	}
}

func (p *idle) put(c *upConn, now time.Time, draining bool) {
	c.since, c.used = now, true
	p.mu.Lock()
	if p.closed || draining || len(p.conns) >= maxIdle {
		p.mu.Unlock()
		c.nc.Close()
		return
	}
	p.conns = append(p.conns, c)
	if p.timer == nil {
		p.timer = time.AfterFunc(sweepGap, p.sweep)
	}
	p.mu.Unlock()
}

func (p *idle) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = nil
	now := time.Now()
	kept := p.conns[:0]
	for _, c := range p.conns {
		if rested := now.Sub(c.since); rested >= min(c.keep, p.keep) || rested >= sweepGap && !c.open() {
			c.nc.Close()
			continue
		}
		kept = append(kept, c)
	}
	clear(p.conns[len(kept):])
	p.conns = kept
	if len(kept) > 0 && !p.closed {
		p.timer = time.AfterFunc(sweepGap, p.sweep)
	}
}

func (p *idle) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *idle) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.conns {
		c.nc.Close()
	}
	p.conns = nil
	if p.timer != nil {
		p.timer.Stop()
	}
}
