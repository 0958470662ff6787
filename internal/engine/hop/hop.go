// Package hop is the record of one hop: one request as the proxy saw it.
//
// The proxy fills a Record while a request passes and gives it to a Sink when the
// answer's body has closed, since only then is it known how the request ended. The
// sink makes a span, an access line and rates of it; it copies what it keeps. Ring is
// the sink that stands between the hot path and slow readers: bounded, without
// waiting, counting what it drops.
//
// Context is the trace context that ties hops together (W3C Trace Context, level 1).
package hop

import (
	"strings"
	"time"
)

// Reason says why the proxy answered itself. It is the value of Stoa-Reason, a closed
// list: it is shown to people, and label of metrics.
type Reason string

// The reasons. Empty means that the service answered.
const (
	NoListener Reason = "no-listener" // nothing is declared for the listener that was called
	NoRoute    Reason = "no-route"    // no rule matches host and path
	NoMethod   Reason = "no-method"   // a rule matches but for its methods
	BadPath    Reason = "bad-path"    // not in canonical form
	BadRequest Reason = "bad-request" // against the protocol
	NoEndpoint Reason = "no-endpoint" // no endpoint became ready within the hold
	Stopped    Reason = "stopped"     // the service was stopped
	Failing    Reason = "failing"     // no endpoint is ready, and none is on its way
	Overload   Reason = "overload"    // a bound of the proxy was reached
	Breaker    Reason = "breaker"     // the service fails, and is left alone for a while
	Limit      Reason = "limit"       // as many requests are at the service as it can take
	Shed       Reason = "shed"        // the service is overloaded, and others are more important
	Rate       Reason = "rate"        // more requests than a rate allows
	Origin     Reason = "origin"      // pages of this origin may not call
	Connect    Reason = "connect"     // no connection to an endpoint; nothing was sent
	Upstream   Reason = "upstream"    // the connection broke before an answer; it may have happened
	BadAnswer  Reason = "bad-answer"  // the answer broke the protocol
	Deadline   Reason = "deadline"    // the time for the call ran out
	Cancelled  Reason = "cancelled"   // the caller went away
	Truncated  Reason = "truncated"   // the answer began and broke off
	Stopping   Reason = "stopping"    // the proxy is being stopped
	Defect     Reason = "defect"      // a panic of ours
)

// Record is one hop. It has a fixed size but for its strings, which cost no copy: those
// of the snapshot last, but Method, Host, Path and Error may lie in a buffer of the
// request and are good only while Sink.Hop runs. Clone makes a record that lasts.
type Record struct {
	Start    time.Time
	Duration time.Duration // until the answer's last byte, or the end of the tunnel
	Head     time.Duration // until the answer's first byte; 0 if none came
	Held     time.Duration // of it, waiting for an endpoint to become ready

	Listener string // logical name: "gateway", "orders>inventory"; "" for a call from inside Stoa
	Caller   string // service, "" for outside
	Callee   string // upstream or site, "" if no rule matched
	Route    string // name of the rule, "" if none

	Protocol string // as the caller spoke: "HTTP/1.1", "HTTP/2.0", "tcp"
	Method   string
	Host     string
	Path     string // raw, without the query
	Status   int    // as the caller saw it; 499 if it went away first, 0 for tcp
	GRPC     int    // grpc-status, -1 if the answer bore none

	Endpoint string // id of the endpoint that was tried last
	Address  string // its host:port
	Instance string
	Attempts int // connections on which the request was begun

	Injected string // id of the fault that an attempt met, "" if none
	Fallback string // what stood in for a failure: "cached", "static", "service=NAME"; "" if nothing

	In, Out int64 // bytes of body from the caller, and to it

	Trace   TraceID
	Span    SpanID // of this hop
	Parent  SpanID // zero for the first hop
	Sampled bool   // it is recorded however it ends
	TLS     bool   // the caller came over TLS

	Reason Reason // why the proxy answered itself, or how the exchange broke
	Error  string // text of the cause, for people
}

// Outcome is the class of how a hop ended, as an index: series are kept by it.
type Outcome uint8

// The outcomes.
const (
	Informed   Outcome = iota // 1xx
	Succeeded                 // 2xx
	Redirected                // 3xx
	Misasked                  // 4xx: the caller's mistake
	Failed                    // 5xx, a gRPC status of the same meaning, or an exchange that broke
	Left                      // the caller went away, which is no failure
	Tunnelled                 // a TCP connection that ended well
	Outcomes                  // how many there are
)

var classes = [Outcomes]string{"1xx", "2xx", "3xx", "4xx", "5xx", "cancelled", "tcp"}

// String is the class as it is shown: "1xx" to "5xx", "cancelled", or "tcp".
func (o Outcome) String() string { return classes[o] }

// Outcome gives the class of r. A gRPC answer is classed by its grpc-status, since its
// HTTP status is 200 in any case. What a fallback stood in for is a failure, although its
// caller saw none.
func (r *Record) Outcome() Outcome {
	switch {
	case r.Reason == Cancelled:
		return Left
	case r.Reason == Truncated || r.Fallback != "":
		return Failed
	case r.Protocol == "tcp":
		if r.Reason != "" {
			return Failed
		}
		return Tunnelled
	case r.GRPC >= 0:
		switch r.GRPC {
		case 0:
			return Succeeded
		case 1:
			return Left
		case 3, 5, 6, 7, 9, 10, 11, 16:
			return Misasked
		}
		return Failed
	case r.Status >= 100 && r.Status < 600:
		return Outcome(r.Status/100 - 1)
	}
	return Failed
}

// Failed says whether the hop counts as an error of the callee or of the way to it.
func (r *Record) Failed() bool { return r.Outcome() == Failed }

// Class is the outcome in words.
func (r *Record) Class() string { return r.Outcome().String() }

// own are the strings that belong to the request.
func (r *Record) own() [4]*string { return [4]*string{&r.Method, &r.Host, &r.Path, &r.Error} }

// Clone gives a record whose strings last.
func (r *Record) Clone() Record {
	c := *r
	for _, p := range c.own() {
		*p = strings.Clone(*p)
	}
	return c
}

// Sink takes records. Hop is called on the hot path, concurrently; it must not block
// and must not keep the record or its strings, which are used again: see Record.Clone.
type Sink interface{ Hop(*Record) }

// SinkFunc is a func as a Sink.
type SinkFunc func(*Record)

// Hop calls f.
func (f SinkFunc) Hop(r *Record) { f(r) }

// Tee gives each record to all of the sinks, in order.
func Tee(sinks ...Sink) Sink {
	return SinkFunc(func(r *Record) {
		for _, s := range sinks {
			s.Hop(r)
		}
	})
}
