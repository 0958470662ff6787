package h2proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"stoa/internal/engine/h2"
)

// upload sends the rest of a body while the answer is awaited. It has the body until stop.
type upload struct {
	w       *work
	uc      *upConn
	chunked bool
	wake    *h2.Waker
	done    chan struct{}
	stopped atomic.Bool
	sent    atomic.Bool // all of it

	mu  sync.Mutex // held while the body is looked at
	err error      // may be read when done is closed
}

func (w *work) startUpload(uc *upConn) *upload {
	u := &upload{w: w, uc: uc, chunked: w.body.length < 0, wake: h2.NewWaker(), done: make(chan struct{})}
	w.s.Wake(u.wake, w.s.Waker())
	go u.run()
	return u
}

func (u *upload) run() {
	defer close(u.done)
	b := &u.w.body
	var out []byte
	stall := time.NewTimer(u.w.srv.o.Stall)
	defer stall.Stop()
	for !u.stopped.Load() {
		u.mu.Lock()
		more, err := b.fill()
		have := b.buf[b.pos:]
		b.pos = len(b.buf)
		ended := b.ended
		out = out[:0]
		if u.chunked {
			out = appendChunk(out, have)
			if ended {
				out = appendLast(out, b.trailer)
			}
		} else {
			out = append(out, have...)
		}
		u.mu.Unlock()
		if err != nil {
			u.err = errLeft
			u.uc.cut()
			return
		}
		if len(out) > 0 {
			if _, err := u.uc.nc.Write(out); err != nil {
				u.err = err
				return // an answer may have come: it says how to go on
			}
		}
		if ended {
			u.sent.Store(true)
			return
		}
		if more {
			stall.Reset(u.w.srv.o.Stall)
			continue
		}
		select {
		case <-u.wake.C():
		case <-stall.C:
			if u.w.x.Edge {
				u.err = errSlowBody
				u.uc.cut()
				return
			}
			stall.Reset(u.w.srv.o.Stall)
		}
	}
}

// stop ends the upload and says whether all was sent.
func (u *upload) stop() bool {
	if !u.sent.Load() {
		u.stopped.Store(true)
		u.uc.nc.Close()
		u.wake.Poke()
	}
	<-u.done
	u.w.s.Wake(u.w.s.Waker(), u.w.s.Waker())
	return u.sent.Load()
}

// over says whether nothing is left to send.
func (u *upload) over() bool { return u.sent.Load() }
