package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"stoa/internal/engine/cache"
	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
)

// fieldsOf gives the fields that caches read of a request that is sent on, without those
// that the proxy adds.
func fieldsOf(h http.Header, edge bool) cache.Fields {
	f := make(cache.Fields, 0, len(h))
	for name, values := range h {
		if name == "Traceparent" || name == "Tracestate" || edge && strings.HasPrefix(name, "X-Forwarded-") {
			continue
		}
		for _, v := range values {
			f = append(f, cache.Field{Name: name, Value: v})
		}
	}
	return f
}

func answerFields(h http.Header) cache.Fields {
	f := make(cache.Fields, 0, len(h))
	for name, values := range h {
		for _, v := range values {
			f = append(f, cache.Field{Name: name, Value: v})
		}
	}
	return f
}

// answer gets the answer to out: one that is kept, or the service's, or what stands in for
// its failure. x.memo is closed by the caller, when the answer's body was.
func (b *binding) answer(x *exchange, out *http.Request, body *requestBody, length int64) (*http.Response, *flow.Refusal) {
	m := x.memo
	g, refresh := m.Look()
	if refresh {
		b.refresh(m, x.Rec.Caller, x.Up, out)
	}
	if g != nil {
		return x.gives(g), nil
	}
	ctx := out.Context()
	if m.Joins() {
		g, within, err := m.Join(ctx)
		switch {
		case err != nil:
			return nil, flow.Gone(ctx, x.Up)
		case g != nil:
			return x.gives(g), nil
		}
		out, ctx = out.WithContext(within), within
	}
	var resp *http.Response
	var v flow.Verdict
	_, f := x.Admit(ctx)
	if f == nil {
		x.EditRequest(out.Header)
		b.copies(x, out, body)
		resp, v, f = x.ask(m, out, body, length)
	}
	if f == nil {
		f = v.Refusal
	}
	switch {
	case f != nil:
		g, up := m.Failed(f)
		switch {
		case g != nil:
			return x.gives(g), nil
		case up == nil:
			return nil, f
		}
		resp := x.p.elsewhere(&x.Exchange, up, out)
		m.Elsewhere(resp != nil)
		if resp == nil {
			return nil, f
		}
		return resp, nil
	case v.Give != nil:
		return x.gives(v.Give), nil
	case v.Collect:
		collect(m, resp)
	case v.Record:
		resp.Body = &recorded{ReadCloser: resp.Body, m: m, resp: resp}
	}
	return resp, nil
}

func (x *exchange) gives(g *flow.Given) *http.Response {
	x.Gave(g)
	return responseOf(g)
}

// ask sends out for m, and judges the answer. An answer that is not relayed is closed.
func (x *exchange) ask(m *flow.Memo, out *http.Request, body *requestBody, length int64) (*http.Response, flow.Verdict, *flow.Refusal) {
	plain := out.Header
	for {
		if m.Validates() {
			out.Header = plain.Clone()
			out.Header.Del("If-None-Match")
			out.Header.Del("If-Modified-Since")
			for _, f := range m.Conditions(nil) {
				out.Header.Set(f.Name, f.Value)
			}
		} else {
			out.Header = plain
		}
		resp, f := x.send(out, body, length)
		if f != nil {
			return nil, flow.Verdict{}, f
		}
		v := m.Took(resp.StatusCode, answerFields(resp.Header))
		if v.Give != nil || v.Refusal != nil || v.Again {
			resp.Body.Close()
		}
		if !v.Again {
			return resp, v, nil
		}
	}
}

// recorded is a body that is kept as it passes.
type recorded struct {
	io.ReadCloser
	m    *flow.Memo
	resp *http.Response
}

func (b *recorded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.m.Write(p[:n])
	}
	if err != nil {
		b.m.End(err == io.EOF && len(b.resp.Trailer) == 0)
	}
	return n, err
}

// collect reads the whole body, for those who wait for it, before the caller gets any; or
// as much of it as there is room for. An error comes again when the body is read.
func collect(m *flow.Memo, resp *http.Response) {
	from := resp.Body
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		n, err := from.Read(buf[:])
		held := m.Held()
		if n > 0 && !m.Write(buf[:n]) {
			held = append(bytes.Clone(held), buf[:n]...)
			resp.Body = &rejoined{io.MultiReader(bytes.NewReader(held), ended{from, err}), from}
			return
		}
		if err != nil {
			held = m.Held()
			m.End(err == io.EOF && len(resp.Trailer) == 0)
			resp.Body = &rejoined{io.MultiReader(bytes.NewReader(held), ended{from, err}), from}
			return
		}
	}
}

// rejoined reads what was read already, and then on.
type rejoined struct {
	io.Reader
	io.Closer
}

// ended is a reader that has given err, if it is not nil.
type ended struct {
	io.Reader
	err error
}

func (e ended) Read(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return e.Reader.Read(p)
}

// aside makes an exchange of a request that Stoa makes on behalf of another, and the
// request to send: of the same trace, if it has one.
func (p *Proxy) aside(caller, upstream string, of *http.Request) (*exchange, *http.Request, bool) {
	y := &exchange{p: p}
	y.Begin(p.plane, time.Now(), "", "HTTP/1.1")
	y.Rec.Method, y.Rec.Host, y.Rec.Path = of.Method, of.Host, pathOf(of.URL)
	h := of.Header.Clone()
	trace(h, false, &y.Exchange)
	if !y.To(caller, upstream) {
		return nil, nil, false
	}
	u := *of.URL
	out := (&http.Request{Method: of.Method, URL: &u, Header: h, Host: of.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(of.Context())
	return y, out, true
}

func pathOf(u *url.URL) string {
	if u.Opaque != "" {
		return u.Opaque
	}
	return u.EscapedPath()
}

// elsewhere asks the upstream that stands in for that of x, once. It gives no answer if that
// fails, too.
func (p *Proxy) elsewhere(x *flow.Exchange, up *flow.Upstream, of *http.Request) *http.Response {
	y, out, ok := p.aside(x.Rec.Caller, up.Name, of)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithCancel(out.Context())
	if d := x.Deadline(); !d.IsZero() {
		ctx, cancel = context.WithDeadline(out.Context(), d)
	}
	resp, f := y.sends(out.WithContext(ctx), &requestBody{}, 0)
	if f != nil {
		cancel()
		y.ends(f)
		return nil
	}
	y.Rec.Status = resp.StatusCode
	grpcStatus(resp.Header, &y.Rec)
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body.Close()
		cancel()
		y.Finish()
		return nil
	}
	resp.Body = &callBody{ReadCloser: resp.Body, end: func(n int64, err error) {
		cancel()
		y.Rec.Out = n
		y.Finish()
	}}
	return resp
}

// sends admits and sends a request that is Stoa's own.
func (x *exchange) sends(out *http.Request, body *requestBody, length int64) (*http.Response, *flow.Refusal) {
	ctx := out.Context()
	if d, ok := ctx.Deadline(); ok {
		x.Until(d)
	}
	if _, f := x.Admit(ctx); f != nil {
		return nil, f
	}
	x.EditRequest(out.Header)
	return x.send(out, body, length)
}

// ends ends an exchange that nobody is told of.
func (x *exchange) ends(f *flow.Refusal) {
	x.Rec.Reason, x.Rec.Error, x.Rec.Status = f.Reason, f.Error(), f.Status
	x.Finish()
}

// standIn answers a request of the fast engine from the upstream that stands in for its own,
// or with f. target is the path that the rule asks for.
func (b *binding) standIn(w http.ResponseWriter, r *http.Request, x *flow.Exchange, m *flow.Memo, up *flow.Upstream, target string, f *flow.Refusal) {
	var resp *http.Response
	out := b.copyOf(r, x, target)
	if out != nil {
		resp = b.p.elsewhere(x, up, out)
	}
	m.Elsewhere(resp != nil)
	y := &exchange{p: b.p, Exchange: *x}
	defer func() { *x = y.Exchange }()
	if resp == nil {
		y.refuse(w, r, f)
		return
	}
	defer resp.Body.Close()
	b.relay(w, r, resp, y, out.Context())
}

// refreshes is refresh for a request of the fast engine.
func (b *binding) refreshes(r *http.Request, x *flow.Exchange, m *flow.Memo, target string) {
	if out := b.copyOf(r, x, target); out != nil {
		b.refresh(m, x.Rec.Caller, x.Up, out)
	}
}

// copyOf is the request that is sent on for r, without a body; nil if the listener is gone.
func (b *binding) copyOf(r *http.Request, x *flow.Exchange, target string) *http.Request {
	l := b.p.plane.Table().Listeners[b.name]
	if l == nil {
		return nil
	}
	h, _ := requestHeaders(r, l)
	span := hop.Context{Trace: x.Rec.Trace, Span: x.Rec.Span}
	if x.Rec.Sampled {
		span.Flags = 1
	}
	h["Traceparent"] = []string{span.Traceparent()}
	if x.Rec.Parent.IsZero() {
		delete(h, "Tracestate")
	}
	_, query, force := splitTarget(r.RequestURI)
	u, err := outURL(target, query, force)
	if err != nil {
		return nil
	}
	return (&http.Request{Method: r.Method, URL: u, Header: h, Host: r.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(r.Context())
}
