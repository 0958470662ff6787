// Package meter counts what happens: counters, gauges and histograms, read by
// Prometheus and by our own views.
//
// A family (name, help, unit, label names) is registered once in a Registry; With
// gives one series of it, which the caller keeps. Adding to a series takes no lock
// and allocates nothing: a counter is several cells on cache lines of their own, and
// each Add takes that of the core it runs on, so that cores do not fight over a word. The
// cells are summed when somebody reads.
//
//	requests := reg.Counter(meter.Desc{Name: "stoa_proxy_requests_total", Help: "...", Labels: []string{"caller"}})
//	orders := requests.With("orders")   // once, when the snapshot is compiled
//	orders.Add(1)                       // per request
//
// A histogram is log-linear: a cell for each exponent and the three bits below it, so
// a cell is at most 12.5 % wide, from 1 to 2^43 (2.4 hours in nanoseconds). Cells
// are 64-bit and never wrap.
//
// Invariants: a family has one shape for life; a series lives until Drop; sums never
// decrease but for Drop. Limits: a family keeps at most MaxSeries series, and what
// comes after them is added to one series whose labels are all "other", so that a
// label that was not bounded costs accuracy and not memory.
package meter

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// MaxSeries bounds the series of one family: 10,000 routes of six classes fit.
const MaxSeries = 65536

// shards is how many cells share the load of one series. Eight cells of 64 bytes keep
// a series at half a kilobyte; more helps only beyond eight busy cores.
const shards = 8

// Kind says what the numbers of a family mean.
type Kind string

// The kinds, by Prometheus' names.
const (
	KindCounter   Kind = "counter"
	KindGauge     Kind = "gauge"
	KindHistogram Kind = "histogram"
)

// Desc describes a family. Name is stoa_<module>_<noun>_<unit>, with _total for
// counters. Unit is "seconds", "bytes" or "" for a count. A histogram in seconds
// observes nanoseconds (a time.Duration) and is exported in seconds.
type Desc struct {
	Name   string
	Help   string
	Unit   string
	Labels []string
}

var nameForm = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// Registry holds families. It may be used concurrently; make one with New.
type Registry struct {
	mu       sync.Mutex
	families map[string]*family // guarded by mu
}

// New returns an empty registry.
func New() *Registry { return &Registry{families: map[string]*family{}} }

type family struct {
	Desc
	kind  Kind
	scale float64 // exported = observed * scale
	read  func() float64

	mu     sync.Mutex
	series map[string]*series // by key(values); guarded by mu
	gen    atomic.Uint64      // counts the series that came or went; changed under mu
}

// A series is exactly one of the three.
type series struct {
	values  []string
	counter *Counter
	gauge   *Gauge
	hist    *Histogram
}

// register returns the family d, made if new. Two families of one name and different
// shape are a defect of the program, so it panics.
func (r *Registry) register(kind Kind, d Desc) *family {
	if !nameForm.MatchString(d.Name) {
		panic(fmt.Sprintf("meter: bad name %q", d.Name))
	}
	for _, l := range d.Labels {
		if !nameForm.MatchString(l) || l == "le" {
			panic(fmt.Sprintf("meter: %s: bad label %q", d.Name, l))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.families[d.Name]; f != nil {
		if f.kind != kind || f.Unit != d.Unit || !slices.Equal(f.Labels, d.Labels) {
			panic(fmt.Sprintf("meter: %s registered as %s%v and as %s%v", d.Name, f.kind, f.Labels, kind, d.Labels))
		}
		return f
	}
	f := &family{Desc: d, kind: kind, scale: 1, series: map[string]*series{}}
	f.Labels = slices.Clone(d.Labels)
	if kind == KindHistogram && d.Unit == "seconds" {
		f.scale = 1e-9
	}
	r.families[d.Name] = f
	return f
}

func key(values []string) string { return strings.Join(values, "\xff") }

func (f *family) with(values []string) *series {
	if len(values) != len(f.Labels) {
		panic(fmt.Sprintf("meter: %s wants labels %v, got values %q", f.Name, f.Labels, values))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	k := key(values)
	if s := f.series[k]; s != nil {
		return s
	}
	if len(f.series) >= MaxSeries {
		values = slices.Repeat([]string{"other"}, len(f.Labels))
		k = key(values)
		if s := f.series[k]; s != nil {
			return s
		}
	}
	s := &series{values: slices.Clone(values)}
	switch f.kind {
	case KindCounter:
		s.counter = new(Counter)
	case KindGauge:
		s.gauge = new(Gauge)
	case KindHistogram:
		s.hist = &Histogram{scale: f.scale}
	}
	f.series[k] = s
	f.gen.Add(1)
	return s
}

func (f *family) drop(values []string) {
	f.mu.Lock()
	delete(f.series, key(values))
	f.gen.Add(1)
	f.mu.Unlock()
}

// sorted gives the series in the order of their labels.
func (f *family) sorted() []*series {
	f.mu.Lock()
	all := make([]*series, 0, len(f.series))
	for _, s := range f.series {
		all = append(all, s)
	}
	f.mu.Unlock()
	slices.SortFunc(all, func(a, b *series) int { return slices.Compare(a.values, b.values) })
	return all
}

func (r *Registry) sorted() []*family {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*family, 0, len(r.families))
	for _, f := range r.families {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *family) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Counters is a family of counters.
type Counters struct{ f *family }

// Counter registers a family of counters, or gives the one registered before.
func (r *Registry) Counter(d Desc) Counters { return Counters{r.register(KindCounter, d)} }

// With gives the series with these label values, in the order of Desc.Labels.
func (c Counters) With(values ...string) *Counter { return c.f.with(values).counter }

// Drop forgets a series, for example of an instance that ended.
func (c Counters) Drop(values ...string) { c.f.drop(values) }

type cell struct {
	n atomic.Uint64
	_ [56]byte // a cache line each
}

// Counter only grows. The zero value counts from 0.
type Counter struct{ cells [shards]cell }

// Add adds n.
func (c *Counter) Add(n uint64) { c.AddAt(Here(), n) }

// AddAt is Add in a shard.
func (c *Counter) AddAt(at Shard, n uint64) { c.cells[at%shards].n.Add(n) }

// Value is the sum; a concurrent Add may or may not be in it.
func (c *Counter) Value() uint64 {
	var sum uint64
	for i := range c.cells {
		sum += c.cells[i].n.Load()
	}
	return sum
}

// Gauges is a family of gauges.
type Gauges struct{ f *family }

// Gauge registers a family of gauges, or gives the one registered before.
func (r *Registry) Gauge(d Desc) Gauges { return Gauges{r.register(KindGauge, d)} }

// GaugeFunc registers a gauge without labels that is read when somebody asks. read
// must be quick and may be called concurrently.
func (r *Registry) GaugeFunc(d Desc, read func() float64) {
	d.Labels = nil
	f := r.register(KindGauge, d)
	f.mu.Lock()
	f.read = read
	f.mu.Unlock()
}

// With gives the series with these label values.
func (g Gauges) With(values ...string) *Gauge { return g.f.with(values).gauge }

// Drop forgets a series.
func (g Gauges) Drop(values ...string) { g.f.drop(values) }

// Gauge goes up and down. The zero value is 0.
type Gauge struct{ bits atomic.Uint64 }

// Set makes the gauge v.
func (g *Gauge) Set(v float64) { g.bits.Store(math.Float64bits(v)) }

// Add adds d, which may be negative.
func (g *Gauge) Add(d float64) {
	for {
		old := g.bits.Load()
		if g.bits.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+d)) {
			return
		}
	}
}

// Value is the gauge now.
func (g *Gauge) Value() float64 { return math.Float64frombits(g.bits.Load()) }

// Sample is one series as it was read.
type Sample struct {
	Name   string
	Kind   Kind
	Unit   string
	Labels []string // names
	Values []string // of the labels, in the same order
	Value  float64  // counter and gauge
	Dist   Dist     // histogram

	hist *Histogram
}

// Label gives the value of a label, or "".
func (s Sample) Label(name string) string {
	if i := slices.Index(s.Labels, name); i >= 0 {
		return s.Values[i]
	}
	return ""
}

// Samples reads every series of the named families (all of them when none is named),
// in the order of names and labels.
func (r *Registry) Samples(names ...string) iter.Seq[Sample] {
	return func(yield func(Sample) bool) {
		for _, f := range r.sorted() {
			if len(names) > 0 && !slices.Contains(names, f.Name) {
				continue
			}
			for s := range f.samples() {
				if !yield(s) {
					return
				}
			}
		}
	}
}

func (f *family) samples() iter.Seq[Sample] {
	return func(yield func(Sample) bool) {
		f.mu.Lock()
		read := f.read
		f.mu.Unlock()
		base := Sample{Name: f.Name, Kind: f.kind, Unit: f.Unit, Labels: f.Labels}
		if read != nil {
			base.Value = read()
			yield(base)
			return
		}
		for _, s := range f.sorted() {
			v := base
			v.Values = s.values
			switch {
			case s.counter != nil:
				v.Value = float64(s.counter.Value())
			case s.gauge != nil:
				v.Value = s.gauge.Value()
			case s.hist != nil:
				v.Dist, v.hist = s.hist.Read(), s.hist
			}
			if !yield(v) {
				return
			}
		}
	}
}
