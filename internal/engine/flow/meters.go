package flow

import (
	"sync/atomic"

	"stoa/internal/engine/hop"
	"stoa/internal/ground/meter"
)

// meters are the families of the data plane.
type meters struct {
	requests meter.Counters
	duration meter.Histograms
	retries  meter.Counters
	dropped  meter.Counters
}

func newMeters(r *meter.Registry) meters {
	return meters{
		requests: r.Counter(meter.Desc{Name: "stoa_proxy_requests_total",
			Help:   "Requests by outcome, as the caller saw it; gRPC is classed by grpc-status.",
			Labels: []string{"caller", "callee", "route", "class"}}),
		duration: r.Histogram(meter.Desc{Name: "stoa_proxy_request_duration_seconds", Unit: "seconds",
			Help:   "From the arrival of a request to the last byte of its answer.",
			Labels: []string{"caller", "callee", "route"}}),
		retries: r.Counter(meter.Desc{Name: "stoa_proxy_retries_total",
			Help:   "Attempts after the first: no connection came about, or a kept one had died.",
			Labels: []string{"callee"}}),
		dropped: r.Counter(meter.Desc{Name: "stoa_proxy_records_dropped_total",
			Help: "Records of failed, refused, repeated or slow requests that were too many to keep."}),
	}
}

// series are the series of one (caller, callee, route): the counters are made with the
// first request of their class, so that routes nobody calls cost little.
type series struct {
	m                     *meters
	caller, callee, route string
	classes               [hop.Outcomes]atomic.Pointer[meter.Counter]
	duration              atomic.Pointer[meter.Histogram]
	retries               atomic.Pointer[meter.Counter]
}

func (m *meters) series(caller, callee, route string) *series {
	return &series{m: m, caller: caller, callee: callee, route: route}
}

// count adds one finished hop, of outcome o.
func (s *series) count(rec *hop.Record, o hop.Outcome) {
	c := s.classes[o].Load()
	if c == nil {
		c = s.m.requests.With(s.caller, s.callee, s.route, o.String())
		s.classes[o].Store(c)
	}
	c.Add(1)
	h := s.duration.Load()
	if h == nil {
		h = s.m.duration.With(s.caller, s.callee, s.route)
		s.duration.Store(h)
	}
	h.Observe(int64(rec.Duration))
	if rec.Attempts > 1 {
		c := s.retries.Load()
		if c == nil {
			c = s.m.retries.With(s.callee)
			s.retries.Store(c)
		}
		c.Add(uint64(rec.Attempts - 1))
	}
}
