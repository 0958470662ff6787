package fast

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/retry"
)

// errHedged says that the second attempt has an answer, and the first has none.
var errHedged = errors.New("the second attempt was faster")

// second is an attempt beside a slow first one. Its goroutine waits for the first bytes of
// an answer; the server waits for the goroutine.
type second struct {
	y  *flow.Exchange
	e  *flow.Endpoint
	up *flow.Upstream

	over chan struct{} // closed when there are bytes, or none will come
	buf  []byte        // what was read; may be read when over is closed
	err  error         // may be read when over is closed

	mu      sync.Mutex
	uc      *upConn // guarded by mu
	stopped bool    // guarded by mu
}

// hedgeAt is when the attempt that was begun is to have another beside it, zero for never.
func (r *request) hedgeAt(now time.Time) time.Time {
	q := &r.c.w.req
	if q.HasBody() || q.Upgrade.Len > 0 || !retry.Safe(r.x.Rec.Method) {
		return time.Time{}
	}
	after := r.x.HedgeAfter()
	if after == 0 {
		return time.Time{}
	}
	return now.Add(after)
}

// hedge begins the second attempt, if there is an endpoint and a budget for it. wake ends
// the wait for the first one's answer.
func (r *request) hedge(wake func()) {
	y, e := r.x.Second()
	if y == nil {
		return
	}
	s := &second{y: y, e: e, up: r.x.Up, over: make(chan struct{})}
	y.Begun()
	r.second = s
	c, head, by := r.c, bytes.Clone(r.head), r.x.Deadline()
	c.s.wg.Add(1) // above zero, since c is served
	go func() {
		defer c.s.wg.Done()
		if s.err = s.run(c, head, by); s.err == nil {
			defer wake()
		}
		close(s.over)
	}()
}

func (s *second) run(c *conn, head []byte, by time.Time) error {
	uc := c.s.poolOf(s.e).get(c.n, time.Now())
	if uc == nil {
		var err error
		if uc, err = c.s.dial(s.e, s.up, by); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.uc = uc
	stopped := s.stopped
	s.mu.Unlock()
	if stopped {
		uc.close()
		return errHedged
	}
	uc.nc.SetReadDeadline(by)
	_, err := uc.nc.Write(head)
	n := 0
	if err == nil {
		s.buf = make([]byte, inSize)
		n, err = uc.nc.Read(s.buf)
	}
	s.buf = s.buf[:n]
	if n > 0 {
		return nil
	}
	uc.close()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// stop lets the attempt go.
func (s *second) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.uc != nil {
		s.uc.close()
	}
}

// answered says whether it has the beginning of an answer.
func (s *second) answered() bool {
	select {
	case <-s.over:
		return s.err == nil
	default:
		return false
	}
}

// decide says which of two attempts counts, when the first has ended with err, or with an
// answer: the connection of the second, if it is that one, or nil.
func (r *request) decide(uc *upConn, err error) *upConn {
	c, x, w, s := r.c, r.x, r.c.w, r.second
	r.second = nil
	failed := err != nil || w.resp.Status >= 500 || w.resp.Status == 429
	if err != nil && c.gone.Load() {
		failed = false
	}
	if failed && err != errHedged {
		r.unwatch()
		ctx, stop := c.watched(x.Deadline(), flow.ErrDeadline)
		select {
		case <-s.over:
		case <-ctx.Done():
		}
		stop()
	}
	if !failed || !s.answered() {
		s.stop()
		x.Lost(s.y)
		return nil
	}
	r.unwatch()
	uc.close()
	s.y.Answering()
	x.Won(s.y)
	w.resp.Reset()
	w.ur, w.uw = 0, copy(w.up, s.buf)
	return s.uc
}
