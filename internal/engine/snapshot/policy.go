package snapshot

import (
	"fmt"
	"strings"
	"time"

	"stoa/internal/engine/cache"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/rate"
	"stoa/internal/engine/retry"
)

// Policy is how the calls of a rule are carried. The zero value has the defaults of each
// pattern.
type Policy struct {
	Deadline deadline.Config `json:"deadline,omitzero"`
	Retry    retry.Config    `json:"retry,omitzero"`
	Rates    []rate.Config   `json:"rates,omitempty"`    // all must allow a request
	Priority limit.Priority  `json:"priority,omitzero"`  // of the requests; those of a caller inside keep what they came with
	Cohort   string          `json:"cohort,omitempty"`   // whose requests are shed together: header:NAME, cookie:NAME; "" for client
	Cache    *cache.Config   `json:"cache,omitempty"`    // nil: no answer is kept
	Coalesce time.Duration   `json:"coalesce,omitempty"` // concurrent requests for one thing join for so long; 0: never
	Fallback *Fallback       `json:"fallback,omitempty"` // instead of a failure
	CORS     *CORS           `json:"cors,omitempty"`
	Secure   *Secure         `json:"secure,omitempty"` // security fields of answers
}

// MaxRates bounds the rates of one rule.
const MaxRates = 8

// Fallback is what is answered where the failure would be: of what is set, the first that
// there is, in the order of the fields. For safe methods only.
type Fallback struct {
	Cached   time.Duration `json:"cached,omitempty"`   // the last good answer, no older than this
	Static   *Static       `json:"static,omitempty"`   // an answer that was declared
	Upstream string        `json:"upstream,omitempty"` // another upstream, asked once
}

// Static is a declared answer.
type Static struct {
	Status      int    `json:"status,omitempty"`      // 0 means 200
	ContentType string `json:"contentType,omitempty"` // "" means text/plain; charset=utf-8
	Body        string `json:"body"`
}

// CORS is which pages of other origins may use the answers (the Fetch standard, section 3.2).
type CORS struct {
	Origins     []string      `json:"origins"` // "https://shop.example", "https://*.shop.example", or "*" alone
	Methods     []string      `json:"methods,omitempty"`
	Headers     []string      `json:"headers,omitempty"` // that a page may send
	Expose      []string      `json:"expose,omitempty"`  // that a page may read
	Credentials bool          `json:"credentials,omitempty"`
	MaxAge      time.Duration `json:"maxAge,omitempty"` // of a preflight; 0 means 10 min
}

// Secure are security fields, which are added to answers that have none of their own.
type Secure struct {
	HSTS           time.Duration `json:"hsts,omitempty"`           // max-age of Strict-Transport-Security, over TLS only; 0: none
	ContentPolicy  string        `json:"contentPolicy,omitempty"`  // Content-Security-Policy
	Frames         string        `json:"frames,omitempty"`         // X-Frame-Options: DENY or SAMEORIGIN
	Referrer       string        `json:"referrer,omitempty"`       // Referrer-Policy
	NoSniff        bool          `json:"noSniff,omitempty"`        // X-Content-Type-Options: nosniff
	PermissionsFor string        `json:"permissionsFor,omitempty"` // Permissions-Policy
}

// Check tells bad what is wrong with p, by the path of the field.
func (p Policy) Check(bad func(path, text, hint string)) {
	in := func(part string) func(path, text, hint string) {
		return func(path, text, hint string) { bad(strings.TrimSuffix(part+"."+path, "."), text, hint) }
	}
	p.Deadline.Check(in("deadline"))
	p.Retry.Check(in("retry"))
	p.Retry.CheckTotal(p.Deadline.Route(), in("retry"))
	if len(p.Rates) > MaxRates {
		bad("rates", fmt.Sprintf("%d are more than %d", len(p.Rates), MaxRates), "Take some away.")
	}
	for i, r := range p.Rates {
		r.Check(in(fmt.Sprintf("rates[%d]", i)))
	}
	if p.Cache != nil {
		p.Cache.Check(in("cache"))
	}
	if p.Coalesce < 0 || p.Coalesce > time.Minute {
		bad("coalesce", "want a time of at most 1m", "Leave it out to join no requests.")
	}
	if f := p.Fallback; f != nil {
		if f.Cached == 0 && f.Static == nil && f.Upstream == "" {
			bad("fallback", "says nothing", "Give cached, static or service.")
		}
		if f.Cached < 0 || f.Cached > 24*time.Hour {
			bad("fallback.cached", "want an age of at most 24h", "")
		}
		if f.Static != nil && f.Static.Status != 0 && (f.Static.Status < 200 || f.Static.Status > 599) {
			bad("fallback.static.status", "want a status from 200 to 599", "Leave it out for 200.")
		}
	}
	if c := p.CORS; c != nil {
		if len(c.Origins) == 0 {
			bad("cors.origins", "is missing", `Name the origins, as in https://shop.example, or "*".`)
		}
		for i, o := range c.Origins {
			if o == "*" && (len(c.Origins) > 1 || c.Credentials) {
				bad(fmt.Sprintf("cors.origins[%d]", i), "* stands alone, and not with credentials", "Name the origins.")
			}
		}
	}
}
