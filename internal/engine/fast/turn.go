package fast

import (
	"io"
	"net"
	"syscall"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/poll"
	"stoa/internal/engine/snapshot"
)

// A request at a loop: read and begin, then receive (and relay, for a long body), then finish.
// Each does what can be done now, and returns.

// moveAfter is how many requests in a row that a loop could have carried move a connection; twice
// as many after each time that the loop gave it back, unless it had served some there: to move costs
// about what four requests save.
const (
	moveAfter  = 4
	worthwhile = 16
	maxMoved   = 8
)

// restAfter is how long a connection without a request keeps its goroutine.
const restAfter = time.Second

// share is how many requests of one connection, or reads of one answer, follow each other in a
// turn while others wait.
const share = 16

// moves says whether the connection is to move to a loop.
func (c *conn) moves() bool {
	ls := c.s.o.Loops
	return ls != nil && !c.stays && (ls.Eager || c.quick >= moveAfter<<min(c.moved, maxMoved))
}

// move gives the connection to a loop, if there is one and nothing of a request was read. Then
// it is the caller's no more.
func (c *conn) move() bool {
	if c.tls != nil || c.socket.raw == nil || len(c.stash) > 0 || c.w != nil && c.w.w > c.w.r || c.s.draining.Load() {
		return false
	}
	l := c.s.o.Loops.one()
	if l == nil {
		c.stays = true
		return false
	}
	c.s.mu.Lock()
	fd, ok := poll.Detach(c.nc)
	if ok {
		c.nc = nil
	}
	c.s.mu.Unlock()
	if !ok {
		c.stays = true
		return false
	}
	if c.w != nil {
		put(c.w)
		c.w = nil
	}
	c.socket, c.await1, c.quick, c.served = socket{}, nil, 0, 0
	l.post(func() { l.adopt(c, fd) })
	return true
}

// have makes nc the connection again, on the way back from a loop.
func (c *conn) have(nc net.Conn) {
	c.s.mu.Lock()
	c.nc = nc
	if c.s.ctx.Err() != nil { // Close saw none
		nc.Close()
	}
	c.s.mu.Unlock()
	c.open()
}

// read reads requests and begins them, until one is in work or no more has come.
func (l *loop) read(c *conn) {
	limits := c.s.limits()
	for range share {
		if c.w == nil {
			c.w = take()
		}
		w := c.w
		if w.w > w.r {
			b := w.in[w.r:w.w]
			switch err := w.req.Parse(b, limits); {
			case err == nil:
				if !l.begin(c, b) {
					return
				}
				continue
			case err != h1.ErrShort, !c.seat.more, w.r == 0 && w.w == len(w.in):
				l.giveUp(c, nil)
				return
			case w.w == len(w.in):
				w.r, w.w = 0, copy(w.in, b)
			}
		}
		if !c.seat.more {
			l.rest(c)
			return
		}
		room := w.in[w.w:]
		n, err := readNow(uintptr(c.seat.fd), room)
		switch {
		case err == syscall.EAGAIN:
			c.seat.more = false
		case err != nil || n == 0:
			if w.w > w.r { // a part of a head: who reads on sees the end, too
				l.giveUp(c, nil)
			} else {
				l.end(c)
			}
			return
		case n < len(room) && !c.seat.gone:
			c.seat.more = false
		}
		w.w += n
	}
	c.queued = true
	l.again = append(l.again, c)
}

// rest lets a connection without a request rest.
func (l *loop) rest(c *conn) {
	put(c.w)
	c.w = nil
	if c.s.draining.Load() {
		l.end(c)
		return
	}
	c.since = l.now
	l.idle.push(c)
}

// begin sends the request whose head begins b to a service. over says that it is over already, and
// the connection looks for the next one; else it is in work, or the connection left the loop.
func (l *loop) begin(c *conn, b []byte) (over bool) {
	lis, f := c.s.o.Listener(nil)
	if lis == nil && f == nil {
		l.giveUp(c, nil)
		return false
	}
	c.unlink()
	r := c.request(b)
	r.open(l.now)
	if f = r.at(lis, f); f != nil {
		return l.finish(c, f)
	}
	if !r.carries() {
		l.giveUp(c, func() bool { return r.end(r.serve()) })
		return false
	}
	x := r.x
	r.safe = repeatable(&c.w.req)
	wait, f := x.Admit(flow.AtOnce)
	switch {
	case wait:
		l.back(c, toQueue)
		return false
	case f != nil:
		return l.finish(c, f)
	}
	if r.e, f = x.Take(flow.AtOnce); f != nil {
		return l.finish(c, f)
	} else if r.e == nil {
		l.back(c, toTake)
		return false
	}
	if r.e.Speaks(x.Up) == snapshot.HTTP1 && !x.Fresh {
		r.p = c.s.poolOf(r.e)
		r.uc = l.get(r.p, c.n)
	}
	if r.uc == nil {
		if r.p == nil || !r.p.unseated.Load() {
			c.moved-- // it is to come back with a connection
		}
		l.back(c, toConnect)
		return false
	}
	r.uc.c = c
	x.Begun()
	if f := r.ready(); f != nil {
		r.uc.close()
		return l.finish(c, f)
	}
	n, err := writeNow(uintptr(r.uc.seat.fd), r.head)
	if err == nil && n < len(r.head) {
		err = syscall.EAGAIN
	}
	if err != nil {
		if r.err = err; err == syscall.EAGAIN {
			r.unsent = r.head[n:]
			l.back(c, toSend)
		} else {
			l.back(c, toFail)
		}
		return false
	}
	r.sent, c.since = l.now, l.now
	l.busy.push(c)
	if end := x.TryDeadline(); !end.IsZero() && end.Sub(l.now) < patience {
		l.back(c, toAnswer)
	}
	return false
}

// receive reads of the answer to the request of c.
func (l *loop) receive(c *conn) {
	r, w := &c.w.one, c.w
	if r.relaying {
		l.relay(c)
		return
	}
	s := &r.uc.seat
	for {
		room := w.up[w.uw:]
		if len(room) == 0 {
			l.back(c, toAnswer)
			return
		}
		n, err := readNow(uintptr(s.fd), room)
		if err == syscall.EAGAIN {
			s.more = false
			return
		}
		if err != nil || n == 0 {
			if r.err = err; err == nil {
				r.err = io.ErrUnexpectedEOF
			}
			l.back(c, toFail)
			return
		}
		if w.uw == 0 {
			r.x.Answering()
		}
		w.uw += n
		s.more = n == len(room) || s.gone
		err = w.resp.Parse(w.up[w.ur:w.uw], answerLimits)
		switch {
		case err == nil && w.resp.Status >= 200:
			l.answered(c)
			return
		case err == nil:
			l.back(c, toAnswer)
			return
		case err != h1.ErrShort:
			r.err = err
			l.back(c, toFail)
			return
		case !s.more:
			return
		}
	}
}

// answered forwards the answer whose head was read.
func (l *loop) answered(c *conn) {
	r := &c.w.one
	if r.judged() {
		l.back(c, toRepeat)
		return
	}
	end, err := r.forward()
	switch {
	case len(c.w.rest) > 0:
		l.flush(c, end)
	case end || err != nil:
		l.relayed(c, err)
	default:
		r.relaying = true
		if r.uc.seat.more {
			l.relay(c)
		}
	}
}

// relay forwards what has come of the rest of the body.
func (l *loop) relay(c *conn) {
	r, w := &c.w.one, c.w
	s := &r.uc.seat
	if l.large == nil {
		l.large = make([]byte, 64<<10)
	}
	for range share {
		n, err := readNow(uintptr(s.fd), l.large)
		if err == syscall.EAGAIN {
			s.more = false
			return
		}
		if err != nil || n == 0 {
			break // the goroutine reads it again, and says what it means
		}
		s.more = n == len(l.large) || s.gone
		left, end, err := r.passed(l.large[:n])
		switch {
		case err != nil:
			l.relayed(c, err)
			return
		case end:
			w.ur, w.uw = 0, len(left) // bytes behind an answer spoil the connection
		}
		if len(w.rest) > 0 {
			l.flush(c, end)
			return
		}
		if end {
			l.relayed(c, nil)
			return
		}
		if !s.more {
			return
		}
	}
	l.back(c, toRelay)
}

// flush has a goroutine write what the caller does not take now, and then go on.
func (l *loop) flush(c *conn, end bool) {
	r := &c.w.one
	l.giveUp(c, func() bool {
		w := c.w
		out := w.rest
		w.rest = nil
		r.relayed(end, r.send(out))
		return r.end(nil)
	})
}

// relayed ends a request whose answer has come to its end, or to err.
func (l *loop) relayed(c *conn, err error) {
	r := &c.w.one
	r.relayed(err == nil, err)
	if l.finish(c, nil) {
		l.read(c)
	}
}

// finish ends the request of c, with f if it is not nil, and says whether the connection can
// have another here.
func (l *loop) finish(c *conn, f *flow.Refusal) bool {
	r := &c.w.one
	next := r.end(f)
	switch {
	case len(c.w.rest) > 0:
		l.giveUp(c, func() bool {
			out := c.w.rest
			c.w.rest = nil
			return c.write(out) == nil && next
		})
		return false
	case !next && c.linger:
		l.giveUp(c, func() bool { return false })
		return false
	case !next:
		l.end(c)
		return false
	}
	c.unlink()
	c.served++
	if w := c.w; w.r == w.w {
		w.r, w.w = 0, 0
	}
	return true
}

// write writes what the caller takes now. The rest is kept in w.
func (s *seat) write(w *work, b []byte) error {
	if len(w.rest) == 0 {
		n, err := writeNow(uintptr(s.fd), b)
		if err != nil && err != syscall.EAGAIN {
			return err
		}
		b = b[n:]
	}
	w.rest = append(w.rest, b...)
	return nil
}
