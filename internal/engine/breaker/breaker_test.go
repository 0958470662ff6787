package breaker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const second = int64(time.Second)

// Stories in a notation: "ok" and "bad" are a call with that end, "x20" repeats what went
// before it in all that many times, "+5s" lets time pass, "in" lets a trial in (they are
// numbered from 0), "ok0", "bad0" and "none0" end trial 0, "no" is a call that must be
// refused, "closed", "open", "half1-2" (round-trials) claim a state.
func TestStories(t *testing.T) {
	for _, c := range []struct {
		claim string
		c     Config
		story string
	}{
		{"half of twenty calls failed", Config{}, "ok x10 bad x9 closed bad open no"},
		{"less than half", Config{}, "ok x11 bad x10 closed"},
		{"fewer than twenty calls say nothing", Config{}, "bad x19 closed bad open"},
		{"failures of long ago do not count", Config{}, "bad x19 +11s bad x19 closed"},
		{"trials rise and close it", Config{}, "bad x20 open +6.3s in half1-1 no ok0 in in half2-2 no ok1 ok2 in in in in half3-4 no ok3 ok4 ok5 half3-1 ok6 closed"},
		{"nothing is remembered once closed", Config{}, "bad x20 +6.3s in ok0 in in ok1 ok2 in in in in ok3 ok4 ok5 ok6 closed bad x19 closed bad open"},
		{"a trial that fails opens it again, for twice as long", Config{}, "bad x20 +6.3s in bad0 open +9.9s no open +2.7s in half1-1 bad1 open +19.9s no +5.2s in"},
		{"the time has a cap", Config{}, "bad x20 +6.3s in bad0 +12.6s in bad1 +26s in bad2 +51s in bad3 +59s no +17s in bad4 +59s no +17s in"},
		{"one failure among four trials is enough", Config{}, "bad x20 +6.3s in ok0 in in ok1 ok2 in in in ok3 bad4 open ok5 open"},
		{"a trial without a verdict gives its place back", Config{}, "bad x20 +6.3s in none0 half1-0 in half1-1 ok1 half2-0"},
		{"a trial that is never reported is given up", Config{}, "bad x20 +6.3s in no +29s no +1s in half1-1 ok1 half2-0"},
		{"the report of a trial that was given up is not another's", Config{}, "bad x20 +6.3s in +30s in half1-1 ok0 bad0 half1-1 no ok1 half2-0"},
		{"the report of an earlier half-open does not count", Config{}, "bad x20 +6.3s in none0 in ok1 in in bad2 open +13s in half1-1 bad3 half1-1 ok3 half1-1 ok4 half2-0"},
		{"it opens for longer when it fails right after it closed", Config{}, "bad x20 +6.3s in ok0 in in ok1 ok2 in in in in ok3 ok4 ok5 ok6 closed bad x20 open +9.9s no +2.7s in"},
		{"and for as long as at first when it had worked for a window", Config{}, "bad x20 +6.3s in ok0 in in ok1 ok2 in in in in ok3 ok4 ok5 ok6 closed +10s bad x20 open +6.3s in"},
		{"off lets all through", Config{Off: true}, "bad x200 closed ok"},
		{"own figures", Config{Least: 2, Percent: 100, Open: time.Second, OpenMax: 2 * time.Second, Window: time.Second}, "ok bad x9 closed +1.1s bad closed bad open +1.3s in bad0 +2.6s in bad1 +2.6s in"},
	} {
		now := int64(1000)
		b := New(c.c, now)
		var trials []Pass
		last := func() {}
		words := strings.Fields(c.story)
		for i, w := range words {
			at := fmt.Sprintf("%s: %s at word %d", c.claim, w, i)
			call := func(r Result) func() {
				return func() {
					p, _, ok := b.Allow(now)
					if !ok || p.Trial() {
						t.Errorf("%s: refused, or a trial", at)
					}
					b.Done(p, r, now)
				}
			}
			var n, m int
			switch {
			case w == "ok":
				last = call(Good)
				last()
			case w == "bad":
				last = call(Bad)
				last()
			case w[0] == 'x':
				fmt.Sscanf(w, "x%d", &n)
				for range n - 1 {
					last()
				}
			case w[0] == '+':
				d, err := time.ParseDuration(w[1:])
				if err != nil {
					t.Fatal(err)
				}
				now += int64(d)
			case w == "in":
				p, _, ok := b.Allow(now)
				if !ok || !p.Trial() || b.Blocked(p) {
					t.Errorf("%s: want a trial, got %+v, %v", at, p, ok)
				}
				trials = append(trials, p)
			case w == "no":
				if p, wait, ok := b.Allow(now); ok || wait <= 0 {
					t.Errorf("%s: want a refusal, got %+v, wait %v", at, p, wait)
				} else if !b.Blocked(p) {
					t.Errorf("%s: a refused call may go on", at)
				}
			case w == "closed", w == "open":
				if s := b.State(now); s.Phase.String() != w {
					t.Errorf("%s: state is %+v", at, s)
				}
			case strings.HasPrefix(w, "half"):
				fmt.Sscanf(w, "half%d-%d", &n, &m)
				if s := b.State(now); s.Phase != HalfOpen || s.Round != n || s.Trials != m {
					t.Errorf("%s: state is %+v", at, s)
				}
			default:
				r := map[string]Result{"ok": Good, "bad": Bad, "none": Ignored}[strings.TrimRight(w, "0123456789")]
				fmt.Sscanf(strings.TrimLeft(w, "abdekno"), "%d", &n)
				b.Done(trials[n], r, now)
			}
		}
	}
}

// machine drives a breaker through the events of a string of bytes and checks after each
// what must always hold, with a count of its own of the trials that are out.
func machine(t *testing.T, events []byte) {
	now := int64(0)
	b := New(Config{}, now)
	type held struct {
		p     Pass
		until int64
	}
	var ordinary []Pass
	var trials []held
	goods := 0 // successes of trials since the breaker opened
	var before State
	for i, e := range events {
		arg := int(e >> 3)
		switch e & 7 {
		case 0, 1, 2:
			was := b.State(now)
			p, wait, ok := b.Allow(now)
			switch {
			case ok && was.Phase == Closed:
				if p.Trial() {
					t.Fatalf("event %d: a trial while closed", i)
				}
				ordinary = append(ordinary, p)
			case ok:
				if !p.Trial() || was.Phase != HalfOpen || was.Trials >= was.Allowed {
					t.Fatalf("event %d: let in %+v in state %+v", i, p, was)
				}
				trials = append(trials, held{p, now + int64(TrialLife)})
			case wait <= 0:
				t.Fatalf("event %d: refused with wait %v", i, wait)
			case was.Phase == Closed, was.Phase == HalfOpen && was.Trials < was.Allowed:
				t.Fatalf("event %d: refused in state %+v", i, was)
			}
		case 3, 4:
			if n := len(ordinary); n > 0 {
				k := arg % n
				b.Done(ordinary[k], []Result{Bad, Bad, Good, Ignored}[arg%4], now)
				ordinary = slices.Delete(ordinary, k, k+1)
			}
		case 5:
			if n := len(trials); n > 0 {
				k := arg % n
				r := []Result{Good, Good, Good, Bad, Ignored}[arg%5]
				was := b.State(now).Phase
				b.Done(trials[k].p, r, now)
				if is := b.State(now).Phase; was == HalfOpen && is == Closed && r != Good {
					t.Fatalf("event %d: closed by result %d", i, r)
				}
				if r == Good {
					goods++
				}
				if arg&16 == 0 { // else it is reported again later
					trials = slices.Delete(trials, k, k+1)
				}
			}
		case 6:
			now += int64(arg) * int64(100*time.Millisecond)
		case 7:
			now += int64(arg) * 3 * second
		}
		s := b.State(now)
		if s.Failed < 0 || s.Failed > s.Calls || s.Trials < 0 || s.Trials > s.Allowed || s.Allowed > 4 {
			t.Fatalf("event %d: state %+v", i, s)
		}
		if s.Phase == HalfOpen {
			n := 0
			for _, h := range trials {
				if h.until > now {
					n++
				}
			}
			if s.Trials > n {
				t.Fatalf("event %d: %d trials are out, of which %d were let in", i, s.Trials, n)
			}
		}
		if s.Opened > before.Opened {
			goods = 0
		}
		if s.Phase == Closed && before.Phase != Closed && goods < 7 {
			t.Fatalf("event %d: closed after %d successes", i, goods)
		}
		if s.Phase == Open && (s.Retry <= 0 || s.Retry > 75*time.Second) {
			t.Fatalf("event %d: open for another %v", i, s.Retry)
		}
		before = s
	}
	// However it stands, it can be got out of: after the longest time a trial is let in, and
	// seven successes close it.
	now += int64(2 * time.Minute)
	for range 7 {
		p, _, ok := b.Allow(now)
		if !ok {
			t.Fatalf("wedged in state %+v", b.State(now))
		}
		b.Done(p, Good, now)
	}
	if s := b.State(now); s.Phase != Closed {
		t.Fatalf("seven successes leave state %+v", s)
	}
}

func TestAnyOrderOfEvents(t *testing.T) {
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		events := make([]byte, 600)
		for i := range events {
			events[i] = byte(rnd.Uint32())
			if e := &events[i]; *e&7 == 7 && rnd.IntN(4) > 0 { // long waits seldom, or nothing trips
				*e = *e&^7 | byte(rnd.IntN(6))
			}
		}
		machine(t, events)
	}
}

func FuzzMachine(f *testing.F) {
	f.Add([]byte{0, 3, 0, 3, 7, 0, 5})
	f.Add(slices.Concat(slices.Repeat([]byte{0, 3}, 20), []byte{255, 0, 5, 0, 0, 5, 5, 0, 0, 0, 0, 5, 5, 5, 5}))
	f.Fuzz(machine)
}

// What began before the breaker opened says nothing once it is closed again.
func TestResultsOfAnEarlierTime(t *testing.T) {
	b := New(Config{}, 0)
	var old []Pass
	for range 100 {
		p, _, _ := b.Allow(0)
		old = append(old, p)
	}
	for _, p := range old[:20] {
		b.Done(p, Bad, 0)
	}
	now := 7 * second
	for range 7 {
		p, _, _ := b.Allow(now)
		b.Done(p, Good, now)
	}
	for _, p := range old[20:] {
		b.Done(p, Bad, now)
	}
	if s := b.State(now); s.Phase != Closed || s.Calls != 0 {
		t.Errorf("80 failures of calls from before it opened: %+v, want closed and nothing counted", s)
	}
}

// Failures that are reported together open it once.
func TestOpensOnce(t *testing.T) {
	for range 50 {
		b := New(Config{}, 0)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					b.Done(Pass{}, Bad, 0)
				}
			})
		}
		wg.Wait()
		if s := b.State(0); s.Opened != 1 || s.Retry > 6250*time.Millisecond {
			t.Fatalf("after 160 failures at once: %+v, want it opened once", s)
		}
	}
}

// However many callers ask at once, they get the trials of the round and no more.
func TestTrialsOfConcurrentCallers(t *testing.T) {
	b := New(Config{}, 0)
	for range 20 {
		b.Done(Pass{}, Bad, 0)
	}
	now := 7 * second
	for _, want := range rounds {
		var mu sync.Mutex
		var got []Pass
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					if p, _, ok := b.Allow(now); ok {
						mu.Lock()
						got = append(got, p)
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		if len(got) != want {
			t.Fatalf("%d of 800 calls were let in, want %d", len(got), want)
		}
		for _, p := range got {
			wg.Go(func() { b.Done(p, Good, now) })
		}
		wg.Wait()
	}
	if s := b.State(now); s.Phase != Closed {
		t.Errorf("in the end: %+v", s)
	}
}

// Callers on all cores, with clocks a little apart and a service that fails now and then:
// what is shown stays true, and the breaker closes once the service works.
func TestConcurrentCallers(t *testing.T) {
	b := New(Config{Open: 100 * time.Millisecond, OpenMax: 200 * time.Millisecond}, 0)
	var now atomic.Int64
	var wg sync.WaitGroup
	for caller := range uint64(8) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(caller, 9))
			for i := range 10_000 {
				at := now.Add(int64(time.Millisecond)) - rnd.Int64N(int64(2*time.Millisecond))
				r := Good
				if i/2000%2 == 0 {
					r = Bad
				}
				if p, wait, ok := b.Allow(at); ok {
					b.Blocked(p)
					b.Done(p, r, at)
				} else if wait <= 0 {
					t.Errorf("refused with wait %v", wait)
					return
				}
				if s := b.State(at); s.Failed > s.Calls || s.Failed < 0 || s.Trials > s.Allowed {
					t.Errorf("state %+v", s)
					return
				}
			}
		})
	}
	wg.Wait()
	at := now.Load()
	if b.State(at).Opened == 0 {
		t.Error("it never opened")
	}
	for range 7 {
		at += second
		if p, _, ok := b.Allow(at); ok {
			b.Done(p, Good, at)
		}
	}
	if s := b.State(at); s.Phase != Closed {
		t.Errorf("in the end: %+v", s)
	}
}

func TestNothingAllocates(t *testing.T) {
	b, now := New(Config{}, 0), int64(0)
	if n := testing.AllocsPerRun(10_000, func() {
		now += int64(50 * time.Millisecond)
		if p, _, ok := b.Allow(now); ok {
			b.Done(p, b.Judge(Outcome{Status: 503, GRPC: -1}), now)
		}
	}); n != 0 {
		t.Errorf("%v allocations per call, want 0", n)
	}
}

func BenchmarkClosed(b *testing.B) {
	br, now := New(Config{}, 0), int64(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		p, _, _ := br.Allow(now)
		br.Done(p, br.Judge(Outcome{Status: 200, GRPC: -1}), now)
	}
}

func BenchmarkClosedParallel(b *testing.B) {
	br := New(Config{}, 0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := int64(0)
		for pb.Next() {
			now += 1000
			p, _, _ := br.Allow(now)
			br.Done(p, br.Judge(Outcome{Status: 200, GRPC: -1}), now)
		}
	})
}

// A failure costs a sum over the window.
func BenchmarkFailure(b *testing.B) {
	br, now := New(Config{Percent: 100}, 0), int64(0)
	p, _, _ := br.Allow(0)
	br.Done(p, Good, 0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			now += 1000
		}
		p, _, _ := br.Allow(now)
		br.Done(p, Result(1+i%2), now)
	}
}

func BenchmarkRefused(b *testing.B) {
	br := New(Config{}, 0)
	for range 20 {
		br.Done(Pass{}, Bad, 0)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := br.Allow(1); ok {
			b.Fatal("let in")
		}
	}
}

// What it opened for may be known to be over: then it tries at once, and fails or closes as ever.
func TestRetry(t *testing.T) {
	const second = int64(time.Second)
	b := New(Config{Least: 10, Open: time.Minute, OpenMax: time.Minute}, 1)
	for range 10 {
		p, _, _ := b.Allow(second)
		b.Done(p, Bad, second)
	}
	if _, _, ok := b.Allow(2 * second); ok {
		t.Fatal("it is not open")
	}
	b.Retry(2 * second)
	if s := b.State(2 * second); s.Phase != HalfOpen {
		t.Errorf("it is %v, want half-open", s.Phase)
	}
	p, _, ok := b.Allow(2 * second)
	if !ok || !p.Trial() {
		t.Fatal("no trial")
	}
	b.Done(p, Bad, 2*second)
	if _, wait, ok := b.Allow(3 * second); ok || wait < 30*time.Second {
		t.Errorf("after a trial that failed: %v, %v", wait, ok)
	}
	b.Retry(3 * second)
	for range 7 {
		p, _, ok := b.Allow(3 * second)
		if !ok {
			t.Fatal("no trial")
		}
		b.Done(p, Good, 3*second)
	}
	b.Retry(3 * second) // of no effect
	if s := b.State(3 * second); s.Phase != Closed {
		t.Errorf("it is %v, want closed", s.Phase)
	}
}
