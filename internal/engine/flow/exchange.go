package flow

import (
	"context"
	"fmt"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/route"
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

// Request is what rules and policies read of a request beside its method, host and path. They ask
// only where something was declared that needs it.
type Request interface {
	route.Request
	Client() string // the address of the other side, without port
}

// Exchange is one request on its way to an upstream and its answer, until Finish. One
// goroutine at a time.
type Exchange struct {
	P     *Plane
	Rec   hop.Record
	Req   Request
	Route *Route // nil until Find
	Up    *Upstream
	Edge  bool // the caller is outside
	Sent  Sent
	Fresh bool        // the next attempt is to use a new connection: a kept one had died
	Marks [][2]string // fields that the answer bears besides its own, see Mark; nil: none

	series   *series
	held     *Endpoint // on which the exchange has a place; nil when given back
	deadline time.Time // of the whole; zero: none
	until    time.Time // of the hold; zero before the first Take
	attempts int       // takes of an endpoint
	dialErr  error     // of the last connection that did not come about
	died     bool      // a kept connection died already
	finished bool
}

// Begin makes x the exchange of a request that came at start.
func (x *Exchange) Begin(p *Plane, start time.Time, listener, protocol string) {
	*x = Exchange{} // in place: a literal with fields would be made on the stack first
	x.P, x.Rec.Start, x.Rec.Listener, x.Rec.Protocol, x.Rec.GRPC = p, start, listener, protocol, -1
}

// At tells x at which listener it arrived.
func (x *Exchange) At(l *Listener) {
	x.Rec.Caller, x.series, x.Edge = l.Caller, l.none, l.Edge()
}

// Trace continues the caller's trace, or begins one: when parent is "" or not to be
// believed. It says whether the trace is the caller's; only then may its tracestate go on.
func (x *Exchange) Trace(parent string, fresh bool) (hop.Context, bool) {
	var c hop.Context
	came, ok := hop.Context{}, false
	if parent != "" && !fresh {
		came, ok = hop.ParseTraceparent(parent)
	}
	if ok {
		c = came.Child()
		x.Rec.Parent = came.Span
	} else {
		c = hop.NewContext()
	}
	x.Rec.Trace, x.Rec.Span = c.Trace, c.Span
	x.Rec.Sampled, c.Flags = x.P.samples.decide(x.Edge || !ok, c.Flags, nowAt(x.Rec.Start))
	return c, ok
}

// Methods are those that are served where a rule names none.
var Methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// Find finds the rule of the request; hit says how it matched. Method, Host and Path of
// x.Rec are set: Path raw, without the query.
func (x *Exchange) Find(l *Listener, hit *route.Hit) *Refusal {
	method, host, path := x.Rec.Method, x.Rec.Host, x.Rec.Path
	switch method {
	case "CONNECT", "TRACE":
		return &Refusal{Reason: hop.NoMethod, Status: 405, Text: method + " is not served", Allow: Methods}
	}
	spelt := route.Spelt(path) // what is passed on is path, as it came
	l.table.MatchRequest(hit, host, method, spelt, x.Req)
	if hit.Rule == nil || !hit.Rule.Relaxed {
		if err := route.Canonical(spelt); err != nil {
			return &Refusal{Reason: hop.BadPath, Status: 400, Text: "path: " + err.Error(),
				Hint: "Send the path in its canonical form, or set relaxed: true where the service exposes it."}
		}
	}
	if hit.Rule == nil {
		if hit.MethodMiss {
			return &Refusal{Reason: hop.NoMethod, Status: 405, Text: method + " " + path + " is not served",
				Allow: l.table.Allowed(host, spelt)}
		}
		return &Refusal{Reason: hop.NoRoute, Status: 404, Text: "no route for " + method + " " + route.CleanHost(host) + path,
			Hint: "See the routes: stoa explain route " + method + " " + path}
	}
	r := l.routes[hit.Index]
	x.Route, x.Up, x.series = r, r.Up, r.series
	x.Rec.Route, x.Rec.Callee = r.Rule.Name, r.Callee
	return nil
}

// To makes x a call from inside Stoa to an upstream, by no rule; false if there is none.
func (x *Exchange) To(caller, upstream string) bool {
	u := x.P.cur.Load().upstreams[upstream]
	if u == nil {
		return false
	}
	x.Up, x.Rec.Caller, x.Rec.Callee = u, caller, u.Service
	x.series = x.P.meters.series(caller, u.Service, "")
	return true
}

// Enter makes x a connection of a TCP listener.
func (x *Exchange) Enter(l *Listener) {
	x.Rec.Caller, x.Edge = l.Caller, l.Edge()
	x.Route, x.Up, x.series, x.Rec.Callee = l.TCP, l.TCP.Up, l.TCP.series, l.TCP.Callee
}

// Admit asks the policies of the route and of its upstream whether the request may go on.
// It may wait; ctx may be nil, then wait says that it would: ask again with one.
func (x *Exchange) Admit(ctx context.Context) (wait bool, f *Refusal) {
	if x.Route != nil && x.Route.Rule.Timeout > 0 {
		x.deadline = x.Rec.Start.Add(x.Route.Rule.Timeout)
	}
	return false, nil
}

// Deadline is when the time for the request runs out; zero for never. Known once it is admitted.
func (x *Exchange) Deadline() time.Time { return x.deadline }

// MayRetry says whether an attempt may be followed by another, so that it is worth
// keeping what was sent of the body.
func (x *Exchange) MayRetry() bool { return false }

// maxAttempts bounds the attempts of one request: connections that did not come about
// are tried again until the hold is over, each with a pause once every endpoint has
// refused.
const maxAttempts = 64

// Take gives an endpoint for the next attempt, with a place on it that Finish or a
// verdict to try again gives back. It waits until one is ready or the hold is over;
// ctx may be nil, then nil and no refusal say that there would be a wait.
func (x *Exchange) Take(ctx context.Context) (*Endpoint, *Refusal) {
	x.attempts++
	if x.until.IsZero() {
		x.until = x.Rec.Start.Add(OrDefault(x.Up.Hold, snapshot.DefaultHold))
	}
	e, f := x.P.take(ctx, x.Up, x.until, &x.Rec)
	if f != nil {
		if f.Reason == hop.NoEndpoint && x.dialErr != nil {
			f.Reason, f.Err = hop.Connect, x.dialErr
		}
		return nil, f
	}
	if e == nil {
		x.attempts--
		return nil, nil
	}
	x.held = e
	x.Rec.Endpoint, x.Rec.Address, x.Rec.Instance = e.ID, e.Address, e.Instance
	return e, nil
}

// giveBack gives the place on the endpoint back.
func (x *Exchange) giveBack() {
	if x.held != nil {
		x.P.release(x.held)
		x.held = nil
	}
}

// Failure says how an attempt ended that brought no answer.
type Failure int

// The failures.
const (
	Broke      Failure = iota // the connection broke
	Dial                      // no connection came about
	Untrusted                 // the other side did not prove who it is, or spoke no TLS
	Unsendable                // the request cannot be sent on
	Slow                      // no answer began within the bound of the upstream
	Garbled                   // what came is no answer
)

// Attempt is an attempt that brought no answer.
type Attempt struct {
	Failure   Failure
	Reused    bool // on a kept connection
	Answered  bool // a byte of answer came
	Untouched bool // the body can be sent again: unread, or kept whole
	Safe      bool // the request may be repeated: by its method, or its key
	Err       error
}

// Failed says what follows: another attempt after a pause, or a refusal. Before another
// attempt the place on the endpoint has been given back.
func (x *Exchange) Failed(a Attempt) (pause time.Duration, f *Refusal) {
	service := x.Up.Service
	switch {
	case a.Failure == Untrusted:
		return 0, &Refusal{Reason: hop.Connect, Status: 502, Text: "no trusted connection to " + service, Err: a.Err,
			Hint: "Check the certificate of its origin: stoa why " + service}
	case a.Failure == Unsendable:
		return 0, &Refusal{Reason: hop.BadRequest, Status: 502, Text: "the request cannot be sent on", Err: a.Err}
	case a.Failure == Dial:
		x.held.Refused()
		x.dialErr = a.Err
		if x.attempts >= maxAttempts || OrDefault(x.Up.Hold, snapshot.DefaultHold) == 0 && x.onlyRefused() {
			return 0, &Refusal{Reason: hop.Connect, Status: 503, Text: "no connection to " + service, Err: a.Err,
				Hint: "See its state: stoa why " + service}
		}
	case a.Failure == Broke && a.Reused && !a.Answered && a.Untouched && a.Safe && !x.died:
		x.died, x.Fresh = true, true // the kept connection died as we sent
	case a.Failure == Slow:
		return 0, &Refusal{Reason: hop.Deadline, Status: 504, Text: service + " did not begin to answer in time", Err: a.Err}
	case a.Answered:
		return 0, &Refusal{Reason: hop.BadAnswer, Status: 502, Text: service + " gave an answer that cannot be read", Err: a.Err}
	default:
		return 0, &Refusal{Reason: hop.Upstream, Status: 502, Text: "the connection to " + service + " broke before an answer",
			Err: a.Err, Hint: "It may have happened. See why it broke: stoa why " + service}
	}
	x.giveBack()
	return 0, nil
}

// AnswerHead is what a verdict on an answer reads of its head.
type AnswerHead struct {
	Status     int
	GRPC       int // grpc-status, -1 if there is none
	Untouched  bool
	Safe       bool
	RetryAfter string
	Pushback   string // grpc-retry-pushback-ms
	NoRetry    bool   // Stoa-Retry: no
	Injected   bool   // it is ours, by a fault: it says nothing of an endpoint, and none is held
}

// Answered says whether the answer whose head came is relayed, or the request sent again
// after a pause. Before another attempt the place on the endpoint has been given back.
func (x *Exchange) Answered(a AnswerHead) (again bool, pause time.Duration) { return false, 0 }

// onlyRefused says whether every endpoint is one that refused lately.
func (x *Exchange) onlyRefused() bool {
	e, _ := x.Up.pool.set.Load().pick(time.Now().UnixNano())
	return e == nil
}

// Begun notes that the request was begun on a connection.
func (x *Exchange) Begun() {
	x.Rec.Attempts++
	x.Sent = max(x.Sent, Maybe)
}

// Answering notes that an answer began.
func (x *Exchange) Answering() {
	x.Sent = Yes
	x.Rec.Head = time.Since(x.Rec.Start)
}

// Panicked notes a defect of ours.
func (x *Exchange) Panicked(v any) *Refusal {
	x.Rec.Reason, x.Rec.Error = hop.Defect, fmt.Sprint(v)
	return &Refusal{Reason: hop.Defect, Status: 502, Text: "a defect of the proxy"}
}

// Finish gives the place back, counts the exchange and hands over its record, if it is
// one of those that are kept. It may be called twice; the first counts.
func (x *Exchange) Finish() {
	if x.finished {
		return
	}
	x.finished = true
	x.Rec.Duration = time.Since(x.Rec.Start)
	x.giveBack()
	o := x.Rec.Outcome()
	if x.series != nil {
		x.series.count(&x.Rec, o)
	}
	if x.Rec.Sampled || x.P.samples.late(&x.Rec, o) {
		x.P.o.Sink.Hop(&x.Rec)
	}
}
