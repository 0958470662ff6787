package proxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
)

// Outcome is what is known of a call when its answer begins, or it is known that none
// will. How it ended is known when the answer's body has been read: an error of Read
// says that it broke off.
type Outcome struct {
	Answered bool       // by the service; else the error says why the proxy did
	Sent     flow.Sent  // how far the request came
	Reason   hop.Reason // why the proxy answered; "" if the service did
	Attempts int        // connections on which the request was begun
	Endpoint string     // id of the one tried last
	Trace    hop.TraceID
}

// Call sends req to upstream for caller (a service, or "stoa" and the name of a part),
// as a request at a listener of that caller would be: held, balanced, traced (the
// Traceparent of req is continued), recorded, never repeated behind the caller's back. Path
// and query leave as req.URL writes them, its host does not matter; ctx bounds all until
// the answer's body is closed, which the caller must do.
//
// The error is a *fault.Error: NotFound (no such upstream), Unavailable (nothing was
// sent), Unknown (it may have happened). A status of the service, also 5xx, is no error.
func (p *Proxy) Call(ctx context.Context, caller, upstream string, req *http.Request) (*http.Response, Outcome, error) {
	x := &exchange{p: p}
	x.Begin(p.plane, time.Now(), "", "HTTP/1.1")
	x.Rec.Caller, x.Rec.Method, x.Rec.Host = caller, req.Method, req.Host
	if x.Rec.Method == "" {
		x.Rec.Method = http.MethodGet
	}
	h := req.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	trace(h, false, &x.Exchange)
	closeBody := func() {
		if req.Body != nil {
			req.Body.Close()
		}
	}
	fail := func(f *flow.Refusal) (*http.Response, Outcome, error) {
		x.Rec.Reason, x.Rec.Error, x.Rec.Status = f.Reason, f.Error(), f.Status
		closeBody()
		o := x.outcome()
		x.Finish()
		return nil, o, f.Fault(upstream, o.Sent)
	}
	if !x.To(caller, upstream) {
		f := &flow.Refusal{Reason: hop.NoRoute, Status: 404, Text: "no upstream " + upstream + " in the snapshot"}
		return fail(f)
	}
	removeHopByHop(h)
	var target string
	if req.URL != nil {
		target = req.URL.RequestURI()
	}
	path, query, force := splitTarget(target)
	x.Rec.Path = path
	to, err := outURL(path, query, force)
	if err != nil || path == "" || path[0] != '/' {
		return fail(&flow.Refusal{Reason: hop.BadPath, Status: 400, Text: "path " + path, Err: err})
	}
	if d, ok := ctx.Deadline(); ok {
		x.Until(d)
	}
	if _, f := x.Admit(ctx); f != nil {
		return fail(f)
	}
	ctx, cancel := context.WithCancel(ctx)
	out := (&http.Request{Method: x.Rec.Method, URL: to, Header: h, Host: req.Host, Trailer: req.Trailer,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	if out.Host == "" && req.URL.Host != "" {
		out.Host = req.URL.Host
	}
	body := &requestBody{}
	length := int64(0)
	if req.Body != nil && req.Body != http.NoBody {
		body.from = req.Body
		if length = req.ContentLength; length == 0 {
			length = -1
		}
	}
	resp, f := x.send(out, body, length)
	x.Rec.In = body.n.Load()
	if f != nil {
		cancel()
		return fail(f)
	}
	x.Rec.Status = resp.StatusCode
	grpcStatus(resp.Header, &x.Rec)
	removeHopByHop(resp.Header)
	dropOwn(resp.Header)
	x.EditAnswer(resp.Header)
	resp.Request = req
	resp.Body = &callBody{ReadCloser: resp.Body, end: func(n int64, err error) {
		ended := ctx.Err() != nil
		cancel()
		closeBody()
		x.Rec.In, x.Rec.Out = body.n.Load(), n
		grpcStatus(resp.Trailer, &x.Rec)
		if err != nil {
			x.Rec.Reason, x.Rec.Error = hop.Truncated, err.Error()
			if ended {
				x.Rec.Reason = flow.Gone(ctx, x.Up).Reason
			}
		}
		x.Finish()
	}}
	return resp, x.outcome(), nil
}

func (x *exchange) outcome() Outcome {
	return Outcome{Answered: x.Rec.Reason == "", Sent: x.Sent, Reason: x.Rec.Reason,
		Attempts: x.Rec.Attempts, Endpoint: x.Rec.Endpoint, Trace: x.Rec.Trace}
}

// callBody is an answer's body that says when it ends.
type callBody struct {
	io.ReadCloser
	n    int64
	err  error
	once sync.Once
	end  func(n int64, err error)
}

func (b *callBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if err != nil && err != io.EOF && b.err == nil {
		b.err = err
	}
	return n, err
}

// Close ends the exchange. Closed before its end, the answer counts as complete.
func (b *callBody) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(func() { b.end(b.n, b.err) })
	return err
}
