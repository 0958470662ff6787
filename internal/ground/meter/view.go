package meter

// Series is one series for who reads it again and again: what is counted in it can be read
// at any time. Exactly one of the three is there.
type Series struct {
	Values  []string // of the labels, in the order of Desc.Labels
	Counter *Counter
	Gauge   *Gauge
	Hist    *Histogram
}

// View is one family as somebody sees it who looks at it every second: it keeps the list of
// its series, so that a look costs next to nothing while no series comes or goes. For one
// goroutine at a time.
type View struct {
	r    *Registry
	name string
	f    *family // nil until it is registered
	gen  uint64
	list []Series
}

// View gives a view of the family of that name, which may be registered later.
func (r *Registry) View(name string) *View { return &View{r: r, name: name} }

// Series gives the series, in no order, and whether they are others than the last time. The
// slice is the view's own and good until the next call.
func (v *View) Series() (all []Series, changed bool) {
	if v.f == nil {
		v.r.mu.Lock()
		v.f = v.r.families[v.name]
		v.r.mu.Unlock()
	}
	if v.f == nil || v.f.gen.Load() == v.gen {
		return v.list, false
	}
	v.f.mu.Lock()
	defer v.f.mu.Unlock()
	v.gen = v.f.gen.Load()
	v.list = make([]Series, 0, len(v.f.series))
	for _, s := range v.f.series {
		v.list = append(v.list, Series{Values: s.values, Counter: s.counter, Gauge: s.gauge, Hist: s.hist})
	}
	return v.list, true
}
