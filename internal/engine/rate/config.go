package rate

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bounds of a Config.
const (
	MaxPerSecond = 1_000_000     // the step between two requests must be some microseconds for the nanosecond to be exact enough
	MaxBurst     = 1_000_000_000 // requests
	maxWhole     = 366 * 24 * time.Hour
)

// Rate is so many requests in a span of time. Its text is "50/s", "1000/m", "5/h" or
// "10000/d". The zero value is no rate; its text is empty.
type Rate struct {
	N   int64         // requests
	Per time.Duration // a second, minute, hour or day
}

var units = [...]struct {
	name string
	per  time.Duration
}{{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}}

// ParseRate reads the text form of a Rate.
func ParseRate(s string) (Rate, error) {
	n, unit, ok := strings.Cut(s, "/")
	for _, u := range units {
		if ok && unit == u.name && n != "" && n[0] != '+' && n[0] != '-' {
			v, err := strconv.ParseInt(n, 10, 64)
			if err != nil || v < 1 {
				break
			}
			return Rate{v, u.per}, nil
		}
	}
	return Rate{}, fmt.Errorf("%q is no rate: want requests/unit with a unit of s, m, h or d, as 50/s", s)
}

// String gives the text form.
func (r Rate) String() string {
	if r == (Rate{}) {
		return ""
	}
	for _, u := range units {
		if r.Per == u.per {
			return strconv.FormatInt(r.N, 10) + "/" + u.name
		}
	}
	return fmt.Sprintf("%d/%v", r.N, r.Per)
}

// MarshalText gives the text form. It fails for what ParseRate would not read back.
func (r Rate) MarshalText() ([]byte, error) {
	s := r.String()
	if s != "" {
		if _, err := ParseRate(s); err != nil {
			return nil, err
		}
	}
	return []byte(s), nil
}

// UnmarshalText reads the text form.
func (r *Rate) UnmarshalText(b []byte) (err error) {
	*r = Rate{}
	if len(b) > 0 {
		*r, err = ParseRate(string(b))
	}
	return err
}

// Source is where the key of a request comes from.
type Source uint8

// The sources.
const (
	All    Source = iota // no key: one quota for the route
	Client               // the client's address
	Header               // the value of a request header
	Cookie               // the value of a cookie
)

// Per says who has a quota of their own: "" nobody (one for the route), "client" each
// client address, "header:NAME" each value of a request header, "cookie:NAME" of a cookie.
//
// A caller chooses the values of headers and cookies: a new value has a whole quota. Use
// them only where something before the limit refuses values that it does not know.
type Per string

// Source gives where the key comes from, and the name of the header or cookie. ok is false
// if p says none of the four.
func (p Per) Source() (from Source, name string, ok bool) {
	kind, name, named := strings.Cut(string(p), ":")
	switch {
	case p == "":
		return All, "", true
	case kind == "client" && !named:
		return Client, "", true
	case kind == "header" && isToken(name):
		return Header, name, true
	case kind == "cookie" && isToken(name):
		return Cookie, name, true
	}
	return All, "", false
}

// isToken says whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// Config is the rate limit of a route. The zero value limits nothing.
type Config struct {
	// Rate is what may pass in the long run; zero means no limit.
	Rate Rate `json:"rate,omitzero"`

	// Burst is what may pass at one moment after a rest, 1 to a billion; 0 means the number of
	// Rate: 5/h lets five pass at once and the sixth after twelve minutes. In any span of time
	// at most Burst + Rate x span pass.
	Burst int `json:"burst,omitempty"`

	// Per says who has a quota of their own.
	Per Per `json:"per,omitempty"`

	// Legacy adds X-RateLimit-Limit, -Remaining and -Reset to the answers.
	Legacy bool `json:"legacy,omitempty"`
}

// Check tells bad what is wrong with c, by the path of the field.
func (c Config) Check(bad func(path, text, hint string)) {
	r := c.Rate
	if r == (Rate{}) {
		if c != (Config{}) {
			bad("rate", "is missing", "Give a rate, as 50/s, or leave the whole limit out.")
		}
		return
	}
	if _, err := ParseRate(r.String()); err != nil {
		bad("rate", err.Error(), "Write it as 50/s, 1000/m, 5/h or 10000/d.")
		return
	}
	if float64(r.N)/r.Per.Seconds() > MaxPerSecond {
		bad("rate", fmt.Sprintf("%v is more than %d/s", r, MaxPerSecond), "Leave the limit out: no node passes as much.")
		return
	}
	if c.Burst < 0 || c.Burst > MaxBurst {
		bad("burst", fmt.Sprintf("want 1 to %d", MaxBurst), "Leave it out for the number of the rate.")
	} else if whole := float64(r.Per) / float64(r.N) * float64(c.Burst); whole > float64(maxWhole) {
		bad("burst", fmt.Sprintf("%d at %v takes more than a year to come back", c.Burst, r), "Give a smaller burst or a higher rate.")
	}
	if _, _, ok := c.Per.Source(); !ok {
		bad("per", fmt.Sprintf("%q: want client, header:NAME or cookie:NAME", string(c.Per)), "Leave it out for one quota that all share.")
	}
}

// Compile makes the Limit of a Config that has passed Check; ok is false if it limits nothing.
func (c Config) Compile() (l Limit, ok bool) {
	if c.Rate.N <= 0 || c.Rate.Per <= 0 {
		return Limit{}, false
	}
	// Rounded up, so that never more than the declared rate passes; at a million a second
	// a thousandth less does.
	l.step = int64(c.Rate.Per-1)/c.Rate.N + 1
	l.burst = int64(c.Burst)
	if l.burst <= 0 {
		l.burst = c.Rate.N
	}
	l.burst = min(l.burst, math.MaxInt64/4/l.step)
	l.whole = l.step * l.burst
	l.legacy = c.Legacy
	l.declared = c.Rate
	l.source, l.name, _ = c.Per.Source()
	l.policy = `"default";q=` + strconv.FormatInt(c.Rate.N, 10) + ";w=" + strconv.FormatInt(int64(cmp.Or(c.Rate.Per/time.Second, 1)), 10)
	return l, true
}
