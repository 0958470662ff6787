package outlier_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"stoa/internal/engine/outlier"
)

const (
	sec = int64(time.Second)
	t0  = 1_000_000 * sec
)

// pool is an upstream whose time the test moves.
type pool struct {
	t     *testing.T
	d     outlier.Detector
	hosts []*outlier.Host
	now   int64
}

func newPool(t *testing.T, cfg outlier.Config, n int) *pool {
	p := &pool{t: t, now: t0}
	for range n {
		p.hosts = append(p.hosts, new(outlier.Host))
	}
	p.d.Use(cfg)
	if got := p.d.Sweep(p.now, p.hosts); got != nil {
		t.Fatalf("the first sweep decides: %v", got)
	}
	return p
}

// meets lets host i have n results x, and gives the ejection if there is one.
func (p *pool) meets(i, n int, x outlier.Result) (out outlier.Decision, ejected bool) {
	p.t.Helper()
	for range n {
		if p.d.Report(p.hosts[i], x) {
			if d, ok := p.d.Consider(p.now, p.hosts[i], p.hosts); ok {
				if ejected {
					p.t.Errorf("host %d is ejected twice", i)
				}
				out, ejected = d, true
			}
		}
	}
	return out, ejected
}

// sweep goes on by d and sweeps.
func (p *pool) sweep(d time.Duration) []outlier.Decision {
	p.now += int64(d)
	return p.d.Sweep(p.now, p.hosts)
}

func (p *pool) out() (n int) {
	for _, h := range p.hosts {
		if h.Status(p.now).Ejected {
			n++
		}
	}
	return n
}

func TestConfigCheck(t *testing.T) {
	for _, c := range []struct {
		cfg  outlier.Config
		want string
	}{
		{outlier.Config{}, ""},
		{outlier.Config{Off: true}, ""},
		{outlier.Config{Consecutive: -1, Local: -1, Gateway: -1, MinHosts: -1}, ""},
		{outlier.Config{Consecutive: 3, Gateway: 2, Local: 9, Sweep: time.Second, Base: time.Second, Cap: time.Hour, MaxShare: 100, MinHosts: 3, MinRequests: 1, Stdev: 3, FailurePercent: 85}, ""},
		{outlier.Config{Consecutive: 10_001, Gateway: 10_001, Local: 10_001}, "consecutive gateway local"},
		{outlier.Config{Sweep: time.Millisecond, Base: -1, Cap: -1}, "sweep base cap"},
		{outlier.Config{Sweep: 2 * time.Hour, Base: 25 * time.Hour, Cap: 25 * time.Hour}, "sweep base cap"},
		{outlier.Config{Cap: 10 * time.Second}, "cap"},
		{outlier.Config{MaxShare: 101, MinRequests: -1, Stdev: -1, FailurePercent: 101}, "maxShare minRequests stdev failurePercent"},
	} {
		var paths []string
		c.cfg.Check(func(path, text, hint string) {
			paths = append(paths, path)
			if text == "" || hint == "" {
				t.Errorf("%+v: %s: text %q, hint %q", c.cfg, path, text, hint)
			}
		})
		if got := strings.Join(paths, " "); got != c.want {
			t.Errorf("%+v: problems at %q, want %q", c.cfg, got, c.want)
		}
		b, err := json.Marshal(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		var back outlier.Config
		if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, c.cfg) {
			t.Errorf("%+v came back from JSON as %+v, %v", c.cfg, back, err)
		}
	}
}

// What ends a row, what goes on with it, and what is not of it. Letters: s success,
// f failure, g gateway, l local. The peers are well.
func TestRows(t *testing.T) {
	for _, c := range []struct {
		name    string
		cfg     outlier.Config
		results string
		want    outlier.Why
	}{
		{"five failures", outlier.Config{}, "fffff", outlier.InARow},
		{"gateway errors are failures", outlier.Config{}, "fgfgf", outlier.InARow},
		{"four", outlier.Config{}, "ffff", ""},
		{"a success ends it", outlier.Config{}, "ffffsffff", ""},
		{"no answer at all", outlier.Config{}, "lllll", outlier.InARowNone},
		{"an answer ends a row of none", outlier.Config{}, "llllflll", ""},
		{"none does not end a row of failures", outlier.Config{}, "ffllfflf", outlier.InARow},
		{"both kinds, four each", outlier.Config{}, "ffffllll", ""},
		{"gateway errors by a rule of their own", outlier.Config{Gateway: 3}, "ggg", outlier.InARowGate},
		{"which another failure ends", outlier.Config{Gateway: 3}, "ggfg", ""},
		{"and success", outlier.Config{Gateway: 3, Consecutive: -1}, "ggsggsggfggfggfgg", ""},
		{"a rule switched off", outlier.Config{Consecutive: -1}, "fffffffffffffff", ""},
		{"the other switched off", outlier.Config{Local: -1}, "lllllllllll", ""},
		{"three", outlier.Config{Consecutive: 3}, "fff", outlier.InARow},
		{"all off", outlier.Config{Off: true}, "ffffffffffffllllllllllll", ""},
		{"well", outlier.Config{}, "ssssssssssssss", ""},
	} {
		p := newPool(t, c.cfg, 3)
		p.meets(1, 50, outlier.Success)
		p.meets(2, 50, outlier.Success)
		var got outlier.Why
		for i, r := range c.results {
			d, ok := p.meets(0, 1, outlier.Result(strings.IndexRune("sfgl", r)))
			if !ok {
				continue
			}
			if i != len(c.results)-1 {
				t.Errorf("%s: ejected after %q", c.name, c.results[:i+1])
			}
			got = d.Why
			if d.Host != p.hosts[0] || d.Index != 0 || !d.Ejected || d.Count != 1 || d.Text == "" {
				t.Errorf("%s: decision %+v", c.name, d)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q ejects for %q, want %q", c.name, c.results, got, c.want)
		}
	}
}

// Each ejection in short order is longer by a base, up to the cap, and a time in service
// makes the next shorter.
func TestEjectionsGrowAndAreForgiven(t *testing.T) {
	p := newPool(t, outlier.Config{}, 3)
	within := func(what string, d outlier.Decision, want time.Duration) {
		t.Helper()
		if got := time.Duration(d.Until - p.now); got < want || got > want*12/10 {
			t.Errorf("%s: ejected for %v, want %v and at most a fifth more", what, got, want)
		}
		if s := p.hosts[0].Status(p.now); !s.Ejected || s.Until != d.Until || s.Why != d.Why || s.Text != d.Text || s.Count != d.Count {
			t.Errorf("%s: status %+v of decision %+v", what, s, d)
		}
	}
	for k := 1; k <= 13; k++ {
		p.meets(1, 100, outlier.Success)
		d, ok := p.meets(0, 5, outlier.Failure)
		if !ok {
			t.Fatalf("ejection %d does not come", k)
		}
		within("one after the other", d, min(time.Duration(k)*30*time.Second, 300*time.Second))
		if d.Count != min(k, 10) {
			t.Errorf("ejection %d counts as %d", k, d.Count)
		}
		if got := p.sweep(time.Duration(d.Until-p.now) - 1); len(got) > 0 {
			t.Errorf("before its time: %+v", got)
		}
		p.now++
		if p.hosts[0].Status(p.now).Ejected {
			t.Error("its time is over, and it is still ejected")
		}
		back := p.sweep(10 * time.Second)
		if len(back) != 1 || back[0].Ejected || back[0].Why != outlier.Served || back[0].Host != p.hosts[0] {
			t.Errorf("back: %+v", back)
		}
	}
	if s := p.hosts[0].Status(p.now); s.Ejections != 13 || s.Count != 10 {
		t.Errorf("status %+v, want 13 ejections, count 10", s)
	}
	// 10 counts; 3.5 bases in service take three.
	for range 10 {
		p.sweep(10 * time.Second)
	}
	if s := p.hosts[0].Status(p.now); s.Count != 7 {
		t.Errorf("count %d after 110 s in service, want 7", s.Count)
	}
	for range 30 {
		p.sweep(10 * time.Second)
	}
	p.meets(1, 100, outlier.Success)
	d, ok := p.meets(0, 5, outlier.Local)
	if !ok {
		t.Fatal("no ejection")
	}
	within("all forgiven", d, 30*time.Second)
}

// At most a third, at least one, never the last.
func TestCap(t *testing.T) {
	for _, c := range []struct{ n, share, want int }{
		{1, 0, 0}, {2, 0, 1}, {3, 0, 1}, {4, 0, 1}, {6, 0, 2}, {10, 0, 3},
		{1, 100, 0}, {2, 100, 1}, {5, 100, 4}, {10, 10, 1}, {10, 50, 5}, {10, 1, 1},
	} {
		p := newPool(t, outlier.Config{MaxShare: c.share}, c.n+1)
		p.hosts = p.hosts[:c.n]
		for i := range c.n {
			p.meets(i, 1000, outlier.Success)
		}
		for i := range c.n {
			p.meets(i, 5, outlier.Failure)
		}
		if got := p.out(); got != c.want {
			t.Errorf("%d hosts, share %d: %d ejected, want %d", c.n, c.share, got, c.want)
		}
		// Those that stayed for the cap get their turn when another is back.
		if c.n < 3 {
			continue
		}
		p.now += 100 * sec
		if _, ok := p.meets(c.n-1, 5, outlier.Failure); !ok {
			t.Errorf("%d hosts, share %d: the others are back, and the last that fails stays", c.n, c.share)
		}
	}
}

// The cap holds however many decide at once.
func TestCapHoldsUnderConcurrency(t *testing.T) {
	p := newPool(t, outlier.Config{}, 9)
	for i := range p.hosts {
		p.meets(i, 10_000, outlier.Success)
	}
	var wg sync.WaitGroup
	for _, h := range p.hosts {
		for range 2 {
			wg.Go(func() {
				for range 50 {
					if p.d.Report(h, outlier.Failure) {
						p.d.Consider(p.now, h, p.hosts)
					}
					p.d.Sweep(p.now, p.hosts)
					h.Status(p.now)
				}
			})
		}
	}
	wg.Wait()
	if got := p.out(); got != 3 {
		t.Errorf("%d of 9 ejected, want 3", got)
	}
}

// Requests that fail everywhere eject nobody; one that fails where its peers do not goes, also
// among such requests.
func TestBadRequestsEjectNobody(t *testing.T) {
	for _, x := range []outlier.Result{outlier.Failure, outlier.Gateway, outlier.Local} {
		// All requests fail.
		p := newPool(t, outlier.Config{FailurePercent: 85}, 6)
		for k := range 3000 {
			p.meets(k%6, 1, x)
			if k%500 == 0 {
				p.sweep(10 * time.Second)
			}
		}
		if p.out() > 1 { // the first cannot know that its peers are to fail as well
			t.Errorf("result %d everywhere: %d ejected", x, p.out())
		}
		// A third fail, on all hosts: rows of five come by chance.
		p = newPool(t, outlier.Config{FailurePercent: 85}, 6)
		rnd := uint32(1)
		next := func() uint32 { rnd = rnd*1664525 + 1013904223; return rnd >> 16 }
		for k := range 60_000 {
			r := outlier.Success
			if next()%3 == 0 {
				r = x
			}
			p.meets(k%6, 1, r)
			if k%2000 == 0 {
				p.sweep(10 * time.Second)
			}
		}
		total := int64(0)
		for _, h := range p.hosts {
			total += h.Status(p.now).Ejections
		}
		if total > 2 {
			t.Errorf("a third of all are result %d: %d ejections in 60,000 requests", x, total)
		}
		// One host fails all.
		row := 0
		for !p.hosts[2].Status(p.now).Ejected && row < 100 {
			p.meets(2, 1, x)
			row++
		}
		if row > 30 {
			t.Errorf("result %d: a broken host among peers that fail a third is found after %d in a row", x, row)
		}
	}
}

// A host that was well for long and then fails is found by its row, however many were well.
func TestALongPastHidesNothing(t *testing.T) {
	p := newPool(t, outlier.Config{}, 4)
	for i := range p.hosts {
		p.meets(i, 100_000, outlier.Success)
		p.meets(i, 4, outlier.Failure) // now and then
		p.meets(i, 100, outlier.Success)
	}
	if _, ok := p.meets(3, 5, outlier.Failure); !ok {
		t.Error("it fails and stays")
	}
}

// rates gives each host 1000 requests of which so many per thousand fail, in an order
// without long rows.
func (p *pool) rates(perMille ...int) {
	for i, m := range perMille {
		for k := range 1000 {
			x := outlier.Success
			if (k+1)*m/1000 > k*m/1000 {
				x = outlier.Failure
			}
			p.d.Report(p.hosts[i], x)
		}
	}
}

func TestSuccessRate(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  outlier.Config
		bad  []int // per mille
		want []int // ejected
	}{
		{"one far below", outlier.Config{}, []int{10, 12, 300, 9, 11}, []int{2}},
		{"all equal", outlier.Config{}, []int{10, 10, 10, 10, 10}, nil},
		{"all equally bad", outlier.Config{}, []int{700, 690, 710, 700, 705, 700}, nil},
		{"almost equal: a deviation of nothing is no reason", outlier.Config{}, []int{0, 0, 1, 0, 0, 0, 0}, nil},
		{"four are too few", outlier.Config{}, []int{0, 0, 300, 0}, nil},
		{"four are enough if one says so", outlier.Config{MinHosts: 4, Stdev: 1.5}, []int{0, 0, 300, 0}, []int{2}},
		{"two of ten, the worst first", outlier.Config{}, []int{0, 490, 0, 0, 0, 0, 0, 500, 0, 0}, []int{7, 1}},
		{"the cap holds", outlier.Config{MaxShare: 10}, []int{0, 490, 0, 0, 0, 0, 0, 500, 0, 0}, []int{7}},
		{"more requests are wanted", outlier.Config{MinRequests: 1001}, []int{0, 0, 300, 0, 0}, nil},
		{"the rule is off", outlier.Config{MinHosts: -1}, []int{0, 0, 300, 0, 0}, nil},
		{"all is off", outlier.Config{Off: true}, []int{0, 0, 300, 0, 0}, nil},
		{"percentage", outlier.Config{FailurePercent: 85, MinHosts: -1}, []int{0, 860, 0}, []int{1}},
		{"percentage not reached", outlier.Config{FailurePercent: 85, MinHosts: -1}, []int{0, 840, 0}, nil},
		{"percentage that peers share", outlier.Config{FailurePercent: 85, MinHosts: -1}, []int{900, 860, 950}, nil},
	} {
		p := newPool(t, c.cfg, len(c.bad))
		p.rates(c.bad...)
		if got := p.sweep(9 * time.Second); got != nil {
			t.Errorf("%s: a sweep before its time decides %v", c.name, got)
		}
		var got []int
		for _, d := range p.sweep(time.Second) {
			got = append(got, d.Index)
			want := outlier.Rate
			if c.cfg.FailurePercent > 0 {
				want = outlier.Percentage
			}
			if d.Why != want || !d.Ejected || d.Until < p.now+30*sec || d.Text == "" {
				t.Errorf("%s: decision %+v", c.name, d)
			}
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: ejected %v, want %v", c.name, got, c.want)
		}
		for range 2 { // what counted once does not count again
			if more := p.sweep(10 * time.Second); len(more) > 0 {
				t.Errorf("%s: the next sweep, without a request: %+v", c.name, more)
			}
		}
	}
}

// Switched off, it lets all back at the next sweep.
func TestOffLetsBack(t *testing.T) {
	p := newPool(t, outlier.Config{}, 3)
	p.meets(1, 100, outlier.Success)
	if _, ok := p.meets(0, 5, outlier.Failure); !ok {
		t.Fatal("no ejection")
	}
	p.d.Use(outlier.Config{Off: true})
	got := p.sweep(10 * time.Second)
	if len(got) != 1 || got[0].Ejected || got[0].Why != outlier.Disabled || p.out() != 0 {
		t.Errorf("decisions %+v, %d ejected", got, p.out())
	}
}

func TestStatus(t *testing.T) {
	p := newPool(t, outlier.Config{}, 2)
	if got := p.hosts[0].Status(p.now); got != (outlier.Status{}) {
		t.Errorf("of a host without requests: %+v", got)
	}
	p.meets(0, 7, outlier.Success)
	p.meets(0, 3, outlier.Failure)
	p.meets(0, 2, outlier.Local)
	if got, want := p.hosts[0].Status(p.now), (outlier.Status{Requests: 12, Failures: 5, Row: 3}); got != want {
		t.Errorf("status %+v, want %+v", got, want)
	}
	// A host that is none of the hosts is not ejected.
	stranger := new(outlier.Host)
	for range 20 {
		p.d.Report(stranger, outlier.Failure)
	}
	if d, ok := p.d.Consider(p.now, stranger, p.hosts); ok {
		t.Errorf("a host that left is ejected: %+v", d)
	}
}

// Rows do not run over, however long.
func TestRowsDoNotRunOver(t *testing.T) {
	p := newPool(t, outlier.Config{Consecutive: -1, Local: -1, Gateway: 10_000}, 1)
	for range 1 << 22 {
		p.d.Report(p.hosts[0], outlier.Failure)
	}
	if got := p.hosts[0].Status(p.now).Row; got != 1<<21-1 {
		t.Errorf("row %d, want it to stay at %d", got, 1<<21-1)
	}
	p.d.Report(p.hosts[0], outlier.Success)
	if got := p.hosts[0].Status(p.now).Row; got != 0 {
		t.Errorf("row %d after a success", got)
	}
}

func BenchmarkReport(b *testing.B) {
	for _, c := range []struct {
		name string
		x    outlier.Result
	}{{"success", outlier.Success}, {"failure", outlier.Failure}} {
		b.Run(c.name, func(b *testing.B) {
			var d outlier.Detector
			var h outlier.Host
			b.ReportAllocs()
			for b.Loop() {
				d.Report(&h, c.x)
			}
		})
	}
	b.Run("success/parallel", func(b *testing.B) {
		var d outlier.Detector
		var h outlier.Host
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				d.Report(&h, outlier.Success)
			}
		})
	})
}

func BenchmarkConsider(b *testing.B) {
	var d outlier.Detector
	hosts := make([]*outlier.Host, 100)
	for i := range hosts {
		hosts[i] = new(outlier.Host)
		for range 10 {
			d.Report(hosts[i], outlier.Failure)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		d.Consider(t0, hosts[0], hosts)
	}
}

func BenchmarkSweep(b *testing.B) {
	var d outlier.Detector
	hosts := make([]*outlier.Host, 100)
	for i := range hosts {
		hosts[i] = new(outlier.Host)
	}
	now := t0
	b.ReportAllocs()
	for b.Loop() {
		for _, h := range hosts {
			d.Report(h, outlier.Success)
		}
		now += 10 * sec
		d.Sweep(now, hosts)
	}
}
