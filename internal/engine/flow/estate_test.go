package flow

import (
	"maps"
	"sync"
	"testing"
	"time"

	"stoa/internal/engine/deadline"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/snapshot"
)

// What is inherited is of the exchange of that span, else the tightest that has not passed, and the
// highest priority; nothing once all have ended.
func TestEstate(t *testing.T) {
	var e estate
	trace := hop.NewContext().Trace
	mine := heirs{trace, "market"}
	wants := func(what string, of heirs, span byte, now, until int64, p limit.Priority) {
		t.Helper()
		if got, q := e.find(of, hop.SpanID{span}, now); got != until || q != p {
			t.Errorf("%s: %d %v, want %d %v", what, got, q, until, p)
		}
	}
	a := e.add(mine, hop.SpanID{1}, 100, limit.Low)
	wants("one", mine, 9, 10, 100, limit.Low)
	b := e.add(mine, hop.SpanID{2}, 50, limit.Critical)
	c := e.add(mine, hop.SpanID{3}, deadline.Never, limit.Bulk)
	wants("three", mine, 9, 10, 50, limit.Critical)
	wants("its span", mine, 1, 10, 100, limit.Low)
	wants("its span, a stream", mine, 3, 10, deadline.Never, limit.Bulk)
	wants("one has passed", mine, 9, 50, 100, limit.Critical)
	wants("its span has passed", mine, 2, 50, deadline.Never, limit.Critical)
	wants("all have passed", mine, 9, 100, deadline.Never, limit.Critical)
	wants("another service", heirs{trace, "stock"}, 1, 10, deadline.Never, limit.Normal)
	wants("another trace", heirs{hop.NewContext().Trace, "market"}, 1, 10, deadline.Never, limit.Normal)
	e.end(b)
	wants("the middle has ended", mine, 9, 10, 100, limit.Low)
	e.end(c)
	e.end(a)
	wants("all have ended", mine, 1, 10, deadline.Never, limit.Normal)
	if n := e.n.Load(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// The oldest makes room, and whoever was driven out ends without harm to others.
func TestEstateIsBounded(t *testing.T) {
	var e estate
	trace := hop.NewContext().Trace
	s := e.shard(trace)
	var all []*will
	for i := range estateRoom + 10 {
		of := heirs{trace, "one"}
		if i < 20 {
			of.service = "old"
		}
		all = append(all, e.add(of, hop.SpanID{byte(i), byte(i >> 8), 1}, int64(1000+i), limit.Low))
	}
	if e.n.Load() != estateRoom || s.n != estateRoom {
		t.Errorf("%d and %d are remembered, want %d", e.n.Load(), s.n, estateRoom)
	}
	if until, _ := e.find(heirs{trace, "old"}, hop.SpanID{}, 0); until != 1010 {
		t.Errorf("the oldest that is left is %d, want 1010", until)
	}
	for i := range all {
		e.end(all[(i*7)%len(all)])
	}
	if e.n.Load() != 0 || len(s.by) != 0 || s.freed > estateRoom || s.ends.older != &s.ends {
		t.Errorf("%d, %d entries and %d to be used again are left", e.n.Load(), len(s.by), s.freed)
	}
}

// Many at once leave nothing behind.
func TestEstateOfMany(t *testing.T) {
	var e estate
	var all sync.WaitGroup
	traces := make([]hop.TraceID, 50)
	for i := range traces {
		traces[i] = hop.NewContext().Trace
	}
	for g := range 8 {
		all.Go(func() {
			for i := range 5000 {
				of := heirs{traces[(i+g)%len(traces)], "market"}
				w := e.add(of, hop.SpanID{byte(g), byte(i)}, int64(i), limit.Low)
				if _, p := e.find(of, hop.SpanID{}, 0); p != limit.Low {
					t.Error("what was left is not found")
				}
				e.end(w)
			}
		})
	}
	all.Wait()
	if e.n.Load() != 0 {
		t.Errorf("%d are left", e.n.Load())
	}
}

func BenchmarkEstate(b *testing.B) {
	of := heirs{hop.NewContext().Trace, "market"}
	b.Run("remember and forget", func(b *testing.B) {
		var e estate
		e.end(e.add(of, hop.SpanID{1}, 1, limit.Low))
		b.ReportAllocs()
		for b.Loop() {
			e.end(e.add(of, hop.SpanID{1}, 1, limit.Low))
		}
	})
	b.Run("ask", func(b *testing.B) {
		var e estate
		e.add(of, hop.SpanID{1}, 1, limit.Low)
		b.ReportAllocs()
		for b.Loop() {
			e.find(of, hop.SpanID{1}, 0)
		}
	})
	b.Run("ask of nothing", func(b *testing.B) {
		p := New(Options{})
		x := Exchange{P: p, continued: true}
		x.Rec.Caller = "market"
		b.ReportAllocs()
		for b.Loop() {
			x.inherit()
		}
	})
}

// What nobody can inherit is not remembered: a service without listeners of its own makes no calls.
func TestHeirsAreAskedFor(t *testing.T) {
	p := plane(t, snapshot.Policy{Deadline: deadline.Config{Total: time.Minute}}, snapshot.Upstream{})
	for _, calls := range []bool{false, true} {
		if calls {
			s := *p.cur.Load().Snapshot
			s.Version.Revision++
			s.Listeners = maps.Clone(s.Listeners)
			s.Listeners["u>u"] = snapshot.Listener{Caller: s.ServiceOf("u"), Protocol: snapshot.HTTP, Routes: s.Listeners["in"].Routes}
			if err := p.Swap(&s); err != nil {
				t.Fatal(err)
			}
		}
		var x Exchange
		arrive(t, &x, p, "in", said{})
		if _, f := x.Admit(AtOnce); f != nil {
			t.Fatal(f)
		}
		if n := p.estate.n.Load(); n > 0 != calls {
			t.Errorf("it calls: %t, and %d are remembered", calls, n)
		}
		x.Finish()
	}
}
