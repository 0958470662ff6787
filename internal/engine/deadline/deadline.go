// Package deadline says how long a call may still take, and tells the next hop.
//
// Time travels as what is left, never as a time of day: clocks of machines differ. A
// request arrives with the time its caller gives it (Told), the route has its own
// (Config), and the shorter of both counts (Effective). It becomes a point in the node's
// monotonic time (At), from which each attempt takes what is left:
//
//	Told(grpc, stoa, envoy) --+
//	                          +-- Effective -- At --> until --- Left(until, now, rtt) --> AppendGRPC, AppendMillis
//	Config.Route -------------+
//
// Left takes off a margin for the way back, so that the callee gives up before its
// caller does, and says no when nothing is left: then the hop answers 504, or
// DEADLINE_EXCEEDED, without calling anyone.
//
// Invariants: what is passed on is never longer than what is left, and no caller can
// make a call longer than its route allows. None, "no deadline", is the longest duration
// of all, so that the shorter of two is always min. Everything here is pure, takes bytes
// and appends bytes, and allocates nothing.
//
// It does not enforce anything: who waits sets the timer. A stream (SSE, WebSocket, a
// gRPC stream) has no total, only a time without traffic: Config.Idle.
package deadline

import (
	"math"
	"time"
)

// None is the duration of what has no deadline.
const None = time.Duration(math.MaxInt64)

// Never is the point in time of what has no deadline.
const Never int64 = math.MaxInt64

// leastMargin is the least that is taken off for the way back: a hop on one machine
// needs a fraction of it, and a busy scheduler all of it.
const leastMargin = time.Millisecond

// At gives the point in time d after now.
func At(now int64, d time.Duration) int64 {
	if d == None || d > 0 && now > Never-int64(d) {
		return Never
	}
	return now + int64(d)
}

// Effective gives the time that a request has: the route's, or the caller's if that is
// shorter. A caller may shorten, never lengthen; None stands for one that says nothing.
func Effective(route, caller time.Duration) time.Duration { return max(0, min(route, caller)) }

// Left gives what may be passed on of the time until the deadline: what is left minus a
// margin of 1 ms, or of the round trip to the callee if that is longer (its connect
// time; 0 if unknown). It says false when nothing would be left: refuse at once.
func Left(until, now int64, rtt time.Duration) (time.Duration, bool) {
	if until == Never {
		return None, true
	}
	left := until - now
	if now < 0 && until > 0 && left < 0 { // the difference is longer than an int64
		left = math.MaxInt64 - 1
	}
	left -= int64(max(leastMargin, rtt))
	return time.Duration(max(0, left)), left > 0
}

// Told gives the time that a caller gives its call by the values of its fields
// grpc-timeout, Stoa-Timeout-Ms and x-envoy-expected-rq-timeout-ms, each nil if the
// request has none: the shortest of them, None if there is none. At the edge Envoy's is
// not read: there it is anyone's. A value that cannot be read counts as none, since the
// route's time still bounds the call.
func Told(grpc, stoa, envoy []byte, edge bool) time.Duration {
	told := None
	if len(grpc) > 0 {
		if d, ok := ParseGRPC(grpc); ok {
			told = d
		}
	}
	if len(stoa) > 0 {
		if d, ok := ParseMillis(stoa); ok {
			told = min(told, d)
		}
	}
	if len(envoy) > 0 && !edge {
		if d, ok := ParseEnvoy(envoy); ok {
			told = min(told, d)
		}
	}
	return told
}
