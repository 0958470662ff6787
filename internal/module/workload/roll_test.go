package workload

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// read turns a notation into views: n new, o old; capital is ready; ! is retiring.
func read(s string) []view {
	var out []view
	for _, c := range strings.Fields(s) {
		v := view{current: strings.ContainsAny(c, "nN"), ready: strings.ContainsAny(c, "NO"), retiring: strings.Contains(c, "!")}
		out = append(out, v)
	}
	return out
}

func TestRoll(t *testing.T) {
	for _, c := range []struct {
		name   string
		count  int
		alone  bool
		slots  string
		start  int
		retire string // indexes
	}{
		{"first start", 2, false, "", 2, ""},
		{"nothing to do", 2, false, "N N", 0, ""},
		{"one surges beside the old", 1, false, "O", 1, ""},
		{"the old serves until the new is ready", 1, false, "O n", 0, ""},
		{"the old goes when the new is ready", 1, false, "O N", 0, "0"},
		{"at most a quarter more exist", 8, false, "O O O O O O O O", 2, ""},
		{"one for one", 2, false, "O O N", 0, "0"},
		{"a retiring one makes room", 2, false, "O! O N", 1, ""},
		{"an old one that does not serve goes at once when nothing serves", 1, false, "o", 1, "0"},
		{"scale down takes the youngest", 1, false, "N N N", 0, "2 1"},
		{"scale down takes those that are not ready", 2, false, "n N N", 0, "0"},
		{"to nothing", 0, false, "N O", 0, "0 1"},
		{"alone: stop first", 1, true, "O", 0, "0"},
		{"alone: wait until it is gone", 1, true, "O!", 0, ""},
		{"alone: then start", 1, true, "", 1, ""},
	} {
		got := roll(c.count, c.alone, read(c.slots))
		var retire []string
		for _, i := range got.retire {
			retire = append(retire, string(rune('0'+i)))
		}
		if got.start != c.start || strings.Join(retire, " ") != c.retire {
			t.Errorf("%s: roll(%d, %v, %q) = start %d, retire %v; want %d, %q", c.name, c.count, c.alone, c.slots, got.start, retire, c.start, c.retire)
		}
	}
}

// Whatever the order in which slots become ready and end, a roll of healthy slots comes
// to its end and never has fewer than count ready ones.
func TestRollKeepsCapacityAndEnds(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		count := 1 + r.IntN(9)
		var slots []view
		for range count {
			slots = append(slots, view{ready: true})
		}
		for turn := 0; ; turn++ {
			if turn > 1000 {
				t.Fatalf("seed %d: count %d does not end: %v", seed, count, slots)
			}
			s := roll(count, false, slots)
			for _, i := range s.retire {
				slots[i].retiring = true
			}
			for range s.start {
				slots = append(slots, view{current: true})
			}
			ready, done := 0, len(slots) == count
			for _, v := range slots {
				if v.ready && !v.retiring {
					ready++
				}
				done = done && v.current && v.ready
			}
			if ready < count {
				t.Fatalf("seed %d: %d of %d ready: %v", seed, ready, count, slots)
			}
			if done {
				break
			}
			// The world moves: one slot becomes ready or one that retires ends.
			for _, i := range r.Perm(len(slots)) {
				if slots[i].retiring {
					slots = append(slots[:i], slots[i+1:]...)
					break
				}
				if !slots[i].ready {
					slots[i].ready = true
					break
				}
			}
		}
	}
}
