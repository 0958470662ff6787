package limit

import (
	"slices"
	"testing"
	"time"
)

// shared makes the service one of s that first waits, for what is no work of its own, and then for a
// processor that it shares: with cores of them, each request takes what cpu says. What callers have
// left is worked on all the same.
func (s *sim) shared(cores int, wait time.Duration, cpu func() time.Duration) {
	s.workers = 1 << 30
	free := make([]int64, cores)
	s.serve = func() time.Duration {
		i := slices.Index(free, slices.Min(free))
		free[i] = max(free[i], s.now+int64(wait)) + int64(cpu())
		return time.Duration(free[i] - s.now)
	}
}

// Where the processor is short, whoever takes it, as many are served as it allows: the limit follows
// how long answers take, and does not fall to where places and no longer the processor bound what is served.
func TestSharedProcessor(t *testing.T) {
	for _, c := range []struct {
		name    string
		cores   int
		wait    time.Duration
		cpu     time.Duration
		grows   float64 // of cpu, for each request in flight
		offered float64 // of the capacity
		settle  time.Duration
	}{
		{"quick", 2, 0, 3 * time.Millisecond, 0, 1.25, 10 * time.Second},
		{"waits for others first", 2, 50 * time.Millisecond, 3 * time.Millisecond, 0, 1.25, 10 * time.Second},
		{"waits for others first, five times", 2, 50 * time.Millisecond, 3 * time.Millisecond, 0, 5, 10 * time.Second},
		{"waits long", 2, 100 * time.Millisecond, 5 * time.Millisecond, 0, 1.25, 20 * time.Second},
		{"costs more when crowded", 2, 20 * time.Millisecond, 3 * time.Millisecond, 0.002, 1.25, 10 * time.Second},
	} {
		s := newSim(t, Config{}, 1, steady(0))
		s.timeout = 2 * time.Second
		slower := 1.0
		s.shared(c.cores, c.wait, func() time.Duration {
			n := float64(s.l.state.Load() & inflightMask)
			return time.Duration(float64(c.cpu) * slower * (0.5 + s.r.Float64()) * (1 + c.grows*n))
		})
		busy := float64(c.cores) / c.cpu.Seconds() * c.wait.Seconds() // in flight at least, to use the processor up
		best := float64(c.cores) / (c.cpu.Seconds() * (1 + c.grows*busy))
		rate := s.load(best/2, mixed)
		s.run(20 * time.Second)
		for i, slow := range []float64{1, 1.5, 1} { // in the middle others take a third of the processor
			slower = slow
			rate(c.offered * best)
			s.run(c.settle)
			for range 3 { // and it stays so
				s.count()
				s.run(10 * time.Second)
				t.Log(c.name, i, s)
				if got := s.goodput(); got < 0.85*best/slow {
					t.Errorf("%s, %d: goodput %.0f/s, want 85 %% of %.0f: %v", c.name, i, got, best/slow, s)
				}
			}
		}
	}
}
