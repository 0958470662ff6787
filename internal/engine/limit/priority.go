package limit

import "fmt"

// Priority is the class of a request. The zero value is Normal.
type Priority int8

// The classes, in the order of who goes last.
const (
	Critical Priority = iota - 1 // what the business is for: checkout
	Normal                       // what a user waits for
	Low                          // what a user would not miss at once: recommendations
	Bulk                         // what nobody waits for: batches, prefetching, crawlers
)

const (
	classes = 4
	cohorts = 128
	ranks   = classes * cohorts
)

var names = [classes]string{"critical", "normal", "low", "bulk"}

// ParsePriority reads the name of a class; "" is normal.
func ParsePriority(s string) (Priority, error) {
	if s == "" {
		return Normal, nil
	}
	for i, n := range names {
		if s == n {
			return Priority(i) + Critical, nil
		}
	}
	return Normal, fmt.Errorf("%q is no priority: want critical, normal, low or bulk", s)
}

// class is p as an index. What is no class counts as the nearest.
func (p Priority) class() int { return int(min(max(p, Critical), Bulk) - Critical) }

// String gives the name.
func (p Priority) String() string { return names[p.class()] }

// MarshalText gives the name.
func (p Priority) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the name.
func (p *Priority) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePriority(string(b))
	return err
}
