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

// carries says whether a loop can carry the request, if nothing must be waited for.
func (r *request) carries() bool {
	x, w := r.x, r.c.w
	q := &w.req
	return x.Up != nil && x.Route.Site == nil && x.Up.Only(snapshot.HTTP1) && !x.Remembers() && !x.Mirrors() && !x.Hedges() && !x.P.Faulty() &&
		!q.Chunked && !q.Expect100 && q.Upgrade.Len == 0 && q.ContentLength <= int64(w.w-w.r-q.Len)
}

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
	r.safe = repeatable(&c.w.req)
	wait, f := x.Admit(flow.AtOnce)
	if wait {
		f = r.queue()
	}
	if f != nil {
		return f
	}
	if mirror != nil {
		r.mirror(mirror)
	}
	return r.proceed(toTake)
}

// queue waits for the place that Admit would wait for.
func (r *request) queue() *flow.Refusal {
	ctx, stop := r.c.watched(r.x.Deadline(), flow.ErrDeadline)
	defer stop()
	_, f := r.x.Admit(ctx)
	return f
}

// step is how far a request has come, for who goes on with it.
type step uint8

const (
	toQueue   step = iota // a place at the service is to be waited for
	toTake                // an endpoint is to be taken
	toConnect             // r.e is taken, and a connection to be had
	toSend                // r.unsent of the request is to be sent on r.uc
	toAnswer              // the request was sent on r.uc
	toFail                // the attempt failed with r.err
	toRepeat              // another attempt follows, after r.after
	toRelay               // the head of the answer has left, and what was there of the body
)

// proceed goes on from a step: it makes attempts until the request is over, or says what to
// answer.
func (r *request) proceed(from step) (f *flow.Refusal) {
	again := true
	switch from {
	case toQueue:
		f = r.queue()
		again = f == nil
	case toConnect:
		again, f = r.connect()
	case toSend:
		if err := r.uc.sock.write(r.uc.nc, r.unsent); err != nil {
			again, f = r.failed(err)
		} else {
			r.sent = time.Now()
			again, f = r.receive()
		}
	case toAnswer:
		again, f = r.receive()
	case toFail:
		again, f = r.failed(r.err)
	case toRepeat:
		f = r.pause(r.after)
		again = f == nil
	case toRelay:
		r.relayed(false, nil)
		again = false
	}
	for again {
		again, f = r.try()
	}
	return f
}

// try makes an attempt. again says that another is to follow; else the request is over, or f
// is to be answered.
func (r *request) try() (again bool, f *flow.Refusal) {
	x := r.x
	if x.P.Faulty() {
		if over, again, f := r.inject(r.safe); over || again {
			return again, f
		}
	}
	if r.e, f = r.take(); f != nil {
		return false, f
	}
	return r.connect()
}

// connect makes the attempt at r.e.
func (r *request) connect() (again bool, f *flow.Refusal) {
	c, x, e := r.c, r.x, r.e
	if e.Speaks(x.Up) != snapshot.HTTP1 {
		x.Abandon() // the endpoints have just changed
		return false, errBridge
	}
	r.p, r.uc = c.s.poolOf(e), nil
	if !x.Fresh {
		r.uc = r.p.get(c.n, time.Now())
	}
	if r.uc == nil {
		var err error
		if r.uc, err = c.s.dial(e, x.Up, x.Deadline()); err != nil {
			pause, f := x.Failed(flow.Attempt{Failure: flow.Dial, Untouched: true, Err: err})
			if f == nil {
				f = r.pause(pause)
			}
			return f == nil, f
		}
		x.Connected()
	}
	x.Begun()
	if f := r.ready(); f != nil {
		r.uc.close()
		return false, f
	}
	if r.upload == nil {
		if err := r.uc.sock.write(r.uc.nc, r.head); err != nil {
			return r.failed(err)
		}
		if !r.whole && (!c.w.req.Expect100 || r.resent) {
			r.upload = c.startUpload(r.uc, r.sized, x.MayRetry(r.safe))
		}
	}
	r.sent = time.Now()
	return r.receive()
}

// ready makes the head for an attempt on r.uc.
func (r *request) ready() *flow.Refusal {
	w := r.c.w
	w.ur, w.uw = 0, 0
	w.resp.Reset()
	r.reused = r.uc.used
	if r.head == nil {
		return r.build()
	}
	r.retime()
	return nil
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

// receive waits for the answer to what was sent, and forwards it.
func (r *request) receive() (again bool, f *flow.Refusal) {
	err := r.answerHead(r.uc)
	if r.second != nil {
		if faster := r.decide(r.uc, err); faster != nil {
			r.uc, r.e, r.reused = faster, r.x.Held(), false
			r.p = r.c.s.poolOf(r.e)
			err = r.answerHead(r.uc)
		}
	}
	if err != nil {
		return r.failed(err)
	}
	if r.judged() {
		r.unwatch()
		if f := r.pause(r.after); f != nil {
			return false, f
		}
		return true, nil
	}
	if r.c.w.resp.Status == 101 {
		return false, r.upgrade(r.uc)
	}
	if r.memo != nil {
		if over, again, f := r.took(r.uc); over || again {
			return again, f
		}
	}
	end, err := r.forward()
	r.relayed(end, err)
	return false, nil
}

// judged asks whether another attempt follows, after r.after, instead of the answer whose head
// was read. Then the connection is closed.
func (r *request) judged() (again bool) {
	w := r.c.w
	resp := &w.resp
	whole := r.whole
	if u := r.upload; u != nil && (resp.Status >= 500 || resp.Status == 429) && r.x.MayRetry(r.safe) {
		r.unwatch()
		u.halt() // it has answered; what is kept must not change while it is decided
		whole = u.keeps && !u.spoiled.Load()
	}
	a := flow.AnswerHead{Status: resp.Status, GRPC: -1, Length: resp.ContentLength, Untouched: whole, Safe: r.safe}
	r.advice(&a, w.up[w.ur:w.uw])
	if again, r.after = r.x.Answered(a); again {
		r.uc.close()
		if r.upload != nil {
			r.x.Rec.In = r.upload.n
			r.rewind()
		}
	}
	return again
}

// relayed forwards what is left of the answer, unless it came to its end or err, and keeps the
// connection if it can be used again.
func (r *request) relayed(end bool, err error) {
	c, w, uc := r.c, r.c.w, r.uc
	clean := r.ended(uc, end, err)
	r.unwatch()
	if r.upload != nil {
		if !r.upload.finish(uc, clean) {
			clean = false
		}
		r.x.Rec.In = r.upload.n
	}
	if !clean || !w.resp.Reusable(w.req.Verb == h1.HEAD) || !r.whole && r.upload == nil || w.uw > w.ur {
		uc.close()
	} else {
		r.p.put(c.n, uc, time.Now(), r.e)
	}
}

// failed says what follows an attempt that brought no answer.
func (r *request) failed(err error) (again bool, f *flow.Refusal) {
	c, x, w := r.c, r.x, r.c.w
	r.uc.close()
	r.unwatch()
	untouched := r.whole
	if r.upload != nil {
		r.upload.stop()
		x.Rec.In = r.upload.n
		var slow *h1.Error
		if errors.As(r.upload.err, &slow) {
			r.keep = false
			return false, &flow.Refusal{Reason: hop.BadRequest, Status: slow.Status, Text: slow.Text}
		}
		if untouched = r.rewind(); !untouched {
			r.keep = false
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
	a := flow.Attempt{Failure: flow.Broke, Reused: r.reused, Answered: w.uw > 0, Untouched: untouched, Safe: r.safe, Err: err}
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
