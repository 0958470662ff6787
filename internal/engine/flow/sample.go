package flow

import (
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/rate"
	"stoa/internal/ground/meter"
)

// Which hops are handed to the sink. Each costs more to keep than to proxy, so that a busy
// node keeps a sample, and an idle one (a developer's) keeps all:
//
//	a trace begins, or comes from outside   sampled while there are fewer than maxRoots
//	a hop inside of it                      as its caller said
//	at the end, if not sampled              kept all the same if it failed, was refused, needed
//	                                        a second attempt, or was slow (slow.go)
//
// A caller outside gives the id of a trace, never the decision. Each of these has a bound of
// its own, so that neither a flood of refusals nor a service that samples all it does can
// make telemetry cost what the traffic costs. What exceeds one is counted.
const (
	maxRoots  = 200  // traces a second that begin here and are sampled
	maxInside = 5000 // hops a second that are sampled since their caller was
	maxFailed = 500  // failures a second that are kept though not sampled
	maxOdd    = 500  // of the refused, the slow and those with a second attempt
)

// bursts is how many seconds' worth may come at one moment.
const bursts = 5

// samples decides on records. A decision is one load of a word that seldom changes, and one
// compare-and-swap if the answer is yes.
type samples struct {
	roots, inside, failed, odd quota
	dropped                    *meter.Counter
}

// quota is so many a second.
type quota struct {
	limit rate.Limit
	_     [64]byte // what changes is on a cache line of its own
	cell  rate.Cell
	_     [56]byte
}

func (q *quota) set(perSecond int) {
	q.limit, _ = rate.Config{Rate: rate.Rate{N: int64(perSecond), Per: time.Second}, Burst: bursts * perSecond}.Compile()
}

func (q *quota) take(now int64) bool { return q.limit.Take(&q.cell, now).OK }

func (s *samples) init(dropped *meter.Counter) {
	s.roots.set(maxRoots)
	s.inside.set(maxInside)
	s.failed.set(maxFailed)
	s.odd.set(maxOdd)
	s.dropped = dropped
}

// decide says at the beginning of a hop whether it is recorded, and gives the flags that go
// on. root: the trace begins here, or comes from outside.
func (s *samples) decide(root bool, flags byte, now int64) (record bool, on byte) {
	switch {
	case !root && flags&1 == 0:
		return false, 0
	case !root: // the caller was recorded, and those after us may be
		return s.inside.take(now), 1
	case s.roots.take(now):
		return true, 1
	}
	return false, 0
}

// late says at the end of a hop that was not sampled whether it is recorded all the same. slow
// is how long a hop takes that is.
func (s *samples) late(r *hop.Record, o hop.Outcome, slow time.Duration) bool {
	q := &s.odd
	switch {
	case o == hop.Failed:
		q = &s.failed
	case r.Reason != "" || r.Attempts > 1 || r.Duration >= slow:
	case r.Trace.IsZero(): // a TCP connection, of which no trace is known
		q = &s.roots
	default:
		return false
	}
	if q.take(nowAt(r.Start) + int64(r.Duration)) {
		return true
	}
	s.dropped.Add(1)
	return false
}
