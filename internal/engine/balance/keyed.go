package balance

import (
	"cmp"
	"math"
	"slices"
)

// table maps keys to members. Walking on from the place of a key meets every member in an
// order of the key's own.
type table interface {
	place(key uint64) int // 0 <= place < len
	at(place int) int     // the member there
	len() int
}

// pickKeyed walks from the place of key to the first member that is usable and not over
// its bound. In slow start a member takes the part of its keys that its share says, and
// always the same, so that each key moves once.
func (s *Set) pickKeyed(now int64, key uint64, tried *Tried) (int, int64) {
	n, size := len(s.members), s.table.len()
	p := s.table.place(key)
	g := gate{s: s, now: now, tried: tried}
	perWeight := 0.0 // what a member may hold per weight; computed when first needed
	first := -1      // usable, but over its bound or in slow start
	lot := float64(mix(key^0x2545f4914f6cdd1d)>>11) / (1 << 53)
	last := -1
	for range min(size, 4*n+64) {
		i := s.table.at(p)
		if p++; p == size {
			p = 0
		}
		if i == last {
			continue
		}
		last = i
		m := s.members[i]
		if !g.lets(m) {
			continue
		}
		if first < 0 {
			first = i
		}
		if f := s.rampFrom(m.added, now); f < 1 && lot >= f {
			continue
		}
		held := m.inflight.Load()
		if held == 0 {
			return i, 0
		}
		if perWeight == 0 {
			perWeight = s.bound(now)
		}
		if float64(held+1) <= math.Ceil(perWeight*s.weight[i]) {
			return i, 0
		}
	}
	if first >= 0 {
		return first, 0
	}
	return s.scan(now, tried)
}

// bound is what a usable member of weight 1 may hold: 1.25 times its share of all that
// is held and the request to come.
func (s *Set) bound(now int64) float64 {
	held, weight := int64(1), 0.0
	for i, m := range s.members {
		held += m.inflight.Load()
		if m.Usable(now) {
			weight += s.weight[i]
		}
	}
	if weight == 0 { // panic, or all that remains is ejected
		for _, w := range s.weight {
			weight += w
		}
	}
	return boundLoad * float64(held) / weight
}

// The ring: each member has points on a circle of 2^64; a key belongs to the next point.
const (
	ringPoints    = 256     // per member of mean weight: shares vary by 6 %
	maxRingPoints = 1 << 17 // in all
)

type ring struct {
	points []uint64 // sorted
	owner  []uint16
}

func newRing(ids []string, weight []float64) *ring {
	n, sum := len(ids), 0.0
	for _, w := range weight {
		sum += w
	}
	mean := float64(min(ringPoints, maxRingPoints/n))
	type point struct {
		at    uint64
		owner uint16
	}
	var all []point
	for i, id := range ids {
		h := Hash(id)
		for k := range max(int(math.Round(mean*weight[i]*float64(n)/sum)), 1) {
			all = append(all, point{mix(h + uint64(k)*0x9e3779b97f4a7c15), uint16(i)})
		}
	}
	slices.SortFunc(all, func(a, b point) int {
		// Should two points be one, the id decides: the same on every node.
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(ids[a.owner], ids[b.owner]))
	})
	r := &ring{make([]uint64, len(all)), make([]uint16, len(all))}
	for i, p := range all {
		r.points[i], r.owner[i] = p.at, p.owner
	}
	return r
}

func (r *ring) len() int         { return len(r.points) }
func (r *ring) at(place int) int { return int(r.owner[place]) }

func (r *ring) place(key uint64) int {
	i, _ := slices.BinarySearch(r.points, mix(key))
	if i == len(r.points) {
		return 0
	}
	return i
}

// maglevSize is a prime, so that each member's step visits every slot.
const maglevSize = 65537

// maglev is the table of Eisenbud et al., "Maglev: a fast and reliable software network
// load balancer" (NSDI 2016), section 3.4: members take turns to take the next free slot
// of their own permutation, by weight.
type maglev struct{ owner []uint16 }

func newMaglev(ids []string, weight []float64) *maglev {
	n := len(ids)
	order := make([]int, n) // the same on every node, however the members are listed
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(ids[a], ids[b]) })
	type state struct {
		next, step uint32
		due        float64 // rounds x weight at which it may take a slot again
	}
	st := make([]state, n)
	for i, id := range ids {
		h := Hash(id)
		st[i] = state{next: uint32(h % maglevSize), step: uint32(mix(h+1)%(maglevSize-1)) + 1, due: 1}
	}
	const free = math.MaxUint16 // MaxMembers is no index
	t := &maglev{make([]uint16, maglevSize)}
	for i := range t.owner {
		t.owner[i] = free
	}
	for taken, round := 0, 1.0; taken < maglevSize; round++ {
		for _, i := range order {
			e := &st[i]
			if round*weight[i] < e.due {
				continue
			}
			e.due++
			for t.owner[e.next] != free {
				e.next = (e.next + e.step) % maglevSize
			}
			t.owner[e.next] = uint16(i)
			if taken++; taken == maglevSize {
				break
			}
		}
	}
	return t
}

func (t *maglev) len() int             { return maglevSize }
func (t *maglev) at(place int) int     { return int(t.owner[place]) }
func (t *maglev) place(key uint64) int { return int(mix(key) % maglevSize) }
