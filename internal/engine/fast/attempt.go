package fast

import (
	"errors"
	"os"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/snapshot"
)

// serve sends the request and forwards the answer, or says what to answer.
func (r *request) serve() *flow.Refusal {
	c, x := r.c, r.x
	if x.Route.Site != nil || !x.Up.Only(snapshot.HTTP1) {
		return errBridge
	}
	if x.Remembers() {
		if over, f := r.recall(); over {
			return f
		}
	}
	var mirror *flow.Upstream
	if x.Mirrors() {
		if mirror, r.copied = r.mirrors(); r.copied {
			return errBridge
		}
	}
	wait, f := x.Admit(flow.AtOnce)
	if wait {
		ctx, stop := c.watched(x.Deadline(), flow.ErrDeadline)
		_, f = x.Admit(ctx)
		stop()
	}
	if f != nil {
		return f
	}
	if mirror != nil {
		r.mirror(mirror)
	}
	q := &c.w.req
	safe := repeatable(q)
	for {
		if x.P.Faulty() {
			if over, again, f := r.inject(safe); over {
				return f
			} else if again {
				continue
			}
		}
		e, f := r.take()
		if f != nil {
			return f
		}
		if e.Speaks(x.Up) != snapshot.HTTP1 {
			x.Abandon() // the endpoints have just changed
			return errBridge
		}
		p := poolOf(e)
		var uc *upConn
		if !x.Fresh {
			uc = p.get(c.n, time.Now(), !safe)
		}
		if uc == nil {
			var err error
			if uc, err = c.s.dial(e, x.Up, x.Deadline()); err != nil {
				pause, f := x.Failed(flow.Attempt{Failure: flow.Dial, Untouched: true, Err: err})
				if f == nil {
					f = r.pause(pause)
				}
				if f != nil {
					return f
				}
				continue
			}
			x.Connected()
		}
		x.Begun()
		again, f := r.attempt(e, p, uc, safe)
		if !again {
			return f
		}
	}
}

// take gives an endpoint, and watches the caller if that takes a while.
func (r *request) take() (*flow.Endpoint, *flow.Refusal) {
	e, f := r.x.Take(flow.AtOnce)
	if e != nil || f != nil {
		return e, f
	}
	ctx, stop := r.c.watched(r.x.Deadline(), flow.ErrDeadline)
	defer stop()
	return r.x.Take(ctx)
}

// pause waits before another attempt.
func (r *request) pause(d time.Duration) *flow.Refusal {
	if d <= 0 {
		return nil
	}
	ctx, stop := r.c.watched(r.x.Deadline(), flow.ErrDeadline)
	defer stop()
	if !flow.Pause(ctx, d) {
		return flow.Gone(ctx, r.x.Up)
	}
	return nil
}

// repeatable says whether a request may be sent twice: idempotent by its method (RFC
// 9110, section 9.2.2), or by its key.
func repeatable(q *h1.Request) bool {
	switch q.Verb {
	case h1.GET, h1.HEAD, h1.OPTIONS, h1.PUT, h1.DELETE:
		return true
	}
	return q.Index(h1.IdempotencyKey)+q.Index(h1.XIdempotencyKey) > 0
}

// attempt sends the request on uc and forwards the answer. again says that another
// attempt is to follow; else the request is over, or f is to be answered.
func (r *request) attempt(e *flow.Endpoint, p *pool, uc *upConn, safe bool) (again bool, f *flow.Refusal) {
	c, x, w := r.c, r.x, r.c.w
	w.ur, w.uw = 0, 0
	w.resp.Reset()
	reused := uc.used
	if r.head != nil {
		r.retime()
	} else {
		if f := r.build(); f != nil {
			uc.nc.Close()
			return false, f
		}
	}
	if r.upload == nil {
		if err := uc.sock.write(uc.nc, r.head); err != nil {
			return r.failed(uc, reused, safe, err)
		}
		if !r.whole && !w.req.Expect100 {
			r.upload = c.startUpload(uc, r.sized)
		}
	}
	err := r.answerHead(uc)
	if r.second != nil {
		if faster := r.decide(uc, err); faster != nil {
			uc, e, reused = faster, x.Held(), false
			p = poolOf(e)
			err = r.answerHead(uc)
		}
	}
	if err != nil {
		return r.failed(uc, reused, safe, err)
	}
	resp := &w.resp
	a := flow.AnswerHead{Status: resp.Status, GRPC: -1, Length: resp.ContentLength, Untouched: r.whole, Safe: safe}
	r.advice(&a, w.up[w.ur:w.uw])
	if again, pause := x.Answered(a); again {
		uc.nc.Close()
		r.unwatch()
		if f := r.pause(pause); f != nil {
			return false, f
		}
		return true, nil
	}
	if resp.Status == 101 {
		return false, r.upgrade(uc)
	}
	if r.memo != nil {
		if over, again, f := r.took(uc); over || again {
			return again, f
		}
	}
	uc.learn(resp, w.up[w.ur:])
	clean := r.forward(uc)
	r.unwatch()
	if r.upload != nil {
		if !r.upload.finish(uc, clean) {
			clean = false
		}
		x.Rec.In = r.upload.n
	}
	if !clean || !resp.Reusable(w.req.Verb == h1.HEAD) || !r.whole && r.upload == nil || w.uw > w.ur {
		uc.nc.Close()
	} else {
		p.put(c.n, uc, time.Now(), e)
	}
	return false, nil
}

// failed says what follows an attempt that brought no answer.
func (r *request) failed(uc *upConn, reused, safe bool, err error) (again bool, f *flow.Refusal) {
	c, x, w := r.c, r.x, r.c.w
	uc.nc.Close()
	r.unwatch()
	untouched := r.whole
	if r.upload != nil {
		r.upload.stop()
		x.Rec.In = r.upload.n
		r.keep = false
		var slow *h1.Error
		if errors.As(r.upload.err, &slow) {
			return false, &flow.Refusal{Reason: hop.BadRequest, Status: slow.Status, Text: slow.Text}
		}
	}
	switch {
	case c.gone.Load():
		r.keep = false
		return false, flow.Left(errLeft)
	case c.s.ctx.Err() != nil:
		r.keep = false
		return false, flow.Left(c.s.ctx.Err())
	}
	a := flow.Attempt{Failure: flow.Broke, Reused: reused, Answered: w.uw > 0, Untouched: untouched, Safe: safe, Err: err}
	var bad *h1.Error
	switch {
	case errors.As(err, &bad):
		a.Failure = flow.Garbled
	case errors.Is(err, os.ErrDeadlineExceeded):
		if d := x.Deadline(); !d.IsZero() && !time.Now().Before(d) {
			return false, flow.Late(x.Up, err)
		}
		a.Failure = flow.Slow
	}
	pause, f := x.Failed(a)
	if f == nil {
		f = r.pause(pause)
	}
	return f == nil, f
}
