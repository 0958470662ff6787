package flow

import (
	"sync/atomic"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/limit"
	"stoa/internal/ground/meter"
)

// meters are the families of the data plane.
type meters struct {
	requests meter.Counters
	duration meter.Histograms
	retries  meter.Counters
	dropped  meter.Counters

	shed  meter.Counters // see sheds
	rated meter.Counters // see rated

	// For slow paths: a series is looked up with each count.
	unrepeated meter.Counters
	ejections  meter.Counters
	openings   meter.Counters // of breakers

	hasty  meter.Gauges   // of upstreams for which not all wait equally long
	sticky meter.Counters // see stickiness
	skew   meter.Gauges   // of upstreams to which cookies of ours lead

	ejected, breaker, limit, inflight, waiting, overload, budget meter.Gauges
}

// gauges are those of one upstream.
type gauges struct{ ejected, breaker, limit, inflight, waiting, overload, budget *meter.Gauge }

func (m *meters) gauges(upstream string) *gauges {
	return &gauges{m.ejected.With(upstream), m.breaker.With(upstream), m.limit.With(upstream), m.inflight.With(upstream),
		m.waiting.With(upstream), m.overload.With(upstream), m.budget.With(upstream)}
}

// forget drops the gauges of an upstream.
func (m *meters) forget(upstream string) {
	for _, g := range [...]meter.Gauges{m.ejected, m.breaker, m.limit, m.inflight, m.waiting, m.overload, m.budget, m.skew} {
		g.Drop(upstream)
	}
}

func newMeters(r *meter.Registry) meters {
	gauge := func(name, help string) meter.Gauges {
		return r.Gauge(meter.Desc{Name: name, Help: help + " As of the last second.", Labels: []string{"upstream"}})
	}
	return meters{
		unrepeated: r.Counter(meter.Desc{Name: "stoa_proxy_retries_refused_total",
			Help:   "Failures that could have been repeated and were not, by why: budget, attempts, unsafe, body, deadline, later, told, pushback, breaker.",
			Labels: []string{"callee", "why"}}),
		shed: r.Counter(meter.Desc{Name: "stoa_proxy_shed_total",
			Help:   "Requests that were refused to spare an upstream, by why: breaker (it fails), limit (no place in time), shed (others are more important).",
			Labels: []string{"upstream", "why", "priority"}}),
		rated: r.Counter(meter.Desc{Name: "stoa_proxy_rate_limited_total",
			Help:   "Requests that were refused as there were more than a rate allows.",
			Labels: []string{"listener", "route"}}),
		ejections: r.Counter(meter.Desc{Name: "stoa_proxy_ejections_total",
			Help:   "Endpoints that were left alone for a while, by the rule.",
			Labels: []string{"upstream", "why"}}),
		openings: r.Counter(meter.Desc{Name: "stoa_proxy_breaker_openings_total",
			Help:   "How often a breaker has opened; timeout is that of those who wait less than others, where theirs did.",
			Labels: []string{"upstream", "timeout"}}),
		hasty: r.Gauge(meter.Desc{Name: "stoa_proxy_timeout_breaker_state",
			Help:   "The breaker of those who wait so long for an answer, where others wait longer: 0 closed, 1 open, 2 half-open. As of the last second.",
			Labels: []string{"upstream", "timeout"}}),
		sticky: r.Counter(meter.Desc{Name: "stoa_proxy_sticky_total",
			Help:   "Requests of routes that issue a cookie for the instance, by what it did: kept, moved (its instance is not there, or not well), new (there was none that we gave).",
			Labels: []string{"upstream", "outcome"}}),
		skew:     gauge("stoa_proxy_sticky_skew", "How many times its even share of sticky requests the busiest instance has had of late: 1 is even, 0 too few to say."),
		ejected:  gauge("stoa_proxy_ejected_endpoints", "Endpoints that are left alone for a while."),
		breaker:  gauge("stoa_proxy_breaker_state", "The breaker: 0 closed, 1 open, 2 half-open."),
		limit:    gauge("stoa_proxy_limit_requests", "How many requests may be at the upstream at one time; 0: any number."),
		inflight: gauge("stoa_proxy_inflight_requests", "Requests at the upstream that count to its limit."),
		waiting:  gauge("stoa_proxy_waiting_requests", "Requests that wait for a place at the upstream."),
		overload: gauge("stoa_proxy_overload_level", "How overloaded the upstream is, 0 to 1; its cube is the share of ranks that are shed."),
		budget:   gauge("stoa_proxy_retry_budget_level", "What is left of the budget for repeats, 0 to 1."),

		requests: r.Counter(meter.Desc{Name: "stoa_proxy_requests_total",
			Help:   "Requests by outcome, as the caller saw it; gRPC is classed by grpc-status. caller is empty for those from outside, whom stoa top calls gateway.",
			Labels: []string{"caller", "callee", "route", "class"}}),
		duration: r.Histogram(meter.Desc{Name: "stoa_proxy_request_duration_seconds", Unit: "seconds",
			Help:   "From the arrival of a request to the last byte of its answer.",
			Labels: []string{"caller", "callee", "route"}}),
		retries: r.Counter(meter.Desc{Name: "stoa_proxy_retries_total",
			Help:   "Attempts after the first.",
			Labels: []string{"callee"}}),
		dropped: r.Counter(meter.Desc{Name: "stoa_proxy_records_dropped_total",
			Help: "Records of failed, refused, repeated or slow requests that were too many to keep."}),
	}
}

// Why an upstream is spared: the index of a counter of sheds.
const (
	byBreaker = iota
	byLimit
	byShed
	shedReasons
)

var shedNames = [shedReasons]hop.Reason{hop.Breaker, hop.Limit, hop.Shed}

// sheds are the counters of what an upstream was spared, by why and priority. A refusal must
// cost less than what it spares, so that each is looked up once: with the first of its kind.
type sheds [shedReasons][limit.Bulk - limit.Critical + 1]atomic.Pointer[meter.Counter]

func (s *sheds) add(m *meters, upstream string, why int, p limit.Priority) {
	at := &s[why][p-limit.Critical]
	c := at.Load()
	if c == nil {
		c = m.shed.With(upstream, string(shedNames[why]), p.String())
		at.Store(c)
	}
	c.Add(1)
}

// rated is the counter of what the rates of a route refused; it is looked up once, too.
type rated struct{ c atomic.Pointer[meter.Counter] }

func (r *rated) add(m *meters, listener, route string) {
	c := r.c.Load()
	if c == nil {
		c = m.rated.With(listener, route)
		r.c.Store(c)
	}
	c.Add(1)
}

// series are the series of one (caller, callee, route): the counters are made with the
// first request of their class, so that routes nobody calls cost little.
type series struct {
	m                     *meters
	caller, callee, route string
	classes               [hop.Outcomes]atomic.Pointer[meter.Counter]
	duration              atomic.Pointer[meter.Histogram]
	retries               atomic.Pointer[meter.Counter]
	slowness              slowness
}

// seriesKey says whose a series is.
type seriesKey struct{ caller, callee, route string }

func (m *meters) series(caller, callee, route string) *series {
	return &series{m: m, caller: caller, callee: callee, route: route}
}

// count adds one finished hop, of outcome o.
func (s *series) count(rec *hop.Record, o hop.Outcome) {
	here := meter.Here()
	c := s.classes[o].Load()
	if c == nil {
		c = s.m.requests.With(s.caller, s.callee, s.route, o.String())
		s.classes[o].Store(c)
	}
	c.AddAt(here, 1)
	h := s.duration.Load()
	if h == nil {
		h = s.m.duration.With(s.caller, s.callee, s.route)
		s.duration.Store(h)
	}
	h.ObserveAt(here, int64(rec.Duration))
	if rec.Attempts > 1 {
		c := s.retries.Load()
		if c == nil {
			c = s.m.retries.With(s.callee)
			s.retries.Store(c)
		}
		c.Add(uint64(rec.Attempts - 1))
	}
}
