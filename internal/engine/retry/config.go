package retry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Config says which calls of a route are made again. The zero value means the defaults.
type Config struct {
	// Attempts is how many attempts a call may have, the first included: 0 means 2; at most
	// MaxAttempts; 1 or less means that none is repeated.
	Attempts int `json:"attempts,omitempty"`

	// PerTry is the time for one attempt: 0 means what is left of the call's; at least 1 ms.
	// Below the 99.9th percentile of the service it turns slowness into load.
	PerTry time.Duration `json:"perTry,omitempty"`

	// Base and Cap bound the wait before a repeat: a random time up to Base, doubled for each
	// further one up to Cap. 0 means 25 ms and 250 ms; 1 ms to 30 s.
	Base time.Duration `json:"base,omitempty"`
	Cap  time.Duration `json:"cap,omitempty"`

	// Unsafe declares that the service bears the repeat of any request, also of a POST
	// without Idempotency-Key that it may have acted on.
	Unsafe bool `json:"unsafe,omitempty"`

	// On are the failures that are repeated: connect, reset, timeout, 502, 503, 504, 429,
	// unavailable, resource-exhausted. Empty means all of them.
	On []string `json:"on,omitempty"`

	// HedgeAfter sends a second request of a safe method when the first has had no answer for
	// so long: "p95" for the 95th percentile of the route, or a duration from 1 ms to 1 min.
	// Empty means never.
	HedgeAfter string `json:"hedgeAfter,omitempty"`
}

// The defaults and bounds of Config.
const (
	// DefaultAttempts is one repeat, on another endpoint, which cures the failure of one
	// endpoint. A third attempt helps where several fail, which is where it does harm: along
	// four hops 2 attempts are 16 calls, 3 are 81, and below the floor of the budget nothing
	// else bounds that. Envoy and Linkerd repeat once as well.
	DefaultAttempts = 2

	// MaxAttempts is gRPC's (A6).
	MaxAttempts = 5

	DefaultBase = 25 * time.Millisecond
	DefaultCap  = 250 * time.Millisecond

	minWait, maxWait   = time.Millisecond, 30 * time.Second
	minHedge, maxHedge = time.Millisecond, time.Minute
	percentile         = "p95"
)

// classes are the names of Config.On, in the order of the bits.
var classes = []string{"connect", "reset", "timeout", "502", "503", "504", "429", "unavailable", "resource-exhausted"}

// Check tells bad what is wrong with c, by the path of the field.
func (c Config) Check(bad func(path, text, hint string)) {
	if c.Attempts == 1 && (len(c.On) > 0 || c.Base != 0 || c.Cap != 0 || c.Unsafe) {
		bad("attempts", "1 says that none is repeated, and other fields say how", "Give 2 attempts or more, or take the others away.")
	}
	if c.Attempts > MaxAttempts {
		bad("attempts", fmt.Sprintf("%d attempts are more than %d", c.Attempts, MaxAttempts), fmt.Sprintf("Give at most %d, the first attempt included.", MaxAttempts))
	}
	if c.PerTry != 0 && c.PerTry < minWait {
		bad("perTry", fmt.Sprintf("%v is less than %v", c.PerTry, minWait), "Leave it out, or give more than the service's slowest good answers take.")
	}
	for _, f := range [...]struct {
		path string
		d    time.Duration
	}{{"base", c.Base}, {"cap", c.Cap}} {
		if f.d != 0 && (f.d < minWait || f.d > maxWait) {
			bad(f.path, fmt.Sprintf("%v is not between %v and %v", f.d, minWait, maxWait), "Leave it out for base 25ms and cap 250ms.")
		}
	}
	if base, most := cmp.Or(c.Base, DefaultBase), cmp.Or(c.Cap, DefaultCap); base > most && base <= maxWait && most >= minWait {
		bad("cap", fmt.Sprintf("%v is shorter than the %v of base", most, base), "Give cap at least the time of base.")
	}
	for i, name := range c.On {
		path := fmt.Sprintf("on[%d]", i)
		switch {
		case name == "500":
			bad(path, "a 500 is the service's own verdict and is not repeated", "Let the service answer 503 where the same request may succeed later.")
		case !slices.Contains(classes, name):
			bad(path, fmt.Sprintf("%q is no failure that is repeated", name), "Give some of "+strings.Join(classes, ", ")+".")
		}
	}
	switch d, ok := c.hedge(); {
	case !ok:
		bad("hedgeAfter", fmt.Sprintf("%q is neither %s nor a duration from %v to %v", c.HedgeAfter, percentile, minHedge, maxHedge), "Give p95, or a duration such as 20ms.")
	case d != 0 && c.attempts() == 1:
		bad("hedgeAfter", "a hedge is a second attempt, and attempts allows one", "Give attempts: 2, or leave hedgeAfter out.")
	}
}

// CheckTotal tells bad if attempts of their full time do not fit into the total time of a
// call, which silently disables the last of them. A total of 0 or less is none.
func (c Config) CheckTotal(total time.Duration, bad func(path, text, hint string)) {
	if n := c.attempts(); total > 0 && c.PerTry > 0 && n > 1 && c.PerTry > total/time.Duration(n) {
		bad("perTry", fmt.Sprintf("%d attempts of %v do not fit into the total of %v", n, c.PerTry, total),
			fmt.Sprintf("Give perTry at most %v, fewer attempts, or a longer timeout.", (total/time.Duration(n)).Truncate(time.Millisecond)))
	}
}

// Compile gives the policy of c. What Check would refuse is brought within bounds.
func (c Config) Compile() *Policy {
	p := &Policy{
		attempts: c.attempts(),
		unsafe:   c.Unsafe,
		base:     int64(max(minWait, min(cmp.Or(c.Base, DefaultBase), maxWait))),
		cap:      int64(max(minWait, min(cmp.Or(c.Cap, DefaultCap), maxWait))),
	}
	if c.PerTry != 0 {
		p.perTry = max(minWait, c.PerTry)
	}
	for _, name := range c.On {
		if i := slices.Index(classes, name); i >= 0 {
			p.on |= 1 << i
		}
	}
	if len(c.On) == 0 {
		p.on = onAll
	}
	p.hedge, _ = c.hedge()
	return p
}

func (c Config) attempts() int {
	return max(1, min(cmp.Or(c.Attempts, DefaultAttempts), MaxAttempts))
}

// hedge reads HedgeAfter: 0 for never, -1 for the p95.
func (c Config) hedge() (time.Duration, bool) {
	switch c.HedgeAfter {
	case "":
		return 0, true
	case percentile:
		return -1, true
	}
	d, err := time.ParseDuration(c.HedgeAfter)
	if err != nil || d < minHedge || d > maxHedge {
		return 0, false
	}
	return d, true
}
