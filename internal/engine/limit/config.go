package limit

import (
	"cmp"
	"fmt"
	"time"
)

// Defaults and bounds.
const (
	DefaultMin     = 20
	DefaultInitial = 100         // per endpoint: until there are measurements there is no reason to refuse
	DefaultMax     = 200         // per endpoint
	DefaultWait    = time.Second // of a request without a deadline

	MaxLimit = 1_000_000
	MaxQueue = 10_000
	MaxWait  = time.Minute
)

// Off switches the adaptive limit off.
const Off = "off"

// Config is how many requests may be at an upstream. The zero value is a good default.
type Config struct {
	// Max is a hard bound, the bulkhead: 0 means none, at most a million. It is below the
	// adaptive limit's bounds if it is less than they are.
	Max int `json:"max,omitempty"`

	// Queue is how many requests may wait for a place: 0 means as many as the limit is at
	// the moment, negative none; at most 10,000.
	Queue int `json:"queue,omitempty"`

	// Wait is how long one may wait: 0 means a tenth of what is left until its deadline (1 s if
	// it has none); at most a minute, and never past the deadline.
	Wait time.Duration `json:"wait,omitempty"`

	// Adaptive is "" or "off". Off leaves Max, and neither sheds by overload without it.
	Adaptive string `json:"adaptive,omitempty"`

	// MinLimit, InitialLimit and MaxLimit bound the adaptive limit. 0 means 20, 100 and 200;
	// the last two count for each endpoint.
	MinLimit     int `json:"minLimit,omitempty"`
	InitialLimit int `json:"initialLimit,omitempty"`
	MaxLimit     int `json:"maxLimit,omitempty"`
}

// Check tells bad what is wrong with c, by the path of the field.
func (c Config) Check(bad func(path, text, hint string)) {
	for _, f := range [...]struct {
		path string
		n    int
		hint string
	}{
		{"max", c.Max, "Leave it out to have no hard bound."},
		{"minLimit", c.MinLimit, "Leave it out for 20."},
		{"initialLimit", c.InitialLimit, "Leave it out for 100 per endpoint."},
		{"maxLimit", c.MaxLimit, "Leave it out for 200 per endpoint."},
	} {
		if f.n < 0 || f.n > MaxLimit {
			bad(f.path, fmt.Sprintf("want 1 to %d", MaxLimit), f.hint)
		}
	}
	if c.Queue > MaxQueue {
		bad("queue", fmt.Sprintf("want at most %d", MaxQueue), "Leave it out for as many as the limit, or give -1 for none.")
	}
	if c.Wait < 0 || c.Wait > MaxWait {
		bad("wait", fmt.Sprintf("want a time of at most %v", MaxWait), "Leave it out for a tenth of the deadline; queue: -1 to wait never.")
	}
	switch {
	case c.Adaptive != "" && c.Adaptive != Off:
		bad("adaptive", fmt.Sprintf("%q: want off, or nothing", c.Adaptive), "Leave it out: the limit adapts by itself.")
	case c.Adaptive == Off && (c.MinLimit != 0 || c.InitialLimit != 0 || c.MaxLimit != 0):
		bad("adaptive", "is off, and minLimit, initialLimit or maxLimit bounds it", "Leave the bounds out, or give max.")
	case cmp.Or(c.MinLimit, DefaultMin) > cmp.Or(c.MaxLimit, max(DefaultMax, c.MinLimit)):
		bad("minLimit", fmt.Sprintf("is above maxLimit, %d", c.MaxLimit), "Lower minLimit (20 if left out), or raise maxLimit.")
	}
}
