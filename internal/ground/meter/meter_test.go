package meter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Every value lies in (bound(i-1), bound(i)] of its cell, and cells are at most 12.5 % wide.
func TestCellBounds(t *testing.T) {
	check := func(v uint64) {
		i := cellOf(v)
		if v > bound(i) && v <= cutoff+1 {
			t.Fatalf("cellOf(%d) = %d, whose bound is %d", v, i, bound(i))
		}
		if i > 0 && v <= bound(i-1) {
			t.Fatalf("cellOf(%d) = %d, but the cell below reaches %d", v, i, bound(i-1))
		}
	}
	for v := range uint64(5000) {
		check(v)
	}
	for range 100000 {
		check(rand.Uint64() >> rand.IntN(64) & cutoff)
	}
	for i := 1; i < numCells; i++ {
		if bound(i) <= bound(i-1) {
			t.Fatalf("bound(%d) = %d is not above bound(%d) = %d", i, bound(i), i-1, bound(i-1))
		}
		if i > sub && float64(bound(i)-bound(i-1))/float64(bound(i-1)) > 0.1251 {
			t.Fatalf("cell %d is wider than 12.5 %%: %d to %d", i, bound(i-1), bound(i))
		}
	}
	if got := cellOf(math.MaxUint64); got != numCells-1 {
		t.Errorf("the largest value fell in cell %d, want the last, %d", got, numCells-1)
	}
}

// A quantile is within a cell's width of the exact one.
func TestQuantile(t *testing.T) {
	h := New().Histogram(Desc{Name: "d_seconds", Unit: "seconds"}).With()
	var exact []float64
	for range 20000 {
		d := time.Duration(math.Exp(rand.NormFloat64()) * float64(10*time.Millisecond))
		h.Observe(int64(d))
		exact = append(exact, d.Seconds())
	}
	slices.Sort(exact)
	d := h.Read()
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99} {
		want := exact[int(q*float64(len(exact)))]
		if got := d.Quantile(q); math.Abs(got-want)/want > 0.13 {
			t.Errorf("Quantile(%g) = %g, exact %g", q, got, want)
		}
	}
	if got := (Dist{}).Quantile(0.5); got != 0 {
		t.Errorf("the quantile of nothing = %g, want 0", got)
	}
}

// A window holds what came after it began.
func TestSince(t *testing.T) {
	h := New().Histogram(Desc{Name: "b_bytes", Unit: "bytes"}).With()
	h.Observe(1000)
	before := h.Read()
	h.Observe(8)
	h.Observe(8)
	w := h.Read().Since(before)
	if w.Count != 2 || w.Sum() != 16 || w.Quantile(0.99) > 8 {
		t.Errorf("window: count %d sum %g p99 %g, want 2, 16 and at most 8", w.Count, w.Sum(), w.Quantile(0.99))
	}
	if both := w.Plus(before); both.Count != 3 || both.Sum() != 1016 {
		t.Errorf("window + before: count %d sum %g, want 3 and 1016", both.Count, both.Sum())
	}
}

// Advance is Read, Since and Plus in place.
func TestAdvance(t *testing.T) {
	h := New().Histogram(Desc{Name: "b_bytes", Unit: "bytes"}).With()
	var last, window, all Dist
	for round := range 5 {
		for range 100 {
			h.Observe(rand.Int64() >> rand.IntN(63))
		}
		before := last
		before.cells = slices.Clone(last.cells)
		window = Dist{}
		h.Advance(&last, &window)
		h.Advance(&last, &all)
		if want := h.Read(); !reflect.DeepEqual(last, want) || !reflect.DeepEqual(window, want.Since(before)) {
			t.Errorf("round %d: %d in all, %d in the window, want %d and 100", round, last.Count, window.Count, want.Count)
		}
		all = all.Plus(window)
	}
	if !reflect.DeepEqual(all, last) {
		t.Errorf("the windows hold %d, want %d", all.Count, last.Count)
	}
}

// Nothing is lost when many add at once.
func TestConcurrentAdd(t *testing.T) {
	r := New()
	c := r.Counter(Desc{Name: "n_total"}).With()
	g := r.Gauge(Desc{Name: "g"}).With()
	h := r.Histogram(Desc{Name: "h_bytes", Unit: "bytes"}).With()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 10000 {
				c.Add(1)
				g.Add(1)
				h.Observe(int64(i))
			}
		})
	}
	wg.Wait()
	if c.Value() != 80000 || g.Value() != 80000 || h.Read().Count != 80000 {
		t.Errorf("counted %d, %g, %d; want 80000 each", c.Value(), g.Value(), h.Read().Count)
	}
}

func TestExpose(t *testing.T) {
	r := New()
	c := r.Counter(Desc{Name: "a_total", Help: "a \\ b\nc", Labels: []string{"path", "who"}})
	c.With("x\"y\\z\n", "\xff").Add(3)
	c.With("gone", "").Add(1)
	c.Drop("gone", "")
	r.Gauge(Desc{Name: "b", Help: "B."}).With().Set(1.5)
	r.GaugeFunc(Desc{Name: "c", Help: "C."}, func() float64 { return 7 })
	h := r.Histogram(Desc{Name: "d_seconds", Help: "D.", Unit: "seconds", Labels: []string{"k"}}).With("v")
	h.Observe(1 << 20)
	h.Observe(1<<20 + 1)
	r.Counter(Desc{Name: "never_used_total", Help: "N.", Labels: []string{"x"}})
	var b strings.Builder
	if err := r.Expose(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# HELP a_total a \\\\ b\\nc\n# TYPE a_total counter\na_total{path=\"x\\\"y\\\\z\\n\",who=\"\uFFFD\"} 3\n",
		"# TYPE b gauge\nb 1.5\n",
		"c 7\n",
		"d_seconds_bucket{k=\"v\",le=\"0.001048576\"} 1\n",
		"d_seconds_bucket{k=\"v\",le=\"0.002097152\"} 2\n",
		"d_seconds_bucket{k=\"v\",le=\"+Inf\"} 2\n",
		"d_seconds_sum{k=\"v\"} 0.002097153\n",
		"d_seconds_count{k=\"v\"} 2\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("exposition lacks %q in\n%s", want, b.String())
		}
	}
	for _, no := range []string{"gone", "never_used"} {
		if strings.Contains(b.String(), no) {
			t.Errorf("exposition has %q in\n%s", no, b.String())
		}
	}
}

// OpenMetrics: counters by the name of their family, units, exemplars at the bucket of their
// value, and an end.
func TestExposeOpen(t *testing.T) {
	r := New()
	r.Counter(Desc{Name: "a_total", Help: `say "a"`, Labels: []string{"x"}}).With("1").Add(3)
	r.Counter(Desc{Name: "odd", Help: "O."}).With().Add(1)
	r.Histogram(Desc{Name: "b_bytes", Help: "B.", Unit: "bytes"}).With().Observe(65)
	h := r.Histogram(Desc{Name: "d_seconds", Help: "D.", Unit: "seconds", Labels: []string{"k"}}).With("v")
	at := time.UnixMilli(1_700_000_000_250)
	for i, v := range []int64{1, 1 << 20, 1<<20 + 1, 1 << 40} {
		h.Observe(v)
		h.Exemplify(Exemplar{Value: v, Trace: fmt.Sprint("t", i), At: at})
	}
	h.Exemplify(Exemplar{Value: 1 << 20, Trace: "later", At: at.Add(time.Second)})
	var b strings.Builder
	if err := r.ExposeOpen(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# HELP a say \\\"a\\\"\n# TYPE a counter\na_total{x=\"1\"} 3\n",
		"# TYPE odd unknown\nodd 1\n",
		"# TYPE b_bytes histogram\n# UNIT b_bytes bytes\nb_bytes_bucket{le=\"64.0\"} 0\nb_bytes_bucket{le=\"128.0\"} 1\n",
		"d_seconds_bucket{k=\"v\",le=\"6.5536e-05\"} 1 # {trace_id=\"t0\"} 1e-09 1700000000.250\n",
		"d_seconds_bucket{k=\"v\",le=\"0.001048576\"} 2 # {trace_id=\"later\"} 0.001048576 1700000001.250\n",
		"d_seconds_bucket{k=\"v\",le=\"0.002097152\"} 3 # {trace_id=\"t2\"} 0.001048577 1700000000.250\n",
		"d_seconds_bucket{k=\"v\",le=\"+Inf\"} 4 # {trace_id=\"t3\"} 1099.511627776 1700000000.250\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("exposition lacks %q in\n%s", want, b.String())
		}
	}
	if !strings.HasSuffix(b.String(), "\n# EOF\n") {
		t.Error("no # EOF at the end")
	}
	b.Reset()
	if err := r.Expose(&b); err != nil || strings.Contains(b.String(), "trace_id") || strings.Contains(b.String(), "EOF") {
		t.Errorf("%v: the old format has what is OpenMetrics'", err)
	}
}

// A label without bound costs accuracy, not memory.
func TestSeriesBound(t *testing.T) {
	f := New().Gauge(Desc{Name: "g", Labels: []string{"id"}})
	var b [8]byte
	for i := range MaxSeries + 10 {
		for j := range b {
			b[j] = byte('a' + i>>(2*j)&3)
		}
		f.With(string(b[:]) + string(rune('0'+i>>16))).Add(1)
	}
	if got := len(f.f.series); got != MaxSeries+1 {
		t.Errorf("%d series, want %d and one for the others", got, MaxSeries)
	}
	if got := f.With("other").Value(); got != 10 {
		t.Errorf("other = %g, want 10", got)
	}
}

func TestOneShape(t *testing.T) {
	r := New()
	r.Counter(Desc{Name: "a_total", Labels: []string{"x"}})
	defer func() {
		if recover() == nil {
			t.Error("a second shape of a_total was taken")
		}
	}()
	r.Counter(Desc{Name: "a_total", Labels: []string{"y"}})
}

func TestNoAllocation(t *testing.T) {
	r := New()
	c := r.Counter(Desc{Name: "n_total"}).With()
	g := r.Gauge(Desc{Name: "g"}).With()
	h := r.Histogram(Desc{Name: "h_seconds", Unit: "seconds"}).With()
	for i := range h.sets {
		h.sets[i].Store(new(cellSet))
	}
	if n := testing.AllocsPerRun(1000, func() { c.Add(1); g.Add(1); h.Observe(12345) }); n != 0 {
		t.Errorf("%g allocations per Add, Add and Observe, want 0", n)
	}
}

func BenchmarkCounter(b *testing.B) {
	c := New().Counter(Desc{Name: "n_total"}).With()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Add(1)
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	h := New().Histogram(Desc{Name: "h_seconds", Unit: "seconds"}).With()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h.Observe(1234567)
		}
	})
}

// A view sees the series of a family that is registered later, and those that come and go.
func TestView(t *testing.T) {
	r := New()
	v := r.View("n_total")
	if all, changed := v.Series(); len(all) != 0 || changed {
		t.Errorf("before the family: %v, %v", all, changed)
	}
	f := r.Counter(Desc{Name: "n_total", Labels: []string{"who"}})
	f.With("a").Add(2)
	all, changed := v.Series()
	if len(all) != 1 || !changed || all[0].Values[0] != "a" || all[0].Counter.Value() != 2 {
		t.Errorf("%+v, %v", all, changed)
	}
	f.With("a").Add(1)
	if all, changed = v.Series(); changed || all[0].Counter.Value() != 3 {
		t.Errorf("nothing came or went: %+v, %v", all, changed)
	}
	f.With("b")
	f.Drop("a")
	if all, changed = v.Series(); len(all) != 1 || !changed || all[0].Values[0] != "b" {
		t.Errorf("after b for a: %+v, %v", all, changed)
	}
}
