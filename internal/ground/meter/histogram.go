package meter

import (
	"math/bits"
	"sync/atomic"
)

const (
	subBits  = 3                          // cells per power of two: 8, so a cell is at most 12.5 % wide
	sub      = 1 << subBits               //
	maxExp   = 43                         // values above 2^43 fall in the last cell
	numCells = sub + (maxExp-subBits)*sub // 328
	cutoff   = uint64(1)<<maxExp - 1      // the largest value with a cell of its own
	histSets = 4                          // sets of cells per histogram; made when first used, 2.6 KB each
)

// Histograms is a family of histograms.
type Histograms struct{ f *family }

// Histogram registers a family of histograms, or gives the one registered before.
func (r *Registry) Histogram(d Desc) Histograms { return Histograms{r.register(KindHistogram, d)} }

// With gives the series with these label values.
func (h Histograms) With(values ...string) *Histogram { return h.f.with(values).hist }

// Drop forgets a series.
func (h Histograms) Drop(values ...string) { h.f.drop(values) }

type cellSet struct {
	sum   atomic.Uint64
	cells [numCells]atomic.Uint64
}

// Histogram counts values by size. The zero value is empty and exports its values as
// they are.
type Histogram struct {
	scale float64
	sets  [histSets]atomic.Pointer[cellSet]

	exemplars atomic.Pointer[exemplars] // nil until there is one
}

// Observe counts v: nanoseconds for a family in seconds (int64 of a time.Duration),
// else what the unit says. Below 0 counts as 0. It allocates at most histSets times in
// the life of a histogram.
func (h *Histogram) Observe(v int64) { h.ObserveAt(Here(), v) }

// ObserveAt is Observe in a shard.
func (h *Histogram) ObserveAt(at Shard, v int64) {
	u := uint64(max(v, 0))
	p := &h.sets[at%histSets]
	s := p.Load()
	if s == nil {
		p.CompareAndSwap(nil, new(cellSet))
		s = p.Load()
	}
	s.cells[cellOf(u)].Add(1)
	s.sum.Add(u)
}

// cellOf gives the cell of v. Cell i holds the values in (bound(i-1), bound(i)], so
// that a bound is exact as Prometheus' le: 0 and 1 in cell 0, 2 in 1, ... 8 in 7, then
// eight cells per power of two.
func cellOf(v uint64) int {
	if v > 0 {
		v--
	}
	v = min(v, cutoff)
	if v < sub {
		return int(v)
	}
	exp := bits.Len64(v) - 1 // >= subBits
	return (exp-subBits)*sub + int(v>>(exp-subBits))
}

// bound is the largest value of cell i.
func bound(i int) uint64 {
	if i < sub {
		return uint64(i) + 1
	}
	exp := i/sub - 1
	return (uint64(i%sub+sub) + 1) << exp
}

// Sum gives the sum of the values as they were observed. It grows with every value above 0,
// so that who looks often need not Read what has not changed.
func (h *Histogram) Sum() (sum uint64) {
	for i := range h.sets {
		if s := h.sets[i].Load(); s != nil {
			sum += s.sum.Load()
		}
	}
	return sum
}

// Read gives the distribution so far.
func (h *Histogram) Read() Dist {
	d := Dist{scale: h.scale}
	for i := range h.sets {
		s := h.sets[i].Load()
		if s == nil {
			continue
		}
		if d.cells == nil {
			d.cells = make([]uint64, numCells)
		}
		for j := range s.cells {
			n := s.cells[j].Load()
			d.cells[j] += n
			d.Count += n
		}
		d.sum += s.sum.Load()
	}
	return d
}

// Advance reads the distribution into last, and adds to window what was observed since last
// was read: what Read, Since and Plus do, in place. Both are the caller's alone, of this
// histogram and of this unit, or zero.
func (h *Histogram) Advance(last, window *Dist) {
	for _, d := range [...]*Dist{last, window} {
		if d.cells == nil {
			*d = Dist{scale: h.scale, cells: make([]uint64, numCells)}
		}
	}
	var sets [histSets]*cellSet
	n, sum := 0, uint64(0)
	for i := range h.sets {
		if s := h.sets[i].Load(); s != nil {
			sets[n] = s
			sum += s.sum.Load()
			n++
		}
	}
	for i := range numCells {
		now := uint64(0)
		for _, s := range sets[:n] {
			now += s.cells[i].Load()
		}
		if more := now - last.cells[i]; more > 0 {
			last.cells[i] = now
			last.Count += more
			window.cells[i] += more
			window.Count += more
		}
	}
	window.sum += sum - last.sum
	last.sum = sum
}

// Dist is a distribution as it was read from a histogram.
type Dist struct {
	Count uint64
	sum   uint64
	scale float64
	cells []uint64 // nil when empty, else numCells
}

func (d Dist) scaled(v float64) float64 {
	if d.scale != 0 {
		return v * d.scale
	}
	return v
}

// Sum is the sum of all values, in the family's unit.
func (d Dist) Sum() float64 { return d.scaled(float64(d.sum)) }

// Quantile gives the value below which the share q (0 to 1) of the values lies, in the
// family's unit and within 12.5 %; 0 when empty. It is interpolated inside the cell.
func (d Dist) Quantile(q float64) float64 {
	if d.Count == 0 {
		return 0
	}
	rank := min(max(q, 0), 1) * float64(d.Count)
	var below float64
	for i, n := range d.cells {
		if n == 0 {
			continue
		}
		if below+float64(n) >= rank {
			var lo float64
			if i > 0 {
				lo = float64(bound(i - 1))
			}
			return d.scaled(lo + (float64(bound(i))-lo)*(rank-below)/float64(n))
		}
		below += float64(n)
	}
	return d.scaled(float64(bound(numCells - 1)))
}

// Since gives what was added after before was read from the same histogram: the
// distribution of a window.
func (d Dist) Since(before Dist) Dist {
	if before.cells == nil {
		return d
	}
	w := Dist{sum: d.sum - before.sum, scale: d.scale, cells: make([]uint64, numCells)}
	for i := range d.cells {
		w.cells[i] = d.cells[i] - min(before.cells[i], d.cells[i])
		w.Count += w.cells[i]
	}
	return w
}

// Plus adds two distributions of one unit, for example of several routes of a service.
func (d Dist) Plus(o Dist) Dist {
	switch {
	case d.cells == nil:
		return o
	case o.cells == nil:
		return d
	}
	s := Dist{Count: d.Count + o.Count, sum: d.sum + o.sum, scale: d.scale, cells: make([]uint64, numCells)}
	for i := range s.cells {
		s.cells[i] = d.cells[i] + o.cells[i]
	}
	return s
}

// atMost counts the values of at most 2^exp.
func (d Dist) atMost(exp int) uint64 {
	last := cellOf(uint64(1) << exp)
	var n uint64
	for i, c := range d.cells {
		if i > last {
			break
		}
		n += c
	}
	return n
}
