package retry

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const (
	ms       = time.Millisecond
	second   = int64(time.Second)
	noLimit  = time.Duration(math.MaxInt64)
	half     = uint64(1) << 63
	greatest = uint64(math.MaxUint64)
)

func status(s int) Outcome      { return Outcome{Status: s, GRPC: -1} }
func grpc(code int) Outcome     { return Outcome{Status: 200, GRPC: code} }
func event(e Event) Outcome     { return Outcome{Event: e, GRPC: -1} }
func said(d time.Duration) Wait { return Wait{Said: true, For: d} }

// with changes o by f.
func with(o Outcome, f func(*Outcome)) Outcome { f(&o); return o }

func TestDecide(t *testing.T) {
	after := func(w Wait) func(*Outcome) { return func(o *Outcome) { o.RetryAfter = w } }
	push := func(w Wait) func(*Outcome) { return func(o *Outcome) { o.Pushback = w } }
	for _, c := range []struct {
		claim string
		c     Config
		run   Run
		o     Outcome
		left  time.Duration
		rnd   uint64
		want  Verdict
	}{
		{"502", Config{}, Run{Repeatable: true}, status(502), time.Second, half, Verdict{Again: true, After: 12500 * time.Microsecond}},
		{"503", Config{}, Run{Repeatable: true}, status(503), time.Second, 0, Verdict{Again: true}},
		{"504", Config{}, Run{Repeatable: true}, status(504), time.Second, 0, Verdict{Again: true}},
		{"not 500", Config{}, Run{Repeatable: true}, status(500), time.Second, 0, Verdict{Why: Final}},
		{"not 501", Config{}, Run{Repeatable: true}, status(501), time.Second, 0, Verdict{Why: Final}},
		{"not a success", Config{}, Run{Repeatable: true}, status(200), time.Second, 0, Verdict{Why: Final}},
		{"not 429", Config{}, Run{Repeatable: true}, status(429), time.Second, 0, Verdict{Why: Final}},
		{"429 with Retry-After", Config{}, Run{Repeatable: true}, with(status(429), after(said(0))), time.Second, 0, Verdict{Again: true}},
		{"gRPC UNAVAILABLE", Config{}, Run{Repeatable: true}, grpc(14), time.Second, 0, Verdict{Again: true}},
		{"not gRPC RESOURCE_EXHAUSTED", Config{}, Run{Repeatable: true}, grpc(8), time.Second, 0, Verdict{Why: Final}},
		{"but with pushback", Config{}, Run{Repeatable: true}, with(grpc(8), push(said(30*ms))), time.Second, greatest, Verdict{Again: true, After: 30 * ms}},
		{"pushback may say never", Config{}, Run{Repeatable: true}, with(grpc(8), push(Wait{Never: true})), time.Second, 0, Verdict{Why: Pushback}},
		{"also with UNAVAILABLE", Config{}, Run{Repeatable: true}, with(grpc(14), push(Wait{Never: true})), time.Second, 0, Verdict{Why: Pushback}},
		{"not gRPC INTERNAL", Config{}, Run{Repeatable: true}, grpc(13), time.Second, 0, Verdict{Why: Final}},
		{"not gRPC OK", Config{}, Run{Repeatable: true}, grpc(0), time.Second, 0, Verdict{Why: Final}},
		{"503 before gRPC was reached", Config{}, Run{Repeatable: true}, status(503), time.Second, 0, Verdict{Again: true}},
		{"reset before the head", Config{}, Run{Repeatable: true}, event(Reset), time.Second, 0, Verdict{Again: true}},
		{"a timeout of the attempt", Config{}, Run{Repeatable: true}, event(TimedOut), time.Second, 0, Verdict{Again: true}},
		{"not a broken answer", Config{}, Run{Repeatable: true}, event(Broken), time.Second, 0, Verdict{Why: Final}},
		{"not once the head has left", Config{}, Run{Repeatable: true}, with(event(Reset), func(o *Outcome) { o.Begun = true }), time.Second, 0, Verdict{Why: Begun}},

		{"a POST that may have happened", Config{}, Run{}, status(503), time.Second, 0, Verdict{Why: Unsafe}},
		{"or was reset", Config{}, Run{}, event(Reset), time.Second, 0, Verdict{Why: Unsafe}},
		{"not one that was refused a connection", Config{}, Run{}, event(Refused), time.Second, 0, Verdict{Again: true}},
		{"or that the peer has not processed", Config{}, Run{}, event(Unprocessed), time.Second, 0, Verdict{Again: true}},
		{"or that a proxy refused", Config{}, Run{}, with(status(503), func(o *Outcome) { o.Unsent = true }), time.Second, 0, Verdict{Again: true}},

		{"a stale connection is free", Config{}, Run{Repeatable: true}, event(Stale), time.Second, greatest, Verdict{Again: true, Free: true}},
		{"also when nothing is repeated", Config{Attempts: 1}, Run{Repeatable: true}, event(Stale), time.Second, 0, Verdict{Again: true, Free: true}},
		{"once", Config{Attempts: 1}, Run{Repeatable: true, Fresh: true}, event(Stale), time.Second, 0, Verdict{Why: Attempts}},
		{"then it is a reset", Config{}, Run{Repeatable: true, Fresh: true}, event(Stale), time.Second, 0, Verdict{Again: true}},
		{"a POST on it may have happened", Config{}, Run{}, event(Stale), time.Second, 0, Verdict{Why: Unsafe}},
		{"unless not a byte was written", Config{}, Run{}, with(event(Stale), func(o *Outcome) { o.Unsent = true }), time.Second, 0, Verdict{Again: true, Free: true}},
		{"its body must be there", Config{}, Run{Repeatable: true}, with(event(Stale), func(o *Outcome) { o.BodyGone = true }), time.Second, 0, Verdict{Why: Body}},

		{"the body is gone", Config{}, Run{Repeatable: true}, with(status(503), func(o *Outcome) { o.BodyGone = true }), time.Second, 0, Verdict{Why: Body}},
		{"all attempts are made", Config{}, Run{Repeatable: true, Repeats: 1}, status(503), time.Second, 0, Verdict{Why: Attempts, Tell: true}},
		{"none were to be repeated", Config{Attempts: -1}, Run{Repeatable: true}, status(503), time.Second, 0, Verdict{Why: Attempts}},
		{"one more of three", Config{Attempts: 3}, Run{Repeatable: true, Repeats: 1}, status(503), time.Second, half, Verdict{Again: true, After: 25 * ms}},
		{"the wait doubles to its cap", Config{Attempts: 5}, Run{Repeatable: true, Repeats: 3}, status(503), time.Minute, half, Verdict{Again: true, After: 100 * ms}},
		{"the cap", Config{Attempts: 5, Base: 100 * ms}, Run{Repeatable: true, Repeats: 3}, status(503), time.Minute, half, Verdict{Again: true, After: 125 * ms}},
		{"Stoa-Retry: no", Config{}, Run{Repeatable: true}, with(status(503), func(o *Outcome) { o.NoRetry = true }), time.Second, 0, Verdict{Why: Told, Tell: true}},
		{"is passed on by those who do not repeat", Config{Attempts: 1}, Run{Repeatable: true}, with(status(503), func(o *Outcome) { o.NoRetry = true }), time.Second, 0, Verdict{Why: Attempts, Tell: true}},

		{"no time", Config{}, Run{Repeatable: true}, status(503), ms, 0, Verdict{Why: Deadline}},
		{"no time for a free one either", Config{}, Run{Repeatable: true}, event(Stale), ms, 0, Verdict{Why: Deadline}},
		{"late", Config{}, Run{Repeatable: true}, status(503), -time.Second, 0, Verdict{Why: Deadline}},
		{"the attempt has half of what is left", Config{}, Run{Repeatable: true}, status(503), 11 * ms, half, Verdict{Again: true, After: 2500 * time.Microsecond}},
		{"no deadline", Config{}, Run{Repeatable: true}, status(503), noLimit, 0, Verdict{Again: true}},
		{"Retry-After is obeyed, spread", Config{}, Run{Repeatable: true}, with(status(503), after(said(time.Second))), 5 * time.Second, half, Verdict{Again: true, After: 1012500 * time.Microsecond}},
		{"when inside the deadline", Config{}, Run{Repeatable: true}, with(status(503), after(said(time.Second))), time.Second, 0, Verdict{Why: Later}},
		{"with time for an attempt", Config{}, Run{Repeatable: true}, with(status(503), after(said(time.Second))), time.Second + ms, 0, Verdict{Why: Later}},
		{"and not for ever", Config{}, Run{Repeatable: true}, with(status(503), after(said(time.Hour))), noLimit, 0, Verdict{Why: Later}},
		{"pushback outside the deadline", Config{}, Run{Repeatable: true}, with(grpc(14), push(said(time.Second))), time.Second, 0, Verdict{Why: Later}},

		{"only what is declared", Config{On: []string{"connect", "502"}}, Run{Repeatable: true}, status(503), time.Second, 0, Verdict{Why: Final}},
		{"what is declared", Config{On: []string{"connect", "502"}}, Run{Repeatable: true}, status(502), time.Second, 0, Verdict{Again: true}},
	} {
		b, run := NewBudget(BudgetConfig{}), c.run
		got := c.c.Compile().Decide(&run, &c.o, c.left, 0, b, c.rnd)
		if got != c.want {
			t.Errorf("%s: Decide(%+v, %+v, left %v) = %+v, want %+v", c.claim, c.run, c.o, c.left, got, c.want)
		}
		if spent, want := b.State(0).Repeats, int64(0); got.Again && !got.Free {
			if want = 1; spent != want || run.Repeats != c.run.Repeats+1 {
				t.Errorf("%s: %d withdrawn, run %+v", c.claim, spent, run)
			}
		} else if spent != want || run.Repeats != c.run.Repeats {
			t.Errorf("%s: %d withdrawn without a repeat, run %+v", c.claim, spent, run)
		}
	}
}

func TestSpentBudgetTells(t *testing.T) {
	b := NewBudget(BudgetConfig{Floor: -1})
	o := status(503)
	want := Verdict{Why: OverBudget, Tell: true}
	if got := (Config{}).Compile().Decide(&Run{Repeatable: true}, &o, time.Second, 0, b, 0); got != want {
		t.Errorf("Decide = %+v, want %+v", got, want)
	}
	o = event(Stale)
	if got := (Config{}).Compile().Decide(&Run{Repeatable: true}, &o, time.Second, 0, b, 0); !got.Free {
		t.Errorf("a stale connection with a spent budget: %+v, want a free repeat", got)
	}
}

// Whatever happens, a call has no more than its attempts and the free one, no wait ends
// after the deadline, and an unsafe request is repeated only unseen.
func TestAnyOutcomes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		c := Config{Attempts: rnd.IntN(8) - 1, Base: time.Duration(rnd.Int64N(int64(time.Second))), Cap: time.Duration(rnd.Int64N(int64(40 * time.Second)))}
		p, b := c.Compile(), NewBudget(BudgetConfig{})
		r := Run{Repeatable: rnd.IntN(2) == 0}
		left := time.Duration(rnd.Int64N(int64(20 * time.Second)))
		again, free := 0, 0
		for {
			o := Outcome{
				Event: Event(rnd.IntN(int(Broken) + 1)), Status: []int{200, 404, 429, 500, 502, 503, 504}[rnd.IntN(7)], GRPC: []int{-1, -1, -1, 0, 8, 14}[rnd.IntN(6)],
				NoRetry: rnd.IntN(20) == 0, Unsent: rnd.IntN(3) == 0, Begun: rnd.IntN(20) == 0, BodyGone: rnd.IntN(20) == 0,
			}
			if rnd.IntN(4) == 0 {
				o.RetryAfter = said(time.Duration(rnd.Int64N(1 << (1 + rnd.IntN(62)))))
			}
			if rnd.IntN(4) == 0 {
				o.Pushback = said(time.Duration(rnd.Int64N(1 << (1 + rnd.IntN(62)))))
			}
			v := p.Decide(&r, &o, left, 0, b, rnd.Uint64())
			if v.Again == (v.Why != None) {
				t.Fatalf("verdict %+v", v)
			}
			if !v.Again {
				break
			}
			if v.After < 0 || v.After >= left || o.Begun || o.BodyGone || !r.Repeatable && !o.unseen() {
				t.Fatalf("%v left, outcome %+v, run %+v: verdict %+v", left, o, r, v)
			}
			left -= v.After
			if v.Free {
				free++
			} else {
				again++
			}
		}
		if again > p.Attempts()-1 || free > 1 || again != r.Repeats {
			t.Fatalf("%d attempts allowed: %d repeats and %d free ones, run %+v", p.Attempts(), again, free, r)
		}
	}
}

// Full jitter uses the whole of its range evenly.
func TestJitterIsFull(t *testing.T) {
	p, rnd := Config{}.Compile(), rand.New(rand.NewPCG(8, 9))
	var tenths [10]int
	for range 20_000 {
		o := status(503)
		v := p.Decide(&Run{Repeatable: true}, &o, time.Second, 0, NewBudget(BudgetConfig{}), rnd.Uint64())
		if v.After >= 25*ms {
			t.Fatalf("wait of %v", v.After)
		}
		tenths[v.After*10/(25*ms)]++
	}
	for i, n := range tenths {
		if n < 1700 || n > 2300 {
			t.Errorf("%d of 20,000 waits in tenth %d: %v", n, i, tenths)
		}
	}
}

func TestMethods(t *testing.T) {
	for _, c := range []struct {
		method           string
		key, declared    bool
		repeatable, safe bool
	}{
		{"GET", false, false, true, true},
		{"HEAD", false, false, true, true},
		{"OPTIONS", false, false, true, true},
		{"TRACE", false, false, true, true},
		{"PUT", false, false, true, false},
		{"DELETE", false, false, true, false},
		{"POST", false, false, false, false},
		{"PATCH", false, false, false, false},
		{"CONNECT", false, false, false, false},
		{"get", false, false, false, false},
		{"", false, false, false, false},
		{"POST", true, false, true, false},
		{"POST", false, true, true, false},
	} {
		if got := Repeatable([]byte(c.method), c.key, c.declared); got != c.repeatable || got != Repeatable(c.method, c.key, c.declared) {
			t.Errorf("Repeatable(%q, %v, %v) = %v", c.method, c.key, c.declared, got)
		}
		if got := Safe(c.method); got != c.safe || got != Safe([]byte(c.method)) {
			t.Errorf("Safe(%q) = %v", c.method, got)
		}
	}
}

func TestHedge(t *testing.T) {
	on := Config{HedgeAfter: "p95"}
	for _, c := range []struct {
		claim     string
		c         Config
		safe      bool
		p95, left time.Duration
		want      time.Duration
		ok        bool
	}{
		{"after the p95", on, true, 10 * ms, time.Second, 10 * ms, true},
		{"not at once", on, true, 10, time.Second, ms, true},
		{"after what is declared", Config{HedgeAfter: "20ms"}, true, 10 * ms, time.Second, 20 * ms, true},
		{"off", Config{}, true, 10 * ms, time.Second, 0, false},
		{"not an unsafe method", on, false, 10 * ms, time.Second, 10 * ms, false},
		{"even when declared to bear a repeat", Config{HedgeAfter: "p95", Unsafe: true}, false, 10 * ms, time.Second, 10 * ms, false},
		{"not before the p95 is known", on, true, 0, time.Second, 0, false},
		{"not when it would be too late", on, true, time.Second, time.Second, time.Second, false},
		{"not when one attempt is allowed", Config{HedgeAfter: "p95", Attempts: 1}, true, 10 * ms, time.Second, 10 * ms, false},
	} {
		if got, ok := c.c.Compile().HedgeAfter(c.safe, c.p95, c.left); got != c.want || ok != c.ok {
			t.Errorf("%s: %v, %v, want %v, %v", c.claim, got, ok, c.want, c.ok)
		}
	}

	p, b := on.Compile(), NewBudget(BudgetConfig{})
	hedges := 0
	for range 200 {
		if (p.Hedge(&Run{}, time.Second, 0, b) == Verdict{Again: true}) {
			hedges++
		}
	}
	if s := b.State(0); hedges != 50 || s.Level != 0.5 {
		t.Errorf("%d hedges out of a budget of 100, state %+v, want 50 and half left", hedges, s)
	}
	if !b.Withdraw(0) {
		t.Error("the other half is not left for repeats")
	}
	r := Run{}
	b = NewBudget(BudgetConfig{})
	if v := p.Hedge(&r, time.Second, 0, b); !v.Again || !r.Hedged || r.Repeats != 1 {
		t.Errorf("verdict %+v, run %+v", v, r)
	}
	if v := p.Hedge(&r, time.Second, 0, b); v.Why != Attempts {
		t.Errorf("a second hedge: %+v", v)
	}
	if v := p.Hedge(&Run{}, ms, 0, b); v.Why != Deadline {
		t.Errorf("without time: %+v", v)
	}
}

func TestConfigCheck(t *testing.T) {
	for _, c := range []struct {
		c     Config
		total time.Duration
		want  string
	}{
		{Config{}, time.Second, ""},
		{Config{Attempts: 5, PerTry: 200 * ms, Base: ms, Cap: time.Second, On: classes, HedgeAfter: "p95"}, time.Second, ""},
		{Config{Attempts: 6, PerTry: 1, Base: 1, Cap: time.Minute, On: []string{"503", "500", "x"}, HedgeAfter: "p50"}, 0, "attempts perTry base cap on[1] on[2] hedgeAfter"},
		{Config{Base: 300 * ms}, 0, "cap"},
		{Config{HedgeAfter: "10"}, 0, "hedgeAfter"},
		{Config{HedgeAfter: "0s"}, 0, "hedgeAfter"},
		{Config{HedgeAfter: "10ms", Attempts: 1}, 0, "hedgeAfter"},
		{Config{PerTry: 600 * ms}, time.Second, "perTry"},
		{Config{PerTry: 600 * ms, Attempts: 1}, time.Second, ""},
		{Config{PerTry: 600 * ms}, -1, ""},
	} {
		var got []string
		bad := func(path, text, hint string) {
			got = append(got, path)
			if text == "" || hint == "" {
				t.Errorf("%+v: a problem with %s says %q and advises %q", c.c, path, text, hint)
			}
		}
		c.c.Check(bad)
		c.c.CheckTotal(c.total, bad)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v, total %v: problems with %q, want %q", c.c, c.total, got, c.want)
		}
	}
}

func TestTry(t *testing.T) {
	p := Config{PerTry: 100 * ms}.Compile()
	if a, b, c := p.Try(time.Second), p.Try(50*ms), (Config{}).Compile().Try(time.Second); a != 100*ms || b != 50*ms || c != time.Second {
		t.Errorf("Try = %v, %v, %v", a, b, c)
	}
}

// Every reason has a word of its own.
func TestWhys(t *testing.T) {
	seen := map[string]bool{None.String(): true}
	for _, w := range Whys() {
		if seen[w.String()] {
			t.Errorf("%d is %q, as another", w, w)
		}
		seen[w.String()] = true
	}
	if len(classes) != 9 || onAll != 1<<len(classes)-1 {
		t.Errorf("%d names for classes %b", len(classes), onAll)
	}
}

func TestNothingAllocates(t *testing.T) {
	p, b, now := Config{Attempts: 3}.Compile(), NewBudget(BudgetConfig{}), int64(0)
	field := []byte("Sun, 06 Nov 1994 08:49:37 GMT")
	at := time.Date(1994, 11, 6, 8, 49, 36, 0, time.UTC)
	if n := testing.AllocsPerRun(5000, func() {
		now += second / 100
		b.Deposit(now)
		r := Run{Repeatable: Repeatable([]byte("GET"), false, p.Unsafe())}
		o := Outcome{Status: 503, GRPC: -1, RetryAfter: ParseRetryAfter(field, at)}
		p.Decide(&r, &o, 5*time.Second, now, b, uint64(now))
		p.Hedge(&r, time.Second, now, b)
	}); n != 0 {
		t.Errorf("%v allocations per call, want 0", n)
	}
}

// What a call that succeeds costs.
func BenchmarkSuccess(b *testing.B) {
	p, budget, now, method := Config{}.Compile(), NewBudget(BudgetConfig{}), int64(0), []byte("GET")
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		budget.Deposit(now)
		r := Run{Repeatable: Repeatable(method, false, p.Unsafe())}
		o := Outcome{Status: 200, GRPC: -1}
		p.Decide(&r, &o, time.Second, now, budget, 1)
	}
}

func BenchmarkRepeat(b *testing.B) {
	p, budget, now := Config{}.Compile(), NewBudget(BudgetConfig{}), int64(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		budget.Deposit(now)
		r := Run{Repeatable: true}
		o := Outcome{Status: 503, GRPC: -1}
		p.Decide(&r, &o, time.Second, now, budget, uint64(now))
	}
}

func BenchmarkDepositParallel(b *testing.B) {
	budget := NewBudget(BudgetConfig{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := int64(0)
		for pb.Next() {
			now += 1000
			budget.Deposit(now)
		}
	})
}
