// Package rate limits how many requests pass in a span of time, per route or per key.
//
// The rule is GCRA, the generic cell rate algorithm, in its virtual scheduling form: all
// that is kept of a quota is one moment, at which all that was spent will have come back. A
// request moves it by one step (1/rate); it is refused if that would put it further ahead of
// now than the whole burst. There is no timer, and the time after which a refused request
// would pass is known to the nanosecond.
//
//	Config --Compile--> Limit   how much: immutable, part of a snapshot
//	                    Cell    what was spent: one moment, lives as long as the route's name
//	                    Keyed   the same for many keys, bounded
//	limit.Take(&cell, now) -> Verdict -> header fields
//
// Where several limits must all allow a request, ask each with Peek and take only where none
// refuses; what was taken before another request came between is given back (Return).
//
// What was spent lives across snapshots, keyed by identity: the caller keeps the Cell or
// the Keyed and takes from it by the Limit of its snapshot. A cell does not know its rate,
// so a changed Config needs no conversion, and requests of two snapshots may use a cell at
// the same time. What is kept is the time of the debt: who had to wait 3 s for the whole
// burst still has to, but never longer than the new Limit takes for its whole burst. So a
// rate made higher pardons in time, and one made much lower (50/s to 5/h) at once.
//
// The share of a node in a rate that nodes share will be a Limit as well, over the same cell.
//
// Times are nanoseconds of a clock that does not go back and never shows less than 0. The
// package reads no clock, starts no goroutine and does no I/O. Everything may be called
// concurrently: a Cell is one compare-and-swap, a Keyed takes one of 64 short locks.
//
// Limits: each node counts for itself. A Keyed forgets the key with the least debt when its
// bound is reached; who is forgotten is pardoned.
package rate

import (
	"sync/atomic"
	"time"
)

// Limit is a compiled Config. The zero value is not a limit: it lets nothing pass.
type Limit struct {
	step  int64 // nanoseconds that one request costs
	burst int64 // requests
	whole int64 // step x burst

	source   Source
	name     string
	legacy   bool
	declared Rate
	policy   string // the value of RateLimit-Policy
}

// Source gives where the key of a request comes from, and the name of the header or cookie.
func (l *Limit) Source() (from Source, name string) { return l.source, l.name }

// Cell is what was spent of one quota. The zero value is a quota of which nothing was spent.
type Cell struct {
	back atomic.Int64 // the moment at which all that was spent has come back
}

// Verdict is the answer to one request.
type Verdict struct {
	OK        bool
	Remaining int64         // requests that could pass at this moment, after this one
	Reset     time.Duration // until the whole burst can pass
	Retry     time.Duration // until this request would pass; 0 if it did
}

// Take lets a request pass that arrives at now, if c has some of l left.
func (l *Limit) Take(c *Cell, now int64) Verdict {
	for {
		back := c.back.Load()
		next, v := l.take(back, now)
		if !v.OK || c.back.CompareAndSwap(back, next) {
			return v
		}
	}
}

// Peek is what Take would answer, and takes nothing.
func (l *Limit) Peek(c *Cell, now int64) Verdict {
	_, v := l.take(c.back.Load(), now)
	return v
}

// Return gives back what a Take took that answered v, which was OK, since it did so long ago:
// what of it has not come back by itself. At once that is all of it, and never is it more,
// whatever others took in between.
func (l *Limit) Return(c *Cell, v Verdict, since time.Duration) { c.back.Add(-l.due(v, since)) }

// due is what of a step that was taken with v has not come back by itself.
func (l *Limit) due(v Verdict, since time.Duration) int64 {
	return min(max(int64(v.Reset-since), 0), l.step)
}

// take is the rule: it gives where a cell moves to, and the verdict.
func (l *Limit) take(back, now int64) (int64, Verdict) {
	debt := min(max(back-now, 0), l.whole)
	if over := debt + l.step - l.whole; over > 0 {
		return back, Verdict{Reset: time.Duration(debt), Retry: time.Duration(over)}
	}
	debt += l.step
	return now + debt, Verdict{OK: true, Remaining: (l.whole - debt) / l.step, Reset: time.Duration(debt)}
}
