// Package breaker stops calling a service that fails as a whole, and finds out when it
// works again.
//
//	          failures reach the share             its time is over
//	closed ----------------------------> open ----------------------> half-open
//	   ^                                   ^   a trial failed, time x 2   |  |
//	   |                                   +------------------------------+  |
//	   +--- trials succeeded: 1, then 2 together, then 4 together -----------+
//
// There is one Breaker per service and node, and it is for whole failures only: one bad
// instance of several is the work of outlier ejection, and a breaker that judged attempts
// would make an outage of it. So ask Allow once per call, tell Done once per call how it
// ended after all its attempts, and ask Blocked before a further attempt.
//
// Who is let through gets a Pass, by which Done knows to what its result belongs. A result
// from before the last change of state counts no more: what began while the breaker was
// closed does not close it again. A trial that is never reported is given up after
// TrialLife, so that lost calls cannot keep a breaker half-open for ever. Report when the
// verdict is known (the head, for a stream), not when a stream of hours ends.
//
// Invariants: in half-open at most 1, 2, 4 trials are out, by round; an open breaker lets
// a trial through as soon as its time is over and never stays open without being asked;
// seven successes in three rounds close it.
//
// Closed and open are decided by atomics; one short lock guards changes of state and the
// trials, a few calls each time. Nothing allocates, no clock is read: now is any
// monotonic count of nanoseconds.
//
// Limits: failures are counted over 10.0 to 10.7 s, not exactly 10. The breaker trips on a
// failure, not on a success that is the twentieth call of a window full of failures.
// A service with fewer than 20 calls in the window never trips it. What several nodes see
// is not put together.
package breaker

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"stoa/internal/ground/window"
)

// TrialLife is how long a trial may be out before it is given up: twice the default time
// of a call, which ends every call but a stream.
const TrialLife = 30 * time.Second

// again bounds what a caller is told to wait when the trials are all out: they may end at
// any moment.
const again = time.Second

// rounds are the trials of half-open that may be out together; each round must succeed.
var rounds = [...]int{1, 2, 4}

// Phase is what a Breaker does with calls.
type Phase uint8

// The phases.
const (
	Closed Phase = iota
	Open
	HalfOpen
)

// String gives "closed", "open" or "half-open": label of metrics and text for people.
func (p Phase) String() string { return [...]string{"closed", "open", "half-open"}[p] }

// Pass is the right to one call. Give it back with Done, once; a copy that is given back
// again is ignored if it was a trial's, and counted again if not.
type Pass struct{ stamp uint64 } // the epoch of a closed breaker << 1, or a trial's number << 1 | 1

// Trial says whether the call is one by which a half-open breaker judges.
func (p Pass) Trial() bool { return p.stamp&1 == 1 }

// Breaker guards one service. Make it with New; it must not be copied. All methods may be
// called concurrently; none blocks but for the lock of a change of state.
type Breaker struct {
	word  atomic.Uint64 // epoch << 2 | Phase; written under mu, a new epoch for each change
	until atomic.Int64  // open: when it ends. Half-open: before it no trial is free. Written under mu
	rules atomic.Pointer[limits]

	_      [64]byte // the counts are written by every call, what is above seldom
	calls  window.Count
	failed window.Count
	_      [64]byte

	refused atomic.Uint64
	opened  atomic.Uint64
	told    atomic.Uint64 // of opened

	mu     sync.Mutex
	since  int64    // when the phase began; guarded by mu, as all below
	streak int      // times it opened without a whole window closed between: the doubling
	round  int      // half-open: index in rounds
	good   int      // half-open: successes in the round
	out    [4]trial // half-open: trials not reported
	number uint64   // of the last trial
}

// trial is a place for a trial; free if number is 0.
type trial struct {
	number uint64
	until  int64 // when it is given up
}

// New gives a closed breaker.
func New(c Config, now int64) *Breaker {
	b := &Breaker{since: now}
	b.Configure(c, now)
	return b
}

// Configure makes c the rules from now on. The phase and what was counted stay, but that
// a breaker that is turned off is closed.
func (b *Breaker) Configure(c Config, now int64) {
	r := c.compile()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules.Store(&r)
	if r.off && b.phase() != Closed {
		b.close(now)
	}
}

// Retry lets an open breaker try at once: what it opened for is known to be over. If the trial fails, it is
// open for as long as the first time.
func (b *Breaker) Retry(now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.phase() == Open {
		b.until.Store(min(b.until.Load(), now))
		b.streak = 0
	}
}

// Allow asks for one call. If it is refused, wait is about when to come again, at least 1 ns.
func (b *Breaker) Allow(now int64) (p Pass, wait time.Duration, ok bool) {
	w := b.word.Load()
	if Phase(w&3) == Closed {
		return Pass{w >> 2 << 1}, 0, true
	}
	if until := b.until.Load(); now < until {
		b.refused.Add(1)
		return Pass{}, b.wait(Phase(w&3), until-now), false
	}
	return b.try(now)
}

// Openings gives how often b has opened since it was last asked.
func (b *Breaker) Openings() uint64 {
	for {
		told, n := b.told.Load(), b.opened.Load()
		if n <= told {
			return 0
		}
		if b.told.CompareAndSwap(told, n) {
			return n - told
		}
	}
}

// Blocked says whether the breaker has left the phase in which it gave p, which a call
// asks before it makes another attempt. A trial may go on while the breaker is half-open.
func (b *Breaker) Blocked(p Pass) bool {
	switch phase := b.phase(); phase {
	case Closed:
		return false
	case HalfOpen:
		return !p.Trial()
	}
	return true
}

func (b *Breaker) wait(p Phase, left int64) time.Duration {
	if p == HalfOpen {
		left = min(left, int64(again))
	}
	return time.Duration(left)
}

// try gives out a trial, if one is free.
func (b *Breaker) try(now int64) (Pass, time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.phase() {
	case Closed: // since the caller looked
		return Pass{b.word.Load() >> 2 << 1}, 0, true
	case Open:
		if until := b.until.Load(); now < until {
			b.refused.Add(1)
			return Pass{}, time.Duration(until - now), false
		}
		b.enter(HalfOpen, now)
		b.round, b.good, b.out = 0, 0, [4]trial{}
	}
	place, first := -1, int64(0)
	for i := range b.out[:rounds[b.round]] {
		t := &b.out[i]
		if t.number == 0 || t.until <= now {
			place = i
			break
		}
		if first == 0 || t.until < first {
			first = t.until
		}
	}
	if place < 0 {
		b.until.Store(first)
		b.refused.Add(1)
		return Pass{}, b.wait(HalfOpen, max(1, first-now)), false
	}
	b.number++
	b.out[place] = trial{b.number, now + int64(TrialLife)}
	return Pass{b.number<<1 | 1}, 0, true
}

// Done reports how the call of p ended.
func (b *Breaker) Done(p Pass, r Result, now int64) {
	if p.Trial() {
		b.tried(p.stamp>>1, r, now)
		return
	}
	w := b.word.Load()
	if r == Ignored || w != p.stamp>>1<<2|uint64(Closed) {
		return
	}
	rules := b.rules.Load()
	tick := window.Tick(now, rules.window)
	b.calls.Add(tick, 1)
	if r != Bad {
		return
	}
	b.failed.Add(tick, 1)
	// The failures are read first: a call that is counted in between makes the share smaller.
	failed := b.failed.Sum(tick)
	if calls := b.calls.Sum(tick); calls < rules.least || failed*100 < calls*rules.percent {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.word.Load() == w && !b.rules.Load().off {
		b.trip(now)
	}
}

// tried takes the result of a trial.
func (b *Breaker) tried(number uint64, r Result, now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.phase() != HalfOpen {
		return
	}
	for i := range b.out {
		if b.out[i].number != number {
			continue
		}
		b.out[i] = trial{}
		b.until.Store(now) // a place is free
		switch r {
		case Bad:
			b.trip(now)
		case Good:
			b.success(now)
		}
		return
	}
	// It was given up, or belongs to an earlier half-open.
}

// success counts a trial that succeeded.
func (b *Breaker) success(now int64) {
	if b.good++; b.good < rounds[b.round] {
		return
	}
	b.good = 0
	if b.round++; b.round < len(rounds) {
		return
	}
	b.close(now)
}

// close closes the breaker with nothing counted; mu is held, as in all below.
func (b *Breaker) close(now int64) {
	b.calls.Reset()
	b.failed.Reset()
	b.enter(Closed, now)
}

// trip opens the breaker. The time doubles when a trial has failed, and also when the
// breaker had been closed for less than a window: a service that fails as soon as it gets
// its whole load would else be hit every five seconds.
func (b *Breaker) trip(now int64) {
	r := b.rules.Load()
	if b.phase() == Closed && now-b.since >= r.window {
		b.streak = 0
	}
	b.streak++
	open := r.open
	for i := 1; i < b.streak && open < r.openMax; i++ {
		open *= 2
	}
	open = min(open, r.openMax)
	b.opened.Add(1)
	b.enter(Open, now)
	// The jitter, 0 to 1/4 of the time, keeps nodes from trying in step. Their clocks differ
	// by more than the nanoseconds that it is drawn from.
	j, _ := bits.Mul64(mix(uint64(now)^b.word.Load()<<32), uint64(open/4))
	b.until.Store(now + open + int64(j))
}

func (b *Breaker) phase() Phase { return Phase(b.word.Load() & 3) }

// enter begins a phase.
func (b *Breaker) enter(p Phase, now int64) {
	b.since = now
	b.word.Store((b.word.Load()>>2+1)<<2 | uint64(p))
}

// mix makes a random-looking number of n (the finaliser of SplitMix64, Steele et al. 2014).
func mix(n uint64) uint64 {
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
