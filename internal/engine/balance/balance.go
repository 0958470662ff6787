// Package balance decides which endpoint of an upstream gets a request.
//
// A Member is what is known of one endpoint over its whole life: what it holds, how long
// it takes, whether it is ejected or refuses connections. A Set is the members of one
// moment with the tables of one policy; it never changes, a new one replaces it, and the
// members pass from one to the next. For each attempt the caller asks
//
//	i, again := set.Pick(now, key, &tried) // which
//	m := set.Member(i)
//	m.Begin()
//	...                                    // m.Refused(now) or m.Connected(), once it is known
//	m.Observe(now, took, failed)           // when the head of the answer is there, or nothing came
//	m.Done()                               // when the answer has ended
//
// The policies:
//
//	ewma         of two different endpoints at random the one with the lower cost, which is
//	             the peak EWMA of its latency x (what it holds + 1). The default.
//	least        the same, by what they hold alone.
//	round-robin  one after the other.
//	ring,        by key: the same key meets the same endpoint, and when one leaves, its keys
//	maglev       move and few others. An endpoint that holds more than 1.25 times its share
//	             passes a key on to the next, so a hot key does not drown it.
//
// Above the policy stand four rules. An endpoint that refused connections lately is not
// picked, whatever else holds; if all do, Pick says when the first may be asked again. An
// ejected one is picked only if fewer than Config.Panic percent are not ejected (then
// ejection is ignored: see Panicking), or if all others refuse. One that the request has
// tried is picked only if no other is usable. One that is new in a running pool, or comes
// back from ejection, begins with a tenth of its weight (slow start).
//
// The package is pure: now is an int64 of nanoseconds that the caller reads, from any
// clock that does not run backwards by more than it must. Pick and the methods of Member
// are safe for concurrent use, take no lock and allocate nothing; once a second one Pick
// of a set sorts the latencies of its members, under a lock for which nobody waits.
//
// Limits: what is known is this node's own view. Weights are approximate where latencies
// differ: ewma and least send by cost first. With very few requests and many nodes all may
// favour the same endpoint.
package balance

import (
	"cmp"
	"strings"
	"time"
)

// The policies, for Config.By.
const (
	EWMA       = "ewma"
	Least      = "least"
	RoundRobin = "round-robin"
	Ring       = "ring"
	Maglev     = "maglev"
)

// Defaults and bounds.
const (
	DefaultSlowStart = 10 * time.Second
	MaxSlowStart     = time.Hour
	DefaultPanic     = 50    // percent
	MaxMembers       = 65535 // of a Set; those beyond get nothing
	MaxWeight        = 1000  // of a member
)

// Config says how an upstream is balanced. The zero value is a good default.
type Config struct {
	By        string        `json:"by,omitempty"`        // ewma, least, round-robin, ring or maglev; "" means ewma
	Key       string        `json:"key,omitempty"`       // for ring and maglev: header:NAME, cookie:NAME, client or path
	SlowStart time.Duration `json:"slowStart,omitempty"` // until an added endpoint has its full share; 0 means 10s, by ring and maglev at once; negative: at once
	Panic     int           `json:"panic,omitempty"`     // percent; with fewer endpoints not ejected, ejection is ignored; 0 means 50, negative: never
}

// Start is how long an added endpoint has less than its share. By ring and maglev it has all at once, unless
// that is declared: what is spared to it would go to others for that time, and a key not stay where it is.
func (c Config) Start() time.Duration {
	if c.SlowStart == 0 && (c.By == Ring || c.By == Maglev) {
		return 0
	}
	return max(cmp.Or(c.SlowStart, DefaultSlowStart), 0)
}

// Check calls bad for each field that is wrong, with its path below c.
func (c Config) Check(bad func(path, text, hint string)) {
	keyed := c.By == Ring || c.By == Maglev
	switch c.By {
	case "", EWMA, Least, RoundRobin, Ring, Maglev:
		switch source, _ := c.Source(); {
		case keyed && c.Key == "":
			bad("key", "by "+c.By+" needs a key", "Name what the key is: header:NAME, cookie:NAME, client or path.")
		case c.Key != "" && source == NoKey:
			bad("key", "want header:NAME, cookie:NAME, client or path, not "+quote(c.Key), "Write for instance header:X-Tenant.")
		case c.Key != "" && !keyed:
			bad("key", "has no effect unless by is ring or maglev", "Set by: maglev, or take the key away.")
		}
	default:
		bad("by", "want ewma, least, round-robin, ring or maglev, not "+quote(c.By), "Leave it out for ewma.")
	}
	if c.SlowStart > MaxSlowStart {
		bad("slowStart", "at most 1h", "Leave it out for 10s.")
	}
	if c.Panic > 100 {
		bad("panic", "a percentage: at most 100", "Leave it out for 50.")
	}
}

func quote(s string) string {
	if len(s) > 40 {
		s = s[:40] + "..."
	}
	return `"` + s + `"`
}

// Source is where a key comes from.
type Source uint8

// The sources of a key.
const (
	NoKey  Source = iota
	Header        // the value of a header field
	Cookie        // the value of a cookie
	Client        // the client's address, without port
	Path          // the canonical path, without query
)

// Source reads Key: where the key comes from and the name of the header or cookie. NoKey
// if Key is empty or not understood.
func (c Config) Source() (Source, string) {
	switch c.Key {
	case "client":
		return Client, ""
	case "path":
		return Path, ""
	}
	if name, ok := strings.CutPrefix(c.Key, "header:"); ok && token(name) {
		return Header, name
	}
	if name, ok := strings.CutPrefix(c.Key, "cookie:"); ok && token(name) {
		return Cookie, name
	}
	return NoKey, ""
}

// token says whether s is a token of RFC 9110, section 5.6.2.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// Tried are the endpoints that a request has met already. The zero value holds none. It
// is used by one goroutine at a time.
type Tried struct {
	n int
	m [8]*Member
}

// Add keeps m; of more than eight, the last eight.
func (t *Tried) Add(m *Member) {
	t.m[t.n%len(t.m)] = m
	t.n++
}

// Has says whether m was added. A nil t holds none.
func (t *Tried) Has(m *Member) bool {
	if t == nil {
		return false
	}
	for _, x := range t.m[:min(t.n, len(t.m))] {
		if x == m {
			return true
		}
	}
	return false
}

// Len is how many were added.
func (t *Tried) Len() int {
	if t == nil {
		return 0
	}
	return t.n
}
