package retry

import (
	"math"
	"net/http"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestParseRetryAfter(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Wait
	}{
		{"0", said(0)},
		{"120", said(2 * time.Minute)},
		{"007", said(7 * time.Second)},
		{"99999999999999999999999", said(math.MaxInt64)},
		{"9223372037", said(math.MaxInt64)},
		{"9223372036", said(9223372036 * time.Second)},
		{"Tue, 24 Nov 2026 12:00:05 GMT", said(5 * time.Second)},
		{"Tue, 24 Nov 2026 12:00:00 GMT", said(0)},
		{"Tue, 24 Nov 2026 11:59:00 GMT", said(0)},
		{"Tue, 24 Nov 2026 12:00:60 GMT", said(time.Minute)}, // a leap second
		{"Tuesday, 24-Nov-26 12:00:05 GMT", said(5 * time.Second)},
		{"Tue Nov 24 12:00:05 2026", said(5 * time.Second)},
		{"", Wait{}},
		{"-1", Wait{}},
		{"+1", Wait{}},
		{"1.5", Wait{}},
		{"soon", Wait{}},
		{"1 ", Wait{}},
		{"Tue, 31 Nov 2026 12:00:05 GMT", Wait{}},
		{"Tue, 00 Nov 2026 12:00:05 GMT", Wait{}},
		{"Tue, 24 Non 2026 12:00:05 GMT", Wait{}},
		{"Tue, 24 nov 2026 12:00:05 GMT", Wait{}},
		{"Tue, 24 Nov 2026 24:00:05 GMT", Wait{}},
		{"Tue, 24 Nov 2026 12:60:05 GMT", Wait{}},
		{"Tue, 24 Nov 2026 12:00:05 UTC", Wait{}},
		{"Tue, 24 Nov 2026 12:00:05 GMT, 5", Wait{}},
		{"2026-11-24T12:00:05Z", Wait{}},
	} {
		if got := ParseRetryAfter([]byte(c.in), noon); got != c.want {
			t.Errorf("ParseRetryAfter(%q) = %+v, want %+v", c.in, got, c.want)
		}
	}
}

func TestParsePushback(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Wait
	}{
		{"0", said(0)},
		{"250", said(250 * ms)},
		{"99999999999999999999", said(math.MaxInt64)},
		{"-1", Wait{Never: true}},
		{"", Wait{Never: true}},
		{"+5", Wait{Never: true}},
		{"1e3", Wait{Never: true}},
		{"soon", Wait{Never: true}},
	} {
		if got := ParsePushback([]byte(c.in)); got != c.want {
			t.Errorf("ParsePushback(%q) = %+v, want %+v", c.in, got, c.want)
		}
	}
}

func TestParseNoRetry(t *testing.T) {
	for in, want := range map[string]bool{"no": true, "No": true, "NO": true, "": false, "n": false, "nope": false, "yes": false, "\x0e\x0f": false} {
		if got := ParseNoRetry([]byte(in)); got != want {
			t.Errorf("ParseNoRetry(%q) = %v", in, got)
		}
	}
}

// A date is read as net/http reads it, or not at all: it takes hours of one digit as well.
func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"120", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "-1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := ParseRetryAfter(b, noon)
		if w.For < 0 || w.Never || !w.Said && w.For != 0 {
			t.Errorf("%q reads as %+v", b, w)
		}
		if p := ParsePushback(b); p.For < 0 || p.Said == p.Never {
			t.Errorf("%q as pushback reads as %+v", b, p)
		}
		got, ok := date(b)
		if want, err := http.ParseTime(string(b)); err == nil && ok && !got.Equal(want) {
			t.Errorf("%q reads as %v, net/http reads %v", b, got, want)
		}
	})
}
