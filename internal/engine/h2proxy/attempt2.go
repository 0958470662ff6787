package h2proxy

import (
	"context"
	"errors"
	"strconv"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/h2"
	"stoa/internal/engine/h2/hpack"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/retry"
)

// maxUnprocessed bounds how often a service may say of one attempt that it has not looked at it.
const maxUnprocessed = 4

// attempt2 sends the request over HTTP/2 and forwards the answer. again says that another
// attempt is to follow; else the request is over, or f is to be answered.
func (w *work) attempt2(e *flow.Endpoint, safe bool) (again bool, f *flow.Refusal) {
	x := &w.x
	pool := w.srv.o.Upstreams.ways(e, x.Up).h2
	for n := 0; ; n++ {
		us, reused, f, again := w.open(pool)
		if us == nil {
			return again, f
		}
		w.us = us
		c := carry{w: w, us: us, reused: reused, safe: safe}
		err := c.answerHead()
		if errors.Is(err, h2.ErrUnprocessed) && n < maxUnprocessed && !w.body.gone && !c.heard {
			w.us = nil
			us.Close()
			if f := w.pause(time.Duration(n) * 5 * time.Millisecond); f != nil {
				return false, f
			}
			continue
		}
		again, f = c.judge(err)
		w.us = nil
		us.Close()
		if again && f == nil {
			f = w.pause(c.pause)
			again = f == nil
		}
		return again, f
	}
}

// open begins the request on a connection, which it makes if there is none with room.
func (w *work) open(pool *h2.Pool) (us *h2.Stream, reused bool, f *flow.Refusal, again bool) {
	x, b := &w.x, &w.body
	b.again()
	if _, err := b.fill(); err != nil {
		return nil, false, flow.Left(err), false
	}
	for dials := 0; ; dials++ {
		w.head2()
		us, reused, err := pool.Open(w.fields, b.none(), x.Rec.Method == "HEAD", w.s.Waker())
		if err == nil {
			x.Begun()
			return us, reused && dials == 0, nil, false
		}
		ctx, stop := w.watched(x.Deadline(), flow.ErrDeadline)
		err = pool.Dial(ctx)
		gone := ctx.Err() != nil && errors.Is(err, context.Cause(ctx))
		if gone {
			f = flow.Gone(ctx, x.Up)
		}
		stop()
		switch {
		case gone:
			return nil, false, f, false
		case err == nil && dials < 8:
			x.Connected()
			continue
		case err == nil:
			err = h2.ErrFull // others were faster each time
		}
		pause, f := x.Failed(flow.Attempt{Failure: flow.Dial, Untouched: !b.gone, Err: err})
		if f == nil {
			f = w.pause(pause)
		}
		return nil, false, f, f == nil
	}
}

// carry carries one attempt: both directions of both streams, on the goroutine of the caller's.
type carry struct {
	w      *work
	us     *h2.Stream
	reused bool
	safe   bool
	heard  bool // something of an answer came
	sent   bool // the whole request was sent, or no more of it is wanted
	until  int64
	pause  time.Duration

	head *h2.Head
	next h2.Polled // came with the head
}

// The ends of waiting.
var (
	errLate     = errors.New("the time for the attempt ran out")
	errSlowBody = errors.New("the body of the request did not come in time")
)

// upload sends what there is of the body and has room, and says whether that was anything.
func (c *carry) upload() (moved bool, err error) {
	b := &c.w.body
	for !c.sent {
		if b.pos < len(b.buf) {
			last := b.ended && b.trailer == nil
			n, err := c.us.Send(b.buf[b.pos:], last)
			if err != nil { // Poll tells more; or the answer is whole, and says enough
				c.sent = true
				return true, nil
			}
			b.pos += n
			moved = moved || n > 0
			if b.pos < len(b.buf) {
				return moved, nil
			}
			c.sent = last
			continue
		}
		if b.ended {
			c.sent, moved = true, true
			if b.none() {
				return true, nil // it left with the head
			}
			if b.trailer == nil {
				c.us.Send(nil, true)
				return true, nil
			}
			w := c.w
			w.reset()
			for i := range b.trailer.Len() {
				name, value := b.trailer.At(i)
				if id := h1.Identify(name); id.InTrailer() {
					w.field(name, value, how(id, value))
				}
			}
			if len(w.fields) == 0 {
				c.us.Send(nil, true)
			} else {
				c.us.SendHead(w.fields, true)
			}
			return true, nil
		}
		more, err := b.fill()
		if err != nil {
			return moved, errLeft
		}
		if !more {
			return moved, nil
		}
	}
	return moved, nil
}

// wait waits until something moves, or end, 0 for never.
func (c *carry) wait(end int64) {
	if end != c.until {
		c.until = end
		c.w.s.Until(end)
	}
	c.w.s.Waker().Wait()
}

// answerHead reads heads of answers until there is one that is not interim, which are passed
// on, while the body is sent.
func (c *carry) answerHead() error {
	w := c.w
	x := &w.x
	end := h2.At(x.TryDeadline())
	var by int64
	if head := x.Up.Head; head > 0 {
		by = h2.At(time.Now().Add(head))
	}
	uploading := false
	for first := true; ; first = false {
		moved, err := c.upload()
		if err != nil {
			return err
		}
		if first && !c.sent && !x.Bounded() {
			uploading, end = true, 0 // it begins when all was sent; an upload that stalls is ended by itself
		}
		p := c.us.Poll(w.spare)
		if p.Data != nil {
			w.spare = nil
		}
		switch {
		case p.Head != nil:
			if !c.heard {
				c.heard = true
				x.Answering()
			}
			if p.Head.Status >= 200 {
				c.head = p.Head
				c.next = c.us.Poll(w.spare) // the end, if it came with it
				if c.next.Data != nil {
					w.spare = nil
				}
				return nil
			}
			w.interim(p.Head)
			p.Head.Free()
			continue
		case p.Err != nil:
			return p.Err
		}
		if moved {
			w.body.stall = 0
			continue
		}
		if w.s.Err() != nil {
			return errLeft
		}
		if uploading && c.sent {
			uploading = false
			x.Uploaded()
			end = h2.At(x.TryDeadline())
		}
		least := soonest(end, by)
		if !c.sent {
			least = soonest(least, w.stalls())
		}
		if least != 0 {
			if at := h2.At(time.Now()); at >= least {
				if !c.sent && at >= w.stalls() && w.stalls() != 0 {
					return errSlowBody
				}
				return errLate
			}
		}
		c.wait(least)
	}
}

// soonest is the sooner of two times, of which 0 is never.
func soonest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// stalls is when a caller outside has sent nothing of its body for too long; 0 for never.
func (w *work) stalls() int64 {
	if !w.x.Edge || w.body.ended {
		return 0
	}
	w.body.since(w.srv)
	return w.body.stall
}

// interim passes an interim answer on; 100 is for who asked for it, and those do not come here.
func (w *work) interim(h *h2.Head) {
	if h.Status == 100 {
		return
	}
	w.start(h.Status)
	for i := h.First; i < h.Len(); i++ {
		name, value := h.At(i)
		if id := h1.Identify(name); id != h1.StoaField && !id.OfHop() {
			w.field(name, value, how(id, value))
		}
	}
	w.s.SendHead(w.fields, false)
}

// judge says what follows: another attempt after c.pause, a refusal, or nothing, since the
// answer was forwarded.
func (c *carry) judge(err error) (again bool, f *flow.Refusal) {
	w := c.w
	x := &w.x
	x.Rec.In = w.body.read
	if err != nil {
		return c.failed(err)
	}
	h := c.head
	defer h.Free()
	a := flow.AnswerHead{Status: h.Status, GRPC: -1, Length: h.Length, Untouched: !w.body.gone, Safe: c.safe}
	if c.next.End && len(c.next.Data) == 0 {
		a.Length = 0
	}
	advice(&a, h)
	if again, c.pause = x.Answered(a); again {
		c.next.Trailer.Free()
		return true, nil
	}
	if a.GRPC >= 0 {
		x.Rec.GRPC = a.GRPC
	}
	c.forward()
	x.Rec.In = w.body.read
	return false, nil
}

// advice reads what an answer says to a verdict.
func advice(a *flow.AnswerHead, h *h2.Head) {
	for i := h.First; i < h.Len(); i++ {
		name, value := h.At(i)
		switch string(name) {
		case "content-type":
			a.ContentType = text(value)
		case "retry-after":
			a.RetryAfter = text(value)
		case "grpc-retry-pushback-ms":
			a.Pushback = text(value)
		case "stoa-retry":
			a.NoRetry = retry.ParseNoRetry(value)
		case "grpc-status":
			if n, err := strconv.Atoi(text(value)); err == nil && n >= 0 {
				a.GRPC = n
			}
		}
	}
}

// failed says what follows an attempt that brought no answer.
func (c *carry) failed(err error) (again bool, f *flow.Refusal) {
	w := c.w
	x := &w.x
	if w.s.Err() != nil || errors.Is(err, errLeft) || w.srv.ctx.Err() != nil {
		return false, flow.Left(errLeft)
	}
	a := flow.Attempt{Failure: flow.Broke, Reused: c.reused, Answered: c.heard, Untouched: !w.body.gone, Safe: c.safe, Err: err}
	var reset *h2.StreamError
	switch {
	case err == errSlowBody:
		return false, &flow.Refusal{Reason: hop.BadRequest, Status: 408, Text: err.Error()}
	case err == errLate:
		if d := x.Deadline(); !d.IsZero() && !time.Now().Before(d) {
			return false, flow.Late(x.Up, err)
		}
		a.Failure = flow.Slow
	case errors.As(err, &reset):
		if a.Reused = false; !reset.Peer {
			a.Failure = flow.Garbled
		}
	case h2.Malformed(err):
		a.Failure = flow.Garbled
	}
	c.pause, f = x.Failed(a)
	return f == nil, f
}

// forward sends the answer whose head came to the caller, and what is left of the request to the service.
func (c *carry) forward() {
	w, h := c.w, c.head
	x := &w.x
	x.Rec.Status = h.Status
	w.answerFields(h)
	p := c.next
	w.begun = true
	if err := w.s.SendHead(w.fields, p.End && len(p.Data) == 0 && p.Trailer == nil); err != nil {
		c.broke(errLeft)
		return
	}
	if p.End && len(p.Data) == 0 && p.Trailer == nil {
		return
	}
	data, spare := p.Data, w.spare
	off, end, trailer := 0, p.End, p.Trailer
	defer func() { w.spare = spare }()
	quiet := int64(x.Quiet())
	var last int64
	if quiet > 0 {
		last = h2.At(time.Now())
	}
	failed := p.Err
	for {
		moved := false
		if off < len(data) {
			n, err := w.s.Send(data[off:], end && trailer == nil)
			if err != nil {
				trailer.Free()
				c.broke(errLeft)
				return
			}
			off += n
			x.Rec.Out += int64(n)
			moved = n > 0
			if off == len(data) {
				spare = data[:0]
				data, off = nil, 0
				if end && trailer == nil {
					return
				}
			}
		}
		if data == nil {
			if end {
				c.trailers(trailer)
				return
			}
			if failed != nil {
				c.broke(failed)
				return
			}
			p := c.us.Poll(spare)
			if p.Data != nil {
				data, spare, moved = p.Data, nil, true
			}
			if p.End {
				end, trailer, moved = true, p.Trailer, true
			}
			failed = p.Err
			moved = moved || failed != nil
		}
		if !c.sent {
			sent, err := c.upload()
			if err != nil {
				trailer.Free()
				c.broke(errLeft)
				return
			}
			moved = moved || sent
		}
		if moved {
			if quiet > 0 {
				last = h2.At(time.Now())
			}
			continue
		}
		if w.s.Err() != nil {
			trailer.Free()
			c.broke(errLeft)
			return
		}
		until := h2.At(x.Deadline())
		if quiet > 0 {
			until = last + quiet
		}
		if until != 0 && h2.At(time.Now()) >= until {
			trailer.Free()
			c.broke(errLate)
			return
		}
		c.wait(until)
	}
}

// answerFields makes the head of the answer out of that of the service.
func (w *work) answerFields(h *h2.Head) {
	x := &w.x
	w.start(h.Status)
	edits := x.EditsAnswer()
	for i := h.First; i < h.Len(); i++ {
		name, value := h.At(i)
		id := h1.Identify(name)
		if id == h1.StoaField || id.OfHop() || edits && x.DropsAnswer(text(name)) {
			continue
		}
		f := how(id, value)
		if h.Never(i) {
			f = hpack.Never
		}
		w.field(name, value, f)
	}
	w.ours()
}

// trailers ends the answer.
func (c *carry) trailers(t *h2.Head) {
	w := c.w
	if t == nil {
		if _, err := w.s.Send(nil, true); err != nil {
			c.broke(errLeft)
		}
		return
	}
	defer t.Free()
	w.reset()
	for i := range t.Len() {
		name, value := t.At(i)
		id := h1.Identify(name)
		if !id.InTrailer() {
			continue
		}
		if id == h1.GRPCStatus {
			w.grpc(value)
		}
		w.field(name, value, how(id, value))
	}
	var err error
	if len(w.fields) == 0 {
		_, err = w.s.Send(nil, true)
	} else {
		err = w.s.SendHead(w.fields, true)
	}
	if err != nil {
		c.broke(errLeft)
	}
}

func (w *work) grpc(v []byte) {
	if n, err := strconv.Atoi(text(v)); err == nil && n >= 0 {
		w.x.Rec.GRPC = n
	}
}

// broke notes that the answer is not whole, and sees to it that the caller knows.
func (c *carry) broke(err error) { c.w.broke(err) }

func (w *work) broke(err error) {
	x := &w.x
	x.Rec.Error, x.Rec.Reason = err.Error(), hop.Truncated
	code := h2.InternalError
	switch {
	case errors.Is(err, errLeft) || w.s.Err() != nil || w.srv.ctx.Err() != nil:
		x.Rec.Reason, code = hop.Cancelled, h2.Cancel
	case errors.Is(err, errLate):
		x.Rec.Reason, code = hop.Deadline, h2.Cancel
	}
	w.s.Reset(code)
}
