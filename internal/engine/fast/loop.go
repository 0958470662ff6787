package fast

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/poll"
)

// loop serves the connections that were moved to it, on one goroutine that owns them and all of
// the loop but the inbox.
type loop struct {
	n    int // which of the loops
	p    *poll.Poller
	done chan struct{} // closed when run has ended

	mu    sync.Mutex
	inbox []func() // guarded by mu

	slots []slot
	free  []uint32
	idle  line    // callers between requests, longest idle first
	busy  line    // callers whose request is with a service, longest first
	again []*conn // callers that had their share of a turn and have more
	rows  map[*pool]*row
	large []byte // for bodies that do not fit in a read buffer; nil until then

	turn    int
	crowded bool      // in this turn there may be more events than were told
	now     time.Time // when it began
	swept   time.Time
	due     time.Time // until when the last Wait was to wait
	stopped bool
}

// slot is a socket that is watched: a caller's, or a service's.
type slot struct {
	c   *conn
	uc  *upConn
	gen uint32 // so that an event of the slot's last owner is told apart
}

// seat is a socket's place at a loop.
type seat struct {
	l    *loop // nil: a goroutine has the connection
	fd   int
	slot uint32
	more bool // something came that was not read
	gone bool // the other side has closed
}

func newLoop(n int, p *poll.Poller) *loop {
	return &loop{n: n, p: p, done: make(chan struct{}), rows: map[*pool]*row{}}
}

// post has f called on the loop's goroutine, soon.
func (l *loop) post(f func()) {
	l.mu.Lock()
	l.inbox = append(l.inbox, f)
	first := len(l.inbox) == 1
	l.mu.Unlock()
	if first {
		l.p.Wake()
	}
}

// yieldEvery is after how many turns without a pause the loop lets others run.
const yieldEvery = 16

func (l *loop) run() {
	defer close(l.done)
	for !l.stopped {
		var n int
		if len(l.again) > 0 {
			n = l.p.Look()
		} else {
			n = l.p.Wait(l.until())
		}
		l.now = time.Now()
		for i := range n { // first what must not be given out
			token, _, ok := l.p.Event(i)
			if ok {
				l.unasked(token)
			}
		}
		l.turn++
		l.crowded = n == poll.Batch
		for i := range n {
			token, gone, ok := l.p.Event(i)
			if !ok {
				l.called()
				continue
			}
			l.event(token, gone)
		}
		for range len(l.again) { // not those that this adds
			c := l.again[0]
			l.again = l.again[1:]
			if c.seat.l == l && c.queued {
				c.queued = false
				l.guarded(c, l.read)
			}
		}
		if l.turn%yieldEvery == 0 {
			runtime.Gosched()
		}
		l.tick()
	}
	l.p.Close()
}

// called runs what was posted.
func (l *loop) called() {
	l.mu.Lock()
	todo := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range todo {
		f()
	}
}

// unasked closes a kept connection with a service that has closed, or says what nobody asked.
func (l *loop) unasked(token uint64) {
	s := &l.slots[uint32(token)]
	if s.gen == uint32(token>>32) && s.uc != nil && s.uc.c == nil {
		l.drop(s.uc)
	}
}

// event tells the owner of a slot that something came.
func (l *loop) event(token uint64, gone bool) {
	s := &l.slots[uint32(token)]
	if s.gen != uint32(token>>32) {
		return // it left the loop in this turn
	}
	if c := s.c; c != nil {
		c.seat.more, c.seat.gone = true, c.seat.gone || gone
		if c.in != &l.busy { // else it is looked at when its request is over
			l.guarded(c, l.read)
		}
		return
	}
	uc := s.uc
	uc.seat.more, uc.seat.gone = true, uc.seat.gone || gone
	if uc.c == nil { // it was kept in this turn
		l.drop(uc)
		return
	}
	l.guarded(uc.c, l.receive)
}

// guarded calls f for c; a panic is the end of this connection, and not of the loop.
func (l *loop) guarded(c *conn, f func(*conn)) {
	defer func() {
		if v := recover(); v != nil {
			c.s.o.Log.Error("panic in the proxy", "listener", c.s.o.Name, "panic", v, "stack", string(debug.Stack()))
			c.panicked(v)
			if c.seat.l != l {
				return
			}
			if c.w != nil && c.w.one.uc != nil && c.w.one.uc.c == c {
				l.shut(c.w.one.uc)
			}
			l.end(c)
		}
	}()
	f(c)
}

// until is when the loop has something to do though nothing comes, the zero time for never. It
// is not exact, so that the timer is seldom set.
func (l *loop) until() time.Time {
	var want time.Time
	switch {
	case l.busy.first != nil:
		want = l.busy.first.since.Add(patience)
	case l.idle.first != nil || len(l.rows) > 0:
		want = l.now.Add(sweepGap)
	}
	if want.IsZero() && l.due.IsZero() {
		return want
	}
	if !l.due.After(l.now) || l.due.After(want.Add(patience/2)) {
		l.due = want
	}
	return l.due
}

// tick does what is due.
func (l *loop) tick() {
	for c := l.busy.first; c != nil && l.now.Sub(c.since) >= patience; c = l.busy.first {
		l.back(c, toAnswer)
	}
	for c := l.idle.first; c != nil && l.now.Sub(c.since) >= c.s.o.Idle; c = l.idle.first {
		l.end(c)
	}
	if l.now.Sub(l.swept) >= sweepGap {
		l.swept = l.now
		l.sweep()
	}
}

// sit watches a socket.
func (l *loop) sit(s *seat, fd int, c *conn, uc *upConn) error {
	var i uint32
	if n := len(l.free); n > 0 {
		i, l.free = l.free[n-1], l.free[:n-1]
	} else {
		i = uint32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	at := &l.slots[i]
	at.c, at.uc = c, uc
	*s = seat{l: l, fd: fd, slot: i}
	if err := l.p.Add(fd, uint64(at.gen)<<32|uint64(i)); err != nil {
		l.stand(s)
		return err
	}
	return nil
}

// stand frees the seat, and gives the socket.
func (l *loop) stand(s *seat) (fd int) {
	at := &l.slots[s.slot]
	at.c, at.uc = nil, nil
	at.gen++
	l.free = append(l.free, s.slot)
	fd = s.fd
	*s = seat{}
	return fd
}

// adopt takes a connection over whose socket was detached.
func (l *loop) adopt(c *conn, fd int) {
	if c.s.draining.Load() || l.stopped || l.sit(&c.seat, fd, c, nil) != nil {
		poll.Shut(fd)
		c.s.left(c)
		return
	}
	c.since = l.now
	l.idle.push(c)
}

// end closes a caller's connection.
func (l *loop) end(c *conn) {
	c.unlink()
	poll.Shut(l.stand(&c.seat))
	if c.w != nil {
		put(c.w)
		c.w = nil
	}
	c.s.left(c)
}

// retire closes the connections of s: those that are idle, or all.
func (l *loop) retire(s *Server, all bool) {
	for i := range l.slots {
		c := l.slots[i].c
		switch {
		case c == nil || c.s != s:
		case c.in == &l.busy && all:
			r := &c.w.one
			r.keep = false
			r.uc.close()
			r.end(flow.Left(s.ctx.Err()))
			l.end(c)
		case all, c.in == &l.idle:
			l.end(c)
		}
	}
}

// stop ends the loop: no server has a connection here.
func (l *loop) stop() {
	for p := range l.rows {
		l.clear(p)
	}
	l.stopped = true
}

// back gives a connection to a goroutine, which goes on with its request from a step.
func (l *loop) back(c *conn, from step) {
	if from == toAnswer && c.w.one.relaying {
		from = toRelay
	}
	l.giveUp(c, func() bool {
		r := &c.w.one
		return r.end(r.proceed(from))
	})
}

// giveUp gives a connection to a goroutine that begins with first; nil: with what was read.
func (l *loop) giveUp(c *conn, first func() bool) {
	c.unlink()
	if c.served >= worthwhile {
		c.moved = 0
	}
	c.moved++
	nc, err := poll.Attach(l.leave(&c.seat))
	if uc := c.w.one.uc; uc != nil && uc.c == c && err == nil {
		uc.c = nil
		if uc.nc, err = poll.Attach(l.leave(&uc.seat)); err == nil {
			uc.sock.open(uc.nc)
		} else {
			nc.Close()
		}
	}
	if err != nil { // no descriptors: nothing can be waited for
		c.lost(err)
		return
	}
	c.have(nc)
	go c.serve(first)
}

// leave watches a socket no more.
func (l *loop) leave(s *seat) (fd int) {
	l.p.Remove(s.fd)
	return l.stand(s)
}

// lost ends a request whose connection is none any more.
func (c *conn) lost(err error) {
	if x := &c.w.x; x.P != nil {
		x.Rec.Reason, x.Rec.Error = hop.Overload, err.Error()
		c.w.one.memo.Close()
		x.Finish()
	}
	put(c.w)
	c.w = nil
	c.s.left(c)
}

// line is a row of connections, in the order in which they came. A connection is in one at most.
type line struct{ first, last *conn }

func (q *line) push(c *conn) {
	c.unlink()
	c.in, c.before = q, q.last
	if q.last == nil {
		q.first = c
	} else {
		q.last.after = c
	}
	q.last = c
}

// unlink takes c out of its line.
func (c *conn) unlink() {
	q := c.in
	if q == nil {
		return
	}
	if c.before == nil {
		q.first = c.after
	} else {
		c.before.after = c.after
	}
	if c.after == nil {
		q.last = c.before
	} else {
		c.after.before = c.before
	}
	c.in, c.before, c.after = nil, nil, nil
}
