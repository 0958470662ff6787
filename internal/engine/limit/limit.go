// Package limit bounds how many requests of a node are at an upstream at one time, and
// decides who is refused when there are more.
//
//	        a place is free                       Leave
//	Enter ------------------> Admitted ... served ------> a place is free
//	  |                          ^
//	  | none is                  | by class, then oldest first (newest, when the queue lasts)
//	  +---------> Queued --------+
//	  |                          +--> Full: waited long enough, or pushed out
//	  +---------> Shed: too unimportant for this much overload
//
// The limit is the least of a declared bulkhead and of an adaptive one (gradient.go), which
// shrinks when answers take longer than they usually do and the load is the reason. Four
// classes of 128 cohorts each give every request a rank. When the limit is reached for
// long, those of the last ranks are refused at once (shed.go), unless the upstream is less
// than half busy: so that nobody is refused whom it could serve, however the controller
// lags. The queue is the second line: it is what keeps the order exact while the level of
// overload is still rising, and it makes the important pass in the first millisecond.
//
// Nothing here blocks: who must wait gets a Waiter, and selects on it, on its own context
// and on a timer. Times are nanoseconds of a clock that does not go back. The package reads
// no clock, starts no goroutine and does no I/O.
//
// A Limiter may be used concurrently. While places are free, Enter is one compare-and-swap
// and Leave two atomic adds; a lock is taken, for less than a microsecond, when a request
// must queue, when one leaves while others wait, and once per window (50 ms or more).
//
// Invariants: a waiter is granted, pushed out or settled by its owner, exactly once; while
// anybody waits, as many are in flight as the limit allows, or more.
//
// Limits: a node knows only its own requests. Where many nodes load one upstream, a node that
// shrinks its share sees no relief and takes the slowness for the service's own; the
// upstream's refusals and timeouts, which count as drops, bound it then. The cohort of a
// caller is the same on all nodes and at all times: salt the hash to let others go first.
package limit

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"
)

// Request is what the order depends on.
type Request struct {
	Priority Priority
	Cohort   uint32 // a hash of whom it is for, so that one user is served whole or not at all; by trace where no user is known
	Deadline int64  // when the answer is of no use any more; 0: never
}

// Answer is what becomes of a request.
type Answer uint8

// The answers.
const (
	Admitted Answer = iota // it may go: Leave must follow
	Queued                 // it waits: Settle must follow
	Full                   // refused: no place in time
	Shed                   // refused: others are more important
)

// Outcome is what became of an admitted request.
type Outcome uint8

// The outcomes.
const (
	OK      Outcome = iota // answered: its latency counts
	Dropped                // timed out, or refused by overload (429, 503 with Retry-After, RESOURCE_EXHAUSTED)
	Ignored                // anything else: an error may be fast, a stream long, a caller gone
)

// The state word: in flight, waiting, and a running count of those who went straight in.
const (
	inflightMask = 1<<24 - 1
	waitingShift = 24
	waitingMask  = 1<<16 - 1
	entryShift   = 40
	entryMask    = 1<<24 - 1
)

// What a window is.
const (
	leastWindow  = 50e6 // nanoseconds, and at least one latency, so that what a window changed shows in the next
	slowWindow   = 10e9 // nanoseconds after which a window is closed whatever it saw
	samples      = 20   // at least, before slowWindow
	sumBits      = 48
	sampleShift  = 6   // latencies are summed in 64 ns
	longest      = 300 // seconds that count of a latency: 2^16 of them fit in the sum
	unlimited    = inflightMask
	closeSamples = 60_000 // the count of samples must not overflow
)

// Limiter is the limit of one upstream. Use New.
type Limiter struct {
	state atomic.Uint64
	limit atomic.Int64 // in force; written under mu
	below atomic.Int32 // ranks from here are shed; written under mu
	peak  atomic.Int64 // the most in flight in this window; may miss some

	_     [64]byte      // what Leave writes and Enter does not read
	sums  atomic.Uint64 // this window: samples << sumBits | sum of latencies
	drops atomic.Int64  // of the samples
	due   atomic.Int64  // when the window may be closed
	late  atomic.Int64  // when it must be

	mu        sync.Mutex
	c         Config // guarded by mu, as all below
	endpoints int    // 1 or more
	fresh     bool   // no window has been closed
	opened    int64  // when this window began
	grad      gradient
	over      overload
	q         queue
}

// New makes a Limiter of a Config that has passed Check.
func New(c Config) *Limiter {
	l := &Limiter{fresh: true, endpoints: 1}
	l.Set(0, c)
	return l
}

// Set changes the Config. What was learned, who waits and who is in flight stay.
func (l *Limiter) Set(now int64, c Config) { l.configure(now, func() { l.c = c }) }

// Endpoints says over how many endpoints the upstream spreads its requests.
func (l *Limiter) Endpoints(now int64, n int) {
	l.configure(now, func() { l.endpoints = min(max(n, 1), 1000) })
}

func (l *Limiter) configure(now int64, change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.grad.min = float64(cmp.Or(l.c.MinLimit, DefaultMin))
	l.grad.max = max(l.grad.min, float64(min(cmp.Or(l.c.MaxLimit, DefaultMax)*l.endpoints, MaxLimit)))
	l.grad.initial = float64(cmp.Or(l.c.InitialLimit, DefaultInitial) * l.endpoints)
	if l.fresh {
		l.grad.limit = l.grad.initial
	}
	l.grad.limit = min(l.grad.limit, l.grad.max)
	l.publish()
	l.grant(now)
}

// publish puts the limit into force.
func (l *Limiter) publish() {
	n := int64(unlimited)
	if l.c.Max > 0 {
		n = int64(l.c.Max)
	}
	if l.c.Adaptive != Off {
		n = min(n, int64(l.grad.limit))
	}
	l.limit.Store(max(n, 1))
	l.below.Store(l.over.below())
}

// Enter asks for a place at now. Admitted must be followed by one Leave, Queued (then, and
// only then, there is a Waiter) by one Settle; Full and Shed by nothing.
func (l *Limiter) Enter(now int64, r Request) (Answer, *Waiter) {
	rank := int32(r.Priority.class()*cohorts + int(r.Cohort%cohorts))
	for {
		s := l.state.Load()
		in, limit := int64(s&inflightMask), l.limit.Load()
		waits := s>>waitingShift&waitingMask > 0
		if rank >= l.below.Load() && (waits || in >= limit/2) {
			l.shed(now)
			return Shed, nil
		}
		if waits || in >= limit {
			return l.wait(now, r)
		}
		if l.state.CompareAndSwap(s, s+1+1<<entryShift) {
			if in >= l.peak.Load() {
				l.peak.Store(in + 1)
			}
			return Admitted, nil
		}
	}
}

// shed gives the controller the time: else it would never learn that the load is gone.
func (l *Limiter) shed(now int64) {
	if l.mu.TryLock() {
		l.decide(now)
		l.mu.Unlock()
	}
}

func (l *Limiter) decide(now int64) {
	l.over.decide(now, uint32(l.state.Load()>>entryShift))
	l.below.Store(l.over.below())
}

// wait is Enter where no place is free.
func (l *Limiter) wait(now int64, r Request) (Answer, *Waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.decide(now)
	l.grant(now) // somebody may have left meanwhile: those who wait come before

	l.over.queued++
	class := r.Priority.class()
	until := l.until(now, r)
	limit := l.limit.Load()
	room := int64(l.c.Queue)
	if room == 0 {
		room = min(limit, MaxQueue)
	}
	for {
		s := l.state.Load()
		waiting := int64(s >> waitingShift & waitingMask)
		if waiting == 0 && int64(s&inflightMask) < limit {
			if !l.state.CompareAndSwap(s, s+1) {
				continue
			}
			return Admitted, nil
		}
		if room < 0 || until <= now {
			l.lost(class)
			return Full, nil
		}
		if waiting >= room {
			w := l.q.victim(class, now)
			if w == nil {
				l.lost(class)
				return Shed, nil
			}
			switch {
			case w.until <= now || w.class == class:
				l.settle(w, Full)
			default:
				l.settle(w, Shed)
			}
			continue
		}
		// From here whoever leaves sees that somebody waits, and takes the lock.
		if l.state.CompareAndSwap(s, s+1<<waitingShift) {
			w := l.q.take()
			w.class, w.until, w.answer = class, until, Queued
			l.q.push(w, now)
			return Queued, w
		}
	}
}

// lost notes that the queue was no help.
func (l *Limiter) lost(class int) {
	if class == Critical.class() {
		l.over.lost++
	}
}

func (l *Limiter) until(now int64, r Request) int64 {
	wait := int64(l.c.Wait)
	if r.Deadline == 0 {
		return now + cmp.Or(wait, int64(DefaultWait))
	}
	return min(now+cmp.Or(wait, (r.Deadline-now)/10), r.Deadline)
}

// settle decides a waiter that is in the queue.
func (l *Limiter) settle(w *Waiter, a Answer) {
	l.q.remove(w)
	change := ^uint64(1<<waitingShift - 1) // one less waits
	if a == Admitted {
		change++
	}
	l.state.Add(change)
	if a != Admitted {
		l.lost(w.class)
	}
	w.answer = a
	w.decided <- struct{}{} // has room: a waiter is decided once
}

// grant gives free places to those who wait.
func (l *Limiter) grant(now int64) {
	for {
		s := l.state.Load()
		if s>>waitingShift&waitingMask == 0 || int64(s&inflightMask) >= l.limit.Load() {
			return
		}
		w := l.q.first(now)
		if w.until <= now {
			l.settle(w, Full)
		} else {
			l.settle(w, Admitted)
		}
	}
}

// Settle ends the waiting of w, which must not be used any more: after Decided gave a
// value it gives the answer; before, the caller gives up, and the answer is Full. It may be
// Admitted even then, if a place came at the same moment; a caller who is gone then calls
// Leave with Ignored.
func (l *Limiter) Settle(now int64, w *Waiter) Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.answer == Queued {
		l.settle(w, Full)
	}
	select {
	case <-w.decided:
	default: // the caller has received it
	}
	a := w.answer
	l.q.give(w)
	return a
}

// Leave ends an admitted request. latency is from Admitted to the head of the answer, which
// is where a stream should leave.
func (l *Limiter) Leave(now int64, latency time.Duration, o Outcome) {
	if o != Ignored {
		l.sample(now, latency, o)
	}
	s := l.state.Add(^uint64(0))
	if s&inflightMask == inflightMask {
		panic("limit: Leave without Enter")
	}
	if s>>waitingShift&waitingMask > 0 && int64(s&inflightMask) < l.limit.Load() {
		l.mu.Lock()
		l.grant(now)
		l.mu.Unlock()
	}
}

func (l *Limiter) sample(now int64, latency time.Duration, o Outcome) {
	add := uint64(1) << sumBits
	if o == OK {
		add += uint64(min(max(latency, 0), longest*time.Second)) >> sampleShift
	} else {
		l.drops.Add(1)
	}
	n := l.sums.Add(add) >> sumBits
	if (n >= samples && now >= l.due.Load() || n >= closeSamples || now >= l.late.Load()) && l.mu.TryLock() {
		l.close(now)
		l.mu.Unlock()
	}
}

// close ends the window.
func (l *Limiter) close(now int64) {
	late := l.late.Load()
	n := l.sums.Load() >> sumBits
	if !(n >= samples && now >= l.due.Load() || n >= closeSamples || now >= late) {
		return // another has closed it
	}
	if late == 0 { // the first: it has no beginning yet
		l.due.Store(now + leastWindow)
		l.late.Store(now + slowWindow)
		l.opened = now
		return
	}
	sums, drops := l.sums.Swap(0), int(l.drops.Swap(0))
	w := window{drops: drops, peak: int(l.peak.Load()), span: float64(now - l.opened)}
	w.ok = max(int(sums>>sumBits)-drops, 0)
	if w.ok > 0 {
		w.short = float64(sums&(1<<sumBits-1)) * (1 << sampleShift) / float64(w.ok)
	}
	l.peak.Store(int64(l.state.Load() & inflightMask))
	lasts := w.short
	if l.grad.windows < begin {
		lasts *= 2 // at the beginning the fast answers are too many
	}
	l.due.Store(now + int64(min(max(leastWindow, lasts), slowWindow)))
	l.late.Store(now + slowWindow)
	l.opened = now
	if l.c.Adaptive == Off {
		return
	}
	if l.fresh && w.drops == 0 {
		l.fresh = false // the first window would say that the service is fast, as it has only the fast answers
		return
	}
	l.fresh = false
	l.grad.window(w)
	l.publish()
	l.grant(now)
}

// Stats is how a Limiter stands.
type Stats struct {
	Limit    int // in force; 0: none
	InFlight int
	Waiting  int
	Overload float64       // 0 to 1: the cube is the share of ranks that are shed
	Usual    time.Duration // latency of the upstream as the adaptive limit knows it; 0: not yet
}

// Stats gives how l stands at now.
func (l *Limiter) Stats(now int64) Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.decide(now)
	s := l.state.Load()
	v := Stats{InFlight: int(s & inflightMask), Waiting: int(s >> waitingShift & waitingMask), Overload: l.over.level, Usual: time.Duration(l.grad.usual)}
	if n := l.limit.Load(); n != unlimited {
		v.Limit = int(n)
	}
	return v
}
