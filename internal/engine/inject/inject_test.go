package inject_test

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/inject"
)

const (
	now  = int64(1_800_000_000_000_000_000)
	soon = now + int64(time.Hour)
)

// Every field out of bounds is reported under its path, all at once.
func TestCheckNamesTheField(t *testing.T) {
	good := inject.Fault{ID: "slow", Percent: 30, Delay: time.Second, Until: soon}
	for _, c := range []struct {
		name  string
		edit  func(*inject.Fault)
		paths string
	}{
		{"good", func(f *inject.Fault) {}, ""},
		{"longest", func(f *inject.Fault) {
			f.Percent, f.Delay, f.Until = 100, inject.MaxDelay, now+int64(inject.MaxAhead)
		}, ""},
		{"abort only", func(f *inject.Fault) { f.Delay, f.Abort, f.At = 0, 503, inject.AtCaller }, ""},
		{"resting", func(f *inject.Fault) { f.Percent = 0 }, ""},
		{"nothing to do", func(f *inject.Fault) { f.Delay = 0 }, "abort"},
		{"no id", func(f *inject.Fault) { f.ID = "" }, "id"},
		{"share", func(f *inject.Fault) { f.Percent = 100.1 }, "percent"},
		{"share that is none", func(f *inject.Fault) { f.Percent = math.NaN() }, "percent"},
		{"delay", func(f *inject.Fault) { f.Delay = inject.MaxDelay + 1 }, "delay"},
		{"delay below zero", func(f *inject.Fault) { f.Delay, f.Abort = -1, 500 }, "delay"},
		{"jitter on top", func(f *inject.Fault) { f.Delay, f.Jitter = inject.MaxDelay, 1 }, "jitter"},
		{"jitter that overflows", func(f *inject.Fault) { f.Jitter = math.MaxInt64 }, "jitter"},
		{"no failure", func(f *inject.Fault) { f.Abort = 200 }, "abort"},
		{"no status", func(f *inject.Fault) { f.Abort = 600 }, "abort"},
		{"place", func(f *inject.Fault) { f.At = "moon" }, "at"},
		{"over", func(f *inject.Fault) { f.Until = now }, "until"},
		{"too far", func(f *inject.Fault) { f.Until = now + int64(inject.MaxAhead) + 1 }, "until"},
		{"value without name", func(f *inject.Fault) { f.Header.Value = "x" }, "header.name"},
		{"two lines", func(f *inject.Fault) { f.Reason = "a\nb" }, "reason"},
		{"long", func(f *inject.Fault) { f.By = strings.Repeat("x", 300) }, "by"},
		{"all of it", func(f *inject.Fault) { *f = inject.Fault{Percent: -1, Abort: 7} }, "id percent abort until"},
	} {
		f := good
		c.edit(&f)
		var paths []string
		f.Check(now, func(path, text, hint string) {
			paths = append(paths, path)
			if text == "" || hint == "" {
				t.Errorf("%s: %s has text %q, hint %q", c.name, path, text, hint)
			}
		})
		if got := strings.Join(paths, " "); got != c.paths {
			t.Errorf("%s: reported %q, want %q", c.name, got, c.paths)
		}
	}
}

// A list is checked as a whole too.
func TestCheckList(t *testing.T) {
	f := inject.Fault{ID: "a", Percent: 1, Abort: 503, Until: soon}
	g := f
	g.Percent = 101
	var paths []string
	inject.Check([]inject.Fault{f, g}, now, func(path, _, _ string) { paths = append(paths, path) })
	if got := strings.Join(paths, " "); got != "[1].percent [1].id" {
		t.Errorf("reported %q", got)
	}
	paths = nil
	var many []inject.Fault
	for i := range inject.MaxFaults + 1 {
		f.ID = "f" + string(rune('0'+i))
		many = append(many, f)
	}
	inject.Check(many, now, func(path, _, _ string) { paths = append(paths, path) })
	if len(paths) != 1 || paths[0] != "" {
		t.Errorf("%d faults: reported %q", len(many), paths)
	}
}

// Selectors choose the calls, conditions narrow them, and the end is kept without help.
func TestDecide(t *testing.T) {
	abort := func(f inject.Fault) inject.Fault {
		f.ID, f.Percent, f.Abort, f.Until = "f", 100, 503, soon
		return f
	}
	for _, c := range []struct {
		name                  string
		fault                 inject.Fault
		caller, callee, route string
		header                string // the value of X-Test; "-" for none
		at                    int64
		hit                   bool
	}{
		{"any", abort(inject.Fault{}), "web", "inventory", "r", "-", now, true},
		{"callee", abort(inject.Fault{Callee: "inventory"}), "web", "inventory", "r", "-", now, true},
		{"another callee", abort(inject.Fault{Callee: "inventory"}), "web", "catalog", "r", "-", now, false},
		{"caller", abort(inject.Fault{Caller: "web"}), "web", "inventory", "r", "-", now, true},
		{"another caller", abort(inject.Fault{Caller: "web"}), "orders", "inventory", "r", "-", now, false},
		{"gateway", abort(inject.Fault{Caller: inject.Outside}), inject.Outside, "inventory", "r", "-", now, true},
		{"route", abort(inject.Fault{Route: "r"}), "web", "inventory", "r", "-", now, true},
		{"another route", abort(inject.Fault{Route: "r"}), "web", "inventory", "s", "-", now, false},
		{"header there", abort(inject.Fault{Header: inject.Header{Name: "X-Test"}}), "web", "inventory", "r", "", now, true},
		{"header not there", abort(inject.Fault{Header: inject.Header{Name: "X-Test"}}), "web", "inventory", "r", "-", now, false},
		{"header equal", abort(inject.Fault{Header: inject.Header{Name: "X-Test", Value: "a"}}), "web", "inventory", "r", "a", now, true},
		{"header different", abort(inject.Fault{Header: inject.Header{Name: "X-Test", Value: "a"}}), "web", "inventory", "r", "b", now, false},
		{"before its end", abort(inject.Fault{}), "web", "inventory", "r", "-", soon - 1, true},
		{"at its end", abort(inject.Fault{}), "web", "inventory", "r", "-", soon, false},
	} {
		r := inject.Compile([]inject.Fault{c.fault}, now).Of(c.callee)
		v := r.Decide(c.at, c.caller, c.route, func(name string) (string, bool) {
			return c.header, name == "X-Test" && c.header != "-"
		}, 1)
		if v.Injected() != c.hit || (v.Abort == 503) != c.hit {
			t.Errorf("%s: %+v, want hit %v", c.name, v, c.hit)
		}
	}
}

// Without faults there is nothing to ask.
func TestNothingIsNil(t *testing.T) {
	var s *inject.Set
	if r := s.Of("inventory"); r != nil || r.Decide(now, "", "", nil, 1).Injected() {
		t.Error("the empty set has rules")
	}
	f := []inject.Fault{{ID: "x", Percent: 0, Abort: 503, Until: soon}, {ID: "y", Percent: 5, Abort: 503, Until: now}, {ID: "z", Percent: 5, Abort: 7, Until: soon}}
	if s := inject.Compile(f, now); s != nil {
		t.Errorf("resting, ended and impossible faults make a set: %+v", s)
	}
	s = inject.Compile([]inject.Fault{{ID: "x", Callee: "inventory", Percent: 5, Abort: 503, Until: soon}}, now)
	if s.Of("inventory") == nil || s.Of("catalog") != nil {
		t.Error("only inventory should have rules")
	}
	h := inject.Compile([]inject.Fault{{ID: "x", Header: inject.Header{Name: "a"}, Percent: 100, Abort: 503, Until: soon}}, now).Of("a")
	if h.Decide(now, "", "", nil, 1).Injected() {
		t.Error("a call without headers meets a fault that asks for one")
	}
}

// The game day of the shop: 30 % errors and 2 s for all, by two faults that draw by themselves.
func TestFaultsAddUp(t *testing.T) {
	r := inject.Compile([]inject.Fault{
		{ID: "b-slow", Callee: "inventory", Percent: 100, Delay: 2 * time.Second, Until: soon},
		{ID: "a-errors", Callee: "inventory", Percent: 30, Abort: 500, Until: soon},
		{ID: "c-late", Callee: "inventory", Percent: 100, Abort: 503, Delay: time.Second, Until: now + 1},
	}, now).Of("inventory")
	rnd := rand.New(rand.NewPCG(1, 2))
	const calls = 100_000
	aborts := 0
	for range calls {
		v := r.Decide(now+1, "web", "r", nil, rnd.Uint64())
		if v.Delay != 2*time.Second {
			t.Fatalf("%+v: want the delay of b-slow", v)
		}
		switch {
		case v.Abort == 500 && v.ID == "a-errors":
			aborts++
		case v.Abort != 0 || v.ID != "b-slow":
			t.Fatalf("%+v", v)
		}
	}
	if share := float64(aborts) / calls; share < 0.29 || share > 0.31 { // 7 standard deviations
		t.Errorf("%.3f of the calls were aborted, want 0.30", share)
	}
}

// Shares hold for rnd of any kind, such as a counter, and jitter spreads evenly.
func TestSharesAndJitter(t *testing.T) {
	for _, percent := range []float64{0.5, 10, 50, 99.5, math.Nextafter(100, 0)} {
		r := inject.Compile([]inject.Fault{{ID: "x", Percent: percent, Delay: time.Second, Jitter: time.Second, Until: soon}}, now).Of("a")
		n, sum := 0, time.Duration(0)
		const calls = 100_000
		for i := range calls {
			v := r.Decide(now, "", "", nil, uint64(i))
			if v.Injected() {
				n++
				sum += v.Delay
				if v.Delay < time.Second || v.Delay > 2*time.Second {
					t.Fatalf("delay %s", v.Delay)
				}
			}
		}
		if got := 100 * float64(n) / calls; math.Abs(got-percent) > 1 {
			t.Errorf("%v %% of the calls, want %v %%", got, percent)
		}
		if n > 10_000 {
			if mean := sum / time.Duration(n); mean < 1490*time.Millisecond || mean > 1510*time.Millisecond {
				t.Errorf("mean delay %s, want 1.5s", mean)
			}
		}
	}
}

// A fault is the same after it was in a snapshot, and one that two clocks see differently still ends.
func TestSurvivesARestart(t *testing.T) {
	f := []inject.Fault{{ID: "x", Caller: "web", Callee: "inventory", Route: "r", Header: inject.Header{Name: "a", Value: "b"}, Percent: 12.5,
		Delay: time.Second, Jitter: time.Millisecond, Abort: 503, At: inject.AtCaller, Until: soon, Reason: "game day", By: "ada"}}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var g []inject.Fault
	if err := json.Unmarshal(b, &g); err != nil || !reflect.DeepEqual(f, g) {
		t.Fatalf("%s came back as %+v, %v", b, g, err)
	}
	if n := inject.Next(g); n != soon || inject.Next(nil) != 0 {
		t.Errorf("next end %d, want %d", n, soon)
	}
	if l := inject.Live(g, soon); len(l) != 0 || len(g) != 1 {
		t.Errorf("at its end it lives: %+v", l)
	}
	far := inject.Fault{ID: "x", Percent: 100, Abort: 503, Until: now + int64(inject.MaxAhead) + int64(time.Minute)}
	r := inject.Compile([]inject.Fault{far}, now).Of("a")
	if !r.Decide(now, "", "", nil, 1).Injected() || r.Decide(now+int64(inject.MaxAhead), "", "", nil, 1).Injected() {
		t.Error("a fault from a node whose clock is a minute ahead should hold for a day here")
	}
}

// gRPC callers are told in their words.
func TestGRPC(t *testing.T) {
	for status, want := range map[int]int{400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 412: 9, 429: 8, 499: 1, 500: 13, 501: 12, 502: 14, 503: 14, 504: 4, 418: 2} {
		if got := inject.GRPC(status); got != want {
			t.Errorf("%d is grpc-status %d, want %d", status, got, want)
		}
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	r := some().Of("inventory")
	req := map[string]string{"X-Test": "1"}
	if n := testing.AllocsPerRun(100, func() {
		r.Decide(now, "web", "r", func(name string) (string, bool) { v, ok := req[name]; return v, ok }, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func some() *inject.Set {
	return inject.Compile([]inject.Fault{
		{ID: "a", Callee: "inventory", Percent: 30, Abort: 500, Until: soon},
		{ID: "b", Callee: "inventory", Percent: 30, Delay: time.Second, Jitter: time.Second, Header: inject.Header{Name: "X-Test"}, Until: soon},
	}, now)
}

func BenchmarkDecide(b *testing.B) {
	r := some().Of("inventory")
	h := func(name string) (string, bool) { return "1", true }
	b.ReportAllocs()
	var i uint64
	for b.Loop() {
		i++
		r.Decide(now, "web", "r", h, i)
	}
}

func BenchmarkDecideWithoutFaults(b *testing.B) {
	r := some().Of("catalog")
	b.ReportAllocs()
	for b.Loop() {
		r.Decide(now, "web", "r", nil, 1)
	}
}

// What a fault did is counted, also in the sets that follow, and a fault of the same name that does
// something else begins anew.
func TestHits(t *testing.T) {
	slow := inject.Fault{ID: "slow", Callee: "a", Percent: 100, Delay: time.Second, Until: 1000}
	slower := inject.Fault{ID: "slower", Callee: "a", Caller: "web", Percent: 100, Delay: time.Minute, Until: 1000}
	fails := inject.Fault{ID: "fails", Callee: "a", Percent: 50, Abort: 503, Until: 1000}
	first := inject.Compile([]inject.Fault{slow, fails, slower}, 0)
	ask := func(s *inject.Set, caller string, n int) (aborts uint64) {
		for i := range n {
			if s.Of("a").Decide(1, caller, "", nil, uint64(i)*0x9e3779b97f4a7c15).Abort != 0 {
				aborts++
			}
		}
		s.Of("b").Decide(1, caller, "", nil, 1)
		return aborts
	}
	a := ask(first, "web", 100) + ask(first, "shop", 50)
	want := map[string]inject.Hits{"slow": {150, 50, 0}, "slower": {100, 100, 0}, "fails": {150, 0, a}}
	if got := first.Hits(); !maps.Equal(got, want) || a < 50 || a > 100 {
		t.Errorf("%v, want %v", got, want)
	}
	slower.Delay = time.Hour / 60 * 2
	next := inject.Compile([]inject.Fault{slower, fails}, 0)
	next.Follow(first)
	a += ask(next, "web", 10)
	want = map[string]inject.Hits{"slower": {10, 10, 0}, "fails": {160, 0, a}}
	if got := next.Hits(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	var none *inject.Set
	none.Follow(next)
	next.Follow(nil)
	if len(none.Hits()) != 0 {
		t.Error("none did something")
	}
}
