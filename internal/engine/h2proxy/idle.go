package h2proxy

import (
	"net"
	"sync"
	"syscall"
	"time"

	"stoa/internal/engine/pipe"
)

// upConn is a connection to a service of HTTP/1.1.
type upConn struct {
	nc    net.Conn
	since time.Time     // idle since
	keep  time.Duration // how long the service keeps it
	used  bool          // it carried a request before
	cut   func()        // ends what reads of it
}

var longAgo = time.Unix(1, 0)

// open says whether the other side has neither closed nor sent anything.
func (c *upConn) open() bool {
	sc, ok := c.nc.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	err = raw.Control(func(fd uintptr) { alive = pipe.Silent(fd) })
	return err == nil && alive
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

// get gives a connection, or nil. Each is looked at first: bytes that nobody asked for would be
// taken for the answer of whoever asks next.
func (p *idle) get(now time.Time) *upConn {
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
		if now.Sub(c.since) < min(c.keep, p.keep) && c.open() {
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
