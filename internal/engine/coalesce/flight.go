package coalesce

import (
	"context"
	"errors"
	"time"
)

// Flight is one request that several callers may wait for. Its methods are the leader's.
type Flight[K comparable, V any] struct {
	g        *Group[K, V]
	key      K
	mark     uint64
	ctx      context.Context
	cancel   context.CancelCauseFunc
	deadline *time.Timer   // cancels ctx
	stop     func() bool   // of the watch over the leader's caller
	over     chan struct{} // closed when outcome is known

	wanted  int     // callers who want the answer, the leader's included; guarded by g.mu
	left    bool    // the leader's caller does not any more; guarded by g.mu
	outcome outcome // guarded by g.mu until over is closed, then it never changes
	value   V       // likewise
}

type outcome uint8

const (
	pending outcome = iota
	shared
	declined
	failed
)

// ErrUnwanted is the cause when a flight's context is cancelled because others who waited
// were the last to leave. If it was the leader's caller, the cause is that of its context.
var ErrUnwanted = errors.New("every caller has left")

// Context bounds the request: it has the values of the leader's context, not its end. It is
// cancelled by the deadline (context.Cause is DeadlineExceeded), by the leaving of the last
// caller, and by End. After Decline and Fail the deadline is off and the leader's caller alone counts.
func (f *Flight[K, V]) Context() context.Context { return f.ctx }

// Waiting is how many others wait for the answer.
func (f *Flight[K, V]) Waiting() int {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	if f.outcome != pending || f.left {
		return f.wanted
	}
	return f.wanted - 1
}

// Share gives v to all who wait, and those it fits take it. The answer must be whole.
func (f *Flight[K, V]) Share(v V) { f.settle(shared, v) }

// Decline lets each go alone, now and for a while: the answer is not to be shared, or too big.
func (f *Flight[K, V]) Decline() {
	var none V
	f.settle(declined, none)
}

// Fail lets one of those who wait lead: there was no answer, or none that tells of a
// success or of the key (5xx, 429).
func (f *Flight[K, V]) Fail() {
	var none V
	f.settle(failed, none)
}

// End ends the leader's part; what was not settled has failed. Defer it: it is also what
// happens if the leader panics.
func (f *Flight[K, V]) End() {
	f.Fail()
	f.stop()
	f.cancel(context.Canceled)
}

// settle makes an outcome known; the first counts.
func (f *Flight[K, V]) settle(o outcome, v V) {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	if f.outcome != pending {
		return
	}
	f.outcome, f.value = o, v
	f.deadline.Stop()
	if f.g.flights[f.key] == f {
		delete(f.g.flights, f.key)
	}
	if o == declined {
		f.g.marks[f.mark] = time.Since(f.g.start) + alone
	}
	close(f.over)
	f.wanted = 1
	if f.left {
		f.wanted = 0
		f.cancel(ErrUnwanted)
	}
}

// callerLeft is called when the leader's context is done, because of why.
func (f *Flight[K, V]) callerLeft(why error) {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	f.left = true
	f.less(why)
}

// leave is called when one who waited does not any more.
func (f *Flight[K, V]) leave() {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	if f.outcome == pending { // else those who waited are no longer counted
		f.less(ErrUnwanted)
	}
}

// less takes one caller away, and with the last the request.
func (f *Flight[K, V]) less(why error) {
	if f.wanted--; f.wanted > 0 {
		return
	}
	if f.g.flights[f.key] == f {
		delete(f.g.flights, f.key)
	}
	f.cancel(why)
}
