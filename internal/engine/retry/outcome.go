package retry

import "time"

// Event is how an attempt ended.
type Event uint8

// The events.
const (
	Answered    Event = iota // with a head: Status and GRPC say how
	Refused                  // no connection: refused, unreachable, handshake failed
	Unprocessed              // the peer says it has not looked at it: REFUSED_STREAM, GOAWAY below the stream's id
	Stale                    // a kept connection was closed before any byte of an answer
	Reset                    // a connection broke before the answer's head
	TimedOut                 // the time for the attempt ran out before the head
	Broken                   // the answer broke the protocol, or anything else
)

// Outcome is how an attempt ended, as far as the decision needs it.
type Outcome struct {
	Event  Event
	Status int // of HTTP, when Answered
	GRPC   int // grpc-status, when Answered; -1 if the answer bears none

	RetryAfter Wait // of field Retry-After
	Pushback   Wait // of field grpc-retry-pushback-ms
	NoRetry    bool // the answer says Stoa-Retry: no

	Unsent   bool // the service has certainly not seen the request: not a byte was written, or a proxy refused it
	Begun    bool // the answer's head has left for the caller
	BodyGone bool // what was sent of the body was not kept
}

// Class is a set of failures that another attempt may cure.
type Class uint16

// The classes, and their names in Config.On.
const (
	OnConnect     Class = 1 << iota // "connect": no connection, or the peer has not processed it
	OnReset                         // "reset": broken before the head
	OnTimeout                       // "timeout": the time for the attempt ran out
	On502                           // "502"
	On503                           // "503"
	On504                           // "504"
	On429                           // "429": with Retry-After
	OnUnavailable                   // "unavailable": grpc-status 14
	OnExhausted                     // "resource-exhausted": grpc-status 8, with pushback
	onAll         = 1<<iota - 1
)

// class gives the class of o, 0 if another attempt cures nothing.
func (o *Outcome) class() Class {
	switch o.Event {
	case Refused, Unprocessed:
		return OnConnect
	case Stale, Reset:
		return OnReset
	case TimedOut:
		return OnTimeout
	case Broken:
		return 0
	}
	switch o.GRPC {
	case -1:
	case 14:
		return OnUnavailable
	case 8:
		if o.Pushback.Said || o.Pushback.Never {
			return OnExhausted
		}
		return 0
	default:
		return 0
	}
	switch o.Status {
	case 502:
		return On502
	case 503:
		return On503
	case 504:
		return On504
	case 429:
		if o.RetryAfter.Said {
			return On429
		}
	}
	return 0
}

// unseen says whether the service has certainly not seen the request.
func (o *Outcome) unseen() bool {
	return o.Unsent || o.Event == Refused || o.Event == Unprocessed
}

// advice gives what the callee says of when to come again.
func (o *Outcome) advice() (time.Duration, bool) {
	if o.Event != Answered {
		return 0, false
	}
	if o.Pushback.Said {
		return o.Pushback.For, true
	}
	return o.RetryAfter.For, o.RetryAfter.Said
}
