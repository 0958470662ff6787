// Package outlier decides which endpoints of an upstream are left alone for a while since
// their answers are worse than their peers'. It is passive: it watches what requests meet.
//
// Each endpoint has a Host for its whole life, each upstream a Detector:
//
//	if d.Report(h, outlier.Failure) {                 // after each attempt
//		if x, ok := d.Consider(now, h, hosts); ok { // rarely: five failures in a row
//			member.Eject(x.Until)
//		}
//	}
//	for _, x := range d.Sweep(now, hosts) { ... }     // now and then, at least every 10 s
//
// Four rules eject:
//
//	in a row      5 answers that are failures (5xx), with none between that is not; the same
//	              for failures to get an answer at all, which are counted apart; and, if
//	              Gateway is set, for 502, 503 and 504 alone. Decided at once.
//	success rate  at a sweep, among at least 5 hosts with at least 100 requests each since
//	              the last: more than 1.9 standard deviations, and 5 percentage points,
//	              below the mean.
//	percentage    if FailurePercent is set: at a sweep, that many failures of at least 50.
//
// What fails everywhere is nobody's fault. A row of k failures ejects only if the peers do
// not explain it: with p the share of failures among the peers' requests of the last one
// to two sweeps, n x p^k, the number of such rows to be expected by chance, must be below
// 1 in 100. The percentage ejects only where the peers' is less than half of it.
//
// At most a third are ejected at a time, at least one, never the last. The first ejection
// lasts 30 s, the next 60 s, up to 300 s, and up to a fifth more by chance so that
// several do not return at once; for each 30 s in service the count goes down by one.
//
// What to report: an answer by its class (4xx and 429 are Success: the endpoint works; of
// gRPC, the status decides), no answer as Local. What the proxy itself refuses or injects
// is not reported, nor is what the caller cut short.
//
// The package is pure: now is an int64 of nanoseconds that the caller reads. All may be
// called concurrently. Report takes no lock and allocates nothing; Consider and Sweep
// take the detector's lock for a time in proportion to the number of hosts.
//
// Limits: each node judges by its own requests. One slow host is not an outlier here: the
// balancer sees to that. The success-rate rule cannot find two outliers among five to
// seven hosts, for their own distance widens the deviation; rows in a row do.
package outlier

import (
	"cmp"
	"math"
	"time"
)

// Defaults and bounds.
const (
	DefaultConsecutive = 5
	DefaultSweep       = 10 * time.Second
	DefaultBase        = 30 * time.Second
	DefaultCap         = 300 * time.Second
	DefaultMinHosts    = 5
	DefaultMinRequests = 100
	DefaultStdev       = 1.9

	MinSweep       = time.Second
	MaxSweep       = time.Hour
	MaxCap         = 24 * time.Hour
	MaxConsecutive = 10_000
)

// What keeps the rules from ejecting for nothing.
const (
	minGap     = 0.05 // the success rate must be this far below the mean, however equal the peers are
	chance     = 0.01 // rows to be expected by chance, at most
	minPercent = 50   // requests since the last sweep for FailurePercent to apply
	jitter     = 0.2  // of an ejection, added by chance
)

// Config says when endpoints are ejected. The zero value is a good default.
type Config struct {
	Off            bool          `json:"off,omitempty"`
	Consecutive    int           `json:"consecutive,omitempty"`    // 5xx in a row; 0 means 5, negative: never
	Gateway        int           `json:"gateway,omitempty"`        // 502, 503, 504 in a row; 0 or negative: never
	Local          int           `json:"local,omitempty"`          // no answer, in a row; 0 means 5, negative: never
	Sweep          time.Duration `json:"sweep,omitempty"`          // between two looks at the rates; 0 means 10s
	Base           time.Duration `json:"base,omitempty"`           // the first ejection; 0 means 30s
	Cap            time.Duration `json:"cap,omitempty"`            // the longest, without its jitter; 0 means 300s, or Base if that is more
	MaxShare       int           `json:"maxShare,omitempty"`       // percent that may be ejected; 0 means a third
	MinHosts       int           `json:"minHosts,omitempty"`       // for the success rate; 0 means 5, negative: the rule is off
	MinRequests    int           `json:"minRequests,omitempty"`    // of a host between sweeps, for the success rate; 0 means 100
	Stdev          float64       `json:"stdev,omitempty"`          // standard deviations below the mean; 0 means 1.9
	FailurePercent int           `json:"failurePercent,omitempty"` // failures between sweeps; 0: never
}

// Check calls bad for each field that is wrong, with its path below c.
func (c Config) Check(bad func(path, text, hint string)) {
	if c.Off && c != (Config{Off: true}) {
		bad("off", "is off, and says when an endpoint is ejected", "Take one of them away.")
	}
	rows := []struct {
		path string
		n    int
	}{{"consecutive", c.Consecutive}, {"gateway", c.Gateway}, {"local", c.Local}}
	for _, r := range rows {
		if r.n > MaxConsecutive {
			bad(r.path, "at most 10000", "Leave it out for the default, or -1 to switch the rule off.")
		}
	}
	if c.Sweep != 0 && (c.Sweep < MinSweep || c.Sweep > MaxSweep) {
		bad("sweep", "want 1s to 1h", "Leave it out for 10s.")
	}
	if c.Base < 0 || c.Base > MaxCap {
		bad("base", "want a time of at most 24h", "Leave it out for 30s.")
	}
	if c.Cap < 0 || c.Cap > MaxCap {
		bad("cap", "want a time of at most 24h", "Leave it out for 300s.")
	} else if c.Cap != 0 && c.Cap < cmp.Or(c.Base, DefaultBase) {
		bad("cap", "is less than base", "Raise cap, or lower base.")
	}
	if c.MaxShare < 0 || c.MaxShare > 100 {
		bad("maxShare", "want a percentage, 1 to 100", "Leave it out for a third, or set off: true.")
	}
	if c.MinRequests < 0 {
		bad("minRequests", "want 1 or more", "Leave it out for 100.")
	}
	if c.Stdev < 0 || math.IsNaN(c.Stdev) || math.IsInf(c.Stdev, 0) {
		bad("stdev", "want a positive number", "Leave it out for 1.9.")
	}
	if c.FailurePercent < 0 || c.FailurePercent > 100 {
		bad("failurePercent", "want a percentage, 1 to 100", "Leave it out to have no such rule.")
	}
}

// filled gives c with its defaults.
func (c Config) filled() Config {
	c.Consecutive = cmp.Or(c.Consecutive, DefaultConsecutive)
	c.Local = cmp.Or(c.Local, DefaultConsecutive)
	c.Sweep = cmp.Or(c.Sweep, DefaultSweep)
	c.Base = cmp.Or(c.Base, DefaultBase)
	c.Cap = max(cmp.Or(c.Cap, DefaultCap), c.Base)
	c.MinHosts = cmp.Or(c.MinHosts, DefaultMinHosts)
	c.MinRequests = cmp.Or(c.MinRequests, DefaultMinRequests)
	c.Stdev = cmp.Or(c.Stdev, DefaultStdev)
	return c
}

// most is how many of n hosts may be ejected.
func (c Config) most(n int) int {
	k := n / 3
	if c.MaxShare > 0 {
		k = n * c.MaxShare / 100
	}
	return min(max(k, 1), n-1)
}
