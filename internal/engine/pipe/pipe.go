// Package pipe joins two connections: what comes at one leaves at the other, both ways,
// with half-close, an idle bound and bytes counted.
package pipe

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// buffers are what bytes pass through: 32 KiB for each direction.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// Half is one side of a tunnel.
type Half struct {
	io.Reader          // nil: Conn
	io.Writer          // nil: Conn
	Conn      net.Conn // for half-close and deadlines; may be nil
}

func (h *Half) Read(p []byte) (int, error) {
	if h.Reader != nil {
		return h.Reader.Read(p)
	}
	return h.Conn.Read(p)
}

func (h *Half) Write(p []byte) (int, error) {
	if h.Writer != nil {
		return h.Writer.Write(p)
	}
	return h.Conn.Write(p)
}

// closeWrite passes the end of one direction on, the other stays open.
func (h *Half) closeWrite() {
	if c, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}

// Held gives Half.Reader for a side of which bytes were read already: those, then conn.
// It keeps a copy; nil if there are none.
func Held(held []byte, conn net.Conn) io.Reader {
	if len(held) == 0 {
		return nil
	}
	return io.MultiReader(bytes.NewReader(bytes.Clone(held)), conn)
}

// Join copies both ways until both directions have ended, one has failed, or nothing
// has passed for idle (0: for ever). in and out
// count the bytes from the caller and to it.
func Join(caller, service *Half, idle time.Duration, in, out *int64) error {
	var last atomic.Int64 // when something passed
	last.Store(time.Now().UnixNano())
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	way := func(to, from *Half, n *int64, over, back *atomic.Bool) {
		defer over.Store(true)
		err := flow(to, from, n, idle, &last)
		if err == nil {
			to.closeWrite()
			return
		}
		failed.CompareAndSwap(nil, &err)
		var gone errWrite
		if errors.As(err, &gone) && !errors.Is(err, os.ErrDeadlineExceeded) && from.Conn != nil {
			// It has closed, and what it said last may still be on its way back: a reason.
			discard(from, back)
		}
		if !errors.As(err, &gone) && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
			Reset(to.Conn) // what broke is not to look as if it had come to its end
		}
		for _, h := range [...]*Half{caller, service} { // end the other direction, too
			if h.Conn != nil {
				h.Conn.Close()
			}
		}
	}
	var there, back atomic.Bool
	wg.Go(func() { way(service, caller, in, &there, &back) })
	way(caller, service, out, &back, &there)
	wg.Wait()
	if err := failed.Load(); err != nil && !errors.Is(*err, net.ErrClosed) {
		return *err
	}
	return nil
}

// Reset closes a connection so that the other side sees it broken, and the kernel keeps nothing of
// what was not sent yet: by a TCP reset, and over TLS without the alert that means an end.
func Reset(c net.Conn) {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = over.NetConn()
	}
	if tc, ok := c.(*net.TCPConn); ok {
		tc.SetLinger(0)
	}
	if c != nil {
		c.Close()
	}
}

// errWrite marks what failed because a side takes nothing more.
type errWrite struct{ error }

func (e errWrite) Unwrap() error { return e.error }

// linger is how long a side may still speak after all was said to it: closed with bytes
// unread, a reset could overtake what it has not read yet.
const linger = 500 * time.Millisecond

// discard reads what nobody takes until the other direction is over, and then a moment
// longer, or from ends.
func discard(from *Half, over *atomic.Bool) {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	var until time.Time
	for until.IsZero() || time.Now().Before(until) {
		if until.IsZero() && over.Load() {
			until = time.Now().Add(linger)
		}
		by := until
		if by.IsZero() {
			by = time.Now().Add(linger) // to look again
		}
		from.Conn.SetReadDeadline(by)
		if _, err := from.Read(buf[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// flow copies one direction. nil means that it ended by the sender's will.
func flow(to, from *Half, n *int64, idle time.Duration, last *atomic.Int64) error {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		if idle > 0 {
			from.Conn.SetReadDeadline(time.Unix(0, last.Load()).Add(idle))
		}
		k, err := from.Read(buf[:])
		if k > 0 {
			last.Store(time.Now().UnixNano())
			if idle > 0 {
				to.Conn.SetWriteDeadline(time.Now().Add(idle))
			}
			m, werr := to.Write(buf[:k])
			*n += int64(m)
			if werr != nil {
				return errWrite{werr}
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Since(time.Unix(0, last.Load())) < idle {
			continue // the other direction was busy
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
