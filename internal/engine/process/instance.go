package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"stoa/api/fault"
)

// drainAfter bounds the wait for the rest of the output of a tree that is gone. It runs
// out only when somebody else was given the pipe, by a descriptor sent over a socket.
const drainAfter = 2 * time.Second

// Instance is one program that was started, with all that it starts.
type Instance struct {
	pid      int // of the program
	mark     string
	started  time.Time
	patience time.Duration
	shim     *exec.Cmd
	reports  *json.Decoder // read by launch, then by run
	pipes    *pipes        // our ends; closed by run
	pumps    sync.WaitGroup
	done     chan struct{} // closed by run, after exit is set

	mu     sync.Mutex
	orders *os.File    // nil once the instance is over; guarded by mu
	asked  bool        // Stop was called while it lived; guarded by mu
	hung   *time.Timer // kills a shim that does not end when it should; guarded by mu

	exit Exit // set before done is closed
}

// Pid gives the process id of the program. It is also the id of its process group.
func (in *Instance) Pid() int { return in.pid }

// Done is closed when the program and everything it left have ended, all output has
// been given to the sinks, and Exit tells how.
func (in *Instance) Done() <-chan struct{} { return in.done }

// Exit tells how the instance ended. It is the zero Exit before Done is closed.
func (in *Instance) Exit() Exit {
	select {
	case <-in.done:
		return in.exit
	default:
		return Exit{}
	}
}

// Signal sends sig to the program, not to its children. An instance that is over, or
// whose program has ended, takes no notice.
func (in *Instance) Signal(sig syscall.Signal) error {
	return in.order(order{Signal: sig})
}

// Stop asks the program's process group to end (SIGTERM), kills the whole tree if it
// has not ended after grace (at once if that is 0), and returns when it is over. A second
// Stop can shorten the grace, not lengthen it. When ctx ends first, Stop returns a
// fault of kind Unavailable and the stopping goes on.
func (in *Instance) Stop(ctx context.Context, grace time.Duration) error {
	in.hasten(grace)
	select {
	case <-in.done:
		return nil
	case <-ctx.Done():
		return &fault.Error{Op: "process.stop", Subject: fmt.Sprintf("process %d", in.pid), Kind: fault.Unavailable, Err: ctx.Err(),
			Hint: "It is still ending; give it a shorter grace to hasten that."}
	}
}

func (in *Instance) hasten(grace time.Duration) {
	_ = in.order(order{Stop: &grace}) // a shim that does not read is hung: see below
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.orders == nil {
		return
	}
	in.asked = true
	if in.hung == nil {
		in.hung = time.AfterFunc(grace+in.patience, in.giveUp)
	} else if grace <= 0 {
		in.hung.Reset(in.patience)
	}
}

// giveUp kills a hung shim: run then does its work.
func (in *Instance) giveUp() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.orders != nil { // so run has not waited for it, and its pid is its own
		_ = in.shim.Process.Kill()
	}
}

// order writes to the shim. Orders are short and the shim reads at once, so this blocks
// on a stopped shim only; the deadline is for that one.
func (in *Instance) order(o order) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.orders == nil {
		return nil
	}
	_ = in.orders.SetWriteDeadline(time.Now().Add(5 * time.Second))
	err := json.NewEncoder(in.orders).Encode(o)
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE):
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &fault.Error{Op: "process.signal", Subject: fmt.Sprintf("process %d", in.pid), Kind: fault.Unavailable, Err: err,
			Hint: "Its shim does not run: see whether it was stopped, and continue it with kill -CONT."}
	}
	return fmt.Errorf("order to the shim of process %d: %w", in.pid, err)
}

// run follows the instance to its end.
func (in *Instance) run() {
	e := Exit{Reason: Lost, Code: -1}
	var forced, over bool
	for {
		var r report
		if err := in.reports.Decode(&r); err != nil {
			break // the end of the shim
		}
		switch {
		case r.Exited != nil:
			in.mu.Lock()
			asked := in.asked
			in.mu.Unlock()
			e = r.Exited.exit(asked)
		case r.Forced:
			forced = true
		case r.Gone:
			over, e.Stuck = true, r.Stuck
		}
	}
	e.Forced = forced
	// Without a last report the shim was killed, before or after its program. It is not
	// reaped yet, so its pid still names the session.
	if !over {
		e.Stuck = reclaim(in.shim.Process.Pid, in.pid, in.mark)
	}
	in.mu.Lock()
	in.orders = nil
	if in.hung != nil {
		in.hung.Stop()
	}
	in.mu.Unlock()
	_ = in.shim.Wait() // how the shim ended is of no interest

	in.drain()
	e.Lived = time.Since(in.started)
	in.exit = e
	close(in.done)
}

// abandon ends a shim that has not reported a start. It may be about to, unless it has
// reported a failure: then unsure is false.
func (in *Instance) abandon(unsure bool) {
	_ = in.pipes.orders.w.Close() // the shim ends at this, if it has not
	_ = in.pipes.reports.r.SetReadDeadline(time.Now().Add(drainAfter))
	var r report
	for in.reports.Decode(&r) == nil {
		in.pid = r.Started
	}
	_ = in.shim.Process.Kill() // it has ended, or is hung, or gives a grace that nobody waits for
	if unsure {
		_ = reclaim(in.shim.Process.Pid, in.pid, in.mark)
	}
	_ = in.shim.Wait()
	in.drain()
}

// drain waits for the output to end, and closes our ends of the pipes.
func (in *Instance) drain() {
	until := time.Now().Add(drainAfter)
	_ = in.pipes.out.r.SetReadDeadline(until)
	_ = in.pipes.err.r.SetReadDeadline(until)
	in.pumps.Wait()
	in.pipes.closeOurs()
}

func (x *exited) exit(asked bool) Exit {
	e := Exit{Reason: Exited, Code: x.Status.ExitStatus(), OOM: x.OOM, Left: x.Left, User: x.User, System: x.System, MaxRSS: x.MaxRSS}
	if x.Status.Signaled() {
		e.Reason, e.Code, e.Signal = Signalled, -1, x.Status.Signal()
	}
	if asked {
		e.Reason = Stopped
	}
	return e
}
