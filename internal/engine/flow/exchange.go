package flow

import (
	"fmt"
	"strings"
	"time"

	"stoa/internal/engine/balance"
	"stoa/internal/engine/breaker"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/rate"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/route"
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
	Told() Told     // what the caller says of time and priority
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
	TLS   bool // it came over TLS
	Sent  Sent
	Fresh bool        // the next attempt is to use a new connection: a kept one had died
	Marks [][2]string // fields that the answer bears besides its own, see Mark; nil: none

	policy   *policy // never nil
	series   *series
	held     *Endpoint // on which the exchange has a place; nil when given back
	finished bool

	// Times as Now gives them; 0 if there is none.
	now      int64 // when it was looked last
	deadline int64 // of the whole; deadline.Never: none
	until    int64 // of the hold
	began    int64 // the attempt
	headAt   int64 // the answer to it
	entry    int64 // with placed: when the place was got

	quiet      time.Duration // of a stream
	delayed    time.Duration // of the attempt, by a fault
	bounded    bool          // the total was declared, or the caller told one
	short      bool          // the deadline is the caller's, and shorter than the route's
	grpcTold   bool          // it came as grpc-timeout, too
	told       bool          // the deadline is one of Until
	continued  bool          // the trace is the caller's
	will       *will         // what calls of the callee in the trace inherit; nil: nothing
	priority   limit.Priority
	stage      uint8         // of admission
	waiter     *limit.Waiter // in the queue of the limiter
	placed     bool          // has a place of the limiter
	passed     bool          // the breaker let it through, and is not told how it ended
	pass       breaker.Pass  // with passed
	hasty      *hasty        // of those who wait as long; nil: nobody waits longer
	hastyPass  breaker.Pass  // with passed and hasty
	rated      *rate.Limit   // the nearest rate; nil: none
	rate       rate.Verdict  // of rated
	run        retry.Run     // of the attempts
	attempts   int           // takes of an endpoint
	tried      balance.Tried // endpoints that failed
	key        uint64        // for the balancer
	dialErr    error         // of the last connection that did not come about
	reported   bool          // how the attempt ended
	overloaded bool          // the answer says that the service is
	sticks     *sticks       // a cookie leads to an endpoint; nil: none
	wanted     *Endpoint     // that the caller's cookie names; nil: none
	tell       bool          // Stoa-Retry: no
}

// Begin makes x the exchange of a request that came at start.
func (x *Exchange) Begin(p *Plane, start time.Time, listener, protocol string) {
	*x = Exchange{} // in place: a literal with fields would be made on the stack first
	x.P, x.Rec.Start, x.Rec.Listener, x.Rec.Protocol, x.Rec.GRPC = p, start, listener, protocol, -1
	x.policy, x.deadline = never, deadline.Never
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
	if x.continued = ok; ok {
		c = came.Child()
		x.Rec.Parent = came.Span
	} else {
		c = hop.NewContext()
	}
	x.Rec.Trace, x.Rec.Span = c.Trace, c.Span
	x.Rec.Sampled, c.Flags = x.P.samples.decide(x.Edge || !ok, c.Flags, nowAt(x.Rec.Start))
	return c, ok && !x.overfull()
}

// maxState is how many members a tracestate has (W3C Trace Context, section 3.3.1.1): one with more is dropped.
const maxState = 32

// overfull says whether the caller's tracestate has too many.
func (x *Exchange) overfull() bool {
	if x.Req == nil {
		return false
	}
	state, _ := x.Req.Header("Tracestate")
	return strings.Count(state, ",") >= maxState
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
	if method != "OPTIONS" || !x.preflight(l, hit, spelt) {
		l.table.MatchRequest(hit, host, method, spelt, x.Req)
	}
	if hit.Rule == nil || !hit.Rule.Relaxed {
		if err := route.Canonical(spelt); err != nil {
			return &Refusal{Reason: hop.BadPath, Status: 400, Text: "path: " + err.Error(),
				Hint: "Send the path in its canonical form, or set relaxed: true " + relaxes(x.Edge) + "."}
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
	x.Route, x.series, x.policy = r, r.series, r.policy
	x.Rec.Route, x.Rec.Callee = r.Rule.Name, r.Callee
	if r.Rule.Redirect != nil {
		to, ok := hit.Location(host, path, x.Req.Query())
		if !ok {
			return &Refusal{Reason: hop.BadRequest, Status: 400, Text: "host " + host + " cannot stand in a redirect"}
		}
		return &Refusal{Status: r.Rule.Redirect.Status(), Location: to}
	}
	if x.Up = x.choose(r); x.Up != nil {
		x.Rec.Callee = x.Up.Service
	}
	x.resolve()
	if g := x.policy.guard; g != nil && g.cors != nil {
		return x.cross(g.cors)
	}
	return nil
}

// relaxes says where a rule is told to take paths of several readings.
func relaxes(edge bool) string {
	if edge {
		return "where the service exposes it"
	}
	return "in the uses of the caller"
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

// Panicked notes a defect of ours.
func (x *Exchange) Panicked(v any) *Refusal {
	x.Rec.Reason, x.Rec.Error = hop.Defect, fmt.Sprint(v)
	return &Refusal{Reason: hop.Defect, Status: 502, Text: "a defect of the proxy"}
}

// Abandon gives back what x has, uncounted: another exchange carries the request.
func (x *Exchange) Abandon() {
	x.Rec.Reason = hop.Overload // it says nothing of the service
	x.unqueue()
	x.settle(Now())
	x.disown()
	x.giveBack()
	x.finished = true
}

// Finish gives the place back, counts the exchange and hands over its record, if it is
// one of those that are kept. It may be called twice; the first counts.
func (x *Exchange) Finish() {
	if x.finished {
		return
	}
	x.finished = true
	x.disown()
	now := Now()
	x.Rec.TLS = x.TLS
	x.Rec.Duration = time.Duration(now - nowAt(x.Rec.Start))
	if x.sticks != nil && x.held != nil {
		x.stuck()
	}
	if x.Up != nil {
		x.ended(now)
		x.settle(now)
		x.unqueue()
		x.P.look(x.Up.pool, now)
	}
	x.giveBack()
	o := x.Rec.Outcome()
	if x.series != nil {
		x.series.count(&x.Rec, o)
	}
	if x.Rec.Sampled || x.P.samples.late(&x.Rec, o, x.series.slow()) {
		x.P.o.Sink.Hop(&x.Rec)
	}
}
