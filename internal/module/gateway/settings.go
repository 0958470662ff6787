package gateway

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/gateway"
	"stoa/api/mesh"
	"stoa/internal/engine/balance"
	"stoa/internal/engine/breaker"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/outlier"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// settler puts policies into words, each with where it comes from.
type settler struct {
	declared
	edge   bool
	method string
	key    bool     // the request bears an Idempotency-Key
	single []string // the services that may be called, if each has one instance only

	out []gateway.Setting
}

// say adds a setting. own and def say whether the document and the System's defaults
// declare it; set whether the snapshot has it, for when the documents are not known.
func (s *settler) say(name, value, source string, own, def, set bool) {
	from := "default"
	switch {
	case s.known && own:
		from = source
	case s.known && def:
		from = "System defaults"
	case set:
		from = "declared"
	}
	s.out = append(s.out, gateway.Setting{Name: name, Value: value, From: from})
}

// rule tells what else is done with a request that follows r.
func (s *settler) rule(snap *snapshot.Snapshot, r *route.Rule) (out []gateway.Setting) {
	from := "declared"
	if s.known {
		from = s.source
	}
	say := func(name, value string) {
		out = append(out, gateway.Setting{Name: name, Value: value, From: from})
	}
	if r.Relaxed {
		say("relaxed", "paths of several readings are passed on byte for byte")
	}
	if k := r.Sticky; k != nil {
		say("sticky", sticky(*k))
	}
	if m := r.Mirror; m != nil {
		text := fmt.Sprintf("%v %% are copied to %s, whose answers are thrown away", m.Percent, snap.ServiceOf(m.Upstream))
		if !m.Unsafe && s.method != "GET" && s.method != "HEAD" && s.method != "OPTIONS" {
			text += "; not " + s.method
		}
		say("mirror", text)
	}
	for _, e := range []struct {
		name  string
		edits *route.Edits
	}{{"requestHeaders", r.Request}, {"answerHeaders", r.Answer}} {
		if e.edits == nil {
			continue
		}
		var parts []string
		for _, n := range e.edits.Remove {
			parts = append(parts, "without "+n)
		}
		for _, f := range e.edits.Set {
			parts = append(parts, f.Name+": "+f.Value+" alone")
		}
		for _, f := range e.edits.Add {
			parts = append(parts, f.Name+": "+f.Value+" too")
		}
		say(e.name, strings.Join(parts, ", "))
	}
	return out
}

// sticky tells what keeps requests together.
func sticky(k route.Sticky) string {
	switch {
	case k.Issue != "" && k.Lasts > 0:
		return "at the instance that the cookie " + k.Issue + " names, which the gateway gives with the first answer for " + core.Duration(k.Lasts).String()
	case k.Issue != "":
		return "at the instance that the cookie " + k.Issue + " names, which the gateway gives with the first answer"
	case k.Cookie != "":
		return "by the cookie " + k.Cookie
	}
	return "by header " + k.Header
}

// policy tells how a call is carried; called says whether a service is called at all.
func (s *settler) policy(p snapshot.Policy, called bool) []gateway.Setting {
	s.out = nil
	own, def := s.declared.policy, s.defaults.EdgePolicy
	say := func(name, value string, own, def, set bool) { s.say(name, value, s.source, own, def, set) }
	safe := retry.Safe(s.method)
	if called {
		say("timeout", bound(p.Deadline.Route())+" in all", own.Timeout != 0, def.Timeout != 0, p.Deadline.Total != 0)
		say("idle", bound(p.Deadline.Quiet())+" without traffic, for streams", own.Idle != 0, def.Idle != 0, p.Deadline.Idle != 0)
		set := len(p.Retry.On) > 0 || p.Retry.Attempts != 0 || p.Retry.PerTry != 0 || p.Retry.Base != 0 || p.Retry.Cap != 0 || p.Retry.Unsafe || p.Retry.HedgeAfter != ""
		say("retry", s.retry(p.Retry), own.Retry != nil, def.Retry != nil, set)
		if p.Retry.Attempts != 1 {
			on := "connect, reset, timeout, 502, 503, 504, 429 with Retry-After, gRPC's UNAVAILABLE"
			if c := p.Retries(s.edge); len(c.On) > 0 {
				on = strings.Join(c.On, ", ")
			}
			if own.Retry == nil && def.Retry == nil && s.edge && !set {
				on += "; answers only where retry is declared"
			}
			say("retry.on", on, own.Retry != nil, def.Retry != nil, set)
			say("retry.backoff", fmt.Sprintf("up to %s, doubling to %s, or as Retry-After says", core.Duration(cmp.Or(p.Retry.Base, retry.DefaultBase)),
				core.Duration(cmp.Or(p.Retry.Cap, retry.DefaultCap))), own.Retry != nil, def.Retry != nil, set)
		}
		if h := p.Retry.HedgeAfter; h != "" {
			text := "a second request after " + h
			if !safe {
				text += ", not for " + s.method
			} else if len(s.single) > 0 {
				text = "nothing, as there is one instance of " + strings.Join(s.single, " and ") + "; with more, " + text
			}
			say("retry.hedge", text, own.Retry != nil, def.Retry != nil, true)
		}
	}
	if s.edge {
		say("rateLimit", rates(p), own.RateLimit != nil, def.RateLimit != nil, len(p.Rates) > 0)
	}
	if called {
		say("priority", p.Priority.String(), own.Priority != "", def.Priority != "", p.Priority != limit.Normal)
	}
	if s.edge && called {
		say("cohort", cmp.Or(p.Cohort, "client")+": whose requests are refused together", own.Cohort != "", def.Cohort != "", p.Cohort != "")
	}
	if called {
		say("cache", s.cache(p), own.Cache != nil, def.Cache != nil, p.Cache != nil)
		text := "never"
		if p.Coalesce > 0 {
			text = "joins for up to " + core.Duration(p.Coalesce).String()
			if s.method != "GET" {
				text += ", not for " + s.method
			}
		}
		say("coalesce", text, own.Coalesce != nil, def.Coalesce != nil, p.Coalesce > 0)
		say("fallback", s.fallback(p.Fallback, safe), own.Fallback != nil, def.Fallback != nil, p.Fallback != nil)
	}
	if s.edge {
		text := "no pages of other origins"
		if c := p.CORS; c != nil {
			text = "pages of " + strings.Join(c.Origins, ", ")
		}
		say("cors", text, own.CORS != nil, def.CORS != nil, p.CORS != nil)
		say("security", secure(p.Secure), own.Security != nil, def.Security != nil, p.Secure != nil)
	}
	return s.out
}

func (s *settler) retry(c retry.Config) string {
	p := c.Compile()
	if p.Attempts() == 1 {
		return "never"
	}
	text := fmt.Sprintf("up to %d attempts", p.Attempts())
	if c.PerTry > 0 {
		text += " of " + core.Duration(c.PerTry).String()
	}
	if c.Unsafe {
		text += ", of any request, also one on which the service may have acted"
	}
	if !retry.Repeatable(s.method, s.key, c.Unsafe) {
		text += "; " + s.method + " without Idempotency-Key only if it never arrived"
	}
	return text
}

func (s *settler) cache(p snapshot.Policy) string {
	if p.Cache == nil {
		return "nothing is kept"
	}
	text := "answers are kept as they allow"
	for _, f := range []struct {
		d    time.Duration
		what string
	}{{p.Cache.MaxAge, ", fresh for at most "}, {p.Cache.StaleIfError, ", on failure used longer by "}, {p.Cache.StaleWhileRevalidate, ", while a new one is fetched by "}} {
		if f.d > 0 {
			text += f.what + core.Duration(f.d).String()
		}
	}
	if s.method != "GET" && s.method != "HEAD" {
		text += "; not for " + s.method
	}
	return text
}

func (s *settler) fallback(f *snapshot.Fallback, safe bool) string {
	if f == nil {
		return "none: the failure is the answer"
	}
	var parts []string
	if f.Cached > 0 {
		parts = append(parts, "the last good answer, up to "+core.Duration(f.Cached).String()+" old")
	}
	if f.Static != nil {
		parts = append(parts, fmt.Sprintf("a declared answer, %d", cmp.Or(f.Static.Status, 200)))
	}
	if f.Upstream != "" {
		parts = append(parts, "that of "+f.Upstream)
	}
	text := strings.Join(parts, ", then ")
	if !safe {
		text += "; not for " + s.method
	}
	return text
}

// traffic tells how calls to an upstream are spread and bounded.
func (s *settler) traffic(snap *snapshot.Snapshot, upstream string) []gateway.Setting {
	s.out = nil
	u, service := snap.Upstreams[upstream], snap.ServiceOf(upstream)
	own, def := mesh.Traffic{}, s.defaults.Traffic
	if s.known {
		own = s.declared.traffic(service)
	}
	say := func(name, value string, own, def, set bool) {
		s.say(name, value, "service/"+service+" traffic", own, def, set)
	}
	say("balance", balanced(u.Balance), own.Balance != nil, def.Balance != nil, u.Balance != balance.Config{})
	say("outliers", outliers(u.Outliers), own.Outliers != nil, def.Outliers != nil, u.Outliers != outlier.Config{})
	b, text := u.Breaker, "never opens"
	if !b.Off {
		text = fmt.Sprintf("opens when %d %% of at least %d calls in %s fail, for %s at first, %s at most",
			cmp.Or(b.Percent, breaker.DefaultPercent), cmp.Or(b.Least, breaker.DefaultLeast), core.Duration(cmp.Or(b.Window, breaker.DefaultWindow)),
			core.Duration(cmp.Or(b.Open, breaker.DefaultOpen)), core.Duration(cmp.Or(b.OpenMax, breaker.DefaultOpenMax)))
	}
	if p := snap.Patience()[upstream]; len(p) > 1 && !b.Off {
		var apart []string
		for _, d := range p[:len(p)-1] {
			apart = append(apart, core.Duration(d).String())
		}
		text += "; timeouts of those who wait " + strings.Join(apart, " or ") + " count for them alone, as others wait longer"
	}
	say("breaker", text, own.Breaker != nil, def.Breaker != nil, b != breaker.Config{})
	say("concurrency", bounds(u.Limit), own.Concurrency != nil, def.Concurrency != nil, u.Limit != limit.Config{})
	say("retryBudget", fmt.Sprintf("repeats are at most %d %% of the calls, and %d a second besides",
		max(0, cmp.Or(u.Budget.Percent, retry.DefaultPercent)), max(0, cmp.Or(u.Budget.Floor, retry.DefaultFloor))),
		own.RetryBudget != nil, def.RetryBudget != nil, u.Budget != retry.BudgetConfig{})
	return s.out
}

func balanced(c balance.Config) string {
	text := cmp.Or(c.By, balance.EWMA)
	if c.Key != "" {
		text += " by " + c.Key
	}
	if c.Start() == 0 {
		return text + ", a new instance at once with its full share"
	}
	return text + ", a new instance with its full share after " + core.Duration(c.Start()).String()
}

func outliers(c outlier.Config) string {
	if c.Off {
		return "no instance is left alone"
	}
	text := fmt.Sprintf("an instance is left alone for %s after", core.Duration(cmp.Or(c.Base, outlier.DefaultBase)))
	if c.Consecutive < 0 {
		return text + " rates of failure far above its peers'"
	}
	return fmt.Sprintf("%s %d failures in a row", text, cmp.Or(c.Consecutive, outlier.DefaultConsecutive))
}

func bounds(c limit.Config) string {
	var parts []string
	if c.Max > 0 {
		parts = append(parts, fmt.Sprintf("at most %d at one time", c.Max))
	}
	least := cmp.Or(c.MinLimit, limit.DefaultMin)
	switch {
	case c.Max > 0 && c.Adaptive != limit.Off && c.Max > least:
		parts = append(parts, fmt.Sprintf("below that adaptive, from %d", least))
	case c.Max > 0: // no adaptive bound is as low
	case c.Adaptive != limit.Off:
		parts = append(parts, fmt.Sprintf("adaptive, from %d up to %d for each instance", least, cmp.Or(c.MaxLimit, limit.DefaultMax)))
	default:
		parts = append(parts, "not bounded")
	}
	switch {
	case c.Queue < 0:
		parts = append(parts, "nobody waits")
	case c.Wait > 0:
		parts = append(parts, "others wait for up to "+core.Duration(c.Wait).String())
	default:
		parts = append(parts, "others wait for up to a tenth of their time")
	}
	return strings.Join(parts, "; ")
}

func rates(p snapshot.Policy) string {
	if len(p.Rates) == 0 {
		return "none"
	}
	var all []string
	for _, r := range p.Rates {
		text := r.Rate.String()
		if r.Per != "" {
			text += " per " + string(r.Per)
		}
		if r.Burst > 0 {
			text += fmt.Sprintf(", %d at once", r.Burst)
		}
		all = append(all, text)
	}
	return strings.Join(all, " and ")
}

func secure(s *snapshot.Secure) string {
	if s == nil {
		return "no fields are added"
	}
	var parts []string
	for _, f := range []struct {
		name string
		is   bool
	}{
		{"Strict-Transport-Security", s.HSTS > 0}, {"Content-Security-Policy", s.ContentPolicy != ""}, {"X-Frame-Options", s.Frames != ""},
		{"Referrer-Policy", s.Referrer != ""}, {"X-Content-Type-Options", s.NoSniff}, {"Permissions-Policy", s.PermissionsFor != ""},
	} {
		if f.is {
			parts = append(parts, f.name)
		}
	}
	return "answers without their own get " + strings.Join(parts, ", ")
}

// bound gives a bound in words.
func bound(d time.Duration) string {
	if d == deadline.None {
		return "no bound"
	}
	return core.Duration(d).String()
}
