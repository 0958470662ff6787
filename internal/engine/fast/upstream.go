package fast

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/pipe"
	"stoa/internal/engine/snapshot"
)

// engine is the number under which this engine keeps its connections with an endpoint.
const engine = 1

// The pool of one endpoint: last in, first out, so that hot sockets stay hot and cold
// ones expire; in shards by the number of the caller's connection, so that cores seldom
// meet on one lock.
const (
	shards   = 16
	maxShard = 64
	sweepGap = 5 * time.Second
)

type pool struct {
	loops  *Loops
	shards [shards]shard
	// For loops: the endpoint is gone; its connections are no sockets that a loop can watch.
	gone, unseated atomic.Bool
	mu             sync.Mutex
	timer          *time.Timer // sweeps while something is kept; guarded by mu
}

type shard struct {
	mu     sync.Mutex
	idle   []*upConn // guarded by mu
	closed bool      // by CloseIdle; guarded by mu
	_      [64]byte
}

// upConn is a connection to an endpoint.
type upConn struct {
	nc    net.Conn
	sock  socket
	peek  func(fd uintptr)
	alive bool          // what peek found
	since time.Time     // idle since
	keep  time.Duration // how long it may be idle
	used  bool          // it carried a request before

	// At a loop, instead of nc and sock.
	seat seat
	row  *row
	c    *conn // whose request it carries; nil: none
}

// poolOf gives the pool of e, which all servers of a proxy share.
func (s *Server) poolOf(e *flow.Endpoint) *pool {
	if k := e.Kept(engine); k != nil {
		return k.(*pool)
	}
	return e.Keep(engine, func(flow.Kept) bool { return true }, func() flow.Kept { return &pool{loops: s.o.Loops} }).(*pool)
}

// get gives a kept connection, or nil. Each is looked at first: bytes that nobody asked for would
// be taken for the answer of whoever asks next.
func (p *pool) get(n uint32, now time.Time) *upConn {
	for i := range uint32(shards) {
		s := &p.shards[(n+i)%shards]
		for {
			s.mu.Lock()
			k := len(s.idle)
			if k == 0 {
				s.mu.Unlock()
				break
			}
			uc := s.idle[k-1]
			s.idle[k-1] = nil
			s.idle = s.idle[:k-1]
			s.mu.Unlock()
			if now.Sub(uc.since) < uc.keep && uc.open() {
				return uc
			}
			uc.close()
		}
	}
	return nil
}

// open says whether the other side has neither closed nor sent anything.
func (uc *upConn) open() bool {
	if uc.seat.l != nil {
		return pipe.Silent(uintptr(uc.seat.fd))
	}
	if uc.sock.raw == nil {
		return true
	}
	uc.alive = false
	if err := uc.sock.raw.Control(uc.peek); err != nil {
		return false
	}
	return uc.alive
}

func (uc *upConn) look(fd uintptr) { uc.alive = pipe.Silent(fd) }

// put keeps uc for the next request, unless the endpoint is on its way out.
func (p *pool) put(n uint32, uc *upConn, now time.Time, e *flow.Endpoint) {
	if l := uc.seat.l; l != nil {
		l.keep(uc)
		return
	}
	uc.since, uc.used = now, true
	s := &p.shards[n%shards]
	s.mu.Lock()
	if s.closed || e.Draining() || len(s.idle) >= maxShard {
		s.mu.Unlock()
		uc.close()
		return
	}
	first := len(s.idle) == 0
	s.idle = append(s.idle, uc)
	s.mu.Unlock()
	if first {
		p.sweepLater()
	}
}

func (p *pool) sweepLater() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		p.timer = time.AfterFunc(sweepGap, p.sweep)
	}
}

// sweep closes what has been idle too long, or was closed by the other side, and comes
// again while something is left.
func (p *pool) sweep() {
	p.mu.Lock()
	p.timer = nil
	p.mu.Unlock()
	now := time.Now()
	left := 0
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		kept := s.idle[:0]
		for _, uc := range s.idle {
			rested := now.Sub(uc.since)
			if rested >= uc.keep || rested >= sweepGap && !uc.open() {
				uc.close()
				continue
			}
			kept = append(kept, uc)
		}
		clear(s.idle[len(kept):])
		s.idle = kept
		left += len(kept)
		s.mu.Unlock()
	}
	if left > 0 {
		p.sweepLater()
	}
}

// CloseIdle closes what is kept, and what is given back later.
func (p *pool) CloseIdle() {
	p.gone.Store(true)
	p.loops.each(func(l *loop) { l.clear(p) })
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		s.closed = true
		for _, uc := range s.idle {
			uc.close()
		}
		s.idle = nil
		s.mu.Unlock()
	}
	p.mu.Lock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
}

// dial makes a connection to e; by is the deadline of the request, zero for none.
func (s *Server) dial(e *flow.Endpoint, u *flow.Upstream, by time.Time) (*upConn, error) {
	ctx, cancel := s.ctx, context.CancelFunc(func() {})
	if d := flow.OrDefault(u.Connect, snapshot.DefaultConnect); d > 0 {
		if until := time.Now().Add(d); by.IsZero() || until.Before(by) {
			by = until
		}
	}
	if !by.IsZero() {
		ctx, cancel = context.WithDeadline(s.ctx, by)
	}
	defer cancel()
	// On a goroutine of its own, because dialling is deep: else it would double the stack
	// with which the connection then waits (8 KB for 4).
	var nc net.Conn
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err = s.o.Dial(ctx, "tcp", e.Address)
	}()
	<-done
	if err != nil {
		return nil, err
	}
	uc := &upConn{nc: nc, keep: flow.OrDefault(u.Idle, snapshot.DefaultIdle)}
	if uc.keep == 0 {
		uc.keep = 1 << 62 // no bound was asked for
	}
	uc.sock.open(nc)
	uc.peek = uc.look
	return uc, nil
}

// learn takes from an answer how long the service keeps an idle connection, less a
// second for the way.
func (uc *upConn) learn(resp *h1.Response, b []byte) {
	if v := resp.Value(b, h1.KeepAlive); v != nil {
		if n, ok := h1.KeepAliveTimeout(v); ok {
			uc.keep = min(uc.keep, time.Duration(max(n-1, 0))*time.Second)
		}
	}
}
