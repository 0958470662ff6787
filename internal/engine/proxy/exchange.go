package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/snapshot"
)

// Sent says how far a request came.
type Sent int

// A request was not sent if there never was a connection; it may have been if there
// was one; it was if an answer began.
const (
	No Sent = iota
	Maybe
	Yes
)

// String is the word for it.
func (s Sent) String() string { return [...]string{"no", "maybe", "yes"}[s] }

// exchange is one request on its way to an upstream and its answer, until finish.
type exchange struct {
	p      *Proxy
	up     *upstream
	series *series
	edge   bool // the caller is outside
	rec    hop.Record
	sent   Sent
	held   *endpoint // on which the exchange has a place; nil when given back
	conn   net.Conn  // of the last attempt

	early func(code int, h textproto.MIMEHeader) // takes 1xx answers; nil: dropped

	once sync.Once
}

// finish gives the place back, counts the exchange and hands over its record. It may
// be called twice; the first counts.
func (x *exchange) finish() {
	x.once.Do(func() {
		x.rec.Duration = time.Since(x.rec.Start)
		if x.held != nil {
			x.p.release(x.held)
			x.held = nil
		}
		if x.series != nil {
			x.series.count(&x.rec)
		}
		x.p.o.Sink.Hop(&x.rec)
	})
}

// maxAttempts bounds the attempts of one request: connections that did not come about
// are tried again until the hold is over, each with a pause once every endpoint has
// refused.
const maxAttempts = 64

// send makes attempts until an answer begins, or it is known that none will. out's
// context bounds it all. The place on the endpoint is given back by finish.
func (x *exchange) send(out *http.Request, body *requestBody, length int64) (*http.Response, *refusal) {
	ctx := out.Context()
	hold := orDefault(x.up.Hold, snapshot.DefaultHold)
	until := time.Now().Add(hold)
	once := repeatable(out)
	fresh := false
	var last error // of a connection that did not come about
	for n := range maxAttempts {
		e, f := x.p.take(ctx, x.up, until, &x.rec)
		if f != nil {
			if f.reason == hop.NoEndpoint && last != nil {
				f.reason, f.err = hop.Connect, last
			}
			return nil, f
		}
		x.held = e
		x.rec.Endpoint, x.rec.Address, x.rec.Instance = e.ID, e.Address, e.Instance
		before := x.sent
		resp, a, err := x.attempt(out, e, body, length, n > 0, fresh)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			f := gone(ctx, x.up)
			f.err = err
			return nil, f
		}
		untouched := a.body.seal()
		if a.connected && dialing(err) && untouched {
			// net/http took a kept connection that was dead, left it without a byte sent,
			// and then failed to make a new one.
			a.connected, x.sent = false, before
		}
		switch {
		case !a.connected && untouched: // nothing was sent
			if tlsFailed(err) {
				return nil, &refusal{reason: hop.Connect, status: 502, text: "no trusted connection to " + x.up.service, err: err,
					hint: "Check the certificate of its origin: stoa why " + x.up.service}
			}
			if !dialFailed(err) {
				return nil, &refusal{reason: hop.BadRequest, status: 502, text: "the request cannot be sent on", err: err}
			}
			e.refused()
			last = err
			if hold == 0 && x.onlyRefused() {
				return nil, &refusal{reason: hop.Connect, status: 503, text: "no connection to " + x.up.service, err: err,
					hint: "See its state: stoa why " + x.up.service}
			}
		case a.reused && !a.answered && untouched && once && !timedOut(err):
			once, fresh = false, true // the kept connection died as we sent
		case timedOut(err):
			return nil, &refusal{reason: hop.Deadline, status: 504, text: x.up.service + " did not begin to answer in time", err: err}
		case a.answered:
			return nil, &refusal{reason: hop.BadAnswer, status: 502, text: x.up.service + " gave an answer that cannot be read", err: err}
		default:
			return nil, &refusal{reason: hop.Upstream, status: 502, text: "the connection to " + x.up.service + " broke before an answer",
				err: err, hint: "It may have happened. See why it broke: stoa why " + x.up.service}
		}
		x.p.release(e)
		x.held = nil
	}
	return nil, &refusal{reason: hop.Connect, status: 503, text: "no connection to " + x.up.service, err: last}
}

// onlyRefused says whether every endpoint is one that refused lately.
func (x *exchange) onlyRefused() bool {
	e, _ := x.up.pool.set.Load().pick(time.Now().UnixNano())
	return e == nil
}

// attempted is what is known of one attempt.
type attempted struct {
	body      *attemptBody
	connected bool // there was a connection
	reused    bool // and it was a kept one
	answered  bool // a byte of answer came
}

// attempt sends out once.
func (x *exchange) attempt(out *http.Request, e *endpoint, body *requestBody, length int64, again, fresh bool) (*http.Response, attempted, error) {
	proto := e.protocol(x.up)
	to := *out.URL
	// The trailer is the caller's own map, which fills as the body ends.
	try := &http.Request{Method: out.Method, URL: &to, Header: out.Header, Host: out.Host, Trailer: out.Trailer,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if again {
		try.Header = out.Header.Clone() // the attempt before may still read it
	}
	var mu sync.Mutex // the transport calls the hooks from its own goroutines
	var a attempted
	over := false
	a.body = prepare(try, body, length, proto)
	try.URL.Scheme, try.URL.Host = "http", e.Address
	if proto == snapshot.HTTPS {
		try.URL.Scheme = "https"
	}
	switch {
	case x.up.Host != "":
		try.Host = x.up.Host
	case proto == snapshot.HTTPS:
		try.Host = strings.TrimSuffix(e.Address, ":443")
	}
	tr := &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			mu.Lock()
			defer mu.Unlock()
			a.connected, a.reused = true, i.Reused
			if !over {
				x.conn = i.Conn
				x.rec.Attempts++
				x.sent = max(x.sent, Maybe)
			}
			e.connected()
		},
		GotFirstResponseByte: func() {
			mu.Lock()
			defer mu.Unlock()
			a.answered = true
			if !over {
				x.sent = Yes
				x.rec.Head = time.Since(x.rec.Start)
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
	try = try.WithContext(httptrace.WithClientTrace(out.Context(), tr))
	ways := e.transports(x.p, x.up)
	t := ways.kept
	if fresh {
		t = ways.fresh
	}
	resp, err := t.RoundTrip(try)
	mu.Lock()
	defer mu.Unlock()
	over = true
	if err == nil {
		a.connected, a.answered, x.sent = true, true, Yes
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
