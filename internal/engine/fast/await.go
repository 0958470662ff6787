package fast

import (
	"errors"
	"io"
	"os"
	"runtime"
	"time"

	"stoa/internal/engine/h1"
)

// patience is how long an answer may take before the caller is watched: most are there
// sooner, and cost no watch.
const patience = 50 * time.Millisecond

// maxInterim bounds the interim answers to one request.
const maxInterim = 64

// answerLimits bound the head of an answer.
var answerLimits = h1.Limits{Head: 256 << 10, Fields: 1000}

var errInterim = &h1.Error{Status: 502, Text: "more than 64 interim answers to one request"}

// answerHead reads heads of answers until there is one that is not interim, which are
// passed on.
func (r *request) answerHead(uc *upConn) error {
	c, x, w := r.c, r.x, r.c.w
	now := r.sent
	end := x.TryDeadline() // of everything
	uploading := !r.whole && !x.Bounded()
	if uploading {
		end = time.Time{} // begins when all was sent; an upload that stalls is ended by itself
	}
	if head := x.Up.Head; head > 0 {
		if by := now.Add(head); end.IsZero() || by.Before(end) {
			end = by
		}
	}
	var expect time.Time // until when a service may say that it wants the body
	if !r.whole && r.upload == nil {
		expect = now.Add(time.Second)
	}
	until := now.Add(patience)
	if !end.IsZero() && end.Before(until) {
		until = end
	}
	var hedge time.Time // when a second attempt is to begin
	if x.Hedges() {
		if hedge = r.hedgeAt(now); !hedge.IsZero() && hedge.Before(until) {
			until = hedge
		}
	}
	uc.nc.SetReadDeadline(until)
	runtime.Gosched() // others are served meanwhile: then the answer is there, and no read is in vain
	interim := 0
	for {
		b := w.up[w.ur:w.uw]
		err := h1.ErrShort
		if len(b) > 0 {
			err = w.resp.Parse(b, answerLimits)
		}
		if err == nil {
			if w.resp.Status >= 200 || w.resp.Status == 101 {
				return nil
			}
			if err := r.interim(uc, b[:w.resp.Len]); err != nil {
				return err
			}
			if w.resp.Status == 100 {
				expect = time.Time{}
			}
			w.ur += w.resp.Len
			if interim++; interim > maxInterim {
				return errInterim
			}
			continue
		}
		if err != h1.ErrShort {
			return err
		}
		if w.uw == len(w.up) {
			grown := w.up
			if w.ur == 0 {
				grown = make([]byte, 2*len(w.up))
			}
			w.uw = copy(grown, b)
			w.up, w.ur = grown, 0
		}
		n, err := uc.sock.read(uc.nc, w.up[w.uw:])
		if n > 0 {
			if w.uw == 0 {
				x.Answering()
			}
			w.uw += n
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if c.gone.Load() {
			return errLeft
		}
		if r.spoiled() {
			return r.upload.err
		}
		now = time.Now()
		if uploading && r.upload != nil && r.upload.over() {
			uploading = false
			x.Uploaded()
			end = x.TryDeadline()
		}
		if !end.IsZero() && !now.Before(end) {
			return err
		}
		if r.second != nil && r.second.answered() {
			return errHedged
		}
		if !hedge.IsZero() && !now.Before(hedge) {
			hedge = time.Time{}
			r.hedge(func() { uc.nc.SetReadDeadline(longAgo) })
		}
		if !expect.IsZero() && !now.Before(expect) { // the service does not ask: it may know no Expect
			expect = time.Time{}
			if err := c.write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
				c.gone.Store(true)
				return errLeft
			}
			r.upload = c.startUpload(uc, r.sized, x.MayRetry(r.safe))
		}
		r.watch(uc)
		until = end
		if !expect.IsZero() {
			until = expect
		} else if r.stop == nil { // an upload is on its way: it sees the caller leave
			until = now.Add(time.Second)
			if !end.IsZero() && end.Before(until) {
				until = end
			}
		}
		if !hedge.IsZero() && (until.IsZero() || hedge.Before(until)) {
			until = hedge
		}
		uc.nc.SetReadDeadline(until)
		if c.gone.Load() || c.s.ctx.Err() != nil { // it left between the two
			return errLeft
		}
		if r.second != nil && r.second.answered() {
			return errHedged
		}
		if r.spoiled() {
			return r.upload.err
		}
	}
}

// spoiled says that the rest of the body is not sent, and no answer to be waited for.
func (r *request) spoiled() bool { return r.upload != nil && r.upload.spoiled.Load() }

// watch begins to watch the caller, if nothing else reads what it sends.
func (r *request) watch(uc *upConn) {
	if r.stop == nil && (r.whole || r.upload != nil && r.upload.over()) {
		r.stop = r.c.watch(func() { uc.nc.SetReadDeadline(longAgo) })
	}
}

func (r *request) unwatch() {
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
}

// interim passes an answer 1xx on.
func (r *request) interim(uc *upConn, b []byte) error {
	c, w := r.c, r.c.w
	if w.resp.Status == 100 {
		if r.whole || r.upload != nil {
			return nil // nobody asked
		}
		if err := c.write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			c.gone.Store(true)
			return errLeft
		}
		r.upload = c.startUpload(uc, r.sized, r.x.MayRetry(r.safe))
		return nil
	}
	if w.req.Minor == 0 {
		return nil
	}
	out := appendStatus(nil, &w.resp, b)
	out = appendFields(out, &w.resp, b, nil)
	out = append(out, "\r\n"...)
	if err := c.write(out); err != nil {
		c.gone.Store(true)
		return errLeft
	}
	return nil
}
