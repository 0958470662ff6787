package telemetry

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/telemetry"
	"stoa/internal/engine/hop"
)

// The conditions of a service that tell what the resilience patterns do to calls of it. They
// are observed from their first trouble on.
const (
	BreakerCondition  = "Breaker"  // Open, HalfOpen; Closed
	LimitCondition    = "Limit"    // Refusing; Calm
	OutliersCondition = "Outliers" // Ejected; None
)

// Bounds of what is told.
const (
	maxNotices  = 20  // lines of the log in one window, so that breakers that flutter do not fill it
	maxWitness  = 5   // failed requests that stand as evidence
	maxSearched = 500 // traces that are looked through for them, the latest first
)

// A stand is how one upstream is found by a look, where that is not at rest.
type stand struct {
	upstream string
	breaker  phase
	hasty    map[string]phase // by how long callers wait
	refused  uint64           // requests, of the window, for want of a place or of importance
	limit    int              // how many may be there at one time
	ejected  int
	why      string // rules by which, of the window
}

// stands gives the upstreams that are not at rest, as of the last look, in the order of their names.
func (g *guards) stands(now time.Time) []*stand {
	g.mu.Lock()
	defer g.mu.Unlock()
	found := map[string]*stand{}
	of := func(upstream string) *stand {
		if found[upstream] == nil {
			found[upstream] = &stand{upstream: upstream, hasty: map[string]phase{}}
		}
		return found[upstream]
	}
	for b, p := range g.phases {
		if b.timeout == "" {
			of(b.upstream).breaker = p
		} else {
			of(b.upstream).hasty[b.timeout] = p
		}
	}
	for s := range g.meters.Samples("stoa_proxy_ejected_endpoints") {
		if len(s.Values) == 1 && s.Value > 0 {
			of(s.Values[0]).ejected = int(s.Value)
		}
	}
	whys := map[string][]string{}
	for d, t := range g.done {
		switch n := t.passed(now.Unix()); {
		case n == 0:
		case d.what == "refused" && (d.why == string(hop.Limit) || d.why == string(hop.Shed)):
			of(d.name).refused += n
		case d.what == "ejected":
			whys[d.name] = append(whys[d.name], d.why)
		}
	}
	for _, s := range found {
		slices.Sort(whys[s.upstream])
		s.why = strings.Join(slices.Compact(whys[s.upstream]), ", ")
	}
	if slices.ContainsFunc(slices.Collect(maps.Values(found)), func(s *stand) bool { return s.refused > 0 }) {
		for s := range g.meters.Samples("stoa_proxy_limit_requests") {
			if len(s.Values) == 1 && found[s.Values[0]] != nil {
				found[s.Values[0]].limit = int(s.Value)
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b *stand) int { return cmp.Compare(a.upstream, b.upstream) })
}

// A notice is the trouble of one service by one condition.
type notice struct {
	service string
	c       core.Condition // without evidence
}

// notices gives what there is to say of stands, at most one of a service and condition: of
// several upstreams, that of the first.
func notices(stands []*stand) (out []notice) {
	said := map[told]bool{}
	add := func(s *stand, c core.Condition) {
		service := serviceOf(s.upstream)
		if key := toldOf(service, c.Type); !said[key] {
			said[key] = true
			if s.upstream != service {
				c.Message = "at " + s.upstream + " " + c.Message
			}
			c.Status = core.False
			out = append(out, notice{service, c})
		}
	}
	for _, s := range stands {
		if s.breaker.name != "" {
			add(s, breakerNotice(s, s.breaker, ""))
		}
		for _, timeout := range slices.Sorted(maps.Keys(s.hasty)) {
			add(s, breakerNotice(s, s.hasty[timeout], timeout))
		}
		if s.refused > 0 {
			add(s, core.Condition{Type: LimitCondition, Reason: "Refusing",
				Message: "requests are refused, as more arrive than it takes: " + bound(s.limit) + " at one time",
				Hint:    "How many, and of which priority: stoa top, stoa top --json. Its bound: stoa explain service.traffic.concurrency"})
		}
		if s.ejected > 0 {
			text := fmt.Sprintf("%d of its instances is left alone for a while", s.ejected)
			if s.ejected > 1 {
				text = fmt.Sprintf("%d of its instances are left alone for a while", s.ejected)
			}
			if s.why != "" {
				text += " (" + s.why + ")"
			}
			add(s, core.Condition{Type: OutliersCondition, Reason: "Ejected", Message: text,
				Hint: "What they answered: stoa logs " + serviceOf(s.upstream) + " --access; the rules: stoa explain service.traffic.outliers"})
		}
	}
	return out
}

func bound(limit int) string {
	if limit == 0 {
		return "its bound"
	}
	return fmt.Sprint(limit)
}

// breakerNotice tells of a breaker that is not closed, of those of its callers who wait so
// long, or with "" of all.
func breakerNotice(s *stand, p phase, timeout string) core.Condition {
	c := core.Condition{Type: BreakerCondition, Since: core.At(p.since), Hint: "What failed: stoa traces --errors --service " + serviceOf(s.upstream) + ". It is tried again by itself, and closes when that goes well."}
	whom := "calls"
	if timeout != "" {
		whom = "calls that wait " + timeout
	}
	c.Reason, c.Message = "Open", whom+" are refused"
	if p.name == phases[2] {
		c.Reason, c.Message = "HalfOpen", "some "+whom+" are let through, to see whether it works again"
	}
	if n := p.before; n.Requests > 0 {
		c.Message += fmt.Sprintf(": in the %d s before it opened, %d of %d requests had failed", window, n.Failed, n.Requests)
	}
	return c
}

// told is a condition of a service.
type told struct{ service, typ string }

func toldOf(service, typ string) told { return told{service, typ} }

// A herald makes conditions, and lines of the log, of what notices say. One goroutine owns it.
type herald struct {
	m     *Module
	now   map[told]core.Condition // the trouble that was told and is not over
	begun map[told]time.Time      // when that began, whatever form it took since
	lines int                     // of the log in the second window
	left  int                     // that found the bound reached
	since time.Time               // of that window
}

func newHerald(m *Module) *herald {
	return &herald{m: m, now: map[told]core.Condition{}, begun: map[told]time.Time{}}
}

// tell makes known what has changed since it was last called.
func (h *herald) tell(now time.Time) {
	found := notices(h.m.guards.stands(now))
	standing := map[told]bool{}
	for _, n := range found {
		key := toldOf(n.service, n.c.Type)
		standing[key] = true
		before, known := h.now[key]
		if known && before.Reason == n.c.Reason && (n.c.Type != OutliersCondition || before.Message == n.c.Message) {
			continue // its numbers are those of its beginning: who wants the present ones asks top
		}
		h.now[key] = n.c
		if !known {
			h.begun[key] = now
		}
		c := n.c
		if c.Type == BreakerCondition {
			c.Evidence = h.m.traces.witnesses(n.service)
		}
		h.observe(n.service, c)
		if before.Reason != n.c.Reason {
			h.say(now, n.service, strings.ToLower(n.c.Type)+" "+spoken[n.c.Reason]+": "+n.c.Message)
		}
	}
	for key, c := range h.now {
		if standing[key] {
			continue
		}
		began := h.begun[key]
		delete(h.now, key)
		delete(h.begun, key)
		over := ended[c.Type]
		over.Type, over.Status = c.Type, core.True
		h.observe(key.service, over)
		h.say(now, key.service, fmt.Sprintf("%s %s after %s: %s", strings.ToLower(c.Type), spoken[over.Reason], now.Sub(began).Round(time.Second), over.Message))
	}
	h.rest(now)
}

// ended is what is observed when a trouble is over.
var ended = map[string]core.Condition{
	BreakerCondition:  {Reason: "Closed", Message: "calls pass again"},
	LimitCondition:    {Reason: "Calm", Message: "no request is refused for want of a place"},
	OutliersCondition: {Reason: "None", Message: "every instance is called"},
}

// spoken are reasons as a line of the log has them.
var spoken = map[string]string{"Open": "open", "HalfOpen": "half-open", "Closed": "closed", "Refusing": "reached", "Calm": "no longer reached", "Ejected": "left alone", "None": "all back"}

// observe states a condition, unless the service is gone.
func (h *herald) observe(service string, c core.Condition) {
	ref := core.Ref{Kind: core.KindService, Name: service}
	if h.m.o.Observe == nil {
		return
	}
	if h.m.o.State != nil {
		if _, there := h.m.o.State().Docs[ref]; !there {
			return
		}
	}
	h.m.o.Observe(ref, c)
}

// say writes a line of the log, if the window has room for it.
func (h *herald) say(now time.Time, service, text string) {
	if h.m.o.Log == nil {
		return
	}
	h.rest(now)
	if h.lines++; h.lines > maxNotices {
		h.left++
		return
	}
	h.m.o.Log().Info(service+": "+text, "part", "telemetry", "service", service)
}

// rest begins a new window when one is over, and says how many lines had no room in it.
func (h *herald) rest(now time.Time) {
	if since := now.Sub(h.since); since >= 0 && since < window*time.Second {
		return
	}
	if h.left > 0 {
		h.m.o.Log().Info(fmt.Sprintf("%d more changes of breakers, bounds and outliers were not told, as there were many", h.left), "part", "telemetry")
	}
	h.lines, h.left, h.since = 0, 0, now
}

// witnesses gives the latest calls of a service that failed there, the oldest first.
func (t *traces) witnesses(service string) (out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.order) - 1; i >= max(0, len(t.order)-maxSearched) && len(out) < maxWitness; i-- {
		id := t.order[i]
		for _, s := range t.byID[id].spans {
			if s.Callee == service && s.Error != "" && s.Reason != string(hop.Breaker) && s.Reason != string(hop.Limit) && s.Reason != string(hop.Shed) {
				out = append(out, witness(id.String(), s))
				break
			}
		}
	}
	slices.Reverse(out)
	return out
}

func witness(id string, s telemetry.Span) string {
	status := fmt.Sprint(s.Status)
	if s.GRPCStatus != "" {
		status = s.GRPCStatus
	}
	if s.Reason != "" {
		status += " " + s.Reason
	}
	text := fmt.Sprintf("%s %s %s from %s: %s after %s, trace %s", s.Start.Local().Format(time.TimeOnly), clean(s.Method), clean(s.Path), cmp.Or(s.Caller, gatewayName),
		status, micros(s.DurationMicros), id[:12])
	if s.Fault != "" {
		text += ", injected by " + s.Fault
	}
	return text
}
