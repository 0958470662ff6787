package telemetry

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"stoa/api/core"
	"stoa/api/telemetry"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/limit"
	"stoa/internal/ground/meter"
)

// defences are the families of the proxy that count what the resilience patterns did.
var defences = []struct {
	family, what string
	name, why    []int  // which labels say where it was, and why
	of           []int  // which says of what priority
	fixed        string // why, where no label says it
}{
	{"stoa_proxy_retries_total", "retried", []int{0}, nil, nil, ""},
	{"stoa_proxy_retries_refused_total", "not-retried", []int{0}, []int{1}, nil, ""},
	{"stoa_proxy_shed_total", "refused", []int{0}, []int{1}, []int{2}, ""},
	{"stoa_proxy_ejections_total", "ejected", []int{0}, []int{1}, nil, ""},
	{"stoa_proxy_fallbacks_total", "fallback", []int{0}, []int{1}, nil, ""},
	{"stoa_proxy_hedges_total", "hedged", []int{0}, []int{1}, nil, ""},
	{"stoa_proxy_injected_total", "injected", []int{0}, []int{1}, nil, ""},
	{"stoa_proxy_cache_total", "cache", []int{0}, []int{1}, nil, ""},
	{"stoa_proxy_rate_limited_total", "refused", []int{0, 1}, nil, nil, string(hop.Rate)}, // listener and route
}

// The gauges of breakers: of one upstream, and of its callers who wait so long for an answer.
// Each change of them is noted.
const (
	breakerFamily = "stoa_proxy_breaker_state"
	hastyFamily   = "stoa_proxy_timeout_breaker_state"
)

// phases are the values of these gauges, "" being closed.
var phases = [...]string{"", "open", "half-open"}

func phaseOf(v float64) string { return phases[min(2, max(0, int(v)))] }

// states are the gauges of one upstream, and where they are shown. A gauge is read only when
// somebody asks.
var states = map[string]func(*telemetry.Guard, float64){
	breakerFamily:                   func(g *telemetry.Guard, v float64) { g.Breaker = phaseOf(v) },
	"stoa_proxy_ejected_endpoints":  func(g *telemetry.Guard, v float64) { g.Ejected = int(v) },
	"stoa_proxy_limit_requests":     func(g *telemetry.Guard, v float64) { g.Limit = int(v) },
	"stoa_proxy_inflight_requests":  func(g *telemetry.Guard, v float64) { g.InFlight = int(v) },
	"stoa_proxy_waiting_requests":   func(g *telemetry.Guard, v float64) { g.Waiting = int(v) },
	"stoa_proxy_overload_level":     func(g *telemetry.Guard, v float64) { g.Overload = v },
	"stoa_proxy_retry_budget_level": func(g *telemetry.Guard, v float64) { g.Budget = &v },
}

// guards tells what the resilience patterns did, from the series of the proxy.
type guards struct {
	mu     sync.Mutex
	meters *meter.Registry
	views  []*meter.View // of defences; guarded by mu, as all that follows
	series map[*meter.Counter]*counter
	done   map[defence]*tally
	phases map[breaker]phase // of the breakers that are not closed
}

// breaker is that of an upstream, or of those of its callers who wait so long.
type breaker struct{ upstream, timeout string }

// defence is something that was done at one place, to requests of a priority.
type defence struct{ name, what, why, of string }

// phase is what a breaker was seen to do.
type phase struct {
	name   string
	since  time.Time
	before telemetry.Passed
}

// counter is a series at the last look.
type counter struct {
	series *meter.Counter
	family int // in defences
	last   uint64
	tally  *tally
}

// tally is how often something was done, over series of all priorities.
type tally struct {
	total  uint64
	counts [window]struct {
		second int64
		n      uint64
	}
}

func newGuards(r *meter.Registry) *guards {
	g := &guards{meters: r, series: map[*meter.Counter]*counter{}, done: map[defence]*tally{}, phases: map[breaker]phase{}}
	for _, d := range defences {
		g.views = append(g.views, r.View(d.family))
	}
	return g
}

// look reads the series. It costs next to nothing where nothing was done. passed tells what
// was answered by a service until the second before now.
func (g *guards) look(now time.Time, passed func(service string) telemetry.Passed) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, v := range g.views {
		if all, changed := v.Series(); changed {
			g.meet(i, all)
		}
	}
	second := now.Unix()
	for _, c := range g.series {
		n := c.series.Value()
		if n == c.last {
			continue
		}
		at := &c.tally.counts[second%window]
		if at.second != second {
			at.second, at.n = second, 0
		}
		at.n += n - c.last
		c.tally.total += n - c.last
		c.last = n
	}
	g.watch(now, passed)
}

// watch notes which breakers have changed. A gauge shows a change after a second at most, and
// another may pass until it is looked at.
func (g *guards) watch(now time.Time, passed func(service string) telemetry.Passed) {
	seen := map[breaker]phase{}
	for s := range g.meters.Samples(breakerFamily, hastyFamily) {
		name := phaseOf(s.Value)
		if len(s.Values) == 0 || name == "" {
			continue
		}
		b := breaker{s.Values[0], strings.Join(s.Values[1:], " ")}
		p, known := g.phases[b]
		if !known {
			p.before = passed(serviceOf(b.upstream))
		}
		if p.name != name {
			p.name, p.since = name, now
		}
		seen[b] = p
	}
	g.phases = seen
}

// serviceOf gives the service of an upstream: "orders" of "orders/grpc".
func serviceOf(upstream string) string {
	service, _, _ := strings.Cut(upstream, "/")
	return service
}

// meet takes up the series of a family that are new, and lets go of those that are gone.
func (g *guards) meet(family int, all []meter.Series) {
	before := g.series
	g.series = maps.Clone(before)
	maps.DeleteFunc(g.series, func(_ *meter.Counter, c *counter) bool { return c.family == family })
	for _, s := range all {
		c := before[s.Counter]
		if c == nil {
			d := defence{what: defences[family].what}
			d.name, d.why, d.of = picked(s.Values, defences[family].name), cmp.Or(defences[family].fixed, picked(s.Values, defences[family].why)), picked(s.Values, defences[family].of)
			if g.done[d] == nil {
				if len(g.done) >= maxEdges {
					continue
				}
				g.done[d] = &tally{}
			}
			c = &counter{series: s.Counter, family: family, tally: g.done[d]}
		}
		g.series[s.Counter] = c
	}
}

// picked joins some of the values of labels.
func picked(values []string, which []int) string {
	var out []string
	for _, i := range which {
		if i < len(values) {
			out = append(out, values[i])
		}
	}
	return strings.Join(out, " ")
}

func (t *tally) rate(now int64) float64 { return float64(t.passed(now)) / window }

// passed says how often something was done in the window.
func (t *tally) passed(now int64) (n uint64) {
	for _, c := range t.counts {
		if inWindow(c.second, now) {
			n += c.n
		}
	}
	return n
}

// all gives the guards as of the last look, by name; with calm those at rest, too. routed
// tells the service of a route.
func (g *guards) all(now time.Time, calm bool, routed func(route string) string) []telemetry.Guard {
	g.mu.Lock()
	defer g.mu.Unlock()
	byName := map[string]*telemetry.Guard{}
	of := func(name string) *telemetry.Guard {
		if byName[name] == nil {
			byName[name] = &telemetry.Guard{Name: name, Service: serviceOf(name)}
			if _, route, rated := strings.Cut(name, " "); rated { // no upstream: no name has a space
				byName[name].Service = routed(route)
			}
		}
		return byName[name]
	}
	for d, t := range g.done {
		if t.total > 0 {
			tell(of(d.name), d, t.rate(now.Unix()), t.total)
		}
	}
	for s := range g.meters.Samples(slices.Collect(maps.Keys(states))...) {
		if len(s.Values) == 1 {
			states[s.Name](of(s.Values[0]), s.Value)
		}
	}
	for b, p := range g.phases {
		x, since := of(b.upstream), core.At(p.since)
		if b.timeout != "" {
			x.Hasty = append(x.Hasty, telemetry.Hasty{Timeout: b.timeout, Breaker: p.name, Since: &since, Before: &p.before})
		} else if x.Breaker != "" {
			x.Since, x.Before = &since, &p.before
		}
	}
	var out []telemetry.Guard
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		x := byName[name]
		if len(x.Done) == 0 && state(x) == "" && !calm {
			continue
		}
		slices.SortFunc(x.Hasty, func(a, b telemetry.Hasty) int { return cmp.Compare(a.Timeout, b.Timeout) })
		slices.SortFunc(x.Done, func(a, b telemetry.Defence) int {
			return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(b.Total, a.Total), cmp.Compare(a.What+a.Why, b.What+b.Why))
		})
		slices.SortFunc(x.Shed, func(a, b telemetry.Shed) int {
			return cmp.Or(cmp.Compare(rank(a.Priority), rank(b.Priority)), cmp.Compare(a.Why, b.Why))
		})
		out = append(out, *x)
	}
	return out
}

// tell adds what was done to what a guard tells.
func tell(x *telemetry.Guard, d defence, rate float64, total uint64) {
	i := slices.IndexFunc(x.Done, func(o telemetry.Defence) bool { return o.What == d.what && o.Why == d.why })
	if i < 0 {
		i = len(x.Done)
		x.Done = append(x.Done, telemetry.Defence{What: d.what, Why: d.why})
	}
	x.Done[i].Rate += rate
	x.Done[i].Total += total
	if d.of == "" {
		return
	}
	i = slices.IndexFunc(x.Shed, func(o telemetry.Shed) bool { return o.Priority == d.of && o.Why == d.why })
	if i < 0 {
		i = len(x.Shed)
		x.Shed = append(x.Shed, telemetry.Shed{Priority: d.of, Why: d.why})
	}
	x.Shed[i].Rate += rate
	x.Shed[i].Total += total
}

// rank orders priorities, the highest first; what is none comes last.
func rank(priority string) limit.Priority {
	p, err := limit.ParsePriority(priority)
	if err != nil {
		return limit.Bulk + 1
	}
	return p
}

// state says how a guard stands, "" at rest.
func state(g *telemetry.Guard) string {
	var s []string
	if g.Breaker != "" {
		s = append(s, "breaker "+g.Breaker)
	}
	for _, h := range g.Hasty {
		s = append(s, fmt.Sprintf("breaker %s for those who wait %s", h.Breaker, h.Timeout))
	}
	if g.Ejected > 0 {
		s = append(s, fmt.Sprintf("%d ejected", g.Ejected))
	}
	if g.Waiting > 0 {
		s = append(s, fmt.Sprintf("%d of %d, %d waiting", g.InFlight, g.Limit, g.Waiting))
	}
	if g.Overload >= 0.01 {
		s = append(s, fmt.Sprintf("overload %.0f%%", 100*g.Overload))
	}
	if g.Budget != nil && *g.Budget < 0.5 {
		s = append(s, fmt.Sprintf("%.0f%% of retry budget left", 100**g.Budget))
	}
	return strings.Join(s, ", ")
}

// spell says what was done, and why.
func spell(d telemetry.Defence) string {
	what := strings.ReplaceAll(d.What, "-", " ")
	switch {
	case d.What == "fallback" && d.Why == "none":
		return "failed, with no fallback at hand"
	case d.Why == "":
		return what
	}
	return what + " (" + d.Why + ")"
}

// printGuards shows the guards that do something now, with all those that ever did.
func printGuards(w io.Writer, guards []telemetry.Guard, all bool) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	first := true
	for i := range guards {
		g := &guards[i]
		var done []string
		for _, d := range g.Done {
			if d.Rate == 0 && !all {
				continue
			}
			text := fmt.Sprintf("%.1f/s %s", d.Rate, spell(d))
			if all {
				text += fmt.Sprintf(" [%d]", d.Total)
			}
			done = append(done, text)
		}
		now := state(g)
		if now == "" && len(done) == 0 {
			continue
		}
		if first {
			fmt.Fprintln(tw, "\nAT\tSTATE\tDONE")
			first = false
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", g.Name, cmp.Or(now, "-"), cmp.Or(strings.Join(done, ", "), "-"))
	}
	tw.Flush()
}
