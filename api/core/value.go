package core

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Time is an instant, in UTC to the millisecond; its JSON form is RFC 3339 with
// milliseconds. The zero Time is JSON null.
type Time struct{ time.Time }

// At gives t in UTC, cut to the millisecond.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Millisecond)} }

const timeForm = "2006-01-02T15:04:05.000Z"

// MarshalJSON gives the JSON form.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.UTC().Format(timeForm))
}

// UnmarshalJSON reads RFC 3339 or null.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*t = Time{}
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	p, err := time.Parse(time.RFC3339Nano, s)
	if err == nil {
		*t = At(p)
	}
	return err
}

// Duration is a length of time as people write it: "300ms", "5s", "1h30m", "7d".
// Its JSON and YAML form is that text.
type Duration time.Duration

// D gives d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String gives the shortest text, without zero parts: "1h", not "1h0m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText gives the text form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	p, err := ParseDuration(string(b))
	if err == nil {
		*d = p
	}
	return err
}

// ParseDuration reads a Go duration, or a whole number of days ("7d"). Negative ones are refused.
func ParseDuration(s string) (Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.ParseUint(n, 10, 16); err == nil {
			return Duration(time.Duration(days) * 24 * time.Hour), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("want a duration such as 300ms, 5s, 1h30m or 7d, not %q", s)
	}
	return Duration(d), nil
}
