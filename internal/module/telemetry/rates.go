package telemetry

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"stoa/api/telemetry"
	"stoa/internal/ground/meter"
)

// window is how many seconds rates look back.
const window = 10

// maxEdges bounds the pairs of caller and callee; names come from documents, so that
// only a system of that size reaches it.
const maxEdges = 10_000

// The families of the proxy that say what passed; their labels are caller, callee, route,
// and of the first class.
const (
	requestsFamily = "stoa_proxy_requests_total"
	durationFamily = "stoa_proxy_request_duration_seconds"
)

type edge struct{ from, to string }

// rates tells what passed between services, from the series of the proxy: of requests only a
// sample is recorded, in its series each is counted. Somebody looks at them every second and
// whenever a person asks; what was added since the last look belongs to the second of the look.
type rates struct {
	mu        sync.Mutex
	requests  *meter.View                 // guarded by mu, as all that follows
	durations *meter.View                 //
	counters  map[*meter.Counter]*counted // by the series
	times     map[way]*timed
	edges     map[edge]*edgeRate
	callees   map[string]*callee
	routes    map[string]string // the service that a route leads to
	looked    time.Time         // the last look
	moved     []*counted        // the series in which it found something
}

// way is what durations are of.
type way struct{ caller, callee, route string }

// counted is a series of requests at the last look.
type counted struct {
	series *meter.Counter
	last   uint64
	of     way
	edge   *edgeRate // nil if nobody was called
	callee *callee
	failed bool
}

// timed is a series of durations at the last look.
type timed struct {
	series *meter.Histogram
	sum    uint64
	last   meter.Dist
}

type edgeRate struct {
	total   uint64
	buckets []bucket // of the seconds of the window in which something passed, oldest first
}

// bucket is one second.
type bucket struct {
	second        int64
	count, errors uint64
	took          meter.Dist
}

// callee is what passed to one service, "" being none, and what the access log told of it.
type callee struct {
	count  uint64 // requests, as of the last look
	before uint64 // as of the look before that
	access accessTally
}

func newRates(r *meter.Registry) *rates {
	return &rates{
		requests: r.View(requestsFamily), durations: r.View(durationFamily),
		counters: map[*meter.Counter]*counted{}, times: map[way]*timed{},
		edges: map[edge]*edgeRate{}, callees: map[string]*callee{}, routes: map[string]string{},
	}
}

// look reads the series. Where nothing has changed since the last look, it costs some loads
// of memory for each.
func (r *rates) look(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookLocked(now)
}

func (r *rates) lookLocked(now time.Time) {
	r.meet()
	r.looked = now
	second, before := now.Unix(), len(r.moved)
	for _, c := range r.counters {
		n := c.series.Value()
		if n == c.last {
			continue
		}
		d := n - c.last
		c.last = n
		c.callee.count += d
		if c.edge == nil {
			continue
		}
		c.edge.total += d
		b := c.edge.at(second)
		b.count += d
		if c.failed {
			b.errors += d
		}
		r.moved = append(r.moved, c)
	}
	for _, c := range r.moved { // those of the last look, too: a request is counted a moment before its duration
		if t := r.times[c.of]; t != nil {
			if sum := t.series.Sum(); sum != t.sum {
				t.sum = sum
				t.series.Advance(&t.last, &c.edge.at(second).took)
			}
		}
	}
	r.moved = slices.Delete(r.moved, 0, before)
	for _, e := range r.edges {
		e.age(second)
	}
}

// meet takes up the series that are new, and lets go of those that are gone. r.mu is held.
func (r *rates) meet() {
	if all, changed := r.requests.Series(); changed {
		before := r.counters
		r.counters = make(map[*meter.Counter]*counted, len(all))
		clear(r.routes)
		for _, s := range all {
			c := before[s.Counter]
			if c == nil {
				if len(s.Values) != 4 {
					continue
				}
				of := way{s.Values[0], s.Values[1], s.Values[2]}
				c = &counted{series: s.Counter, of: of, edge: r.edge(of.caller, of.callee), callee: r.callee(of.callee), failed: s.Values[3] == "5xx"}
			}
			r.counters[s.Counter] = c
			r.routes[c.of.route] = c.of.callee
		}
	}
	if all, changed := r.durations.Series(); changed {
		before := r.times
		r.times = make(map[way]*timed, len(all))
		for _, s := range all {
			if len(s.Values) != 3 {
				continue
			}
			of := way{s.Values[0], s.Values[1], s.Values[2]}
			t := before[of]
			if t == nil || t.series != s.Hist {
				t = &timed{series: s.Hist}
			}
			r.times[of] = t
		}
	}
}

// edge gives the pair, nil if nobody was called or there are too many. r.mu is held.
func (r *rates) edge(from, to string) *edgeRate {
	if to == "" { // no route
		return nil
	}
	e := edge{cmp.Or(from, gatewayName), to}
	er := r.edges[e]
	if er == nil && len(r.edges) < maxEdges {
		er = &edgeRate{}
		r.edges[e] = er
	}
	return er
}

// callee gives the tally of a service. r.mu is held.
func (r *rates) callee(name string) *callee {
	c := r.callees[name]
	if c == nil {
		c = &callee{}
		r.callees[name] = c
	}
	return c
}

// at gives the bucket of a second, which is that of the last or a later one.
func (e *edgeRate) at(second int64) *bucket {
	if n := len(e.buckets); n == 0 || e.buckets[n-1].second != second {
		e.age(second)
		e.buckets = append(e.buckets, bucket{second: second})
	}
	return &e.buckets[len(e.buckets)-1]
}

// age lets go of what is no longer in the window, nor will be: of a clock that was set back, too.
func (e *edgeRate) age(now int64) {
	if len(e.buckets) > 0 && !inWindow(e.buckets[0].second, now) {
		e.buckets = slices.DeleteFunc(e.buckets, func(b bucket) bool { return !inWindow(b.second, now) })
	}
}

func inWindow(second, now int64) bool { return second > now-window && second <= now }

// sum is what passed in the window.
type sum struct {
	count, errors uint64
	took          meter.Dist
}

func (s *sum) add(e *edgeRate, now int64) {
	for i := range e.buckets {
		if b := &e.buckets[i]; inWindow(b.second, now) {
			s.count += b.count
			s.errors += b.errors
			s.took = s.took.Plus(b.took)
		}
	}
}

func (s *sum) rate() float64 { return float64(s.count) / window }

func (s *sum) share() float64 {
	if s.count == 0 {
		return 0
	}
	return float64(s.errors) / float64(s.count)
}

// millis gives a quantile in milliseconds.
func (s *sum) millis(q float64) float64 { return s.took.Quantile(q) * 1000 }

// fresh is how old the last look may be for an answer about one service: a list of a
// thousand of them is to look once.
const fresh = 50 * time.Millisecond

// to gives what passed to a service, from whomever.
func (r *rates) to(service string, now time.Time) (rate, p99, share float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.looked); age < 0 || age > fresh {
		r.lookLocked(now)
	}
	var s sum
	for e, er := range r.edges {
		if e.to == service {
			s.add(er, now.Unix())
		}
	}
	return s.rate(), s.millis(0.99), s.share()
}

// before gives what passed to a service in the seconds of the window before that of now.
func (r *rates) before(service string, now time.Time) telemetry.Passed {
	r.mu.Lock()
	defer r.mu.Unlock()
	var s sum
	for e, er := range r.edges {
		if e.to == service {
			s.add(er, now.Unix()-1)
		}
	}
	return telemetry.Passed{Requests: s.count, Failed: s.errors}
}

// service gives the service that a route leads to, "" if nothing has passed there.
func (r *rates) service(route string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.routes[route]
}

// all gives every edge as of the last look, busiest first.
func (r *rates) all(now time.Time) []telemetry.EdgeRate {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []telemetry.EdgeRate{}
	for e, er := range r.edges {
		var s sum
		s.add(er, now.Unix())
		out = append(out, telemetry.EdgeRate{From: e.from, To: e.to, Rate: s.rate(), ErrorRate: s.share(),
			P50Millis: s.millis(0.5), P99Millis: s.millis(0.99), Total: er.total})
	}
	slices.SortFunc(out, func(a, b telemetry.EdgeRate) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return out
}
