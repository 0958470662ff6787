// Package policy makes what is declared of calls into what a snapshot says of them, and
// tells what is wrong with it.
//
//	uses, expose, defaults --Check--> problems, each by the path of the declared field
//	                       --Of-----> snapshot.Policy      of a rule
//	traffic, defaults      --Check--> problems
//	                       --Upstream--> snapshot.Upstream
//
// It is where the two vocabularies meet: durations as people write them become numbers,
// the name of a service that of an upstream, the field of a problem that of the blueprint.
// The bounds and the defaults are those of the pattern packages; nothing is repeated here.
// It is pure. Both modules that declare calls, mesh and gateway, stand on it.
package policy

import (
	"reflect"
	"time"

	"stoa/api/core"
	"stoa/internal/engine/cache"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/rate"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/snapshot"
)

// Of gives the policy of a rule. upstream gives that of a service that is named as a
// fallback, "" if it has none; then there is no such fallback.
func Of(p core.EdgePolicy, upstream func(service string) string) snapshot.Policy {
	s := snapshot.Policy{
		Deadline: deadline.Config{Total: p.Timeout.D(), Idle: p.Idle.D()},
		Retry:    retryOf(p.Retry),
		Cohort:   p.Cohort,
		Cache:    cacheOf(p.Cache),
		Fallback: fallbackOf(p.Fallback, upstream),
		CORS:     corsOf(p.CORS),
		Secure:   secureOf(p.Security),
	}
	if s.Cohort == "client" {
		s.Cohort = ""
	}
	for _, q := range p.RateLimit.Quotas() {
		if c, err := quotaOf(q); err == nil {
			s.Rates = append(s.Rates, c)
		}
	}
	s.Priority, _ = limit.ParsePriority(p.Priority)
	if p.Coalesce != nil {
		s.Coalesce = p.Coalesce.D()
	}
	return s
}

// Says says whether p has more than defaults, so that a rule must name it.
func Says(p snapshot.Policy) bool { return !reflect.DeepEqual(p, snapshot.Policy{}) }

func retryOf(r *core.Retry) retry.Config {
	if r == nil {
		return retry.Config{}
	}
	c := retry.Config{Attempts: r.Attempts, PerTry: r.PerTry.D(), Unsafe: r.Unsafe, On: r.On, HedgeAfter: r.Hedge}
	if c.Attempts == 0 {
		c.Attempts = retry.DefaultAttempts // declared: at the gateway that is more than nothing
	}
	if r.Backoff != nil {
		c.Base, c.Cap = r.Backoff.Base.D(), r.Backoff.Cap.D()
	}
	return c
}

func quotaOf(q core.Quota) (rate.Config, error) {
	c := rate.Config{Burst: q.Burst, Per: rate.Per(q.Per), Legacy: q.Legacy}
	if q.Rate == "" {
		return c, nil
	}
	var err error
	c.Rate, err = rate.ParseRate(q.Rate)
	return c, err
}

func cacheOf(c *core.Cache) *cache.Config {
	if c == nil || c.On != nil && !*c.On {
		return nil
	}
	return &cache.Config{
		StaleIfError: c.StaleIfError.D(), StaleWhileRevalidate: c.StaleWhileRevalidate.D(), MaxAge: c.MaxAge.D(), IgnoreReload: c.IgnoreReload,
	}
}

func fallbackOf(f *core.Fallback, upstream func(service string) string) *snapshot.Fallback {
	if f == nil || f.Off {
		return nil
	}
	s := snapshot.Fallback{Cached: f.Cached.D()}
	if a := f.Static; a != nil {
		s.Static = &snapshot.Static{Status: a.Status, ContentType: a.ContentType, Body: a.Body}
	}
	if f.Service != "" {
		s.Upstream = upstream(f.Service)
	}
	if s == (snapshot.Fallback{}) {
		return nil
	}
	return &s
}

func corsOf(c *core.CORS) *snapshot.CORS {
	if c == nil || c.Off {
		return nil
	}
	return &snapshot.CORS{Origins: c.Origins, Methods: c.Methods, Headers: c.Headers, Expose: c.Expose, Credentials: c.Credentials, MaxAge: c.MaxAge.D()}
}

func secureOf(s *core.Security) *snapshot.Secure {
	if s == nil || *s == (core.Security{}) {
		return nil
	}
	v := snapshot.Secure{
		HSTS: s.HSTS.D(), ContentPolicy: s.ContentPolicy, Frames: s.Frames, Referrer: s.Referrer, NoSniff: s.NoSniff || s.Basic, PermissionsFor: s.Permissions,
	}
	if s.Basic && v.Frames == "" {
		v.Frames = "SAMEORIGIN"
	}
	if s.Basic && v.Referrer == "" {
		v.Referrer = "strict-origin-when-cross-origin"
	}
	return &v
}

// atOnce is a declared zero where zero means the default.
func atOnce(d *core.Duration) time.Duration {
	switch {
	case d == nil:
		return 0
	case *d == 0:
		return -1
	}
	return d.D()
}

// First gives the first field of p that is declared, or "".
func First(p core.EdgePolicy) string {
	for _, f := range []struct {
		name string
		is   bool
	}{
		{"timeout", p.Timeout != 0}, {"idle", p.Idle != 0}, {"retry", p.Retry != nil}, {"fallback", p.Fallback != nil}, {"cache", p.Cache != nil},
		{"coalesce", p.Coalesce != nil}, {"priority", p.Priority != ""}, {"rateLimit", p.RateLimit != nil}, {"cohort", p.Cohort != ""},
		{"cors", p.CORS != nil}, {"security", p.Security != nil},
	} {
		if f.is {
			return f.name
		}
	}
	return ""
}
