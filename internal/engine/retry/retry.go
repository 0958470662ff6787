// Package retry decides whether a call is made again, when, and at whose cost.
//
// A Policy is the compiled Config of a route, a Run is where one call stands, a Budget is
// what all calls of this node to one destination share:
//
//	Budget.Deposit -- attempt --> Outcome -- Policy.Decide --> Again after d -- attempt ...
//	                                                      \--> Stop, and why
//
// Only failures that another attempt may cure are repeated (Class): no connection, a
// reset before the head, 502, 503, 504, a timeout of the attempt, 429 with Retry-After, gRPC
// UNAVAILABLE, RESOURCE_EXHAUSTED with pushback. Never a 500, which is the service's own
// verdict, and never once the answer's head has left for the caller. A request whose
// method may not be repeated (Repeatable) is repeated only if the service has certainly not
// seen it.
//
// Attempts multiply along a chain of hops: three at each of four hops are 81 calls. Two
// things bound that. The budget: at most 20 % of the requests of the last 10 s, and 10 a
// second, may be repeats, whatever the policy says. And Stoa-Retry: a hop that has
// repeated in vain, or may not for its budget, says "no" (Verdict.Tell), and the hops
// before it pass the answer on.
//
// One repeat is free of attempts and budget: that of a request sent on a kept connection
// which its peer closed as we sent. It is nobody's failure and the commonest false 503.
//
// Invariants: at most MaxAttempts attempts and the free one are made of a call; no wait
// ends after the deadline; what is withdrawn from the budget is used.
//
// Everything is pure but for the atomics of Budget: no clock, no random source, no
// allocation. Limits: the budget is a node's own; the back-off grows with each repeat also
// after a pushback (gRPC A6 starts it anew); a hop of its own that calls on behalf of a
// request does not pass Stoa-Retry on by itself.
package retry

import (
	"math/bits"
	"time"
)

// leastLeft is the least time for which another attempt is worth making: the margin that
// the next hop keeps for the way back.
const leastLeft = time.Millisecond

// longestAdvice is the longest wait that is obeyed: a caller that has no deadline would
// else be held for as long as a service likes.
const longestAdvice = 30 * time.Second

// Policy is a compiled Config. It never changes and is shared by all calls of a route.
type Policy struct {
	attempts  int
	perTry    time.Duration // 0: none
	base, cap int64
	unsafe    bool
	on        Class
	hedge     time.Duration // 0: off, below 0: after the p95
}

// Run is where one call stands. It belongs to one goroutine. The zero value is a call whose first attempt is under
// way, and which may not be repeated once the service has seen it.
type Run struct {
	Repeatable bool // what func Repeatable says of the request
	Repeats    int  // attempts after the first, hedges included, the free one not
	Fresh      bool // the free repeat has been made
	Hedged     bool // a hedge has been sent
}

// Verdict is what to do after an attempt.
type Verdict struct {
	Again bool          // make another attempt, on another endpoint if there is one
	After time.Duration // Again: how long to wait first
	Free  bool          // Again: on a fresh connection; the same endpoint will do
	Why   Why           // not Again: why not
	Tell  bool          // not Again: say Stoa-Retry: no in the answer
}

// Why says why a call is not made again: label of metrics, text for people.
type Why uint8

// The reasons, in the order in which they are looked at.
const (
	None       Why = iota // it is made again
	Final                 // the outcome is none that another attempt may cure
	Begun                 // the answer's head has left for the caller
	Attempts              // all attempts have been made
	Told                  // the callee said Stoa-Retry: no
	Pushback              // the callee said grpc-retry-pushback-ms: -1
	Unsafe                // the service may have seen it, and the method must not be repeated
	Body                  // too much of the body is gone to send it again
	Deadline              // no time is left for another attempt
	Later                 // the callee said to come after the deadline
	OverBudget            // the budget of the destination is spent
	numWhys
)

// Whys are all reasons but None, for those who count them.
func Whys() []Why {
	all := make([]Why, 0, numWhys-1)
	for w := Final; w < numWhys; w++ {
		all = append(all, w)
	}
	return all
}

// String gives the reason in one word, "" for None.
func (w Why) String() string {
	return [numWhys]string{"", "final", "begun", "attempts", "told", "pushback", "unsafe", "body", "deadline", "later", "budget"}[w]
}

// Repeatable says whether a request may be sent again although the service may have acted
// on it: its method is idempotent (RFC 9110, section 9.2.2), it bears an
// Idempotency-Key, or its route is declared so (Policy.Unsafe). Methods are told apart by case.
func Repeatable[M ~string | ~[]byte](method M, key, declared bool) bool {
	if key || declared {
		return true
	}
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// Safe says whether a method asks for nothing to be done (RFC 9110, section 9.2.1).
func Safe[M ~string | ~[]byte](method M) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// Unsafe says whether the route is declared to bear the repeat of any request.
func (p *Policy) Unsafe() bool { return p.unsafe }

// Attempts gives how many attempts a call may have, the first included.
func (p *Policy) Attempts() int { return p.attempts }

// Try gives the time for one attempt of a call that has left to go.
func (p *Policy) Try(left time.Duration) time.Duration {
	if p.perTry > 0 {
		return min(p.perTry, left)
	}
	return left
}

// Decide says what to do after an attempt that ended with o, and notes it in r. left is the
// time until the call's deadline, the longest Duration if it has none; rnd are 64 random
// bits. It withdraws from b, now, only when all else allows a repeat.
func (p *Policy) Decide(r *Run, o *Outcome, left time.Duration, now int64, b *Budget, rnd uint64) Verdict {
	switch {
	case o.Begun:
		return Verdict{Why: Begun}
	case o.Event == Stale && !r.Fresh && (r.Repeatable || o.Unsent) && !o.BodyGone && left > leastLeft:
		r.Fresh = true
		return Verdict{Again: true, Free: true}
	}
	class := o.class()
	switch {
	case class&p.on == 0:
		return Verdict{Why: Final, Tell: o.NoRetry && class != 0}
	case r.Repeats+1 >= p.attempts:
		return Verdict{Why: Attempts, Tell: r.Repeats > 0 || o.NoRetry}
	case o.NoRetry:
		return Verdict{Why: Told, Tell: true}
	case o.Pushback.Never:
		return Verdict{Why: Pushback}
	case !r.Repeatable && !o.unseen():
		return Verdict{Why: Unsafe}
	case o.BodyGone:
		return Verdict{Why: Body}
	case left <= leastLeft:
		return Verdict{Why: Deadline}
	}
	after, ok := p.wait(r.Repeats, o, left-leastLeft, rnd)
	if !ok {
		return Verdict{Why: Later}
	}
	if !b.Withdraw(now) {
		return Verdict{Why: OverBudget, Tell: true}
	}
	r.Repeats++
	return Verdict{Again: true, After: after}
}

// wait gives the time before repeat n, from 0; false if what the callee asks for is longer
// than room. Unasked it is a random part of a bound that doubles ("full jitter"), and at
// most half of the room, so that the attempt has the other half.
func (p *Policy) wait(n int, o *Outcome, room time.Duration, rnd uint64) (time.Duration, bool) {
	jitter := func(bound int64) time.Duration {
		hi, _ := bits.Mul64(rnd, uint64(bound))
		return time.Duration(hi)
	}
	bound := min(p.base<<min(n, MaxAttempts), p.cap)
	advice, ok := o.advice()
	if !ok {
		return jitter(min(bound, int64(room)/2)), true
	}
	if advice > longestAdvice || advice >= room {
		return 0, false
	}
	if o.Pushback.Said { // it has the precision to spread callers by itself
		return advice, true
	}
	// Retry-After counts in seconds: all that were told the same must not come at once.
	return advice + jitter(min(bound, int64(room-advice))), true
}
