package flow

import (
	"encoding/binary"
	"time"

	"stoa/internal/engine/balance"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/route"
)

// none is the duration of what has no bound.
const none = deadline.None

// PriorityField tells the next hop how important a request is; it is left out for normal.
const PriorityField = "Stoa-Priority"

// Told is what a caller says of its call, "" where it says nothing.
type Told struct {
	Timeout  string // Stoa-Timeout-Ms
	GRPC     string // grpc-timeout
	Envoy    string // x-envoy-expected-rq-timeout-ms
	Priority string // Stoa-Priority
}

// resolve takes over what policy and caller say of time, priority and version, once the
// route is known. What tells priority and time of ours is believed from inside only.
func (x *Exchange) resolve() {
	p := x.policy
	x.now = nowAt(x.Rec.Start)
	told := x.Req.Told()
	x.priority = p.priority
	caller := none
	if x.Edge {
		told.Timeout, told.Envoy = "", ""
	} else if told.Priority != "" {
		if v, err := limit.ParsePriority(told.Priority); err == nil {
			x.priority = v
		}
	}
	if told.Timeout != "" || told.GRPC != "" || told.Envoy != "" {
		caller = deadline.Told([]byte(told.GRPC), []byte(told.Timeout), []byte(told.Envoy), x.Edge)
		x.grpcTold = told.GRPC != ""
	}
	if !x.Edge && (told.Timeout == "" || told.Priority == "") {
		left, priority := x.inherit()
		if told.Timeout == "" {
			caller = min(caller, left)
		}
		if told.Priority == "" && priority != limit.Normal {
			x.priority = priority
		}
	}
	x.short = caller < p.total
	x.bounded = p.declared || caller != none
	x.deadline = deadline.At(x.now, deadline.Effective(p.total, caller))
}

// choose picks the upstream of a route that is split: of the endpoint that a cookie of ours
// names, by the sticky key if there is one, and else by the trace: a repeat stays with its version.
func (x *Exchange) choose(r *Route) *Upstream {
	if x.sticks = r.sticks; x.sticks != nil {
		if u := x.back(r); u != nil {
			return u
		}
	}
	if r.sides == nil {
		return r.Up
	}
	hash := binary.BigEndian.Uint64(x.Rec.Trace[8:])
	if x.Edge && x.continued { // nobody outside picks a side
		hash = binary.BigEndian.Uint64(x.Rec.Span[:])
	}
	if key, ok := r.Rule.Sticky.Key(x.Req); ok {
		hash = balance.Hash(key)
	}
	i := max(r.Rule.Choose(hash), 0)
	x.series = r.sides[i].series
	return r.sides[i].up
}

// balanceKey gives the key by which ring and maglev choose.
func (x *Exchange) balanceKey() uint64 {
	from := x.Up.from
	if from.kind == balance.NoKey {
		return 0
	}
	if x.Route != nil && x.Route.Rule != nil {
		if key, ok := x.Route.Rule.Sticky.Key(x.Req); ok {
			return balance.Hash(key)
		}
	}
	if key := x.keyOf(from); key != "" {
		return balance.Hash(key)
	}
	return binary.BigEndian.Uint64(x.Rec.Trace[8:]) // without a key: anywhere
}

// cohort says for whom the request is, so that one user is served whole or not at all. Inside,
// where all callers have one address, it is the trace.
func (x *Exchange) cohort() uint32 {
	from := x.policy.cohort
	if from.kind == balance.NoKey && x.Edge {
		from.kind = balance.Client
	}
	if key := x.keyOf(from); key != "" {
		return uint32(balance.Hash(key))
	}
	return binary.BigEndian.Uint32(x.Rec.Trace[12:])
}

// Bounded says whether the total was declared, or told by the caller. One that is a default is
// only the time in which an answer must begin once the request has been sent: bodies that take
// longer to pass are bound by the time without traffic.
func (x *Exchange) Bounded() bool { return x.bounded }

// Uploaded notes that the last byte of a body was sent: a total that is a default begins here.
func (x *Exchange) Uploaded() {
	if !x.bounded && x.deadline != deadline.Never && x.policy.total != none {
		x.deadline = deadline.At(Now(), x.policy.total)
	}
}

// Total is the time for the request, as long as nothing of it has passed; none is negative.
func (x *Exchange) Total() time.Duration {
	if x.policy.total == none {
		return -1
	}
	return x.policy.total
}

// Deadline is when the time for the request runs out; zero for never. A stream has none once
// its head has come: see Quiet. Nor has a long body, if the total is a default: see Bounded.
func (x *Exchange) Deadline() time.Time { return timeOf(x.deadline) }

// TryDeadline is when the time for the attempt that was begun last runs out, zero for never:
// the attempt has failed then, and the engine says so with Slow.
func (x *Exchange) TryDeadline() time.Time {
	until := x.deadline
	if per := x.policy.retry.Try(none); per < none {
		until = min(until, deadline.At(x.began-int64(x.delayed), per))
	}
	return timeOf(until)
}

// Quiet is how long the stream that x has become may be without traffic; 0 for ever, and for
// what is no stream.
func (x *Exchange) Quiet() time.Duration { return x.quiet }

// Until bounds a call that no rule bounds.
func (x *Exchange) Until(t time.Time) { x.deadline, x.told = min(x.deadline, nowAt(t)), true }

func timeOf(at int64) time.Time {
	if at == deadline.Never || at == 0 {
		return time.Time{}
	}
	return epoch.Add(time.Duration(at - 1))
}

// left is the time until the deadline, none if there is none.
func (x *Exchange) left(now int64) time.Duration {
	if x.deadline == deadline.Never {
		return none
	}
	return time.Duration(max(x.deadline-now, 0))
}

// late refuses a request for which no time is left: no work is done for a caller who has gone.
func (x *Exchange) late(now int64) *Refusal {
	if x.deadline == deadline.Never {
		return nil
	}
	if _, ok := deadline.Left(x.deadline, now, 0); ok {
		return nil
	}
	return Late(x.Up, ErrDeadline)
}

// edits gives the edits of the route on the way to the upstream, or back; nil if there are none.
func (x *Exchange) edits(answer bool) *route.Edits {
	switch {
	case x.Route == nil || x.Route.Rule == nil:
		return nil
	case answer:
		return x.Route.Rule.Answer
	}
	return x.Route.Rule.Request
}

// Fits refuses a request whose target has more bytes, or whose head more fields, than its listener
// takes, for an engine whose parser does not know these bounds.
func (l *Listener) Fits(target, fields int) *Refusal {
	h := l.Bounds()
	switch {
	case target > h.Target:
		return &Refusal{Reason: hop.BadRequest, Status: 414, Text: "the request target is too long"}
	case fields > h.Fields:
		return &Refusal{Reason: hop.BadRequest, Status: 431, Text: "the head has too many fields"}
	}
	return nil
}
