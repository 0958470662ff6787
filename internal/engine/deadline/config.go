package deadline

import (
	"cmp"
	"fmt"
	"time"
)

// The defaults and bounds of Config.
const (
	DefaultTotal = 15 * time.Second // as Envoy's route timeout
	DefaultIdle  = 5 * time.Minute
	maxTotal     = 24 * time.Hour
)

// Config is the time that a route gives its calls. The zero value means the defaults.
type Config struct {
	// Total is the time for a call with all its attempts and waits, from the request's head
	// to the answer's last byte: 0 means 15 s, negative no deadline; at most 24 h.
	Total time.Duration `json:"total,omitempty"`

	// Idle is how long a stream (server-sent events, WebSocket, a gRPC stream) may be
	// without traffic in both ways: 0 means 5 min, negative for ever; at most 24 h. Streams
	// have no total.
	Idle time.Duration `json:"idle,omitempty"`
}

// Route gives the total of c, None if it has none.
func (c Config) Route() time.Duration { return orNone(cmp.Or(c.Total, DefaultTotal)) }

// Quiet gives the time that a stream may be without traffic, None if for ever.
func (c Config) Quiet() time.Duration { return orNone(cmp.Or(c.Idle, DefaultIdle)) }

func orNone(d time.Duration) time.Duration {
	if d < 0 {
		return None
	}
	return d
}

// Check tells bad what is wrong with c, by the path of the field.
func (c Config) Check(bad func(path, text, hint string)) {
	for _, f := range [...]struct {
		path string
		d    time.Duration
	}{{"total", c.Total}, {"idle", c.Idle}} {
		switch {
		case f.d > maxTotal:
			bad(f.path, fmt.Sprintf("%v is longer than %v", f.d, maxTotal), "Give at most 24h, or a negative duration for no bound.")
		case f.d > 0 && f.d <= leastMargin:
			bad(f.path, fmt.Sprintf("%v leaves no time for a call: %v are kept for the way back", f.d, leastMargin), "Give some milliseconds at least.")
		}
	}
}
