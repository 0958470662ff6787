package window

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// An event is counted in its tick and the Ticks after it, and then no more.
func TestEventsExpire(t *testing.T) {
	for _, start := range []uint32{0, 1, 15, 16, 17, 1<<32 - 8, 1<<31 - 3} {
		var c Count
		c.Add(start, 3)
		for d := range uint32(40) {
			want := int64(3)
			if d > Ticks {
				want = 0
			}
			if got := c.Sum(start + d); got != want {
				t.Errorf("3 events at tick %d: Sum at +%d = %d, want %d", start, d, got, want)
			}
		}
	}
}

// Any order of adds and undos, with a now that is seldom a little behind, gives what a
// plain list of events gives.
func TestCountAgainstList(t *testing.T) {
	type event struct{ tick, n uint32 }
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var c Count
		var list []event
		now := rnd.Uint32()
		for step := range 400 {
			now += rnd.Uint32N(4) * rnd.Uint32N(8)
			tick := now - rnd.Uint32N(3)
			if rnd.IntN(4) == 0 && len(list) > 0 {
				if e := list[len(list)-1]; now-e.tick < Ticks-2 {
					c.Undo(e.tick, e.n)
					list = list[:len(list)-1]
				}
			} else {
				e := event{tick, 1 + rnd.Uint32N(5)}
				c.Add(e.tick, e.n)
				list = append(list, e)
			}
			// The ring forgets an event when its slot is used again, which may be up to two
			// ticks before a caller that is behind would: ask as the newest caller.
			var want, got int64 = 0, c.Sum(now)
			for _, e := range list {
				if int32(now-e.tick) < Slots {
					want += int64(e.n)
				}
			}
			if got != want {
				t.Fatalf("seed %d, step %d, tick %d: Sum = %d, want %d of %v", seed, step, now, got, want, list)
			}
		}
	}
}

// A window of another length numbers its ticks anew: it counts at once.
func TestTicksNumberedAnew(t *testing.T) {
	var c Count
	for i := range uint32(Slots) {
		c.Add(1_000_000+i, 1)
	}
	for _, tick := range []uint32{2000, 5_000_000, 1<<31 + 17, 3} {
		c.Add(tick, 1)
		if got := c.Sum(tick); got != 1 {
			t.Errorf("one event at tick %d: Sum = %d", tick, got)
		}
	}
}

// A caller that is a whole window behind changes nothing, and nothing goes below zero.
func TestLate(t *testing.T) {
	var c Count
	c.Add(100, 2)
	c.Add(100-Slots, 7)
	c.Undo(100-Slots, 7)
	c.Undo(100, 3)
	if got := c.Sum(100); got != 2 {
		t.Errorf("Sum = %d, want 2", got)
	}
	c.Reset()
	if got := c.Sum(100); got != 0 {
		t.Errorf("Sum after Reset = %d, want 0", got)
	}
}

// Concurrent callers lose no event.
func TestConcurrentAdds(t *testing.T) {
	var c Count
	var wg sync.WaitGroup
	const callers, each = 8, 2000
	for range callers {
		wg.Go(func() {
			for i := range uint32(each) {
				c.Add(1000+i/200, 2)
				c.Undo(1000+i/200, 1)
			}
		})
	}
	wg.Wait()
	if got := c.Sum(1000 + each/200); got != callers*each {
		t.Errorf("Sum = %d, want %d", got, callers*each)
	}
}

func BenchmarkAdd(b *testing.B) {
	var c Count
	var now int64
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		c.Add(Tick(now, 10e9), 1)
	}
}

func BenchmarkAddParallel(b *testing.B) {
	var c Count
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		var now int64
		for p.Next() {
			now += 1000
			c.Add(Tick(now, 10e9), 1)
		}
	})
}

func BenchmarkSum(b *testing.B) {
	var c Count
	b.ReportAllocs()
	for b.Loop() {
		c.Sum(7)
	}
}
