package pebblestore

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"stoa/api/fault"
	"stoa/internal/ground/journal"
)

// ErrDamaged is a reason to end that opening again does not mend: what is on the disk is
// not what was written.
var ErrDamaged = errors.New("damaged")

// failure is the store's one way of failing. Pebble cannot go on after an error of
// its WAL or MANIFEST and sometimes panics in a goroutine of its own, so neither do
// we: the process ends with the reason and its parent starts it again.
type failure struct {
	fatal func(error)
	dead  chan struct{}         // closed by the first fail
	flush atomic.Pointer[error] // why the last flush failed; nil when it did not. Pebble tries again by itself.

	slow atomic.Pointer[string] // the last slow write, until someone has reported it

	once    sync.Once
	reason  error       // set before dead is closed
	opening atomic.Bool // Open gives the reason to its caller, if it returns at all
}

// openDeadline is how long an open that has failed may take to return: Pebble may
// retry a MANIFEST for ever.
const openDeadline = 5 * time.Second

func newFailure(fatal func(error)) *failure {
	f := &failure{fatal: fatal, dead: make(chan struct{})}
	f.opening.Store(true)
	return f
}

// fail ends the process, unless Fatal returns or the store is being opened. Only the
// first reason counts.
func (f *failure) fail(reason error) {
	f.once.Do(func() {
		f.reason = reason
		close(f.dead)
		if !f.opening.Load() {
			f.fatal(reason)
			return
		}
		time.AfterFunc(openDeadline, func() {
			if f.opening.Load() {
				f.fatal(reason)
			}
		})
	})
}

// opened ends the opening. If something failed on the way although Pebble went
// on, only a new process can close it.
func (f *failure) opened(err error) error {
	f.opening.Store(false)
	down := f.err()
	if err == nil && down != nil {
		f.fatal(f.reason)
	}
	return cmp.Or(err, down)
}

// err gives ErrDown with the reason once the store has failed.
func (f *failure) err() error {
	select {
	case <-f.dead:
		return fmt.Errorf("%w: %w", journal.ErrDown, f.reason)
	default:
		return nil
	}
}

// blocked says why nothing may be appended although the store lives: while flushes
// fail, memtables pile up and Pebble would block the writer in the end.
func (f *failure) blocked() error {
	why := f.flush.Load()
	switch {
	case why == nil:
		return nil
	case errors.Is(*why, syscall.ENOSPC):
		return fullErr("flushing: %w", *why)
	}
	return &fault.Error{
		Op: "journal.append", Kind: fault.Unavailable, Err: fmt.Errorf("%w: flushing: %w", journal.ErrDown, *why),
		Hint: "Look at the disk's health (dmesg, smartctl); appends resume by themselves when it writes again.",
	}
}

// readErr turns an error of reading into the port's: damage is fatal, all else passes.
func (f *failure) readErr(err error) error {
	if err == nil || errors.Is(err, journal.ErrDown) {
		return err
	}
	if pebble.IsCorruptionError(err) || errors.Is(err, errFormat) {
		f.fail(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	return fmt.Errorf("%w: %w", journal.ErrDown, err)
}

// fullErr is ErrFull with what to do about it.
func fullErr(format string, args ...any) error {
	return &fault.Error{
		Op: "journal.append", Kind: fault.Exhausted, Err: fmt.Errorf("%w: %w", journal.ErrFull, fmt.Errorf(format, args...)),
		Hint: "Free space on that volume, or shorten the retention of topics; appends resume by themselves.",
	}
}
