package fast

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"stoa/internal/engine/h1"
)

// conn is a connection of a caller. Its goroutine owns it.
type conn struct {
	s      *Server
	nc     net.Conn
	tls    *tls.ConnectionState // nil in clear text
	client string               // address of the caller, without port
	n      uint32

	socket socket
	await1 func(fd uintptr) bool // tryAwait
	awaitN int                   // what it read
	first  [1]byte               // of a request over TLS

	seat   seat // at a loop, while it is the loop's
	in     *line
	before *conn // in the line
	after  *conn
	since  time.Time // in the line
	queued bool      // has more, in the loop's next turn
	quick  int       // requests in a row that a loop could have carried
	served int       // requests at the loop, since it moved there
	moved  int       // how often a loop gave it back, before it was worth while
	rests  bool      // nothing came for a while: a loop could wait for it
	stays  bool      // no loop can have it

	linger  bool        // an answer was written that the caller may not have asked for yet
	gone    atomic.Bool // the caller was seen to have left
	idle    atomic.Bool // between requests: may be closed
	readBy  time.Time   // the read deadline that is set
	writeBy time.Time   // the write deadline that is set
	stash   []byte      // read of the caller, beyond the body of the request in work
	w       *work       // nil while idle
	taken   bool        // somebody else has the connection
}

// serve serves the connection until it ends, or moves to a loop. first, if it is not nil, goes on
// with the request that is in work, and says whether the connection can have another.
func (c *conn) serve(first func() bool) {
	moved := false
	defer func() {
		if !moved {
			c.s.left(c)
		}
	}()
	defer func() {
		if moved {
			return
		}
		if !c.taken {
			if c.linger {
				c.lingerOn()
			}
			c.nc.Close()
		}
		if c.w != nil {
			put(c.w)
		}
	}()
	defer func() {
		if v := recover(); v != nil { // one connection's end, and not the node's
			c.s.o.Log.Error("panic in the proxy", "listener", c.s.o.Name, "panic", v, "stack", string(debug.Stack()))
			c.panicked(v)
		}
	}()
	wait := c.s.o.Head // for the first byte
	if first != nil {
		if !first() {
			return
		}
		wait = c.s.o.Idle
	}
	for {
		if c.moves() {
			if moved = c.move(); moved {
				return
			}
		}
		if !c.await(wait) {
			if !c.rests {
				return
			}
			if moved = c.move(); moved {
				return
			}
			c.stays = true
			continue
		}
		if !c.one() {
			return
		}
		wait = c.s.o.Idle
	}
}

// panicked ends the request that was in work: its place is given back, its record made, and
// the caller told if nothing of an answer was written.
func (c *conn) panicked(v any) {
	if c.w == nil || c.w.x.P == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil { // what broke the request breaks its refusal, too
			c.s.o.Log.Error("panic in the proxy, again", "listener", c.s.o.Name, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	r := &c.w.one
	f := c.w.x.Panicked(v)
	r.memo.Close()
	if s := r.second; s != nil {
		s.stop()
		c.w.x.Lost(s.y)
	}
	if !r.begun && r.c != nil {
		r.refuse(f)
	}
	c.w.x.Finish()
}

// lingerOn reads on for a little after the last answer: a connection that is closed with
// bytes unread is reset, and the reset may eat the answer. RFC 9112, section 9.6.
func (c *conn) lingerOn() {
	if cw, ok := c.nc.(interface{ CloseWrite() error }); ok {
		cw.CloseWrite()
	}
	c.nc.SetReadDeadline(time.Now().Add(grace))
	io.CopyN(io.Discard, c.nc, graceBytes)
}

// slack is how much earlier than asked for a deadline may be: so it need not be set for
// every request.
const slack = 5 * time.Second

// await waits for the first bytes of a request, in a work of its own. It holds no buffer
// while there is nothing to read.
func (c *conn) await(wait time.Duration) bool {
	if len(c.stash) > 0 {
		if c.w == nil {
			c.w = take()
		}
		c.unread(c.stash)
		c.stash = nil
	}
	if c.w != nil && c.w.w > c.w.r {
		return !c.s.draining.Load()
	}
	c.idle.Store(true)
	defer c.idle.Store(false)
	c.rests = !c.stays && c.s.o.Loops != nil && c.socket.raw != nil && wait == c.s.o.Idle
	if c.rests {
		wait = min(wait, restAfter)
	}
	now := time.Now()
	if until := now.Add(wait); until.Sub(c.readBy) > min(slack, wait/4) || c.readBy.Sub(until) > 0 {
		c.readBy = until
		c.nc.SetReadDeadline(until)
	}
	if c.s.draining.Load() { // seen here, or the deadline that Shutdown sets is
		return false
	}
	if c.w != nil {
		put(c.w)
		c.w = nil
	}
	if c.socket.raw == nil {
		return c.awaitTLS()
	}
	runtime.Gosched() // as in answerHead: some 15 % of a request's CPU, with the two
	err := c.socket.raw.Read(c.await1)
	c.rests = c.rests && errors.Is(err, os.ErrDeadlineExceeded)
	return err == nil && c.awaitN > 0
}

// awaitTLS waits with one byte: crypto/tls keeps the rest of the record, which the next
// read gives without asking the kernel.
func (c *conn) awaitTLS() bool {
	if n, err := c.nc.Read(c.first[:]); n == 0 || err != nil {
		return false
	}
	w := take()
	c.w = w
	w.in[0] = c.first[0]
	n, err := c.nc.Read(w.in[1:])
	w.r, w.w = 0, 1+n
	return n > 0 || err == nil
}

// tryAwait reads into a work that it takes for it, and keeps none if there is nothing.
func (c *conn) tryAwait(fd uintptr) bool {
	w := take()
	n, err := readNow(fd, w.in)
	if err == syscall.EAGAIN {
		put(w)
		return false
	}
	if c.awaitN = n; n > 0 && err == nil {
		w.r, w.w = 0, n
		c.w = w
	} else {
		c.awaitN = 0
		put(w)
	}
	return true
}

// unread puts b before what is read next.
func (c *conn) unread(b []byte) {
	w := c.w
	rest := w.in[w.r:w.w]
	if need := len(b) + len(rest); need > len(w.in) {
		grown := make([]byte, max(need, inSize))
		copy(grown[len(b):], rest)
		w.in = grown
	} else {
		copy(w.in[len(b):], rest)
	}
	copy(w.in, b)
	w.r, w.w = 0, len(b)+len(rest)
}

// head reads until the head of a request is whole. It gives the bytes from its start on.
func (c *conn) head() ([]byte, error) {
	w := c.w
	limits := c.s.limits()
	timed := false
	for {
		b := w.in[w.r:w.w]
		err := w.req.Parse(b, limits)
		if err != h1.ErrShort {
			return b, err
		}
		if w.w == len(w.in) {
			grown := w.in
			if w.r == 0 {
				grown = make([]byte, 2*len(w.in))
			}
			w.w = copy(grown, b)
			w.in, w.r = grown, 0
		}
		if !timed { // once for the whole head, so that trickling does not help
			timed = true
			c.readBy = time.Now().Add(c.s.o.Head)
			c.nc.SetReadDeadline(c.readBy)
		}
		n, err := c.socket.read(c.nc, w.in[w.w:])
		w.w += n
		if n == 0 && err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return w.in[w.r:w.w], errSlowHead
			}
			return nil, io.ErrUnexpectedEOF
		}
	}
}

// errSlowHead is the rule that a head must come within Options.Head.
var errSlowHead = &h1.Error{Status: 408, Text: "the head of the request did not come in time"}

// handOver gives the connection to the server of HTTP/2, with what was read of it.
func (c *conn) handOver() {
	w := c.w
	held := append([]byte(nil), w.in[w.r:w.w]...)
	c.taken = true
	c.nc.SetDeadline(time.Time{})
	c.s.o.HTTP2(&replayed{Conn: c.nc, held: held})
}

// replayed is a connection of which bytes were read already.
type replayed struct {
	net.Conn
	held []byte
}

// CloseWrite ends what is written, where the connection can.
func (r *replayed) CloseWrite() error {
	if cw, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// Read gives first what was read before.
func (r *replayed) Read(p []byte) (int, error) {
	if len(r.held) > 0 {
		n := copy(p, r.held)
		r.held = r.held[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

// write writes to the caller, within the time that a caller may take. At a loop what cannot
// leave at once is kept in the work: see loop.finish.
func (c *conn) write(b []byte) error {
	if c.seat.l != nil {
		return c.seat.write(c.w, b)
	}
	if c.w.x.Edge {
		c.mayStall()
	}
	return c.socket.write(c.nc, b)
}

// mayStall moves the deadline of writes to an outside caller, now and then.
func (c *conn) mayStall() {
	stall := c.s.o.Stall
	if now := time.Now(); now.Add(stall).Sub(c.writeBy) > stall/4 {
		c.writeBy = now.Add(stall)
		c.nc.SetWriteDeadline(c.writeBy)
	}
}

// watch reads on while the service is slow: the caller may leave, or send its next
// request already. It then sets gone and calls cancel. stop ends it; it is nil if the next
// request fills the buffer, so that nothing can be watched. What is read goes behind what is
// in the buffer.
func (c *conn) watch(cancel func()) (stop func()) {
	w := c.w
	room := w.in[w.w:]
	if len(room) == 0 {
		if w.w > w.r {
			return nil
		}
		room = make([]byte, 512)
	}
	done := make(chan struct{})
	c.nc.SetReadDeadline(time.Time{})
	c.readBy = time.Time{}
	n := 0
	go func() {
		defer close(done)
		var err error
		n, err = c.nc.Read(room)
		if n == 0 && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			c.gone.Store(true)
			cancel()
		}
	}()
	return func() {
		c.nc.SetReadDeadline(longAgo)
		<-done
		if w.w == len(w.in) {
			c.stash = append(c.stash, room[:n]...)
		} else {
			w.w += n
		}
	}
}

// watched is a context that ends when the caller leaves, or at the deadline, for what
// waits without reading. stop ends the watch.
func (c *conn) watched(deadline time.Time, cause error) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(c.s.ctx)
	var timer *time.Timer
	if !deadline.IsZero() {
		timer = time.AfterFunc(time.Until(deadline), func() { cancel(cause) })
	}
	end := c.watch(func() { cancel(errLeft) })
	return ctx, func() {
		if end != nil {
			end()
		}
		if timer != nil {
			timer.Stop()
		}
		cancel(nil)
	}
}

var errLeft = errors.New("the caller closed the connection")
