package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// ServeHTTP takes one request that arrived at the binding.
func (b *binding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{p: b.p}
	x.Begin(b.p.plane, time.Now(), b.name, r.Proto)
	x.Rec.Method, x.Rec.Host = r.Method, r.Host
	x.TLS = r.TLS != nil
	defer func() {
		v := recover()
		if v != nil && v != http.ErrAbortHandler {
			b.p.o.Log.Error("panic in the proxy", "listener", b.name, "panic", v, "stack", string(debug.Stack()))
			f := x.Panicked(v)
			if x.Rec.Status == 0 {
				x.refuse(w, r, f)
				v = nil
			} else {
				v = http.ErrAbortHandler // the answer has begun: break its framing
			}
		}
		x.Finish()
		if v != nil {
			panic(v)
		}
	}()
	if f := b.serve(w, r, x); f != nil {
		x.refuse(w, r, f)
	}
}

// asked is a request of net/http as rules and policies read it.
type asked struct{ *http.Request }

// Header gives a field, of several lines joined.
func (a asked) Header(name string) (string, bool) {
	v := a.Request.Header[textproto.CanonicalMIMEHeaderKey(name)]
	return strings.Join(v, ", "), len(v) > 0
}

// Query gives the raw query.
func (a asked) Query() string {
	_, query, _ := splitTarget(a.RequestURI)
	return query
}

// Client gives the address of the other side.
func (a asked) Client() string {
	host, _, err := net.SplitHostPort(a.RemoteAddr)
	if err != nil {
		return a.RemoteAddr
	}
	return host
}

// Told gives what the caller says of time and priority.
func (a asked) Told() flow.Told {
	h := a.Request.Header
	return flow.Told{Timeout: h.Get("Stoa-Timeout-Ms"), GRPC: h.Get("Grpc-Timeout"),
		Envoy: h.Get("X-Envoy-Expected-Rq-Timeout-Ms"), Priority: h.Get("Stoa-Priority")}
}

// serve answers the request, or says what to answer.
func (b *binding) serve(w http.ResponseWriter, r *http.Request, x *exchange) *flow.Refusal {
	l, f := b.listener(r.Context())
	if f != nil {
		trace(http.Header{}, true, &x.Exchange)
		return f
	}
	x.At(l)
	x.Req = asked{r}
	path, query, force := splitTarget(r.RequestURI)
	x.Rec.Path = path

	h, bad := requestHeaders(r, l)
	trace(h, l.Edge() && l.NewTrace, &x.Exchange)
	if bad != "" {
		return &flow.Refusal{Reason: hop.BadRequest, Status: 400, Text: "Connection names " + bad}
	}
	if f := l.Fits(len(r.RequestURI), linesOf(r.Header)+1); f != nil { // Host is not among them
		return f
	}
	var hit route.Hit
	if f := x.Find(l, &hit); f != nil {
		return f
	}
	target := hit.Target(path)
	if x.Route.Site != nil {
		if _, f := x.Admit(r.Context()); f != nil {
			return f
		}
		x.EditAnswer(w.Header())
		return serveSite(w, r, x.Route.Site, target, x)
	}
	return b.forward(w, r, x, h, target, query, force)
}

// forward sends the request to its upstream and the answer back.
func (b *binding) forward(w http.ResponseWriter, r *http.Request, x *exchange, h http.Header, target, query string, force bool) *flow.Refusal {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	body := &requestBody{}
	if r.ContentLength != 0 {
		body.from = r.Body
	}
	timer := func() bool { return false } // stops it
	if d := x.Deadline(); !d.IsZero() {
		var t *time.Timer
		set := make(chan struct{})
		t = time.AfterFunc(time.Until(d), func() {
			if <-set; !x.Bounded() && body.from != nil && !body.over.Load() {
				t.Reset(x.Total()) // it begins when all was sent; an upload that stalls is ended by itself
				return
			}
			cancel(flow.ErrDeadline)
		})
		close(set)
		timer = t.Stop
		defer timer()
	}
	if x.Remembers() && upgradeOf(r.Header) == "" {
		came, _, _ := splitTarget(r.RequestURI)
		if query != "" || force {
			came += "?" + query
		}
		x.memo = x.Recall(came, fieldsOf(h, x.Edge), r.ContentLength != 0)
		defer x.memo.Close()
	}
	if x.memo == nil {
		if _, f := x.Admit(ctx); f != nil {
			return f
		}
		x.EditRequest(h)
	}
	u, err := outURL(target, query, force)
	if err != nil {
		return &flow.Refusal{Reason: hop.BadPath, Status: 400, Text: "path: " + err.Error()}
	}
	out := (&http.Request{Method: r.Method, URL: u, Header: h, Host: r.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	upgrade := upgradeOf(r.Header)
	if upgrade != "" {
		if r.ProtoMajor != 1 || r.ContentLength != 0 || strings.EqualFold(upgrade, "h2c") || x.Up.Protocol == snapshot.H2C {
			upgrade = "" // an upgrade is an offer: we do not take it. RFC 9110, section 7.8.
		} else {
			h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{upgrade}
		}
	}
	if body.from != nil {
		out.Trailer = r.Trailer
	}
	control := http.NewResponseController(w)
	if r.ProtoMajor == 1 && body.from != nil {
		control.EnableFullDuplex() // an answer may begin before the request has ended
	}
	if r.ProtoAtLeast(1, 1) {
		x.early = func(code int, eh textproto.MIMEHeader) {
			wh := w.Header()
			for k, v := range eh {
				wh[k] = v
			}
			w.WriteHeader(code)
			clear(wh)
		}
	}
	var resp *http.Response
	var f *flow.Refusal
	if x.memo != nil {
		resp, f = b.answer(x, out, body, r.ContentLength)
	} else {
		if upgrade == "" {
			b.copies(x, out, body)
		}
		resp, f = x.send(out, body, r.ContentLength)
	}
	x.Rec.In = body.n.Load()
	if f != nil {
		x.shut = r.ProtoMajor == 1 && body.broken.Load() != nil
		return f
	}
	// net/http's server would look for the next request wherever a broken body left it.
	x.shut = r.ProtoMajor == 1 && body.from != nil && !body.over.Load()
	defer resp.Body.Close()
	if c := resp.StatusCode; c > 999 || c < 200 && c != http.StatusSwitchingProtocols {
		return &flow.Refusal{Reason: hop.BadAnswer, Status: 502, Text: x.Up.Service + " answered with a status that is none"} // net/http takes 099 and +20
	}
	if x.Deadline().IsZero() { // it became a stream, which has no total
		timer()
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		if upgrade == "" || !strings.EqualFold(upgradeOf(resp.Header), upgrade) {
			return &flow.Refusal{Reason: hop.BadAnswer, Status: 502, Text: x.Up.Service + " switched protocols unasked"}
		}
		return b.tunnel(w, resp, x)
	}
	if quiet := x.Quiet(); quiet > 0 {
		t := time.AfterFunc(quiet, func() { cancel(flow.ErrDeadline) })
		defer t.Stop()
		passed := func() { t.Reset(quiet) }
		body.passed.Store(&passed)
		resp.Body = &watchedBody{resp.Body, passed}
	}
	b.relay(w, r, resp, x, ctx)
	x.Rec.In = body.n.Load()
	return nil
}

// splitTarget gives raw path and query of a request target in origin or absolute form.
// force says that there is a query and it is empty.
func splitTarget(target string) (path, query string, force bool) {
	if i := strings.Index(target, "://"); i > 0 && target[0] != '/' {
		target = target[i+3:]
		j := strings.IndexAny(target, "/?")
		switch {
		case j < 0:
			target = "/"
		case target[j] == '?':
			target = "/" + target[j:]
		default:
			target = target[j:]
		}
	}
	path, query, found := strings.Cut(target, "?")
	return path, query, found && query == ""
}

// outURL makes a URL that net/http writes byte for byte as path?query.
func outURL(path, query string, force bool) (*url.URL, error) {
	u := &url.URL{RawQuery: query, ForceQuery: force}
	if !strings.HasPrefix(path, "//") {
		u.Opaque = path
		return u, nil
	}
	// Opaque would be read as an authority. EscapedPath keeps RawPath if it fits Path.
	p, err := url.PathUnescape(path)
	if err != nil {
		return nil, err
	}
	if u.Path, u.RawPath = p, path; u.EscapedPath() != path {
		return nil, fmt.Errorf("%q cannot be passed on as it is", path)
	}
	return u, nil
}
