package journal

import (
	"errors"
	"fmt"

	"stoa/api/fault"
)

// The errors of the port. Compare with errors.Is; stores wrap them to say more.
// All but ErrUnknown mean that the call wrote nothing.
var (
	// ErrStale: the log does not end at after, the key is not at that revision.
	ErrStale = &fault.Error{Kind: fault.Conflict, Err: errors.New("decided on a state that has changed")}

	// ErrUnknown: it may have been written, and may even appear later. See Settle.
	ErrUnknown = &fault.Error{Kind: fault.Unknown, Err: errors.New("it may have been written")}

	// ErrTooBig: over MaxEntry or MaxValue. The same request will fail again.
	ErrTooBig = &fault.Error{Kind: fault.Invalid, Err: errors.New("too big for the journal")}

	// ErrFull: the disk is nearly full. It works again once there is room.
	ErrFull = &fault.Error{Kind: fault.Exhausted, Err: errors.New("the disk is nearly full")}

	// ErrCut: entries after the position were dropped by Cut.
	ErrCut = &fault.Error{Kind: fault.NotFound, Err: errors.New("entries after this position were cut")}

	// ErrDown: the store does not work now; the same request may succeed later.
	ErrDown = &fault.Error{Kind: fault.Unavailable, Err: errors.New("the journal does not answer")}

	// ErrClosed: the store was closed.
	ErrClosed = &fault.Error{Kind: fault.Unavailable, Err: errors.New("the journal is closed")}

	// ErrKey: no such key or name can be. See CheckKey.
	ErrKey = &fault.Error{Kind: fault.Invalid, Err: errors.New("not a key")}
)

// unknown gives ErrUnknown with the reason why the outcome is not known.
func unknown(why error) error {
	if errors.Is(why, ErrUnknown) {
		return why
	}
	return fmt.Errorf("%w: %w", ErrUnknown, why)
}
