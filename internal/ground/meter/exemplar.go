package meter

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Exemplar is one value of a histogram of which more can be learned: by its trace.
type Exemplar struct {
	Value int64  // as it was observed
	Trace string // id, in hex
	At    time.Time
}

// numExemplars is how many a histogram keeps: one for each power of two.
const numExemplars = maxExp + 2

type exemplars [numExemplars]atomic.Pointer[Exemplar]

// Exemplify makes e the exemplar of the values of its size, in place of the one before: one
// store. It is for those values whose trace is kept, by whoever keeps it, not for each.
func (h *Histogram) Exemplify(e Exemplar) {
	all := h.exemplars.Load()
	if all == nil {
		h.exemplars.CompareAndSwap(nil, new(exemplars))
		all = h.exemplars.Load()
	}
	all[powerOf(e.Value)].Store(&e)
}

// powerOf gives the least power of two, from 0, that v does not exceed.
func powerOf(v int64) int {
	return min(bits.Len64(uint64(max(v, 1)-1)), numExemplars-1)
}

// exemplar gives the latest of those of the powers from to to; nil if there is none.
func (h *Histogram) exemplar(from, to int) (latest *Exemplar) {
	all := h.exemplars.Load()
	if all == nil {
		return nil
	}
	for i := from; i <= to; i++ {
		if e := all[i].Load(); e != nil && (latest == nil || e.At.After(latest.At)) {
			latest = e
		}
	}
	return latest
}
