package process

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Reason says why an instance is over.
type Reason string

// The reasons. Code and Signal of an Exit say how.
const (
	Exited    Reason = "exited"    // the program returned
	Signalled Reason = "signalled" // a signal ended it, not of our sending
	Stopped   Reason = "stopped"   // it ended after Stop, by whatever means
	Lost      Reason = "lost"      // the shim was killed, and the program with it
)

// Exit tells how an instance ended.
type Exit struct {
	Reason Reason
	Code   int            // exit code of the program; -1 if a signal ended it, or if it is not known
	Signal syscall.Signal // that ended the program; 0 if none did

	OOM    bool  // in all likelihood the kernel killed it for want of memory
	Forced bool  // the grace of Stop was over before it had ended: SIGKILL
	Left   int   // processes that the program left running at its exit; they were ended
	Stuck  []int // pids that even SIGKILL did not end: asleep in the kernel, or set-uid

	Lived        time.Duration // from start to the end of the whole tree
	User, System time.Duration // CPU time of the program and of the children it waited for
	MaxRSS       int64         // bytes, of the largest process among these
}

// String gives what a person wants to read after "orders ": "exited with code 3",
// "was killed by signal 9 (killed), probably for want of memory".
func (e Exit) String() string {
	var b strings.Builder
	switch {
	case e.Reason == Lost:
		b.WriteString("was killed because its shim was killed")
	case e.Reason == Stopped && e.Forced:
		b.WriteString("was killed after its grace")
	case e.Reason == Stopped:
		b.WriteString("was stopped")
	case e.Signal != 0:
		fmt.Fprintf(&b, "was killed by signal %d (%v)", int(e.Signal), e.Signal)
	default:
		fmt.Fprintf(&b, "exited with code %d", e.Code)
	}
	if e.OOM {
		b.WriteString(", probably for want of memory")
	}
	if e.Left > 0 && e.Reason != Stopped {
		fmt.Fprintf(&b, ", leaving %d processes, which were killed", e.Left)
	}
	if len(e.Stuck) > 0 {
		fmt.Fprintf(&b, "; could not be killed: %v", e.Stuck)
	}
	return b.String()
}
