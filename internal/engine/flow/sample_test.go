package flow

import (
	"testing"
	"testing/synctest"
	"time"

	"stoa/internal/engine/hop"
)

// tally counts what a plane hands over.
type tally struct{ n, sampled int }

func (k *tally) Hop(r *hop.Record) {
	k.n++
	if r.Sampled {
		k.sampled++
	}
}

// pass lets one request that came at start pass p, and gives its trace context.
func pass(p *Plane, start time.Time, parent string, edge bool, end func(*hop.Record)) hop.Context {
	var x Exchange
	x.Begin(p, start, "gateway", "HTTP/1.1")
	x.Edge = edge
	c, _ := x.Trace(parent, false)
	x.Rec.Status, x.Rec.Attempts = 200, 1
	if end != nil {
		end(&x.Rec)
	}
	x.Finish()
	return c
}

// exhaust uses up what may be sampled at the moment start.
func exhaust(p *Plane, start time.Time) {
	for p.samples.roots.take(nowAt(start)) {
	}
}

// All traces are recorded while there are few; then so many a second, and the others go on
// unsampled. A caller outside continues its trace but does not decide.
func TestTracesAreSampledAtTheirRoot(t *testing.T) {
	const outside = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"
	for _, parent := range []string{"", outside + "0", outside + "1"} {
		var k tally
		p := New(Options{Sink: &k})
		start := time.Now()
		for range 10 * bursts * maxRoots {
			c := pass(p, start, parent, true, nil)
			if parent != "" && c.Trace.String() != parent[3:35] {
				t.Fatalf("trace %v does not continue %s", c.Trace, parent)
			}
			if c.Sampled() != (k.n == k.sampled && c.Flags == 1) || c.Flags > 1 {
				t.Fatalf("flags %x", c.Flags)
			}
		}
		if k.n != bursts*maxRoots || k.sampled != k.n {
			t.Errorf("parent %q: %d of a burst were recorded, %d sampled; want %d", parent, k.n, k.sampled, bursts*maxRoots)
		}
		for range 10 * maxRoots {
			pass(p, start.Add(time.Second), parent, true, nil)
		}
		if got := k.n - bursts*maxRoots; got != maxRoots {
			t.Errorf("parent %q: %d of the next second were recorded, want %d", parent, got, maxRoots)
		}
	}
}

// A hop inside follows its caller, whatever is left of the budget of roots, up to a bound.
func TestHopsInsideFollowTheirCaller(t *testing.T) {
	const inside = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"
	var k tally
	p := New(Options{Sink: &k})
	start := time.Now()
	if c := pass(p, start, inside+"0", false, nil); c.Flags != 0 || k.n != 0 {
		t.Errorf("an unsampled caller: flags %x, %d records", c.Flags, k.n)
	}
	exhaust(p, start)
	if c := pass(p, start, inside+"1", false, nil); c.Flags != 1 || k.n != 1 {
		t.Errorf("a sampled caller: flags %x, %d records", c.Flags, k.n)
	}
	if c := pass(p, start, "", false, nil); c.Flags != 0 || k.n != 1 {
		t.Errorf("a trace that begins inside beyond the budget: flags %x, %d records", c.Flags, k.n)
	}
	for range 2 * bursts * maxInside {
		if c := pass(p, start, inside+"1", false, nil); c.Flags != 1 {
			t.Fatal("the caller's decision was not passed on")
		}
	}
	if k.n != bursts*maxInside {
		t.Errorf("%d records of a caller who samples all, want %d", k.n, bursts*maxInside)
	}
}

// What went wrong is recorded though not sampled, up to a bound; what went well is not.
func TestWhatWentWrongIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*hop.Record)
		most int
	}{
		"well":        {nil, 0},
		"not found":   {func(r *hop.Record) { r.Status = 404 }, 0},
		"failed":      {func(r *hop.Record) { r.Status = 500 }, bursts * maxFailed},
		"failed gRPC": {func(r *hop.Record) { r.GRPC = 14 }, bursts * maxFailed},
		"truncated":   {func(r *hop.Record) { r.Reason = hop.Truncated }, bursts * maxFailed},
		"refused":     {func(r *hop.Record) { r.Status, r.Reason = 404, hop.NoRoute }, bursts * maxOdd},
		"retried":     {func(r *hop.Record) { r.Attempts = 2 }, bursts * maxOdd},
		"slow":        {func(r *hop.Record) { r.Start = r.Start.Add(-slowAtFirst) }, bursts * maxOdd},
		"quick":       {func(r *hop.Record) { r.Start = r.Start.Add(1 - slowAtFirst) }, 0},
	} {
		synctest.Test(t, func(t *testing.T) { // no time passes
			<-time.After(time.Until(epoch) + time.Hour) // a bubble's time begins in the past
			var k tally
			p := New(Options{Sink: &k})
			exhaust(p, time.Now())
			const n = 4000
			for range n {
				pass(p, time.Now(), "", true, c.end)
			}
			if k.n != c.most || k.sampled != 0 {
				t.Errorf("%s: %d kept, %d sampled; want %d and none", name, k.n, k.sampled, c.most)
			}
			if lost := p.meters.dropped.With().Value(); c.most > 0 && lost != uint64(n-c.most) {
				t.Errorf("%s: %d counted as dropped, want %d", name, lost, n-c.most)
			}
		})
	}
}

// countIn gives x its series, as Find does.
func (x *Exchange) countIn(s *series) { x.series = s }

// Neither the unsampled nor the sampled path allocates.
func TestRecordsCostNoAllocation(t *testing.T) {
	p := New(Options{})
	s := p.meters.series("", "orders", "orders")
	var x Exchange
	for _, parent := range []string{"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"} {
		one := func() {
			x.Begin(p, time.Now(), "gateway", "HTTP/1.1")
			x.countIn(s)
			x.Trace(parent, false)
			x.Rec.Status = 200
			x.Finish()
		}
		for range 100 { // the cells of the histogram are made
			one()
		}
		if n := testing.AllocsPerRun(5000, one); n != 0 {
			t.Errorf("parent %q: %v allocations a request", parent, n)
		}
	}
}

// BenchmarkTelemetry is what a request costs from the decision to its end: trace context,
// series, record.
func BenchmarkTelemetry(b *testing.B) {
	for name, parent := range map[string]string{"root": "", "unsampled": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "sampled": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
		b.Run(name, func(b *testing.B) {
			ring := hop.NewRing(0) // full soon, and then nothing is copied
			p := New(Options{Sink: ring})
			s := p.meters.series("", "orders", "orders")
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var x Exchange
				for pb.Next() {
					x.Begin(p, time.Now(), "gateway", "HTTP/1.1")
					x.countIn(s)
					x.Trace(parent, false)
					x.Rec.Status = 200
					x.Finish()
				}
			})
		})
	}
}
