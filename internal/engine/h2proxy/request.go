package h2proxy

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"
	"unsafe"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/h2"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/snapshot"
)

// text gives b as a string that is good as long as b does not change.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf gives s as bytes that must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// protocol is what records say.
const protocol = "HTTP/2.0"

var errLeft = errors.New("the caller reset the stream")

// serve answers the request.
func (w *work) serve() {
	x, h := &w.x, w.s.Head
	x.Begin(w.srv.o.Plane, time.Now(), w.srv.o.Name, protocol)
	x.Req, x.TLS = w, w.c.TLS != nil
	w.path = text(h.Path)
	path, _, _ := strings.Cut(w.path, "?")
	x.Rec.Method, x.Rec.Host, x.Rec.Path = text(h.Method), text(h.Authority), path
	f := w.find()
	if f == nil {
		if f = w.forward(); f == errBridge {
			w.bridge()
			return
		}
	}
	if f != nil {
		w.refuse(f)
	}
	x.Finish()
}

// errBridge says that the portable engine is to answer.
var errBridge = &flow.Refusal{Text: "not of this engine"}

// Header gives a field of the request, of several lines joined: for rules and policies.
func (w *work) Header(name string) (value string, ok bool) {
	h := w.s.Head
	for i := h.First; i < h.Len(); i++ {
		n, v := h.At(i)
		switch {
		case !sameName(n, name):
		case !ok:
			value, ok = text(v), true
		case sameName(n, "cookie"): // RFC 9113, section 8.2.3
			value += "; " + text(v)
		default:
			value += ", " + text(v)
		}
	}
	return value, ok
}

// sameName says whether a name in lower case is this one, in any case.
func sameName(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i, c := range b {
		d := name[i]
		if 'A' <= d && d <= 'Z' {
			d |= 0x20
		}
		if c != d {
			return false
		}
	}
	return true
}

// Query gives the raw query.
func (w *work) Query() string {
	_, query, _ := strings.Cut(w.path, "?")
	return query
}

// Client gives the address of the caller.
func (w *work) Client() string { return w.c.Client }

// Told gives what the caller says of time and priority.
func (w *work) Told() (t flow.Told) {
	h := w.s.Head
	for i := h.First; i < h.Len(); i++ {
		n, v := h.At(i)
		switch string(n) {
		case "grpc-timeout":
			t.GRPC = text(v)
		case "stoa-timeout-ms":
			t.Timeout = text(v)
		case "stoa-priority":
			t.Priority = text(v)
		case "x-envoy-expected-rq-timeout-ms":
			t.Envoy = text(v)
		}
	}
	return t
}

// watched is a context that ends when the caller leaves, or at the deadline.
func (w *work) watched(deadline time.Time, cause error) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(w.srv.ctx)
	var timer *time.Timer
	if !deadline.IsZero() {
		timer = time.AfterFunc(time.Until(deadline), func() { cancel(cause) })
	}
	w.s.Interrupt(func() { cancel(errLeft) })
	return ctx, func() {
		w.s.Interrupt(nil)
		if timer != nil {
			timer.Stop()
		}
		cancel(nil)
	}
}

// find finds listener and rule.
func (w *work) find() *flow.Refusal {
	l, f := w.srv.o.Listener(nil)
	if l == nil && f == nil {
		ctx, stop := w.watched(time.Time{}, nil)
		l, f = w.srv.o.Listener(ctx)
		stop()
	}
	if f != nil {
		w.x.Trace("", true)
		return f
	}
	w.x.At(l)
	parent, bad := w.look(l)
	w.span, w.own = w.x.Trace(parent, l.Edge() && l.NewTrace)
	if bad != nil {
		return bad
	}
	return w.x.Find(l, &w.hit)
}

// look finds the caller's trace, and refuses what HTTP/1.1 refuses: a service may speak that.
func (w *work) look(l *flow.Listener) (parent string, f *flow.Refusal) {
	h := w.s.Head
	if h.Over() {
		return "", &flow.Refusal{Reason: hop.BadRequest, Status: 431, Text: "the head of the request is too large"}
	}
	if f := l.Fits(len(h.Path), h.Len()-h.First+1); f != nil { // with the host, which is no field here
		return "", f
	}
	for _, c := range h.Path {
		if c == '#' || c >= 0x80 {
			return "", &flow.Refusal{Reason: hop.BadPath, Status: 400, Text: "a byte in the target that must be escaped"}
		}
	}
	if !h1.IsHost(h.Authority) && len(h.Authority) > 0 {
		return "", &flow.Refusal{Reason: hop.BadRequest, Status: 400, Text: "an authority that is none"}
	}
	traces := 0
	for i := h.First; i < h.Len(); i++ {
		n, v := h.At(i)
		switch {
		case string(n) == "traceparent":
			parent = text(v)
			traces++
		case h1.Misspelt(n):
			f = &flow.Refusal{Reason: hop.BadRequest, Status: 400, Text: "a field that some read as one of framing"}
		}
	}
	if traces > 1 {
		parent = ""
	}
	return parent, f
}

// forward sends the request to its upstream and the answer back, or says what to answer.
func (w *work) forward() *flow.Refusal {
	x := &w.x
	if x.Route.Site != nil || x.Remembers() || x.Mirrors() || x.Hedges() || x.P.Faulty() ||
		!x.Up.Only(snapshot.H2C) && !x.Up.Only(snapshot.HTTP1) || w.s.Head.Value("expect") != nil {
		return errBridge
	}
	wait, f := x.Admit(flow.AtOnce)
	if wait {
		ctx, stop := w.watched(x.Deadline(), flow.ErrDeadline)
		_, f = x.Admit(ctx)
		stop()
	}
	if f != nil {
		return f
	}
	w.body.begin(w.s)
	safe := w.repeatable()
	for {
		e, f := w.take()
		if f != nil {
			return f
		}
		var again bool
		switch e.Speaks(x.Up) {
		case snapshot.H2C:
			again, f = w.attempt2(e, safe)
		case snapshot.HTTP1:
			again, f = w.attempt1(e, safe)
		default: // the endpoints have just changed
			if w.body.gone {
				return &flow.Refusal{Reason: hop.NoEndpoint, Status: 503, Text: x.Up.Service + " has just changed its protocol"}
			}
			x.Abandon()
			return errBridge
		}
		if !again {
			return f
		}
		if w.s.Err() != nil {
			return flow.Left(errLeft)
		}
	}
}

// take gives an endpoint, and watches the caller if that takes a while.
func (w *work) take() (*flow.Endpoint, *flow.Refusal) {
	e, f := w.x.Take(flow.AtOnce)
	if e != nil || f != nil {
		return e, f
	}
	ctx, stop := w.watched(w.x.Deadline(), flow.ErrDeadline)
	defer stop()
	return w.x.Take(ctx)
}

// pause waits before another attempt.
func (w *work) pause(d time.Duration) *flow.Refusal {
	if d <= 0 {
		return nil
	}
	ctx, stop := w.watched(w.x.Deadline(), flow.ErrDeadline)
	defer stop()
	if !flow.Pause(ctx, d) {
		return flow.Gone(ctx, w.x.Up)
	}
	return nil
}

// repeatable says whether the request may be sent twice, by its method or its key.
func (w *work) repeatable() bool {
	if retry.Repeatable(w.x.Rec.Method, false, false) && w.x.Rec.Method != "TRACE" {
		return true
	}
	h := w.s.Head
	return h.Value("idempotency-key") != nil || h.Value("x-idempotency-key") != nil
}

// refuse answers f.
func (w *work) refuse(f *flow.Refusal) {
	h := w.s.Head
	a := w.x.Refuse(f, text(h.Value("content-type")), text(h.Value("accept")))
	if w.begun || f.Status == 499 || w.s.Err() != nil {
		w.s.Reset(h2.Cancel)
		return
	}
	w.start(a.Status)
	for _, f := range a.Fields {
		w.add(f[0], bytesOf(f[1]))
	}
	if a.Status != 204 && a.Status != 304 { // RFC 9110, section 8.6
		w.addLength(int64(len(a.Body)))
	}
	w.begun = true
	bare := len(a.Body) == 0 || string(h.Method) == "HEAD"
	if w.s.SendHead(w.fields, bare) == nil && !bare {
		w.send(a.Body, true)
	}
}

// stays says whether a field of the request is sent on as it came.
func (w *work) stays(id h1.ID, value []byte) bool {
	switch id {
	case h1.Host, h1.Traceparent, h1.StoaField:
		return false
	case h1.TE: // RFC 9110, section 10.1.4: h2 has seen that it is trailers
		return true
	case h1.Tracestate:
		return w.own
	case h1.Identity:
		return !w.x.Edge
	case h1.Cookie:
		return !w.x.Edge || !bytes.Contains(value, bytesOf(flow.PrivateCookies))
	}
	return !id.OfHop()
}
