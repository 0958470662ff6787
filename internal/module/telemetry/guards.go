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

	"stoa/api/telemetry"
	"stoa/internal/ground/meter"
)

// defences are the families of the proxy that count what the resilience patterns did.
var defences = []struct {
	family, what string
	name, why    []int // which labels say where it was, and why
}{
	{"stoa_proxy_retries_total", "retried", []int{0}, nil},
	{"stoa_proxy_retries_refused_total", "not-retried", []int{0}, []int{1}},
	{"stoa_proxy_shed_total", "refused", []int{0}, []int{1}},
	{"stoa_proxy_ejections_total", "ejected", []int{0}, []int{1}},
	{"stoa_proxy_fallbacks_total", "fallback", []int{0}, []int{1}},
	{"stoa_proxy_hedges_total", "hedged", []int{0}, []int{1}},
	{"stoa_proxy_injected_total", "injected", []int{0}, []int{1}},
	{"stoa_proxy_cache_total", "cache", []int{0}, []int{1}},
	{"stoa_proxy_rate_limited_total", "refused", []int{0, 1}, nil}, // listener and route
}

// states are the gauges of one upstream, and where they are shown. A gauge is read only when
// somebody asks.
var states = map[string]func(*telemetry.Guard, float64){
	"stoa_proxy_breaker_state": func(g *telemetry.Guard, v float64) {
		g.Breaker = [...]string{"", "open", "half-open"}[min(2, max(0, int(v)))]
	},
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
}

// defence is something that was done at one place.
type defence struct{ name, what, why string }

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
	g := &guards{meters: r, series: map[*meter.Counter]*counter{}, done: map[defence]*tally{}}
	for _, d := range defences {
		g.views = append(g.views, r.View(d.family))
	}
	return g
}

// look reads the series. It costs next to nothing where nothing was done.
func (g *guards) look(now time.Time) {
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
			d.name, d.why = picked(s.Values, defences[family].name), picked(s.Values, defences[family].why)
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

func (t *tally) rate(now int64) float64 {
	var n uint64
	for _, c := range t.counts {
		if inWindow(c.second, now) {
			n += c.n
		}
	}
	return float64(n) / window
}

// all gives the guards as of the last look, by name.
func (g *guards) all(now time.Time) []telemetry.Guard {
	g.mu.Lock()
	defer g.mu.Unlock()
	byName := map[string]*telemetry.Guard{}
	of := func(name string) *telemetry.Guard {
		if byName[name] == nil {
			byName[name] = &telemetry.Guard{Name: name}
		}
		return byName[name]
	}
	for d, t := range g.done {
		if t.total > 0 {
			x := of(d.name)
			x.Done = append(x.Done, telemetry.Defence{What: d.what, Why: d.why, Rate: t.rate(now.Unix()), Total: t.total})
		}
	}
	for s := range g.meters.Samples(slices.Collect(maps.Keys(states))...) {
		if len(s.Values) == 1 {
			states[s.Name](of(s.Values[0]), s.Value)
		}
	}
	var out []telemetry.Guard
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if x := byName[name]; len(x.Done) > 0 || state(x) != "" {
			slices.SortFunc(x.Done, func(a, b telemetry.Defence) int {
				return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(b.Total, a.Total), cmp.Compare(a.What+a.Why, b.What+b.Why))
			})
			out = append(out, *x)
		}
	}
	return out
}

// state says how a guard stands, "" at rest.
func state(g *telemetry.Guard) string {
	var s []string
	if g.Breaker != "" {
		s = append(s, "breaker "+g.Breaker)
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
			text := fmt.Sprintf("%.1f/s %s", d.Rate, strings.ReplaceAll(d.What, "-", " "))
			if d.Why != "" {
				text += " (" + d.Why + ")"
			}
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
