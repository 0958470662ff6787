package flow

import (
	"testing"
	"time"

	"stoa/internal/engine/snapshot"
)

// What is slow follows the route: twice its 99th percentile, not what nobody notices, and a
// second where little is known.
func TestSlowFollowsTheRoute(t *testing.T) {
	const ms = time.Millisecond
	p := plane(t, snapshot.Policy{}, snapshot.Upstream{})
	s := p.Table().Listeners["in"].routes[0].series
	look := func() {
		for range slowWindow {
			p.Look()
		}
	}
	pass := func(n int, d time.Duration) {
		h := p.meters.duration.With(s.caller, s.callee, s.route)
		s.duration.Store(h)
		for range n {
			h.Observe(int64(d))
		}
	}
	within := func(what string, lo, hi time.Duration) {
		t.Helper()
		if got := s.slow(); got < lo || got > hi {
			t.Errorf("%s: slow from %v, want %v to %v", what, got, lo, hi)
		}
	}
	look()
	within("at first", slowAtFirst, slowAtFirst)
	pass(slowEnough/2, 3*ms)
	look()
	within("after a few", slowAtFirst, slowAtFirst)
	pass(slowEnough/2, 3*ms)
	look()
	within("a quick route", slowLeast, slowLeast)
	look()
	within("a quick route at rest", slowLeast, slowLeast)
	pass(950, 200*ms)
	pass(50, 2*time.Second)
	look()
	within("a route of which one in twenty takes two seconds", 3500*ms, 4500*ms)
	if err := p.Swap(p.Table().Snapshot); err != nil {
		t.Fatal(err)
	}
	if s = p.Table().Listeners["in"].routes[0].series; s.slow() < 3500*ms {
		t.Errorf("after a swap: %v", s.slow())
	}
	pass(1000, 200*ms)
	look()
	within("well again", 350*ms, 450*ms)
}

// BenchmarkLookOfManyRoutes is what a look costs a node with 1,000 busy routes.
func BenchmarkLookOfManyRoutes(b *testing.B) {
	p := New(Options{})
	t := p.Table()
	for range 1000 {
		s := p.meters.series("", "", "")
		s.duration.Store(p.meters.duration.With("", "", string(rune(len(t.all)))))
		t.all = append(t.all, s)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for i := p.looks % slowWindow; i < len(t.all); i += slowWindow {
			for range slowEnough {
				t.all[i].duration.Load().Observe(int64(time.Millisecond))
			}
		}
		b.StartTimer()
		p.Look()
	}
}
