package retry

import (
	"math"
	"time"
)

// The fields by which a callee advises.
const (
	RetryAfterField = "Retry-After"
	PushbackField   = "grpc-retry-pushback-ms"
	NoRetryField    = "Stoa-Retry"
	NoRetryValue    = "no"
)

// Wait is what an answer says of when to come again. The zero value says nothing.
type Wait struct {
	Said  bool
	For   time.Duration // Said: how long to wait, from the answer
	Never bool          // not at all
}

// ParseRetryAfter reads a Retry-After (RFC 9110, section 10.2.3): seconds, or a date in
// one of the three forms of section 5.6.7. now is the time of day, best that of the answer's
// field Date, since then the clocks need not agree. A date that has passed is 0; a value
// that cannot be read says nothing.
func ParseRetryAfter(b []byte, now time.Time) Wait {
	if n, ok := digits(b); ok {
		if n > math.MaxInt64/int64(time.Second) {
			return Wait{Said: true, For: math.MaxInt64}
		}
		return Wait{Said: true, For: time.Duration(n) * time.Second}
	}
	t, ok := date(b)
	if !ok {
		return Wait{}
	}
	return Wait{Said: true, For: max(0, t.Sub(now))}
}

// ParsePushback reads a grpc-retry-pushback-ms (gRPC A6): milliseconds. Negative or
// unreadable means never.
func ParsePushback(b []byte) Wait {
	n, ok := digits(b)
	switch {
	case !ok:
		return Wait{Never: true}
	case n > math.MaxInt64/int64(time.Millisecond):
		return Wait{Said: true, For: math.MaxInt64}
	}
	return Wait{Said: true, For: time.Duration(n) * time.Millisecond}
}

// ParseNoRetry says whether the value of a Stoa-Retry is "no".
func ParseNoRetry(b []byte) bool {
	return len(b) == 2 && b[0]|0x20 == 'n' && b[1]|0x20 == 'o'
}

// digits reads a decimal number of any length; what is longer than an int64 is the
// largest of them.
func digits(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (math.MaxInt64-9)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// longestDate is the length of the longest date of RFC 850, "Wednesday, 09-Nov-94 08:49:37 GMT".
const longestDate = 33

// date reads an HTTP date. Only the two obsolete forms allocate.
func date(b []byte) (time.Time, bool) {
	if t, ok := fixdate(b); ok {
		return t, true
	}
	if len(b) > longestDate {
		return time.Time{}, false
	}
	for _, layout := range [...]string{"Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
		if t, err := time.Parse(layout, string(b)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// fixdate reads "Sun, 06 Nov 1994 08:49:37 GMT". The name of the day is not compared with the date.
func fixdate(b []byte) (time.Time, bool) {
	const form = "aaa, 00 aaa 0000 00:00:00 GMT"
	if len(b) != len(form) {
		return time.Time{}, false
	}
	for i, c := range b {
		switch f := form[i]; {
		case f == '0' && (c < '0' || c > '9'),
			f == 'a' && (c|0x20 < 'a' || c|0x20 > 'z'),
			f != '0' && f != 'a' && c != f:
			return time.Time{}, false
		}
	}
	two := func(i int) int { return int(b[i]-'0')*10 + int(b[i+1]-'0') }
	month := time.Month(0)
	for m := time.January; m <= time.December; m++ {
		if m.String()[:3] == string(b[8:11]) {
			month = m
		}
	}
	day, year, hour, minute, second := two(5), two(12)*100+two(14), two(17), two(20), two(23)
	if month == 0 || hour > 23 || minute > 59 || second > 60 { // 60 is a leap second
		return time.Time{}, false
	}
	t := time.Date(year, month, day, hour, minute, second, 0, time.UTC)
	if day == 0 || second < 60 && t.Day() != day { // 31 February
		return time.Time{}, false
	}
	return t, true
}
