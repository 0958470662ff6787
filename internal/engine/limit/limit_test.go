package limit

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const ms = int64(time.Millisecond)

func TestCheck(t *testing.T) {
	for _, x := range []struct {
		c    Config
		want string // paths of the problems
	}{
		{Config{}, ""},
		{Config{Max: 10, Queue: -1, Wait: time.Second}, ""},
		{Config{Adaptive: Off}, ""},
		{Config{MinLimit: 5, InitialLimit: 50, MaxLimit: 500}, ""},
		{Config{MinLimit: 300}, ""},
		{Config{Max: -1}, "max"},
		{Config{Queue: MaxQueue + 1, Wait: -1}, "queue wait"},
		{Config{Wait: time.Hour}, "wait"},
		{Config{Adaptive: "on"}, "adaptive"},
		{Config{Adaptive: Off, MinLimit: 5}, "adaptive"},
		{Config{MaxLimit: 10}, "minLimit"},
		{Config{MinLimit: 50, MaxLimit: 10}, "minLimit"},
		{Config{MaxLimit: MaxLimit + 1, InitialLimit: -1}, "initialLimit maxLimit"},
	} {
		var got []string
		x.c.Check(func(path, text, hint string) {
			got = append(got, path)
			if text == "" || hint == "" {
				t.Errorf("%+v: %s: text %q, hint %q", x.c, path, text, hint)
			}
		})
		if strings.Join(got, " ") != x.want {
			t.Errorf("%+v: problems at %q, want %q", x.c, got, x.want)
		}
	}
	b, err := json.Marshal(Config{Max: 3, Adaptive: Off})
	var back Config
	if err != nil || json.Unmarshal(b, &back) != nil || back != (Config{Max: 3, Adaptive: Off}) {
		t.Errorf("%s reads back as %+v, %v", b, back, err)
	}
}

func TestPriority(t *testing.T) {
	for i, name := range names {
		p, err := ParsePriority(name)
		if err != nil || p.class() != i || p.String() != name {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	if p, err := ParsePriority(""); p != Normal || err != nil || p != *new(Priority) {
		t.Errorf("nothing is %v, %v", p, err)
	}
	if _, err := ParsePriority("urgent"); err == nil || !strings.Contains(err.Error(), "critical, normal, low or bulk") {
		t.Errorf("urgent: %v", err)
	}
	if Priority(-128).class() != 0 || Priority(127).class() != classes-1 {
		t.Error("what is no class is not the nearest")
	}
	b, err := json.Marshal(map[string]Priority{"p": Bulk})
	var back map[string]Priority
	if err != nil || json.Unmarshal(b, &back) != nil || back["p"] != Bulk {
		t.Errorf("%s, %v", b, err)
	}
}

// enter is Enter with a look at the pair of results.
func enter(t *testing.T, l *Limiter, now int64, r Request) (Answer, *Waiter) {
	t.Helper()
	a, w := l.Enter(now, r)
	if (a == Queued) != (w != nil) {
		t.Fatalf("answer %v with waiter %v", a, w)
	}
	return a, w
}

func decided(w *Waiter) bool { return len(w.Decided()) > 0 }

// Stories of the queue. A limit of one place, taken at the start. Words: +c:12 a request of
// class c (n, c, l or b) named 12 comes and waits; -x the place is left; @150 the time in
// milliseconds; x!12 number 12 gives up. After each word, who was decided: =12 got the
// place, #12 was refused, ~12 was refused at once.
func TestQueue(t *testing.T) {
	class := map[string]Priority{"c": Critical, "n": Normal, "l": Low, "b": Bulk}
	for _, x := range []struct{ name, story, want string }{
		{"first come, first served", "+n:1 +n:2 +n:3 leave leave leave", "=1 =2 =3"},
		{"the newest first when the queue has lasted", "+n:1 +n:2 @150 +n:3 leave leave leave", "=3 =2 =1"},
		{"an empty queue begins anew", "+n:1 leave @150 +n:2 +n:3 leave leave", "=1 =2 =3"},
		{"the important first", "+b:1 +l:2 +n:3 +c:4 leave leave leave leave", "=4 =3 =2 =1"},
		{"when full, the oldest of its class goes", "+n:1 +n:2 +n:3 +n:4 +n:5 leave", "#1 =2"},
		{"when full, the less important go", "+n:1 +b:2 +b:3 +l:4 +c:5 +c:6 +n:7 leave leave", "#2 #3 #4 =5 =6"},
		{"when full of important ones, others are refused", "+c:1 +c:2 +n:3 +n:4 +l:5 +b:6 leave", "~5 ~6 =1"},
		{"who gives up is gone", "+n:1 +n:2 quit:1 leave", "#1 =2"},
		{"who has waited long enough gets no place", "+n:1 @999 +n:2 @1001 leave leave", "=2 #1"},
		{"who has waited long enough makes room first", "+c:1 @999 +b:2 +b:3 +b:4 @1001 +b:5", "#1"},
	} {
		l := New(Config{Max: 1, Queue: 4, Wait: time.Second})
		enter(t, l, 0, Request{})
		now := int64(0)
		waiters := map[string]*Waiter{}
		var order, got []string
		look := func() {
			for _, name := range order {
				if w := waiters[name]; w != nil && decided(w) {
					delete(waiters, name)
					if l.Settle(now, w) == Admitted {
						got = append(got, "="+name)
					} else {
						got = append(got, "#"+name)
					}
				}
			}
		}
		for word := range strings.FieldsSeq(x.story) {
			verb, name, _ := strings.Cut(word, ":")
			switch {
			case verb == "leave":
				l.Leave(now, 0, Ignored)
			case verb == "quit":
				if a := l.Settle(now, waiters[name]); a != Full {
					t.Errorf("%s: %s gives up with %v", x.name, name, a)
				}
				delete(waiters, name)
				got = append(got, "#"+name)
			case verb[0] == '@':
				d, err := time.ParseDuration(verb[1:] + "ms")
				if err != nil {
					t.Fatal(err)
				}
				now = int64(d)
			default:
				a, w := enter(t, l, now, Request{Priority: class[verb[1:]]})
				if w == nil {
					if a == Admitted {
						t.Errorf("%s: %s passes", x.name, word)
					}
					got = append(got, "~"+name)
					break
				}
				waiters[name] = w
				order = append(order, name)
			}
			look()
		}
		if s := strings.Join(got, " "); s != x.want {
			t.Errorf("%s: %s\ngot  %s\nwant %s", x.name, x.story, s, x.want)
		}
		if st := l.Stats(now); st.Waiting != len(waiters) {
			t.Errorf("%s: %d wait, want %d", x.name, st.Waiting, len(waiters))
		}
	}
}

func TestWait(t *testing.T) {
	for _, x := range []struct {
		wait     time.Duration
		deadline int64 // milliseconds from now; 0: none
		want     int64 // milliseconds; 0: refused
	}{
		{0, 0, 1000}, {0, 2000, 200}, {0, 1, 0}, {time.Second, 0, 1000}, {time.Second, 300, 300}, {50 * time.Millisecond, 3000, 50}, {0, -5, 0},
	} {
		l := New(Config{Max: 1, Wait: x.wait})
		const now = 1e12
		enter(t, l, now, Request{})
		r := Request{}
		if x.deadline != 0 {
			r.Deadline = now + x.deadline*ms
		}
		a, w := enter(t, l, now, r)
		switch {
		case w == nil && x.want > 0, w != nil && x.want == 0 && w.Until() > now+ms:
			t.Errorf("%+v: %v", x, a)
		case w != nil && x.want > 0 && w.Until() != now+x.want*ms:
			t.Errorf("%+v: waits %v", x, time.Duration(w.Until()-now))
		}
	}
	l := New(Config{Max: 1, Queue: -1})
	enter(t, l, 0, Request{})
	if a, _ := enter(t, l, 0, Request{}); a != Full {
		t.Errorf("without a queue: %v", a)
	}
}

// A changed Config lets in who waits, and a lower one nobody until enough have left.
func TestSet(t *testing.T) {
	l := New(Config{Max: 2})
	var ws []*Waiter
	for range 4 {
		if _, w := enter(t, l, 0, Request{}); w != nil {
			ws = append(ws, w)
		}
	}
	l.Set(0, Config{Max: 3})
	if !decided(ws[0]) || decided(ws[1]) {
		t.Fatal("a higher limit lets in the wrong number")
	}
	l.Settle(0, ws[0])
	l.Set(0, Config{Max: 1})
	l.Leave(0, 0, Ignored)
	l.Leave(0, 0, Ignored)
	if decided(ws[1]) {
		t.Fatal("one is let in above the lower limit")
	}
	l.Leave(0, 0, Ignored)
	if !decided(ws[1]) || l.Settle(0, ws[1]) != Admitted {
		t.Fatal("one is not let in at the lower limit")
	}
	if s := l.Stats(0); s.InFlight != 1 || s.Waiting != 0 || s.Limit != 1 {
		t.Errorf("%+v", s)
	}
	l.Leave(0, 0, Ignored)
	l.Set(0, Config{Adaptive: Off})
	if s := l.Stats(0); s.Limit != 0 {
		t.Errorf("off, limit %d", s.Limit)
	}
}

func TestEndpointsScaleTheBounds(t *testing.T) {
	l := New(Config{})
	if s := l.Stats(0); s.Limit != DefaultInitial {
		t.Errorf("one endpoint: limit %d", s.Limit)
	}
	l.Endpoints(0, 5)
	if s := l.Stats(0); s.Limit != 5*DefaultInitial {
		t.Errorf("five endpoints: limit %d", s.Limit)
	}
	l.Endpoints(0, 0)
	if s := l.Stats(0); s.Limit != DefaultInitial {
		t.Errorf("no endpoint: limit %d", s.Limit)
	}
}

func TestLeaveWithoutEnterPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New(Config{}).Leave(0, 0, OK)
}

// Whatever the order of events: nobody is decided twice or never, the queue and the limit
// keep their bounds, no place is free while somebody waits, and all is empty in the end.
func FuzzLimiter(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Add([]byte{16, 0, 0, 0, 0, 0, 0, 0, 64, 64, 3, 3, 3, 0, 0, 96, 96})
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) == 0 {
			return
		}
		c := Config{Max: 1 + int(script[0]%8), Queue: int(script[0]>>3%8) - 1, Wait: time.Second}
		if script[0] >= 128 {
			c = Config{MinLimit: 1, InitialLimit: 2, MaxLimit: 6, Queue: 5}
		}
		l := New(c)
		now, in := int64(1), 0
		var waiting []*Waiter
		settle := func(i int) {
			w := waiting[i]
			waiting = append(waiting[:i], waiting[i+1:]...)
			was := decided(w)
			switch a := l.Settle(now, w); a {
			case Admitted:
				in++
			case Full, Shed:
				if !was && a != Full {
					t.Fatalf("gives up with %v", a)
				}
			default:
				t.Fatalf("settled with %v", a)
			}
		}
		check := func() {
			// A decided waiter has its place already.
			for i := 0; i < len(waiting); i++ {
				if decided(waiting[i]) {
					settle(i)
					i--
				}
			}
			s := l.Stats(now)
			if s.InFlight != in || s.Waiting != len(waiting) {
				t.Fatalf("%+v, want %d in flight and %d waiting", s, in, len(waiting))
			}
			if s.Waiting > 0 && s.InFlight < s.Limit {
				t.Fatalf("%+v: a place is free while somebody waits", s)
			}
			room := c.Queue
			if room == 0 {
				room = max(s.Limit, 8) // it may have been higher when they came
			}
			if s.Waiting > max(room, 0) {
				t.Fatalf("%+v: want at most %d waiting", s, room)
			}
		}
		for _, b := range script[1:] {
			arg := int(b >> 3)
			switch b % 8 {
			case 0, 1, 2:
				before := l.Stats(now)
				a, w := l.Enter(now, Request{Priority: Priority(arg%4) + Critical, Cohort: uint32(arg), Deadline: now + int64(arg)*100*ms})
				switch {
				case w != nil:
					waiting = append(waiting, w)
				case a == Admitted:
					if in++; before.Limit > 0 && in > before.Limit {
						t.Fatalf("%d in flight, the limit is %d", in, before.Limit)
					}
				case a == Queued:
					t.Fatal("queued without a waiter")
				}
			case 3, 4:
				if in > 0 {
					in--
					l.Leave(now, time.Duration(arg)*time.Millisecond, Outcome(b>>6%3))
				}
			case 5:
				now += int64(arg) * 20 * ms
			case 6:
				if len(waiting) > 0 {
					settle(arg % len(waiting))
				}
			case 7:
				if arg%4 == 0 {
					l.Endpoints(now, arg)
				}
			}
			check()
		}
		for range 1000 {
			if in == 0 && len(waiting) == 0 {
				break
			}
			if in == 0 {
				t.Fatalf("%d wait, and nobody is in flight", len(waiting))
			}
			in--
			l.Leave(now, time.Millisecond, OK)
			check()
		}
		if s := l.Stats(now); s.InFlight != 0 || s.Waiting != 0 {
			t.Fatalf("in the end %+v", s)
		}
	})
}

// Many goroutines at once: the limit is never exceeded, every waiter is decided or settles
// by itself, and nothing is left over.
func TestConcurrentCallers(t *testing.T) {
	const limit = 5
	l := New(Config{Max: limit, Queue: 8, Adaptive: Off})
	var clock, in, most, passed, refused atomic.Int64
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 2000 {
				now := clock.Add(1000)
				a, w := l.Enter(now, Request{Priority: Priority(r.IntN(4)) + Critical, Cohort: r.Uint32()})
				if w != nil {
					if r.IntN(8) > 0 {
						<-w.Decided() // a lost wake-up would hang here
					}
					a = l.Settle(clock.Add(1), w)
				}
				if a != Admitted {
					refused.Add(1)
					continue
				}
				n := in.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				passed.Add(1)
				in.Add(-1)
				l.Leave(clock.Add(1), time.Microsecond, OK)
			}
		})
	}
	wg.Wait()
	if most.Load() > limit {
		t.Errorf("%d in flight, the limit is %d", most.Load(), limit)
	}
	if s := l.Stats(clock.Load()); s.InFlight != 0 || s.Waiting != 0 {
		t.Errorf("left over: %+v", s)
	}
	if passed.Load()+refused.Load() != 16*2000 || passed.Load() == 0 {
		t.Errorf("%d passed, %d refused", passed.Load(), refused.Load())
	}
}

// While places are free, a request costs no allocation; neither does one that waits, once
// as many waited before.
func TestNoAllocation(t *testing.T) {
	l := New(Config{Max: 1})
	now := int64(1e12)
	if n := testing.AllocsPerRun(200, func() {
		now += ms
		l.Enter(now, Request{})
		l.Leave(now, time.Millisecond, OK)
	}); n != 0 {
		t.Errorf("free: %v allocations", n)
	}
	if n := testing.AllocsPerRun(200, func() {
		now += ms
		l.Enter(now, Request{})
		_, w := l.Enter(now, Request{Priority: Critical})
		l.Leave(now, time.Millisecond, OK)
		<-w.Decided()
		l.Settle(now, w)
		l.Leave(now, time.Millisecond, OK)
	}); n != 0 {
		t.Errorf("waiting: %v allocations", n)
	}
}
