package fast

import (
	"errors"
	"io"
	"os"
	"runtime"
	"time"
	"unsafe"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// text gives b as a string that is good as long as b does not change.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

var protocols = [2]string{"HTTP/1.0", "HTTP/1.1"}

// request is one request of a connection, from its head to the end of its answer.
type request struct {
	c    *conn
	x    *flow.Exchange
	b    []byte // from the start of the head
	hit  route.Hit
	span hop.Context
	own  bool // the trace is the caller's: its tracestate goes on

	head    []byte  // the head to send, with as much of the body as was there
	sized   int64   // bytes of the body that are not in head; -1: in chunks
	headEnd int     // where the body begins in head
	whole   bool    // head holds the whole request
	upload  *upload // sends the rest; nil if there is none, or it has not begun
	keep    bool    // the caller's connection can be used again
	begun   bool    // something of an answer was written
	stop    func()  // ends the watch of the caller; nil: there is none

	memo *flow.Memo // of a route that keeps answers; nil: it does not
	tape bool       // the body of the answer is written to memo

	second *second // an attempt beside a slow one; nil: there is none

	copied bool // the portable engine is to send a copy
}

// one serves one request, and says whether the connection can have another.
func (c *conn) one() bool {
	b, err := c.head()
	w := c.w
	x, r := &w.x, &w.one
	*r = request{}
	r.c, r.x, r.b = c, x, b
	switch {
	case err == h1.ErrPreface && c.tls == nil:
		c.handOver()
		return false
	case err != nil:
		return r.bad(err)
	}
	q := &w.req
	x.Begin(c.s.o.Plane, time.Now(), c.s.o.Name, protocols[q.Minor])
	x.Req, x.TLS = r, c.tls != nil
	x.Rec.Method, x.Rec.Host, x.Rec.Path = text(q.Method.In(b)), text(q.Host.In(b)), text(q.Path.In(b))
	r.keep = q.KeepAlive && q.Minor == 1
	f := r.find()
	if f == nil {
		f = r.serve()
		if f == errBridge {
			r.memo.Close()
			return c.bridge(r, c.s.o.Portable.ServeHTTP)
		}
	}
	if r.memo != nil {
		f = r.instead(f)
	}
	if f != nil {
		r.refuse(f)
	}
	x.Finish()
	if c.taken || !r.keep || c.s.draining.Load() {
		return false
	}
	return true
}

// bad answers what is no request.
func (r *request) bad(err error) bool {
	var e *h1.Error
	if !errors.As(err, &e) {
		return false // the caller went away, or sent only a part
	}
	r.x.Begin(r.c.s.o.Plane, time.Now(), r.c.s.o.Name, protocols[1])
	if l, f := r.c.s.o.Listener(r.c.s.ctx); f == nil {
		r.x.At(l)
	}
	r.x.Trace("", true)
	r.x.Req = r
	f := &flow.Refusal{Reason: hop.BadRequest, Status: e.Status, Text: e.Text}
	if e.Status == 405 {
		f.Reason, f.Allow = hop.NoMethod, flow.Methods
	}
	r.refuse(f)
	r.x.Finish()
	return false
}

// Header gives a field of the request, of several lines joined: for rules and policies.
func (r *request) Header(name string) (value string, ok bool) {
	q := &r.c.w.req
	for i := range q.Fields {
		f := &q.Fields[i]
		switch {
		case !sameName(f.Name.In(r.b), name):
		case ok:
			value += ", " + text(f.Value.In(r.b))
		default:
			value, ok = text(f.Value.In(r.b)), true
		}
	}
	return value, ok
}

// Query gives the raw query.
func (r *request) Query() string { return text(r.c.w.req.Query.In(r.b)) }

// Client gives the address of the caller.
func (r *request) Client() string { return r.c.client }

func sameName(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i, c := range b {
		if d := name[i]; c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// find finds listener and rule.
func (r *request) find() *flow.Refusal {
	q := &r.c.w.req
	l, f := r.c.s.o.Listener(nil)
	if l == nil && f == nil {
		ctx, stop := r.c.watched(time.Time{}, nil)
		l, f = r.c.s.o.Listener(ctx)
		stop()
	}
	if f != nil {
		r.x.Trace("", true)
		return f
	}
	r.x.At(l)
	parent := ""
	if !q.Repeated(h1.Traceparent) {
		parent = text(q.Value(r.b, h1.Traceparent))
	}
	r.span, r.own = r.x.Trace(parent, l.Edge() && l.NewTrace)
	return r.x.Find(l, &r.hit)
}

// errBridge says that the portable engine is to answer.
var errBridge = &flow.Refusal{Text: "not of this engine"}

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

// patience is how long an answer may take before the caller is watched: most are there
// sooner, and cost no watch.
const patience = 50 * time.Millisecond

// maxInterim bounds the interim answers to one request.
const maxInterim = 64

var errInterim = &h1.Error{Status: 502, Text: "more than 64 interim answers to one request"}

// answerHead reads heads of answers until there is one that is not interim, which are
// passed on.
func (r *request) answerHead(uc *upConn) error {
	c, x, w := r.c, r.x, r.c.w
	now := time.Now()
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
	limits := h1.Limits{Head: 256 << 10, Fields: 1000}
	interim := 0
	for {
		b := w.up[w.ur:w.uw]
		err := h1.ErrShort
		if len(b) > 0 {
			err = w.resp.Parse(b, limits)
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
			r.upload = c.startUpload(uc, r.sized)
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
		r.upload = c.startUpload(uc, r.sized)
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

// refuse answers f.
func (r *request) refuse(f *flow.Refusal) {
	c, w := r.c, r.c.w
	q := &w.req
	a := r.x.Refuse(f, text(q.Value(r.b, h1.ContentType)), text(q.Value(r.b, h1.Accept)))
	if c.gone.Load() || f.Status == 499 || r.begun {
		r.keep = false
		return
	}
	if !r.consumed() {
		r.keep = false
	}
	r.keep = r.keep && !c.s.draining.Load()
	out := w.out[:0]
	out = appendLine(out, a.Status)
	for _, f := range a.Fields {
		out = append(append(append(append(out, f[0]...), ": "...), f[1]...), "\r\n"...)
	}
	if a.Status != 204 { // RFC 9110, section 8.6
		out = append(out, "Content-Length: "...)
		out = appendInt(out, len(a.Body))
		out = append(out, "\r\n"...)
	}
	if !r.keep {
		out = append(out, "Connection: close\r\n"...)
	}
	out = append(out, "\r\n"...)
	if q.Verb != h1.HEAD {
		out = append(out, a.Body...)
		r.x.Rec.Out += int64(len(a.Body))
	}
	if err := c.write(out); err != nil {
		r.keep = false
		return
	}
	c.linger = !r.keep
}

// consumed says whether the whole request was read, and takes it out of the buffer if so.
func (r *request) consumed() bool {
	w := r.c.w
	if r.head != nil || r.whole {
		return r.whole
	}
	q := &w.req
	rest := w.in[w.r+q.Len : w.w]
	if q.Chunked {
		w.chunks.Reset()
		for len(rest) > 0 && !w.chunks.Done() {
			_, n, err := w.chunks.NextData(rest)
			if err != nil {
				return false
			}
			rest = rest[n:]
		}
		r.whole = w.chunks.Done()
	} else if n := max(q.ContentLength, 0); int64(len(rest)) >= n {
		rest = rest[n:]
		r.whole = true
	}
	if r.whole {
		w.r = w.w - len(rest)
	}
	return r.whole
}
