package fast

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"stoa/internal/engine/h1"
)

// upload sends the rest of a body to the service while the answer is awaited.
type upload struct {
	c    *conn
	uc   *upConn
	left int64 // bytes of a sized body; -1: in chunks
	edge bool

	sent    atomic.Bool // the last byte was read, and is being written
	stopped atomic.Bool // the answer has ended: nothing more is sent
	spoiled atomic.Bool // by the caller: the service waits in vain for the rest
	done    chan struct{}

	// The rest may be read when done is closed.
	err   error // why it broke off
	fully bool  // all of the body was read
	n     int64 // bytes of data, with what left with the head
	rest  []byte
}

// The bounds of an outside caller's body, and of what is still read of one that nobody wants.
const (
	graceBytes  = 256 << 10
	grace       = 500 * time.Millisecond
	minRate     = 240             // bytes a second that a caller outside must send,
	minRateFrom = 5 * time.Second // from here on
)

// startUpload begins to send. sized is what is left of the body, -1: in chunks.
func (c *conn) startUpload(uc *upConn, sized int64) *upload {
	u := &upload{c: c, uc: uc, left: sized, edge: c.w.x.Edge, n: c.w.x.Rec.In, done: make(chan struct{})}
	held := append([]byte(nil), c.w.in[c.w.r:c.w.w]...)
	c.w.r = c.w.w
	c.readBy = time.Time{}
	go u.run(held)
	return u
}

// over says whether nothing is left to read of the body.
func (u *upload) over() bool { return u.sent.Load() }

func (u *upload) run(held []byte) {
	defer close(u.done)
	buf := big.Get().(*[64 << 10]byte)
	defer big.Put(buf)
	chunks := &u.c.w.chunks
	began := time.Now()
	var came int64
	in := held
	for {
		for len(in) > 0 {
			var pass []byte
			n := len(in)
			if u.left >= 0 {
				n = int(min(int64(n), u.left))
				pass = in[:n]
				u.left -= int64(n)
				u.n += int64(n)
				u.fully = u.left == 0
			} else {
				var err error
				if pass, n, err = chunks.Next(in); err != nil {
					u.spoil(err)
					return
				}
				u.n = chunks.Data()
				u.fully = chunks.Done()
			}
			in = in[n:]
			if u.fully {
				u.rest = append([]byte(nil), in...)
				u.sent.Store(true)
			}
			if len(pass) > 0 && !u.stopped.Load() {
				if _, err := u.uc.nc.Write(pass); err != nil {
					u.err = err
					if !u.stopped.Load() { // an answer may have come: it is read, and says how to go on
						u.discard(buf[:])
					}
					return
				}
			}
			if u.fully {
				return
			}
		}
		if u.stopped.Load() {
			return
		}
		if u.edge {
			u.c.nc.SetReadDeadline(time.Now().Add(u.c.s.o.Stall))
			if u.stopped.Load() { // finish sets a nearer one
				u.c.nc.SetReadDeadline(longAgo)
			}
		}
		n, err := u.c.nc.Read(buf[:])
		came += int64(n)
		in = buf[:n]
		if n > 0 {
			if d := time.Since(began); u.edge && d > minRateFrom && float64(came) < minRate*d.Seconds() {
				u.spoil(errSlowBody)
				return
			}
			continue
		}
		if err == nil {
			continue
		}
		u.err = err
		switch {
		case u.stopped.Load():
		case errors.Is(err, os.ErrDeadlineExceeded):
			u.spoil(errSlowBody)
		default:
			if err == io.EOF {
				u.err = io.ErrUnexpectedEOF
			}
			u.c.gone.Store(true)
			u.uc.nc.SetReadDeadline(longAgo)
		}
		return
	}
}

var errSlowBody = &h1.Error{Status: 408, Text: "the body of the request did not come in time"}

// spoil ends the upload with err, and the wait for an answer with it.
func (u *upload) spoil(err error) {
	u.err = err
	u.spoiled.Store(true)
	u.uc.nc.SetReadDeadline(longAgo)
}

// discard reads a little of what nobody wants: closed with bytes unread, the answer
// would be lost to a reset.
func (u *upload) discard(buf []byte) {
	u.c.nc.SetReadDeadline(time.Now().Add(grace))
	for n := 0; n < graceBytes; {
		k, err := u.c.nc.Read(buf)
		if n += k; err != nil {
			return
		}
	}
}

// finish waits for the end when the answer has ended, and says whether all was sent. What
// was read beyond the body is kept for the next request.
func (u *upload) finish(uc *upConn, clean bool) bool {
	if !u.sent.Load() { // the service did not want it all
		u.stopped.Store(true)
		uc.close()
		u.c.nc.SetReadDeadline(time.Now().Add(grace))
	}
	<-u.done
	u.c.nc.SetReadDeadline(time.Time{})
	u.c.readBy = time.Time{}
	u.c.stash = u.rest
	return u.fully && u.err == nil && clean
}

// stop ends the upload at once.
func (u *upload) stop() {
	u.stopped.Store(true)
	u.uc.close()
	u.c.nc.SetReadDeadline(longAgo)
	<-u.done
	u.c.nc.SetReadDeadline(time.Time{})
	u.c.readBy = time.Time{}
	u.c.stash = u.rest
}
