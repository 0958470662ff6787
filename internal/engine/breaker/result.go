package breaker

import "time"

// Result is what a call says about the service.
type Result uint8

// The results.
const (
	Ignored Result = iota // nothing: we refused it, or the caller went away
	Good                  // it works: any answer but a failure, also 404 and 429
	Bad                   // it fails: 5xx, no connection, reset, timeout, a gRPC failure
)

// Outcome is how a call ended, after all its attempts.
type Outcome struct {
	Status int           // of HTTP; 0 if there was no answer
	GRPC   int           // grpc-status, -1 if the answer bore none
	Broken bool          // no connection, a reset, a timeout, an answer that broke off or broke the protocol
	Ours   bool          // answered by a proxy: a limit, a policy, this breaker, an injected fault
	Gone   bool          // the caller went away before it was known
	Took   time.Duration // until the answer's head
}

// Judge gives the result of o: whether it counts, and as what. A gRPC answer is judged by
// its status: UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE and DATA_LOSS are failures
// of the service. RESOURCE_EXHAUSTED is the 429 of gRPC, and UNIMPLEMENTED is one caller
// with a wrong name, so they are not.
func (b *Breaker) Judge(o Outcome) Result {
	switch {
	case o.Ours, o.Gone && !o.Broken:
		return Ignored
	case o.Broken:
		return Bad
	case o.GRPC >= 0:
		switch o.GRPC {
		case 1: // CANCELLED
			return Ignored
		case 2, 4, 13, 14, 15:
			return Bad
		}
	case o.Status >= 500:
		return Bad
	case o.Status == 0:
		return Ignored
	}
	if slow := b.rules.Load().slow; slow > 0 && int64(o.Took) >= slow {
		return Bad
	}
	return Good
}
