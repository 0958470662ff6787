package retry

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	for _, c := range []struct {
		claim    string
		c        BudgetConfig
		requests int
		want     int
	}{
		{"the floor for ten seconds", BudgetConfig{}, 0, 100},
		{"a fifth of the requests more", BudgetConfig{}, 1000, 300},
		{"no floor", BudgetConfig{Floor: -1}, 1000, 200},
		{"no floor and no request", BudgetConfig{Floor: -1}, 0, 0},
		{"four requests are no repeat", BudgetConfig{Floor: -1}, 4, 0},
		{"five are", BudgetConfig{Floor: -1}, 5, 1},
		{"no share", BudgetConfig{Percent: -1, Floor: 3}, 1000, 30},
		{"nothing", BudgetConfig{Percent: -1, Floor: -1}, 1000, 0},
		{"own figures", BudgetConfig{Percent: 50, Floor: 1, Window: time.Second}, 10, 6},
	} {
		b := NewBudget(c.c)
		for range c.requests {
			b.Deposit(second)
		}
		got := 0
		for range 2000 {
			if b.Withdraw(second) {
				got++
			}
		}
		s := b.State(second)
		if got != c.want || s.Repeats != int64(c.want) || s.Granted != uint64(c.want) || s.Refused != uint64(2000-c.want) || c.want > 0 && s.Level > 0.05 {
			t.Errorf("%s: %d repeats, want %d; state %+v", c.claim, got, c.want, s)
		}
		// After the window nothing is left of the requests, and the floor is whole again.
		if s := b.State(second + 2*b.rules.Load().window); s.Requests != 0 || s.Repeats != 0 {
			t.Errorf("%s: a window later %+v", c.claim, s)
		}
	}
}

func TestBudgetCheck(t *testing.T) {
	for _, c := range []struct {
		c    BudgetConfig
		want string
	}{
		{BudgetConfig{}, ""},
		{BudgetConfig{Percent: 100, Floor: 1000, Window: time.Minute}, ""},
		{BudgetConfig{Percent: -1, Floor: -1}, ""},
		{BudgetConfig{Percent: 101, Floor: 1001, Window: ms}, "percent floor window"},
	} {
		var got []string
		c.c.Check(func(path, text, hint string) {
			got = append(got, path)
			if text == "" || hint == "" {
				t.Errorf("%+v: a problem with %s says %q and advises %q", c.c, path, text, hint)
			}
		})
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: problems with %q, want %q", c.c, got, c.want)
		}
	}
}

// New rules count with what was counted by the old ones, and a new window starts at once.
func TestBudgetConfigure(t *testing.T) {
	b := NewBudget(BudgetConfig{Floor: -1})
	for range 100 {
		b.Deposit(1000 * second)
	}
	b.Configure(BudgetConfig{Floor: -1, Percent: 50})
	if s := b.State(1000 * second); s.Requests != 100 {
		t.Errorf("after new rules: %+v", s)
	}
	b.Configure(BudgetConfig{Floor: -1, Window: time.Minute})
	for range 10 {
		b.Deposit(1000 * second)
	}
	if s := b.State(1000 * second); s.Requests != 10 {
		t.Errorf("after a new window: %+v", s)
	}
}

// However many callers ask at once, never more is given than there is.
func TestBudgetIsNeverOverdrawn(t *testing.T) {
	b := NewBudget(BudgetConfig{Floor: -1})
	for range 500 {
		b.Deposit(0)
	}
	var got atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if b.Withdraw(0) {
					got.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := got.Load(); n > 100 || n != b.State(0).Repeats {
		t.Errorf("%d repeats of 100, state %+v", n, b.State(0))
	}
	for b.Withdraw(0) { // what callers refused each other is still there
		got.Add(1)
	}
	if n := got.Load(); n != 100 {
		t.Errorf("%d repeats in the end, want 100", n)
	}
}

// A fleet of callers of one node and a callee that fails: in any ten seconds there are no
// more repeats than a fifth of the requests and the floor, however many attempts are
// declared, in whatever way and at whatever rate the callee fails.
func TestRepeatsStayInTheBudget(t *testing.T) {
	failures := map[string]Outcome{"503": status(503), "refused": event(Refused), "reset": event(Reset), "timeout": event(TimedOut), "unavailable": grpc(14)}
	const tick = int64(10*time.Second) / 15 // by which a window may be longer
	for name, failure := range failures {
		for _, attempts := range []int{2, 3, 5} {
			for _, share := range []float64{0.1, 0.5, 1} {
				for _, rate := range []int{2, 40, 400} { // requests a second
					run := fmt.Sprintf("%s, %d attempts, %.0f %% fail, %d/s", name, attempts, 100*share, rate)
					rnd := rand.New(rand.NewPCG(uint64(attempts), uint64(rate)))
					p, b := Config{Attempts: attempts}.Compile(), NewBudget(BudgetConfig{})
					var requests, repeats []int64 // when
					for now := second; now < 25*second; now += second/int64(rate) - 1 + rnd.Int64N(3) {
						b.Deposit(now)
						requests = append(requests, now)
						for r := (Run{Repeatable: true}); rnd.Float64() < share; {
							if v := p.Decide(&r, &failure, time.Second, now, b, rnd.Uint64()); !v.Again {
								break
							}
							repeats = append(repeats, now) // waits are short against the window
						}
					}
					if most := 0.2*float64(len(requests)) + 10*24 + 100; float64(len(repeats)) > most {
						t.Errorf("%s: %d repeats of %d requests in 24 s", run, len(repeats), len(requests))
					}
					first, from, to := 0, 0, 0 // of the window that ends with the repeat
					for i, at := range repeats {
						for repeats[first] <= at-10*second {
							first++
						}
						for requests[from] <= at-10*second-tick {
							from++
						}
						for to < len(requests) && requests[to] <= at {
							to++
						}
						if n, most := i-first+1, 0.2*float64(to-from)+100; float64(n) > most {
							t.Fatalf("%s: %d repeats in ten seconds, at most %.0f", run, n, most)
						}
					}
					if s := b.State(25 * second); s.Granted != uint64(len(repeats)) || share == 1 && rate == 400 && len(repeats) < 1900 {
						t.Errorf("%s: %d repeats, state %+v", run, len(repeats), s)
					}
				}
			}
		}
	}
}

// layers is a chain of hops of which the last one's callee always fails.
type layers struct {
	p       *Policy
	budgets []*Budget
	deaf    bool // the hops do not hear Stoa-Retry
	calls   int  // of the callee
	rnd     *rand.Rand
}

func (l *layers) call(hop int, now int64) Outcome {
	if hop == len(l.budgets) {
		l.calls++
		return status(503)
	}
	l.budgets[hop].Deposit(now)
	for r := (Run{Repeatable: true}); ; {
		o := l.call(hop+1, now)
		if l.deaf {
			o.NoRetry = false
		}
		if v := l.p.Decide(&r, &o, time.Second, now, l.budgets[hop], l.rnd.Uint64()); !v.Again {
			return Outcome{Status: o.Status, GRPC: -1, NoRetry: v.Tell}
		}
	}
}

// Along four hops repeats do not multiply: the callee gets at most the budget of one hop
// more than it would without repeats. Without Stoa-Retry the budgets multiply, without
// both the attempts do.
func TestChainsDoNotMultiply(t *testing.T) {
	const seconds, hops = 60, 4
	for _, c := range []struct {
		claim       string
		attempts    int
		rate        int
		deaf        bool
		b           BudgetConfig
		least, most float64 // calls of the callee per request
	}{
		{"two attempts", 2, 100, false, BudgetConfig{}, 1.2, 1.2 + 0.12},
		{"five attempts", 5, 100, false, BudgetConfig{}, 1.2, 1.2 + 0.12},
		{"five attempts and a low rate, which the floor feeds", 5, 2, false, BudgetConfig{}, 4, 5},
		{"two attempts and a low rate", 2, 2, false, BudgetConfig{}, 2, 2},
		{"deaf hops: budgets multiply", 5, 100, true, BudgetConfig{Floor: -1}, 1.9, 1.2 * 1.2 * 1.2 * 1.2 * 1.05},
		{"deaf hops without a budget: attempts do", 3, 2, true, BudgetConfig{Percent: 100, Floor: 1000}, 81, 81},
	} {
		l := &layers{p: Config{Attempts: c.attempts}.Compile(), deaf: c.deaf, rnd: rand.New(rand.NewPCG(1, 1))}
		for range hops {
			l.budgets = append(l.budgets, NewBudget(c.b))
		}
		requests := 0
		for now := second; now < (seconds+1)*second; now += second / int64(c.rate) {
			l.call(0, now)
			requests++
		}
		// A floor of 10/s for the run and, kept from before it, for one window of 10 s, is in the bound.
		if got := float64(l.calls) / float64(requests); got < c.least || got > c.most {
			t.Errorf("%s: %.2f calls of the callee per request, want %.2f to %.2f", c.claim, got, c.least, c.most)
		}
	}
}
