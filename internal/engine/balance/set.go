package balance

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	draws     = 4                 // pairs drawn before all members are looked at
	boundLoad = 1.25              // an endpoint may hold this many times its share before keys pass on
	minShare  = 0.10              // of its weight, when slow start begins
	refresh   = time.Second       // between two looks at the median
	hurry     = time.Second / 100 // the same, while it is not known
)

// Set is the members of an upstream at one moment and the tables of its policy. It never
// changes, but for the round-robin counter and the median that it keeps.
type Set struct {
	by      string
	panicAt int
	window  int64 // of slow start, 0 for none
	members []*Member
	weight  []float64 // relative to the largest: 0 < w <= 1
	oldest  int64     // the least Member.added
	slots   []uint16  // members by weight, evenly mixed; nil if all weights are equal
	table   table     // nil unless by ring or maglev

	turn   atomic.Uint64 // round-robin
	median atomic.Uint64 // bits of the float64 latency in the middle of those that are fresh, 0 if unknown
	look   atomic.Int64  // when the median is due

	mu   sync.Mutex // held by the one that computes the median; only ever tried
	work []float64  // guarded by mu
}

// NewSet returns the set of members by cfg. ids are their stable names, by which the
// tables of ring and maglev are made, so that all nodes make the same; weights are their
// weights: nil means equal, below 1 counts as 1, above MaxWeight as that. The three have
// the same length, or ids and weights are shorter: a missing id is the place in the list.
// Making the table of ring or maglev takes some milliseconds.
func NewSet(cfg Config, members []*Member, ids []string, weights []int) *Set {
	n := min(len(members), MaxMembers)
	s := &Set{
		by:      cmp.Or(cfg.By, EWMA),
		panicAt: cmp.Or(cfg.Panic, DefaultPanic),
		window:  int64(cfg.Start()),
		members: slices.Clone(members[:n]),
		weight:  make([]float64, n),
		work:    make([]float64, 0, n),
		oldest:  math.MaxInt64,
	}
	largest, least := 1, MaxWeight
	for i, m := range s.members {
		w := weightOf(weights, i)
		largest, least = max(largest, w), min(least, w)
		s.oldest = min(s.oldest, m.added)
	}
	for i := range s.members {
		s.weight[i] = float64(weightOf(weights, i)) / float64(largest)
	}
	switch {
	case s.by == Ring && n > 0:
		s.table = newRing(names(ids, n), s.weight)
	case s.by == Maglev && n > 0:
		s.table = newMaglev(names(ids, n), s.weight)
	case least < largest && n > 1:
		s.slots = mixed(s.weight)
	}
	s.turn.Store(rand.Uint64N(uint64(max(n, 1))))
	return s
}

func weightOf(weights []int, i int) int {
	if i >= len(weights) {
		return 1
	}
	return min(max(weights[i], 1), MaxWeight)
}

func names(ids []string, n int) []string {
	out := make([]string, n)
	for i := copy(out, ids); i < n; i++ {
		out[i] = "#" + strconv.Itoa(i)
	}
	return out
}

// mixed gives each member slots by its weight, as evenly spread as can be: 1 to 100 each.
func mixed(weight []float64) []uint16 {
	type slot struct {
		at     float64
		member uint16
	}
	var all []slot
	for i, w := range weight {
		k := max(int(math.Round(w*100)), 1)
		for j := range k {
			all = append(all, slot{(float64(j) + 0.5) / float64(k), uint16(i)})
		}
	}
	slices.SortStableFunc(all, func(a, b slot) int { return cmp.Compare(a.at, b.at) })
	out := make([]uint16, len(all))
	for i, s := range all {
		out[i] = s.member
	}
	return out
}

// Len is how many members there are.
func (s *Set) Len() int { return len(s.members) }

// Member gives the i-th.
func (s *Set) Member(i int) *Member { return s.members[i] }

// Panicking says that so few are not ejected that ejection is ignored.
func (s *Set) Panicking(now int64) bool {
	if s.panicAt < 0 || len(s.members) == 0 {
		return false
	}
	in := 0
	for _, m := range s.members {
		if m.ejected.Load() <= now {
			in++
		}
	}
	return in*100 < s.panicAt*len(s.members)
}

// Pick gives the member for an attempt; key counts for ring and maglev only. It is -1 if
// there is none or if all refuse connections: again is then when the first may be asked
// again, 0 if there is none.
func (s *Set) Pick(now int64, key uint64, tried *Tried) (i int, again int64) {
	n := len(s.members)
	switch {
	case n == 0:
		return -1, 0
	case n == 1:
		if t := s.members[0].suspect.Load(); t > now {
			return -1, t
		}
		return 0, 0
	case s.table != nil:
		return s.pickKeyed(now, key, tried)
	case s.by == RoundRobin:
		return s.pickNext(now, tried)
	}
	g := gate{s: s, now: now, tried: tried}
	for range draws {
		i, j := s.draw(n)
		if g.lets(s.members[i]) && g.lets(s.members[j]) {
			return s.better(now, i, j), 0
		}
	}
	return s.scan(now, tried)
}

// Good says whether Pick might give the i-th for an attempt though there are others: it
// neither refuses connections, nor is ejected, nor was tried.
func (s *Set) Good(now int64, i int, tried *Tried) bool {
	g := gate{s: s, now: now, tried: tried}
	return g.lets(s.members[i])
}

// gate says who is in the first class for one pick. Whether the set panics is looked up
// when it first matters: members that are not ejected are let through either way, so in
// panic all have the same chance.
type gate struct {
	s         *Set
	now       int64
	tried     *Tried
	looked    bool
	panicking bool
}

func (g *gate) lets(m *Member) bool {
	if m.suspect.Load() > g.now || g.tried.Has(m) {
		return false
	}
	if m.ejected.Load() <= g.now {
		return true
	}
	if !g.looked {
		g.looked, g.panicking = true, g.s.Panicking(g.now)
	}
	return g.panicking
}

// draw gives two different members by weight.
func (s *Set) draw(n int) (int, int) {
	u := rand.Uint64()
	hi, lo := u>>32, u&math.MaxUint32
	if s.slots != nil && n > 2 {
		k := uint64(len(s.slots))
		i := s.slots[hi*k>>32]
		for range 4 {
			if j := s.slots[lo*k>>32]; j != i {
				return int(i), int(j)
			}
			lo = rand.Uint64() & math.MaxUint32
		}
		j := int(lo * uint64(n-1) >> 32) // one is much heavier than all others: any of those
		if j >= int(i) {
			j++
		}
		return int(i), j
	}
	i, j := int(hi*uint64(n)>>32), int(lo*uint64(n-1)>>32)
	if j >= i {
		j++
	}
	return i, j
}

// better gives the one of two that costs less.
//
// A member in slow start meets another as an equal only in part of the draws, so that
// it gets its part of the share among equals; in the others its cost counts as much more as
// its weight is less, so that it still wins from one that is far worse. Two members alone
// are always drawn both, so there static weights work in the same way.
func (s *Set) better(now int64, i, j int) int {
	a, b := s.members[i], s.members[j]
	fa, fb := s.ramp(a, now), s.ramp(b, now)
	wa, wb := s.weight[i]*fa, s.weight[j]*fb
	ca, cb := 1.0, 1.0
	if s.by == EWMA {
		ca, cb = s.latencies(now, a, b)
	}
	ca *= 1 + float64(a.inflight.Load())/wa
	cb *= 1 + float64(b.inflight.Load())/wb
	if len(s.members) == 2 {
		fa, fb = wa, wb
	}
	if fa != fb {
		r := min(fa, fb) / max(fa, fb)
		p := r
		if len(s.members) == 2 {
			p = 2 * r / (1 + r) // half of which wins: r/(1+r)
		}
		if rand.Float64() >= p {
			if fa < fb {
				ca /= r
			} else {
				cb /= r
			}
		}
	}
	if cb < ca {
		return j
	}
	return i
}

// ramp is the part of its weight that a member in slow start has: t/window, at least a
// tenth, as compared with the oldest member, so that it is 1 for all if all are new. Time
// counts from when it was added or came back from ejection.
func (s *Set) ramp(m *Member, now int64) float64 {
	from := m.added
	if e := m.ejected.Load(); e > from && e <= now {
		from = e
	}
	return s.rampFrom(from, now)
}

func (s *Set) rampFrom(from, now int64) float64 {
	if from == 0 || now-from >= s.window {
		return 1
	}
	f := max(float64(now-from)/float64(s.window), minShare)
	if s.oldest != 0 && now-s.oldest < s.window {
		f /= max(float64(now-s.oldest)/float64(s.window), minShare)
	}
	return min(f, 1)
}

// latencies gives what two members take, to be compared. What is not known, or has
// faded for longer than tau, counts as no better than the middle of the pool: an endpoint
// that is new, was ejected or hangs is not flooded.
func (s *Set) latencies(now int64, a, b *Member) (la, lb float64) {
	la, freshA := a.latency(now)
	lb, freshB := b.latency(now)
	mid := s.middle(now)
	if !freshA {
		la = max(la, mid)
	}
	if !freshB {
		lb = max(lb, mid)
	}
	switch {
	case la == 0 && lb == 0:
		return 1, 1
	case la == 0:
		return lb, lb
	case lb == 0:
		return la, la
	}
	return la, lb
}

// middle gives the median of the latencies of fresh members; if none is fresh, the last
// one known, 0 if none was. It is at most a second old.
func (s *Set) middle(now int64) float64 {
	mid := math.Float64frombits(s.median.Load())
	if now < s.look.Load() || !s.mu.TryLock() {
		return mid
	}
	defer s.mu.Unlock()
	s.work = s.work[:0]
	for _, m := range s.members {
		if ns, fresh := m.latency(now); fresh {
			s.work = append(s.work, ns)
		}
	}
	if k := len(s.work); k > 0 {
		slices.Sort(s.work)
		mid = s.work[(k-1)/2] // the lower of two
		s.median.Store(math.Float64bits(mid))
	}
	if mid == 0 {
		s.look.Store(now + int64(hurry))
	} else {
		s.look.Store(now + int64(refresh))
	}
	return mid
}

// pickNext takes turns. A member that is passed over uses its turn up, so that its
// share goes to all others and not to its neighbour.
func (s *Set) pickNext(now int64, tried *Tried) (int, int64) {
	n := len(s.members)
	g := gate{s: s, now: now, tried: tried}
	for range 2*n + draws {
		t := s.turn.Add(1)
		i := int(t % uint64(n))
		if s.slots != nil {
			i = int(s.slots[t%uint64(len(s.slots))])
		}
		m := s.members[i]
		if !g.lets(m) {
			continue
		}
		if f := s.ramp(m, now); f < 1 && rand.Float64() >= f {
			continue
		}
		return i, 0
	}
	return s.scan(now, tried)
}

// scan looks at all members when drawing found none: it takes the better of two at random
// of the best class that has any.
func (s *Set) scan(now int64, tried *Tried) (i int, again int64) {
	type class struct{ count, a, b int }
	var classes [4]class // usable; tried; ejected; ejected and tried
	panicking := s.Panicking(now)
	start := rand.Uint64()
	seed := start
	for i, m := range s.members {
		if t := m.suspect.Load(); t > now {
			if again == 0 || t < again {
				again = t
			}
			continue
		}
		k := 0
		if tried.Has(m) {
			k = 1
		}
		if !panicking && m.ejected.Load() > now {
			k += 2
		}
		c := &classes[k]
		c.count++
		// Each pair is as likely as any other (reservoir sampling).
		at := 0
		if c.count > 1 {
			seed += 0x9e3779b97f4a7c15
			at = int(mix(seed) >> 32 * uint64(c.count) >> 32)
		}
		switch {
		case c.count == 1:
			c.a = i
		case c.count == 2:
			c.b = i
		case at == 0:
			c.a = i
		case at == 1:
			c.b = i
		}
	}
	for _, c := range classes {
		switch {
		case c.count == 1:
			return c.a, 0
		case c.count > 1 && start&1 == 0: // of equals the first is taken
			return s.better(now, c.a, c.b), 0
		case c.count > 1:
			return s.better(now, c.b, c.a), 0
		}
	}
	return -1, again
}
