package flow

import (
	"sync/atomic"
	"time"

	"stoa/internal/ground/meter"
)

// A hop is slow if it took twice as long as 99 of 100 of its route did of late, and long enough
// to matter: a second at a catalogue of 5 ms is worth keeping, and at a report of 3 s it is not.
const (
	slowAtFirst = time.Second            // until so many have ended that it can be told
	slowLeast   = 100 * time.Millisecond // what nobody notices is not slow
	slowTimes   = 2                      // of the 99th percentile
	slowWindow  = 10                     // looks, one a second: each route is worked out with one of them
	slowEnough  = 100                    // answers in that time, for a percentile that means anything
)

// slowness is when a hop of a series is slow. A hop reads one word of it; the rest belongs to Look.
type slowness struct {
	from atomic.Int64 // ns; 0: not known yet

	base meter.Dist // what there was at the last look; guarded by Plane.lookMu, as what follows
	sum  uint64     // the same in sum: where it has not changed, nothing has
}

// slow gives the duration from which a hop of s is slow; s may be nil.
func (s *series) slow() time.Duration {
	if s != nil {
		if d := s.slowness.from.Load(); d != 0 {
			return time.Duration(d)
		}
	}
	return slowAtFirst
}

// learn works out what is slow in the time since it was asked last. lookMu is held.
func (s *series) learn() {
	h := s.duration.Load()
	if h == nil {
		return
	}
	w := &s.slowness
	sum := h.Sum()
	if sum == w.sum {
		return
	}
	d := h.Read()
	since := d.Since(w.base)
	if since.Count < slowEnough { // it is gathered until there are enough
		return
	}
	w.base, w.sum = d, sum
	p99 := time.Duration(since.Quantile(0.99) * float64(time.Second))
	w.from.Store(int64(max(slowLeast, slowTimes*p99)))
}

// learnSlow works out a part of all series of the snapshot in force, another with each look.
func (p *Plane) learnSlow() {
	p.lookMu.Lock()
	defer p.lookMu.Unlock()
	all := p.cur.Load().all
	for i := p.looks % slowWindow; i < len(all); i += slowWindow {
		all[i].learn()
	}
	p.looks++
}
