package flow

import "stoa/internal/ground/meter"

// marks are the families of what is not the service's own answer. They are for slow paths: a
// series is looked up with each count.
type marks struct {
	injected  meter.Counters
	fallbacks meter.Counters
	cached    meter.Counters
	mirrored  meter.Counters
	hedges    meter.Counters
}

func newMarks(r *meter.Registry) marks {
	return marks{
		injected: r.Counter(meter.Desc{Name: "stoa_proxy_injected_total",
			Help:   "Attempts that met an injected fault, by what it did: delay or abort.",
			Labels: []string{"callee", "kind"}}),
		fallbacks: r.Counter(meter.Desc{Name: "stoa_proxy_fallbacks_total",
			Help:   "Failures that the caller did not see, by what stood in: cached, static, service, or none that was declared and could not.",
			Labels: []string{"callee", "kind"}}),
		cached: r.Counter(meter.Desc{Name: "stoa_proxy_cache_total",
			Help:   "Requests of routes with a cache or coalescing: hit, stale, revalidated, shared (another's answer), forwarded; late: joined another's for as long as coalesce says, in vain, so that it waited for nothing.",
			Labels: []string{"callee", "outcome"}}),
		mirrored: r.Counter(meter.Desc{Name: "stoa_proxy_mirrored_total",
			Help:   "Copies of requests to a mirror: sent, failed, or dropped (too many at once, or a body too large).",
			Labels: []string{"mirror", "outcome"}}),
		hedges: r.Counter(meter.Desc{Name: "stoa_proxy_hedges_total",
			Help:   "Second attempts beside a slow first: won, lost, or refused by the budget.",
			Labels: []string{"callee", "outcome"}}),
	}
}
