package balance_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"stoa/internal/engine/balance"
)

var tables = []string{balance.Ring, balance.Maglev}

func placed(s *balance.Set, now int64, keys int) []int {
	out := make([]int, keys)
	for k := range out {
		out[k], _ = s.Pick(now, anyKey(k), nil)
	}
	return out
}

// When one leaves, its keys move and few others; when it is back, all are where they were.
func TestFewKeysMove(t *testing.T) {
	const keys = 20_000
	for _, by := range tables {
		for _, n := range []int{3, 10, 50} {
			ms, names := olds(n), ids(n)
			before := placed(balance.NewSet(keyed(by), ms, names, nil), t0, keys)
			gone := n / 2
			less, lessNames := slices.Delete(slices.Clone(ms), gone, gone+1), slices.Delete(slices.Clone(names), gone, gone+1)
			after := placed(balance.NewSet(keyed(by), less, lessNames, nil), t0, keys)
			moved := 0
			for k := range keys {
				if before[k] != gone && names[before[k]] != lessNames[after[k]] {
					moved++
				}
			}
			if by == balance.Ring && moved > 0 || moved > keys/10 {
				t.Errorf("%s: one of %d left and %d of %d keys of others moved", by, n, moved, keys)
			}
			// Ejection is the same without a new table: exactly its own keys move.
			s := balance.NewSet(keyed(by), ms, names, nil)
			ms[gone].Eject(t0 + sec)
			during, spread := placed(s, t0, keys), make([]int, n)
			for k := range keys {
				switch {
				case before[k] != gone && during[k] != before[k]:
					t.Fatalf("%s: %d was ejected and a key of %d moved", by, gone, before[k])
				case before[k] == gone:
					spread[during[k]]++
				}
			}
			if most := slices.Max(spread); n > 3 && most > keys/n/2 {
				t.Errorf("%s: of the %d keys of one, %d went to the same", by, keys/n, most)
			}
			if back := placed(s, t0+sec, keys); !slices.Equal(back, before) {
				t.Errorf("%s: it is back, and keys are not where they were", by)
			}
		}
	}
}

// Every node comes to the same table, in whatever order it lists the endpoints.
func TestOrderDoesNotMatter(t *testing.T) {
	for _, by := range tables {
		a, b := ids(9), ids(9)
		slices.Reverse(b)
		x, y := placed(balance.NewSet(keyed(by), olds(9), a, nil), t0, 5000), placed(balance.NewSet(keyed(by), olds(9), b, nil), t0, 5000)
		for k := range x {
			if a[x[k]] != b[y[k]] {
				t.Fatalf("%s: key %d is at %s and at %s", by, k, a[x[k]], b[y[k]])
			}
		}
	}
}

// One hot key does not drown its endpoint: what is over 1.25 times the mean goes on.
func TestHotKeySpills(t *testing.T) {
	for _, by := range tables {
		const n = 5
		answers := make([]answer, n)
		for i := range answers {
			answers[i] = after(100 * time.Millisecond)
		}
		w := newWorld(keyed(by), answers...)
		w.key = func(k int) uint64 {
			if k%10 != 0 {
				return 42 // nine of ten
			}
			return anyKey(k)
		}
		w.run(5*time.Second, time.Millisecond) // 100 in flight, 20 each
		for i, most := range w.most {
			if most > 26+1 {
				t.Errorf("%s: %d held %d, want at most 1.25 x 20", by, i, most)
			}
		}
		// With one ejected the bound is of those that are left.
		w.set.Member(0).Eject(w.now + 100*sec)
		w.run(time.Second, time.Millisecond)
		w.reset()
		w.run(2*time.Second, time.Millisecond)
		for i, most := range w.most {
			if i == 0 && most > 0 || most > 33 {
				t.Errorf("%s: one of five is ejected and %d held %d", by, i, most)
			}
		}
		// Little traffic stays where it belongs.
		w = newWorld(keyed(by), answers...)
		w.key = func(int) uint64 { return 42 }
		w.run(10*time.Second, 110*time.Millisecond)
		if got := slices.Max(w.got); got < w.n {
			t.Errorf("%s: one key without load went to several: %v", by, w.got)
		}
	}
}

// Names may be equal or missing, and members as many as may be: every place has an owner.
func TestOddTables(t *testing.T) {
	for _, by := range tables {
		for _, c := range []struct {
			n     int
			names []string
		}{{1, nil}, {2, []string{"a", "a"}}, {3, []string{"a"}}, {3000, ids(3000)}} {
			s := balance.NewSet(keyed(by), olds(c.n), c.names, nil)
			for k := range 2000 {
				if i, _ := s.Pick(t0, anyKey(k), nil); i < 0 || i >= c.n {
					t.Fatalf("%s of %d: key %d is at %d", by, c.n, k, i)
				}
			}
		}
		s := balance.NewSet(keyed(by), olds(balance.MaxMembers+10), nil, nil)
		if i, _ := s.Pick(t0, 1, nil); s.Len() != balance.MaxMembers || i < 0 {
			t.Errorf("%s: has %d members, picks %d", by, s.Len(), i)
		}
	}
}

func BenchmarkNewSet(b *testing.B) {
	for _, by := range tables {
		for _, n := range []int{10, 1000} {
			b.Run(fmt.Sprintf("%s/%d", by, n), func(b *testing.B) {
				ms, names := olds(n), ids(n)
				for b.Loop() {
					balance.NewSet(keyed(by), ms, names, nil)
				}
			})
		}
	}
}
