package h2proxy

import (
	"errors"
	"os"
	"strconv"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/h2"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/snapshot"
)

// attempt1 sends the request over HTTP/1.1 and forwards the answer, as attempt2 does.
func (w *work) attempt1(e *flow.Endpoint, safe bool) (again bool, f *flow.Refusal) {
	x, b := &w.x, &w.body
	ways := w.srv.o.Upstreams.ways(e, x.Up)
	b.again()
	if _, err := b.fill(); err != nil {
		return false, flow.Left(err)
	}
	var uc *upConn
	if !x.Fresh {
		uc = ways.h1.get(time.Now())
	}
	if uc == nil {
		if uc, f, again = w.dial(ways); uc == nil {
			return again, f
		}
	}
	x.Begun()
	w.one = attempt{w: w, uc: uc, reused: uc.used, safe: safe}
	again, f = w.one.run(&ways.h1, e)
	w.one.uc = nil
	return again, f
}

func (w *work) dial(ways *ways) (uc *upConn, f *flow.Refusal, again bool) {
	x := &w.x
	ctx, stop := w.watched(x.Deadline(), flow.ErrDeadline)
	nc, err := ways.connect(ctx)
	if gone := err != nil && ctx.Err() != nil; gone {
		f = flow.Gone(ctx, x.Up)
	}
	stop()
	switch {
	case f != nil:
		return nil, f, false
	case err == nil:
		x.Connected()
		uc := &upConn{nc: nc, keep: flow.OrDefault(x.Up.Idle, snapshot.DefaultIdle)}
		if uc.keep == 0 {
			uc.keep = 1 << 60
		}
		uc.cut = func() { nc.SetDeadline(longAgo) }
		return uc, nil, false
	}
	pause, f := x.Failed(flow.Attempt{Failure: flow.Dial, Untouched: !w.body.gone, Err: err})
	if f == nil {
		f = w.pause(pause)
	}
	return nil, f, f == nil
}

// attempt is one over HTTP/1.1.
type attempt struct {
	w      *work
	uc     *upConn
	reused bool
	safe   bool
	heard  bool
	whole  bool    // the request left whole with its head
	up     *upload // sends the rest; nil if there is none
}

func (a *attempt) run(pool *idle, e *flow.Endpoint) (again bool, f *flow.Refusal) {
	w, uc := a.w, a.uc
	x := &w.x
	w.ur, w.uw = 0, 0
	w.resp.Reset()
	a.head()
	w.s.Interrupt(uc.cut)
	if len(w.out) > maxKept { // less has room in the socket, which has nothing to send
		uc.nc.SetWriteDeadline(x.TryDeadline())
	}
	_, err := uc.nc.Write(w.out)
	if err == nil {
		if !a.whole {
			a.up = w.startUpload(uc)
		}
		err = a.answerHead()
	}
	if err != nil {
		return a.failed(err)
	}
	resp := &w.resp
	v := flow.AnswerHead{Status: resp.Status, GRPC: -1, Length: resp.ContentLength, Untouched: a.untouched(), Safe: a.safe}
	advice1(&v, resp, w.up[w.ur:w.uw])
	again, pause := x.Answered(v)
	if again {
		a.end(false)
		if f := w.pause(pause); f != nil {
			return false, f
		}
		return true, nil
	}
	if resp.Status == 101 {
		a.end(false)
		return false, &flow.Refusal{Reason: hop.BadAnswer, Status: 502, Text: x.Up.Service + " switched protocols unasked"}
	}
	if v := resp.Value(w.up[w.ur:], h1.KeepAlive); v != nil {
		if n, ok := h1.KeepAliveTimeout(v); ok {
			uc.keep = min(uc.keep, time.Duration(max(n-1, 0))*time.Second)
		}
	}
	if v.GRPC >= 0 {
		x.Rec.GRPC = v.GRPC
	}
	head := x.Rec.Method == "HEAD"
	clean := a.forward(head)
	reusable := clean && resp.Reusable(head) && w.uw == w.ur
	if a.end(reusable) {
		pool.put(uc, time.Now(), e.Draining())
	}
	return false, nil
}

// untouched says whether the body can be sent again.
func (a *attempt) untouched() bool {
	if a.up != nil {
		a.up.mu.Lock()
		defer a.up.mu.Unlock()
	}
	return !a.w.body.gone
}

// end ends the attempt, and says whether its connection can be used again.
func (a *attempt) end(reusable bool) bool {
	w := a.w
	w.s.Interrupt(nil)
	if w.s.Err() != nil { // uc was cut
		reusable = false
	}
	if len(w.out) > maxKept && reusable {
		a.uc.nc.SetWriteDeadline(time.Time{})
	}
	if a.up != nil {
		if !a.up.stop() {
			reusable = false
		}
	}
	w.x.Rec.In = w.body.read
	if !reusable {
		a.uc.nc.Close()
	}
	return reusable
}

// failed says what follows an attempt that brought no answer.
func (a *attempt) failed(err error) (again bool, f *flow.Refusal) {
	w := a.w
	x := &w.x
	a.end(false)
	if w.s.Err() != nil || errors.Is(err, errLeft) || w.srv.ctx.Err() != nil {
		return false, flow.Left(errLeft)
	}
	if a.up != nil && a.up.err == errSlowBody {
		return false, &flow.Refusal{Reason: hop.BadRequest, Status: 408, Text: errSlowBody.Error()}
	}
	v := flow.Attempt{Failure: flow.Broke, Reused: a.reused, Answered: a.heard, Untouched: !w.body.gone, Safe: a.safe, Err: err}
	var bad *h1.Error
	switch {
	case errors.As(err, &bad):
		v.Failure = flow.Garbled
	case errors.Is(err, os.ErrDeadlineExceeded):
		if d := x.Deadline(); !d.IsZero() && !time.Now().Before(d) {
			return false, flow.Late(x.Up, err)
		}
		v.Failure = flow.Slow
	}
	pause, f := x.Failed(v)
	if f == nil {
		f = w.pause(pause)
	}
	return f == nil, f
}

// head puts the head, and as much of the body as is here, into w.out.
func (a *attempt) head() {
	w := a.w
	b := &w.body
	out := w.head1(w.out[:0])
	have := b.buf[b.pos:]
	a.whole = b.ended
	switch {
	case b.none():
		switch w.x.Rec.Method {
		case "POST", "PUT", "PATCH":
			out = append(out, "Content-Length: 0\r\n"...)
		}
		out = append(out, "\r\n"...)
	case b.trailer == nil && (b.ended && !b.gone || b.length >= 0):
		n := b.length
		if b.ended {
			n = int64(len(b.buf))
		}
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, n, 10)
		out = append(out, "\r\n\r\n"...)
		out = append(out, have...)
	default:
		out = append(out, "Transfer-Encoding: chunked\r\n\r\n"...)
		out = appendChunk(out, have)
		if b.ended {
			out = appendLast(out, b.trailer)
		}
	}
	b.pos = len(b.buf)
	w.out = out
}

func appendChunk(out, data []byte) []byte {
	if len(data) == 0 {
		return out
	}
	out = strconv.AppendInt(out, int64(len(data)), 16)
	out = append(out, "\r\n"...)
	out = append(out, data...)
	return append(out, "\r\n"...)
}

func appendLast(out []byte, trailer *h2.Head) []byte {
	out = append(out, "0\r\n"...)
	if trailer != nil {
		for i := range trailer.Len() {
			name, value := trailer.At(i)
			if h1.Identify(name).InTrailer() {
				out = appendField(out, name, value)
			}
		}
	}
	return append(out, "\r\n"...)
}
