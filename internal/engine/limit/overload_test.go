package limit

import (
	"testing"
	"time"
)

var mixed = [classes]int{10, 40, 25, 25} // percent of each class

// services are what the limiter must cope with, without being told.
var services = []struct {
	name    string
	workers int
	serve   time.Duration // mean
	noisy   bool          // exponential, as most services are; else always the same
	timeout time.Duration
	settle  time.Duration // until goodput must be near the best: longer where answers are few
}{
	{"8 workers, 10 ms", 8, 10 * time.Millisecond, false, time.Second, 5 * time.Second},
	{"8 workers, about 10 ms", 8, 10 * time.Millisecond, true, time.Second, 5 * time.Second},
	{"8 workers, about 10 ms, hasty callers", 8, 10 * time.Millisecond, true, 300 * time.Millisecond, 5 * time.Second},
	{"2 workers, about 1 ms", 2, time.Millisecond, true, 100 * time.Millisecond, 5 * time.Second},
	{"100 workers, about 100 ms", 100, 100 * time.Millisecond, true, time.Second, 5 * time.Second},
	{"1 worker, about 20 ms", 1, 20 * time.Millisecond, true, time.Second, 15 * time.Second},
}

// At five times the load that a service can take, goodput stays above 90 % of its best, the
// critical class passes as its share fits, the classes are refused in their order, and ten
// seconds after the load is gone nobody is refused.
func TestOverload(t *testing.T) {
	for _, v := range services {
		serve := steady(v.serve)
		if v.noisy {
			serve = exponential(v.serve)
		}
		best := float64(v.workers) / v.serve.Seconds()
		s := newSim(t, Config{}, v.workers, serve)
		s.timeout = v.timeout
		rate := s.load(best/2, mixed)
		s.run(20 * time.Second)
		t.Log(v.name, "half:", s)
		for i, c := range s.stat {
			if bad := c.full + c.shed; float64(bad) > 0.001*float64(c.offered)+1 {
				t.Errorf("%s, half the load: %d of %d %v refused", v.name, bad, c.offered, Priority(i)+Critical)
			}
		}

		rate(5 * best)
		s.run(v.settle)
		s.count()
		s.run(12 * time.Second)
		t.Log(v.name, "5x:", s)
		if s.goodput() < 0.9*best {
			t.Errorf("%s: goodput %.0f/s at five times the load, want 90 %% of %.0f", v.name, s.goodput(), best)
		}
		critical, normal, low, bulk := s.stat[0].share(), s.stat[1].share(), s.stat[2].share(), s.stat[3].share()
		want := 0.99
		if best < 100 {
			want = 0.85 // a second of its capacity is few requests: chance queues them longer than they wait
		}
		if critical < want {
			t.Errorf("%s: %.1f %% of the critical pass", v.name, 100*critical)
		}
		if normal < 3*low || normal < 3*bulk || critical < normal {
			t.Errorf("%s: of critical %.3f, normal %.3f, low %.3f, bulk %.3f pass: out of order", v.name, critical, normal, low, bulk)
		}

		rate(best / 2)
		s.run(10 * time.Second)
		s.count()
		s.run(10 * time.Second)
		t.Log(v.name, "after:", s)
		if n := s.refused(); n > 0 {
			t.Errorf("%s: %d refused 10 s after the load is gone: %v", v.name, n, s)
		}
	}
}

// The first requests come at five times the load, before anything is known.
func TestOverloadFromTheStart(t *testing.T) {
	for _, v := range services[1:5] {
		best := float64(v.workers) / v.serve.Seconds()
		s := newSim(t, Config{}, v.workers, exponential(v.serve))
		s.timeout = v.timeout
		s.load(5*best, mixed)
		s.run(v.settle)
		s.count()
		s.run(8 * time.Second)
		t.Log(v.name, s)
		if s.goodput() < 0.9*best || s.stat[0].share() < 0.98 {
			t.Errorf("%s: %v, want 90 %% of %.0f", v.name, s, best)
		}
	}
}

// When the load can be served without the bulk, the bulk is all that is refused.
func TestOnlyTheLastIsRefused(t *testing.T) {
	s := newSim(t, Config{}, 100, exponential(100*time.Millisecond))
	s.timeout = time.Second
	s.load(1150, [classes]int{10, 40, 20, 30})
	s.run(20 * time.Second)
	s.count()
	s.run(30 * time.Second)
	t.Log(s)
	for i, most := range []float64{0, 0.001, 0.03, 0.7} {
		c := s.stat[i]
		if share := float64(c.full+c.shed) / float64(c.offered); share > most {
			t.Errorf("%v: %.4f refused, want at most %.3f: %v", Priority(i)+Critical, share, most, s)
		}
	}
	if s.stat[3].share() > 0.8 {
		t.Errorf("there was no overload: %v", s)
	}
}

// When only critical requests come, and too many, they are shed by their cohorts.
func TestOnlyCritical(t *testing.T) {
	s := newSim(t, Config{}, 8, exponential(10*time.Millisecond))
	s.timeout = time.Second
	s.load(4000, [classes]int{100, 0, 0, 0})
	s.run(10 * time.Second)
	s.count()
	s.run(10 * time.Second)
	t.Log(s)
	if s.goodput() < 720 || s.stat[0].shed < s.stat[0].full {
		t.Errorf("%v", s)
	}
}

// A user is served whole or not at all: most cohorts pass either nearly always or hardly.
func TestCohorts(t *testing.T) {
	s := newSim(t, Config{}, 100, exponential(100*time.Millisecond))
	s.timeout = time.Second
	var seen, good [cohorts]int
	s.done = func(c *call) {
		seen[c.cohort%cohorts]++
		if c.good {
			good[c.cohort%cohorts]++
		}
	}
	s.load(2000, [classes]int{0, 100, 0, 0})
	s.run(10 * time.Second)
	seen, good = [cohorts]int{}, [cohorts]int{}
	s.run(30 * time.Second)
	whole := 0
	for i := range seen {
		if share := float64(good[i]) / float64(seen[i]); share > 0.8 || share < 0.2 {
			whole++
		}
	}
	t.Logf("%d of %d cohorts are served whole or not; %v", whole, cohorts, s)
	if whole < cohorts/2 {
		t.Errorf("%d of %d cohorts are served whole or not at all", whole, cohorts)
	}
}

// Callers who wait for their answers are not refused, however many they are for the
// service: eight workers are kept busy, and 64 callers are no overload.
func TestClosedLoop(t *testing.T) {
	for _, c := range []Config{{}, {InitialLimit: 20}, {Max: 20}} {
		for _, callers := range []int{16, 64, 256} {
			s := newSim(t, c, 8, steady(10*time.Millisecond))
			s.timeout = time.Second
			s.done = func(c *call) {
				pause := 20 * time.Millisecond // who is refused comes again
				if c.good {
					pause = 0
				}
				s.after(pause, func() { s.offer(Normal, s.r.Uint32()) })
			}
			for range callers {
				s.offer(Normal, s.r.Uint32())
			}
			s.run(10 * time.Second)
			t.Log(c, callers, s)
			if s.goodput() < 0.95*800 {
				t.Errorf("%+v, %d callers: %v, want 95 %% of 800/s", c, callers, s)
			}
			if n := s.refused(); c == (Config{}) && callers <= 64 && n > 0 {
				t.Errorf("%d callers: %d refused", callers, n)
			}
		}
	}
}

// A burst at the start, before anything is known, is no reason to refuse.
func TestBurstAtTheStart(t *testing.T) {
	for _, d := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond} {
		s := newSim(t, Config{}, 64, exponential(d))
		for range 64 {
			s.offer(Normal, s.r.Uint32())
		}
		s.run(10 * time.Second)
		if s.refused() > 0 || s.stat[1].good != 64 {
			t.Errorf("%v: %v", d, s)
		}
	}
}

// A service that becomes slower by itself, and could take all, is refused requests for some
// seconds at most: until the limiter has seen that fewer of them do not make it faster.
func TestSlowerByItself(t *testing.T) {
	for _, x := range []float64{1.3, 2, 3} {
		factor := 1.0
		s := newSim(t, Config{}, 1000, nil)
		s.serve = func() time.Duration { return time.Duration(s.r.ExpFloat64() * factor * 100e6) }
		s.timeout = 5 * time.Second
		s.load(500, mixed)
		s.run(20 * time.Second)
		if n := s.refused(); n > 0 {
			t.Errorf("%d refused while it was well: %v", n, s)
		}
		factor = x
		s.count()
		s.run(20 * time.Second)
		t.Logf("x %v, at first: %v", x, s)
		s.count()
		s.run(20 * time.Second)
		t.Logf("x %v, then: %v", x, s)
		if n := s.refused(); n > 500 {
			t.Errorf("x %v: %d of 10,000 refused 20 s later: %v", x, n, s)
		}
	}
}

// Few and slow answers: the fallback below one a second.
func TestSlowService(t *testing.T) {
	s := newSim(t, Config{}, 50, exponential(20*time.Second))
	s.timeout = 2 * time.Minute
	s.load(0.7, mixed)
	s.run(10 * time.Minute)
	t.Log(s)
	if n := s.refused(); n > 0 {
		t.Errorf("%d refused: %v", n, s)
	}
}
