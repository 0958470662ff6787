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
	way := func(to, from *Half, n *int64) {
		err := flow(to, from, n, idle, &last)
		if err == nil {
			to.closeWrite()
			return
		}
		failed.CompareAndSwap(nil, &err)
		for _, h := range [...]*Half{caller, service} { // end the other direction, too
			if h.Conn != nil {
				h.Conn.Close()
			}
		}
	}
	wg.Go(func() { way(service, caller, in) })
	way(caller, service, out)
	wg.Wait()
	if err := failed.Load(); err != nil && !errors.Is(*err, net.ErrClosed) {
		return *err
	}
	return nil
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
				return werr
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
