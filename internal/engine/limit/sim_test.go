package limit

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// sim is a discrete event simulation: callers, a Limiter and a service with workers and an
// unbounded first-in-first-out queue, as most services are. A service goes on working for
// callers who have left.
type sim struct {
	t      testing.TB
	r      *rand.Rand
	l      *Limiter
	now    int64
	events events
	seq    int

	workers int
	busy    int
	backlog []*call
	serve   func() time.Duration // of one request
	timeout time.Duration        // of a caller; 0: none

	waiting []*call
	done    func(c *call) // when a call ends; may start others

	from int64 // counting begins
	stat [classes]tally
	maxW int
}

type tally struct{ offered, good, late, full, shed int }

func (s tally) share() float64 { return float64(s.good) / max(1, float64(s.offered)) }

type call struct {
	class    Priority
	cohort   uint32
	at       int64 // offered
	in       int64 // admitted
	deadline int64
	w        *Waiter
	ended    bool
	good     bool
}

type event struct {
	at  int64
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newSim(t testing.TB, c Config, workers int, serve func(*rand.Rand) time.Duration) *sim {
	s := &sim{t: t, r: rand.New(rand.NewPCG(7, 11)), l: New(c), now: 1e12, workers: workers}
	s.serve = func() time.Duration { return serve(s.r) }
	s.from = s.now
	return s
}

func steady(d time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return d }
}

func exponential(mean time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) }
}

func (s *sim) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.events, event{s.now + int64(max(d, 0)), s.seq, do})
}

// run lets time pass.
func (s *sim) run(d time.Duration) {
	end := s.now + int64(d)
	for len(s.events) > 0 && s.events[0].at <= end {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
		s.look()
	}
	s.now = end
}

// count forgets the tallies.
func (s *sim) count() {
	s.stat = [classes]tally{}
	s.from = s.now
}

// goodput is good answers per second since count.
func (s *sim) goodput() float64 {
	n := 0
	for _, c := range s.stat {
		n += c.good
	}
	return float64(n) / time.Duration(s.now-s.from).Seconds()
}

func (s *sim) refused() (n int) {
	for _, c := range s.stat {
		n += c.full + c.shed
	}
	return n
}

func (s *sim) String() string {
	st := s.l.Stats(s.now)
	text := fmt.Sprintf("goodput %.0f/s, limit %d, overload %.2f", s.goodput(), st.Limit, st.Overload)
	for i, c := range s.stat {
		if c.offered > 0 {
			text += fmt.Sprintf("; %s %d good %.2f%% late %d full %d shed %d", Priority(i)+Critical, c.offered, 100*c.share(), c.late, c.full, c.shed)
		}
	}
	return text
}

// offer is one request.
func (s *sim) offer(p Priority, cohort uint32) *call {
	c := &call{class: p, cohort: cohort, at: s.now}
	if s.timeout > 0 {
		c.deadline = s.now + int64(s.timeout)
	}
	s.stat[p.class()].offered++
	a, w := s.l.Enter(s.now, Request{p, cohort, c.deadline})
	switch a {
	case Admitted:
		s.admit(c)
	case Queued:
		c.w = w
		s.waiting = append(s.waiting, c)
		s.maxW = max(s.maxW, len(s.waiting))
		s.after(time.Duration(w.Until()-s.now), func() {
			if c.w == w && !c.ended {
				s.settle(c)
			}
		})
	default:
		s.refuse(c, a)
	}
	return c
}

func (s *sim) refuse(c *call, a Answer) {
	t := &s.stat[c.class.class()]
	if a == Shed {
		t.shed++
	} else {
		t.full++
	}
	s.end(c)
}

func (s *sim) end(c *call) {
	if c.ended {
		s.t.Fatal("a call ends twice")
	}
	c.ended = true
	if s.done != nil {
		s.done(c)
	}
}

func (s *sim) settle(c *call) {
	for i := range s.waiting {
		if s.waiting[i] == c {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			break
		}
	}
	w := c.w
	c.w = nil
	if a := s.l.Settle(s.now, w); a == Admitted {
		s.admit(c)
	} else {
		s.refuse(c, a)
	}
}

// look finds the waiters that were decided.
func (s *sim) look() {
	for int(s.l.state.Load()>>waitingShift&waitingMask) < len(s.waiting) {
		for _, c := range s.waiting {
			if len(c.w.Decided()) > 0 {
				s.settle(c)
				break
			}
		}
	}
}

func (s *sim) admit(c *call) {
	c.in = s.now
	if c.deadline > 0 {
		s.after(time.Duration(c.deadline-s.now), func() {
			if !c.ended {
				s.stat[c.class.class()].late++
				s.l.Leave(s.now, time.Duration(s.now-c.in), Dropped)
				s.end(c)
			}
		})
	}
	if s.busy == s.workers {
		s.backlog = append(s.backlog, c)
		return
	}
	s.busy++
	s.work(c)
}

func (s *sim) work(c *call) {
	s.after(s.serve(), func() {
		if !c.ended {
			s.stat[c.class.class()].good++
			c.good = true
			s.l.Leave(s.now, time.Duration(s.now-c.in), OK)
			s.end(c)
		}
		if len(s.backlog) > 0 {
			next := s.backlog[0]
			s.backlog = s.backlog[1:]
			s.work(next)
		} else {
			s.busy--
		}
	})
}

// load offers requests at random moments, at a rate, until the simulation's time is over;
// mix is the share of each class in percent. It gives a function to change the rate.
func (s *sim) load(rate float64, mix [classes]int) func(float64) {
	gen := 0
	var next func(int) func()
	next = func(g int) func() {
		return func() {
			if g != gen {
				return
			}
			n, p := s.r.IntN(100), 0
			for n >= mix[p] {
				n -= mix[p]
				p++
			}
			s.offer(Priority(p)+Critical, s.r.Uint32())
			s.after(time.Duration(s.r.ExpFloat64()/rate*1e9), next(g))
		}
	}
	set := func(r float64) {
		gen++
		rate = r
		if r > 0 {
			s.after(time.Duration(s.r.ExpFloat64()/rate*1e9), next(gen))
		}
	}
	set(rate)
	return set
}
