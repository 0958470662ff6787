// Package coalesce lets callers that ask for the same at the same time share one request
// to the service.
//
//	Enter --> Lead    do it, within Flight.Context: say Share, Decline or Fail, then End
//	      --> Shared  here is what the leader got
//	      --> Alone   do it for yourself, as if there were no group
//
// The first one in leads, in its own goroutine: the group starts none. What the leader
// does runs detached from its own caller, so that one who hangs up does not fail the
// others: its context has a deadline of its own and is cancelled when the last who wants
// the answer has left, the leader's caller included.
//
// Only success is shared. Fail makes one of those who wait the next leader, so that a
// failure is neither multiplied nor met by all of them at once. Decline, for an answer that
// must not be shared or is too big, lets each go alone; so do later callers of the key for
// ten seconds, without waiting for what cannot be shared. Nobody waits longer than
// Config.Wait altogether, and then goes alone.
//
// What is shared may be for some and not for others: what an answer varies on is known only
// when it is there. Each caller's fits decides. Forget keeps those who come after a change
// from joining what was asked before it.
//
// A leader should collect the answer as fast as the service gives it, up to a bound (the
// cache's Room), and Share it before it writes to its own caller: a slow caller would hold
// all. What proves to be over the bound is Declined, and the leader streams on.
//
// The lock is held for a map access only. Every wait has one timer, every flight another.
package coalesce

import (
	"fmt"
	"time"
)

// Config says how a route joins callers. The zero value is a good default.
type Config struct {
	Wait     time.Duration `json:"wait,omitempty"`     // how long a caller waits for another's answer; 0 means 1s
	Deadline time.Duration `json:"deadline,omitempty"` // for the request of a leader while it is joined; 0 means 15s
	Waiters  int           `json:"waiters,omitempty"`  // who may wait for one leader, the others go alone; 0 means 1024
}

// The defaults of a Config and its bounds.
const (
	DefaultWait     = time.Second
	DefaultDeadline = 15 * time.Second
	DefaultWaiters  = 1024
	MaxWait         = time.Minute
	MaxDeadline     = 10 * time.Minute
	MaxWaiters      = 65536
)

// Check reports what is wrong, each with the path of its field.
func (c Config) Check(bad func(path, text, hint string)) {
	if c.Wait < 0 || c.Wait > MaxWait {
		bad("wait", fmt.Sprintf("%s is not between 0 and %s", c.Wait, MaxWait), "Give how long a call may wait for another's answer, such as 500ms.")
	}
	if c.Deadline < 0 || c.Deadline > MaxDeadline {
		bad("deadline", fmt.Sprintf("%s is not between 0 and %s", c.Deadline, MaxDeadline), "Give how long a shared request may take, such as 15s.")
	}
	if c.Waiters < 0 || c.Waiters > MaxWaiters {
		bad("waiters", fmt.Sprintf("%d is not between 0 and %d", c.Waiters, MaxWaiters), "Leave it out for 1024.")
	}
}
