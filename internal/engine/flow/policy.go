package flow

import (
	"time"

	"stoa/internal/engine/balance"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/rate"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// policy is how the calls of a route are carried, compiled. It never changes.
type policy struct {
	total    time.Duration // deadline.None: none
	declared bool          // total is, and is no default: it holds for all of an answer
	quiet    time.Duration // of a stream; 0: none
	patience time.Duration // of an attempt; deadline.None: without end
	retry    *retry.Policy
	hedges   bool // retry may ask for second attempts beside slow ones
	rates    []*rateLimit
	priority limit.Priority
	cohort   source
	guard    *guard // nil: none
}

// rateLimit is one rate of a route; what was spent of it outlives snapshots.
type rateLimit struct {
	limit rate.Limit
	from  source
	spent *spending
}

// spending is what was spent of a rate, by the one or by the many that have one.
type spending struct {
	cell  rate.Cell
	keyed rate.Keyed
}

// spendingKey says whose a spending is.
type spendingKey struct {
	listener, rule string
	index          int
}

// never is the policy of calls that nobody else makes again: those of Call, and TCP.
var never = &policy{total: none, patience: none, retry: retry.Config{Attempts: 1}.Compile()}

// policy compiles how the calls of a rule are carried. spent is asked for what was spent of
// its rates.
func compilePolicy(r *route.Rule, c snapshot.Policy, edge bool, spent func(i int) *spending) *policy {
	p := &policy{
		total: c.Deadline.Route(), declared: c.Deadline.Total != 0 || r.Timeout > 0, retry: c.Retries(edge).Compile(), priority: c.Priority, cohort: sourceOf(c.Cohort), guard: compileGuard(c),
	}
	p.hedges = c.Retry.HedgeAfter != ""
	if r.Timeout > 0 {
		p.total = r.Timeout
	}
	p.patience = c.Patience(r)
	if q := c.Deadline.Quiet(); q != none {
		p.quiet = q
	}
	for i, rc := range c.Rates {
		l, ok := rc.Compile()
		if !ok {
			continue
		}
		p.rates = append(p.rates, &rateLimit{limit: l, from: sourceOf(string(rc.Per)), spent: spent(i)})
	}
	return p
}

// source is where the key of a request stands.
type source struct {
	kind balance.Source
	name string
}

// sourceOf reads "header:NAME", "cookie:NAME", "client" and "path"; no source for others.
func sourceOf(s string) (from source) {
	from.kind, from.name = balance.Config{Key: s}.Source()
	return from
}

// key gives the key of x by s, "" if it has none.
func (x *Exchange) keyOf(s source) string {
	if x.Req == nil {
		return ""
	}
	switch s.kind {
	case balance.Header:
		v, _ := x.Req.Header(s.name)
		return v
	case balance.Cookie:
		v, _ := (&route.Sticky{Cookie: s.name}).Key(x.Req)
		return v
	case balance.Client:
		return x.Req.Client()
	case balance.Path:
		return x.Rec.Path
	}
	return ""
}
