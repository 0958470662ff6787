package fast

import (
	"errors"
	"io"
	"os"
	"slices"
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
	keeps bool   // what is read goes to kept, too
	kept  []byte // as it was sent
	cut   bool   // the service took no more
	err   error  // why it broke off
	fully bool   // all of the body was read
	n     int64  // bytes of data, with what left with the head
	rest  []byte
}

// maxReplay is how much of a body is kept, so that it can be sent again.
const maxReplay = 64 << 10

// The bounds of an outside caller's body, and of what is still read of one that nobody wants.
const (
	graceBytes  = 256 << 10
	grace       = 500 * time.Millisecond
	minRate     = 240             // bytes a second that a caller outside must send,
	minRateFrom = 5 * time.Second // from here on
)

// startUpload begins to send. sized is what is left of the body, -1: in chunks. keeps asks for
// a copy, as long as that fits in what is kept of a body.
func (c *conn) startUpload(uc *upConn, sized int64, keeps bool) *upload {
	u := &upload{c: c, uc: uc, left: sized, edge: c.w.x.Edge, n: c.w.x.Rec.In, done: make(chan struct{}), keeps: keeps}
	held := slices.Concat(c.w.one.unread, c.w.in[c.w.r:c.w.w], c.stash)
	c.w.r, c.stash = c.w.w, nil
	c.readBy = time.Time{}
	c.nc.SetReadDeadline(time.Time{})
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
			if u.keeps = u.keeps && len(u.kept)+len(pass) <= maxReplay; u.keeps {
				u.kept = append(u.kept, pass...)
			} else {
				u.kept = nil
			}
			if len(pass) > 0 && !u.stopped.Load() {
				if _, u.err = u.uc.nc.Write(pass); u.err != nil {
					// An answer may have come: it is read, and says how to go on. What is not
					// kept is of no use any more.
					if !u.fully {
						u.cut, u.rest = true, append([]byte(nil), in...)
					}
					if !u.keeps && !u.stopped.Load() {
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
	if u.cut && u.keeps && !u.fully {
		buf := big.Get().(*[64 << 10]byte)
		u.discard(buf[:])
		big.Put(buf)
	}
	u.c.nc.SetReadDeadline(time.Time{})
	u.c.readBy = time.Time{}
	u.after()
	return u.fully && u.err == nil && clean
}

// halt ends the upload at once, and leaves the service's connection open for its answer.
func (u *upload) halt() {
	u.stopped.Store(true)
	u.uc.nc.SetWriteDeadline(longAgo)
	u.end()
	u.uc.nc.SetWriteDeadline(time.Time{})
}

// stop ends the upload at once, and the service's connection.
func (u *upload) stop() {
	u.stopped.Store(true)
	u.uc.close()
	u.end()
}

func (u *upload) end() {
	u.c.nc.SetReadDeadline(longAgo)
	<-u.done
	u.c.nc.SetReadDeadline(time.Time{})
	u.c.readBy = time.Time{}
	u.after()
}

// after keeps what was read beyond the body for the next request. A watch may have read what
// follows it already.
func (u *upload) after() {
	if u.fully {
		u.c.stash, u.rest = append(u.rest, u.c.stash...), nil
	}
}

// rewind makes the request ready to be sent again from its beginning, after its upload has
// ended, and says whether that can be: all that was read of the body was kept.
func (r *request) rewind() bool {
	u := r.upload
	if !u.keeps || u.spoiled.Load() || r.c.gone.Load() {
		return false
	}
	r.head = append(r.head, u.kept...)
	r.c.w.out = r.head
	r.sized, r.whole, r.resent, r.unread = u.left, u.fully, true, u.rest
	r.upload = nil
	return true
}
