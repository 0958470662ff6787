package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/snapshot"
)

// exchange is a request that the portable engine carries.
type exchange struct {
	flow.Exchange
	p    *Proxy
	conn net.Conn   // of the last attempt
	shut bool       // the caller's connection is out of step after this: HTTP/1.1 only
	memo *flow.Memo // of a route that keeps answers; nil: it does not

	shadow bool // it is a copy: its Host says so

	early func(code int, h textproto.MIMEHeader) // takes 1xx answers; nil: dropped
}

// send makes attempts until an answer begins, or it is known that none will. out's
// context bounds it all. The place on the endpoint is given back by Finish.
func (x *exchange) send(out *http.Request, body *requestBody, length int64) (*http.Response, *flow.Refusal) {
	ctx := out.Context()
	safe := repeatable(out)
	body.keep = x.MayRetry(safe)
	for n := 0; ; n++ {
		if x.p.plane.Faulty() {
			if resp, again, f := x.inject(out, body); resp != nil || f != nil {
				return resp, f
			} else if again {
				continue
			}
		}
		e, f := x.Take(ctx)
		if f != nil {
			return nil, f
		}
		before := x.Sent
		var resp *http.Response
		var a attempted
		var err error
		if x.Hedges() {
			resp, a, err = x.attemptHedged(out, e, body, length, n > 0)
		} else {
			resp, a, err = x.attempt(out, e, body, length, n > 0)
		}
		if err == nil {
			head := flow.AnswerHead{Status: resp.StatusCode, GRPC: -1, Length: resp.ContentLength, Untouched: !body.gone.Load(), Safe: safe,
				ContentType: resp.Header.Get("Content-Type"), RetryAfter: resp.Header.Get("Retry-After"),
				Pushback: resp.Header.Get("Grpc-Retry-Pushback-Ms"), NoRetry: resp.Header.Get("Stoa-Retry") == "no"}
			if v := resp.Header["Grpc-Status"]; len(v) == 1 {
				if s, err := strconv.Atoi(v[0]); err == nil && s >= 0 {
					head.GRPC = s
				}
			}
			again, pause := x.Answered(head)
			if !again {
				return resp, nil
			}
			a.body.seal()
			resp.Body.Close()
			a.cancel(nil)
			if !flow.Pause(ctx, pause) {
				return nil, flow.Gone(ctx, x.Up)
			}
			continue
		}
		if ctx.Err() != nil {
			f := flow.Gone(ctx, x.Up)
			f.Err = err
			return nil, f
		}
		if f := body.refusal(); f != nil {
			a.body.seal()
			return nil, f
		}
		unread := a.body.seal()
		if a.connected && dialing(err) && unread {
			// net/http took a kept connection that was dead, left it without a byte sent,
			// and then failed to make a new one.
			a.connected, x.Sent = false, before
		}
		how := flow.Attempt{Reused: a.reused, Answered: a.answered, Untouched: !body.gone.Load(), Safe: safe, Err: err}
		switch {
		case !a.connected && unread: // nothing was sent
			how.Failure = flow.Unsendable
			if tlsFailed(err) {
				how.Failure = flow.Untrusted
			} else if dialFailed(err) {
				how.Failure = flow.Dial
			}
		case timedOut(err) || a.late():
			how.Failure = flow.Slow
		case a.answered:
			how.Failure = flow.Garbled
		}
		if pause, f := x.Failed(how); f != nil {
			return nil, f
		} else if !flow.Pause(ctx, pause) {
			return nil, flow.Gone(ctx, x.Up)
		}
	}
}

// attempted is what is known of one attempt.
type attempted struct {
	body      *attemptBody
	connected bool // there was a connection
	reused    bool // and it was a kept one
	answered  bool // a byte of answer came

	cancel context.CancelCauseFunc // ends it, and the reading of its answer
	late   func() bool             // its time ran out
}

// errTry is the cause of an attempt whose own time ran out.
var errTry = errors.New("the time for the attempt ran out")

// attempt sends out once.
func (x *exchange) attempt(out *http.Request, e *flow.Endpoint, body *requestBody, length int64, again bool) (*http.Response, attempted, error) {
	proto := e.Speaks(x.Up)
	to := *out.URL
	// The trailer is the caller's own map, which fills as the body ends.
	try := &http.Request{Method: out.Method, URL: &to, Header: out.Header, Host: out.Host, Trailer: out.Trailer,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if again {
		try.Header = out.Header.Clone() // the attempt before may still read it
	}
	var mu sync.Mutex // the transport calls the hooks from its own goroutines
	var a attempted
	var timer *time.Timer // guarded by mu
	over := false
	x.TellTime(try.Header)
	a.body = prepare(try, body, length, proto)
	try.URL.Scheme, try.URL.Host = "http", e.Address
	if proto == snapshot.HTTPS {
		try.URL.Scheme = "https"
	}
	switch {
	case x.Up.Host != "":
		try.Host = x.Up.Host
	case proto == snapshot.HTTPS:
		try.Host = strings.TrimSuffix(e.Address, ":443")
	}
	if x.shadow {
		try.Host = shadowOf(try.Host)
	}
	tr := &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			mu.Lock()
			defer mu.Unlock()
			a.connected, a.reused = true, i.Reused
			if !over {
				x.conn = i.Conn
				x.Connected()
				x.Begun()
				if until := x.TryDeadline(); !until.IsZero() && until != x.Deadline() {
					timer = time.AfterFunc(time.Until(until), func() { a.cancel(errTry) })
				}
			}
		},
		GotFirstResponseByte: func() {
			mu.Lock()
			defer mu.Unlock()
			a.answered = true
			if !over {
				x.Answering()
			}
		},
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			// 100 is the server's own affair: it sends it when the body is read.
			if !over && code != http.StatusContinue && x.early != nil {
				x.early(code, h)
			}
			return nil
		},
	}
	ctx, cancel := context.WithCancelCause(out.Context()) // which ends it, if nobody does before
	a.cancel, a.late = cancel, func() bool { return context.Cause(ctx) == errTry }
	try = try.WithContext(httptrace.WithClientTrace(ctx, tr))
	ways := x.p.transports(e, x.Up)
	t := ways.kept
	if x.Fresh {
		t = ways.fresh
	}
	resp, err := t.RoundTrip(try)
	mu.Lock()
	defer mu.Unlock()
	over = true
	if timer != nil {
		timer.Stop()
	}
	if err == nil {
		a.connected, a.answered, x.Sent = true, true, flow.Yes
	}
	return resp, a, err
}

// dialing says whether err is of making a connection.
func dialing(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// dialFailed says whether an error is of a connection that did not come about, rather
// than of a request that net/http will not send.
func dialFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, context.DeadlineExceeded) || timedOut(err)
}

// tlsFailed says whether the other side did not prove who it is, or spoke no TLS.
func tlsFailed(err error) bool {
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &cert) || errors.As(err, &record) || errors.As(err, &alert)
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
