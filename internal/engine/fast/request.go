package fast

import (
	"errors"
	"time"
	"unsafe"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/route"
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

	// Of the attempt in work.
	safe     bool // the request may be sent twice
	e        *flow.Endpoint
	p        *pool
	uc       *upConn
	reused   bool          // uc carried a request before
	sent     time.Time     // when the request had left
	kind     h1.Body       // of the answer
	as       framing       // of its body, for the caller
	err      error         // with toFail
	unsent   []byte        // with toSend
	resent   bool          // the body was begun before: nobody is asked for it
	unread   []byte        // of the body, behind what was sent
	relaying bool          // with toAnswer: the head of the answer has left
	after    time.Duration // before another attempt
}

// one serves one request, and says whether the connection can have another.
func (c *conn) one() bool {
	b, err := c.head()
	r := c.request(b)
	switch {
	case err == h1.ErrPreface && c.tls == nil:
		c.handOver()
		return false
	case err != nil:
		return r.bad(err)
	}
	r.open(time.Now())
	f := r.find()
	if f == nil {
		if r.carries() {
			c.quick++
		} else {
			c.quick = 0
		}
		f = r.serve()
	}
	return r.end(f)
}

// request is the request whose head begins b, not looked at yet.
func (c *conn) request(b []byte) *request {
	r := &c.w.one
	*r = request{}
	r.c, r.x, r.b = c, &c.w.x, b
	return r
}

// open begins the exchange of a request whose head was read; now is when it came.
func (r *request) open(now time.Time) {
	c, x, b, q := r.c, r.x, r.b, &r.c.w.req
	x.Begin(c.s.o.Plane, now, c.s.o.Name, protocols[q.Minor])
	x.Req, x.TLS = r, c.tls != nil
	x.Rec.Method, x.Rec.Host, x.Rec.Path = text(q.Method.In(b)), text(q.Host.In(b)), text(q.Path.In(b))
	r.keep = q.KeepAlive && q.Minor == 1
}

// end ends a request with f, nil if it was answered, and says whether the connection can have
// another.
func (r *request) end(f *flow.Refusal) bool {
	c := r.c
	if f == errBridge {
		r.memo.Close()
		return c.bridge(r, c.s.o.Portable.ServeHTTP)
	}
	if r.memo != nil {
		f = r.instead(f)
	}
	if f != nil {
		r.refuse(f)
	}
	r.x.Finish()
	return !c.taken && r.keep && !c.s.draining.Load()
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
	l, f := r.c.s.o.Listener(nil)
	if l == nil && f == nil {
		ctx, stop := r.c.watched(time.Time{}, nil)
		l, f = r.c.s.o.Listener(ctx)
		stop()
	}
	return r.at(l, f)
}

// at finds the rule of a listener, nil with f.
func (r *request) at(l *flow.Listener, f *flow.Refusal) *flow.Refusal {
	q := &r.c.w.req
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
