package dashtest

import (
	"fmt"
	"time"

	"stoa/api/core"
	"stoa/api/inject"
	"stoa/api/mesh"
	"stoa/api/telemetry"
)

// game makes a game day of the shop: inventory fails and is slow, its breaker is open; the
// carrier is away, what it said last stands in; there are more customers than room.
func (s *system) game(began time.Time) {
	fault := func(name, service, does string, ends time.Duration, reason string, matched, delayed, aborted uint64) inject.Fault {
		return inject.Fault{
			Name: name, Service: service, Does: does + ", until " + began.Add(ends).Local().Format(time.TimeOnly),
			Percent: 100, Began: core.At(began), Until: core.At(began.Add(ends)), By: "ada (cli)", Reason: reason,
			Matched: matched, Delayed: delayed, Aborted: aborted,
		}
	}
	s.faults = []inject.Fault{
		fault("inventory-1", "inventory", "30% of calls to inventory are answered with 503", 10*time.Minute, "game day", 137, 0, 41),
		fault("shipping-1", "shipping", "all calls of storefront to shipping are answered with 503", 10*time.Minute, "", 88, 0, 88),
		fault("inventory-2", "inventory", "all calls to inventory wait 2s", 30*time.Minute, "game day", 96, 96, 0),
	}
	since := core.At(began.Add(-34 * time.Second))
	budget, full := 0.38, 1.0
	s.guards = []telemetry.Guard{
		{Name: "catalog", Service: "catalog", Ejected: 1, Limit: 8, InFlight: 8, Waiting: 3, Overload: 0.77, Budget: &full,
			Done: []telemetry.Defence{{What: "refused", Why: "shed", Rate: 7.1, Total: 2305}, {What: "refused", Why: "limit", Rate: 0.9, Total: 238}, {What: "ejected", Why: "gateway-errors", Total: 2}},
			Shed: []telemetry.Shed{{Priority: "normal", Why: "limit", Rate: 0.4, Total: 203}, {Priority: "normal", Why: "shed", Rate: 0.8, Total: 570}, {Priority: "low", Why: "limit", Rate: 0.5, Total: 35}, {Priority: "low", Why: "shed", Rate: 6.3, Total: 1735}}},
		{Name: "gateway storefront /bff", Service: "storefront", Done: []telemetry.Defence{{What: "refused", Rate: 1.4, Total: 58}}},
		{Name: "inventory", Service: "inventory", Breaker: "open", Since: &since, Before: &telemetry.Passed{Requests: 214, Failed: 124}, Limit: 20, Budget: &budget,
			Done: []telemetry.Defence{{What: "refused", Why: "breaker", Rate: 5.8, Total: 412}, {What: "injected", Why: "delay", Rate: 0.4, Total: 96}, {What: "injected", Why: "abort", Rate: 0.1, Total: 41},
				{What: "retried", Rate: 0.6, Total: 73}, {What: "not-retried", Why: "deadline", Rate: 0.3, Total: 22}, {What: "not-retried", Why: "budget", Rate: 0, Total: 3}},
			Shed: []telemetry.Shed{{Priority: "critical", Why: "breaker", Rate: 1.1, Total: 71}, {Priority: "normal", Why: "breaker", Rate: 4.7, Total: 341}}},
		{Name: "shipping", Service: "shipping", Limit: 20, InFlight: 1, Budget: &full,
			Done: []telemetry.Defence{{What: "fallback", Why: "cached", Rate: 1.6, Total: 44}, {What: "injected", Why: "abort", Rate: 3.1, Total: 88}, {What: "retried", Rate: 1.5, Total: 44}}},
	}
	s.errors["orders>inventory"], s.errors["catalog>inventory"] = 0.94, 0.97
	s.errors["gateway>orders"] = 0.09
}

// rest gives the guards of a system that is well, to those who ask for all.
func (s *system) rest(nodes []mesh.Node) []telemetry.Guard {
	full := 1.0
	var out []telemetry.Guard
	for _, n := range nodes {
		out = append(out, telemetry.Guard{Name: n.Name, Service: n.Name, Limit: 20, Budget: &full})
	}
	return out
}

// told gives the faults of a service, a sentence each, as status does.
func (s *system) told(service string) []string {
	var out []string
	for _, f := range s.faults {
		if f.Service == service {
			out = append(out, fmt.Sprintf("%s (%s, by %s)", f.Does, f.Name, f.By))
		}
	}
	return out
}
