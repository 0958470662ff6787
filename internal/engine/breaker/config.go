package breaker

import (
	"cmp"
	"fmt"
	"time"
)

// Config says when a breaker opens and for how long. The zero value means the defaults.
type Config struct {
	Off bool `json:"off,omitempty"` // let everything through; calls are counted all the same

	// Window is the time over which calls are counted: 0 means 10 s; 1 s to 10 min.
	Window time.Duration `json:"window,omitempty"`

	// Least is how many calls the window must hold before their failures mean something: 0
	// means 20; 1 to 1,000,000.
	Least int `json:"least,omitempty"`

	// Percent is the share of failed calls from which the breaker opens: 0 means 50; 1 to 100.
	Percent int `json:"percent,omitempty"`

	// Open is how long it stays open at first: 0 means 5 s; 100 ms to OpenMax. It doubles
	// each time a trial fails, up to OpenMax: 0 means 60 s; at most 1 h. Up to a quarter is
	// added by chance.
	Open    time.Duration `json:"open,omitempty"`
	OpenMax time.Duration `json:"openMax,omitempty"`

	// Slow is the time from which a call that succeeded counts as failed: 0 means never.
	// Take it well above the 99.9th percentile, or a busy service is taken for a broken one.
	Slow time.Duration `json:"slow,omitempty"`
}

// The defaults and bounds of Config.
const (
	DefaultWindow  = 10 * time.Second
	DefaultLeast   = 20
	DefaultPercent = 50
	DefaultOpen    = 5 * time.Second
	DefaultOpenMax = time.Minute

	minWindow, maxWindow = time.Second, 10 * time.Minute
	maxLeast             = 1_000_000
	minOpen, maxOpen     = 100 * time.Millisecond, time.Hour
)

// Check tells bad what is wrong with c, by the path of the field.
func (c Config) Check(bad func(path, text, hint string)) {
	if c.Off && c != (Config{Off: true}) {
		bad("off", "is off, and says when it opens", "Take one of them away.")
	}
	duration := func(path string, d, lo, hi time.Duration, def string) {
		if d != 0 && (d < lo || d > hi) {
			bad(path, fmt.Sprintf("%v is not between %v and %v", d, lo, hi), "Leave it out for "+def+".")
		}
	}
	duration("window", c.Window, minWindow, maxWindow, "10s")
	if c.Least < 0 || c.Least > maxLeast {
		bad("least", fmt.Sprintf("%d is not between 1 and %d", c.Least, maxLeast), "Leave it out for 20 calls.")
	}
	if c.Percent < 0 || c.Percent > 100 {
		bad("percent", fmt.Sprintf("%d is not between 1 and 100", c.Percent), "Leave it out for 50.")
	}
	duration("open", c.Open, minOpen, maxOpen, "5s")
	duration("openMax", c.OpenMax, minOpen, maxOpen, "1m")
	if open, most := cmp.Or(c.Open, DefaultOpen), cmp.Or(c.OpenMax, DefaultOpenMax); most >= minOpen && open > most && open <= maxOpen {
		bad("openMax", fmt.Sprintf("%v is shorter than the %v of open", most, open), "Give openMax at least the time of open.")
	}
	if c.Slow < 0 {
		bad("slow", fmt.Sprintf("%v is below zero", c.Slow), "Leave it out to count no call as failed for its time.")
	}
}

// limits are a Config in the form of the hot path: all in range, times in nanoseconds.
type limits struct {
	off            bool
	window         int64
	least, percent int64
	open, openMax  int64
	slow           int64 // 0: never
}

func (c Config) compile() limits {
	within := func(d, def, lo, hi time.Duration) int64 { return int64(max(lo, min(cmp.Or(d, def), hi))) }
	r := limits{
		off:     c.Off,
		window:  within(c.Window, DefaultWindow, minWindow, maxWindow),
		least:   int64(max(1, min(cmp.Or(c.Least, DefaultLeast), maxLeast))),
		percent: int64(max(1, min(cmp.Or(c.Percent, DefaultPercent), 100))),
		open:    within(c.Open, DefaultOpen, minOpen, maxOpen),
		openMax: within(c.OpenMax, DefaultOpenMax, minOpen, maxOpen),
		slow:    int64(max(0, c.Slow)),
	}
	r.openMax = max(r.open, r.openMax)
	return r
}
