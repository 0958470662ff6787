package hop

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

// The cases of the W3C trace-context suite that concern one header.
func TestParseTraceparent(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	good := "00-" + trace + "-" + span + "-01"
	for _, c := range []struct {
		claim, in string
		ok        bool
	}{
		{"version 00", good, true},
		{"not sampled", "00-" + trace + "-" + span + "-00", true},
		{"all flags set", "00-" + trace + "-" + span + "-ff", true},
		{"unknown flag", "00-" + trace + "-" + span + "-03", true},
		{"higher version", "cc-" + trace + "-" + span + "-01", true},
		{"higher version with more fields", "cc-" + trace + "-" + span + "-01-what-the-future-will-be-like", true},
		{"higher version with an empty field", "cc-" + trace + "-" + span + "-01-", true},
		{"higher version without a dash after the flags", "cc-" + trace + "-" + span + "-01.what", false},
		{"version ff", "ff-" + trace + "-" + span + "-01", false},
		{"version 00 with more fields", good + "-what", false},
		{"version 00 with a trailing dash", good + "-", false},
		{"version of one digit", "0-" + trace + "-" + span + "-01", false},
		{"version of three digits", "000-" + trace + "-" + span + "-01", false},
		{"version not hex", ".0-" + trace + "-" + span + "-01", false},
		{"version upper case", "CC-" + trace + "-" + span + "-01", false},
		{"all-zero trace", "00-" + strings.Repeat("0", 32) + "-" + span + "-01", false},
		{"all-zero span", "00-" + trace + "-" + strings.Repeat("0", 16) + "-01", false},
		{"trace upper case", "00-" + strings.ToUpper(trace) + "-" + span + "-01", false},
		{"span upper case", "00-" + trace + "-" + strings.ToUpper(span) + "-01", false},
		{"trace with a bad byte", "00-." + trace[1:] + "-" + span + "-01", false},
		{"span with a bad byte", "00-" + trace + "-." + span[1:] + "-01", false},
		{"flags with a bad byte", "00-" + trace + "-" + span + "-.1", false},
		{"flags upper case", "00-" + trace + "-" + span + "-0A", false},
		{"trace too long", "00-" + trace + "0-" + span + "-01", false},
		{"trace too short", "00-" + trace[1:] + "-" + span + "-01", false},
		{"span too long", "00-" + trace + "-" + span + "0-01", false},
		{"span too short", "00-" + trace + "-" + span[1:] + "-01", false},
		{"flags too long", good + "1", false},
		{"flags too short", good[:54], false},
		{"leading space", " " + good, false},
		{"empty", "", false},
	} {
		got, ok := ParseTraceparent(c.in)
		if ok != c.ok {
			t.Errorf("%s: ParseTraceparent(%q) ok = %v, want %v", c.claim, c.in, ok, c.ok)
		}
		if ok && (got.Trace.String() != trace || got.Span.String() != span) {
			t.Errorf("%s: ParseTraceparent(%q) = %s %s", c.claim, c.in, got.Trace, got.Span)
		}
	}
	c, _ := ParseTraceparent(good)
	if c.Traceparent() != good {
		t.Errorf("Traceparent() = %q, want %q", c.Traceparent(), good)
	}
	if id, ok := ParseTraceID(trace); !ok || id != c.Trace {
		t.Errorf("ParseTraceID(%q) = %s, %v", trace, id, ok)
	}
}

// A child keeps trace and sampling, has a span of its own, and passes no flag it does not know.
func TestChild(t *testing.T) {
	c := NewContext()
	c.Flags = 0xff
	d := c.Child()
	if d.Trace != c.Trace || d.Span == c.Span || d.Flags != 1 {
		t.Errorf("child of %+v = %+v", c, d)
	}
	if e, ok := ParseTraceparent(d.Traceparent()); !ok || e != d {
		t.Errorf("%q read back as %+v, %v", d.Traceparent(), e, ok)
	}
}

func FuzzParseTraceparent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x")
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := ParseTraceparent(s)
		if !ok {
			return
		}
		if c.Trace.IsZero() || c.Span.IsZero() || c.Traceparent()[2:] != s[2:55] {
			t.Errorf("%q read as %q", s, c.Traceparent())
		}
	})
}

func TestClass(t *testing.T) {
	for _, c := range []struct {
		r    Record
		want string
	}{
		{Record{Status: 204, GRPC: -1}, "2xx"},
		{Record{Status: 101, GRPC: -1}, "1xx"},
		{Record{Status: 503, GRPC: -1}, "5xx"},
		{Record{Status: 0, GRPC: -1}, "5xx"},
		{Record{Status: 200, GRPC: 0}, "2xx"},
		{Record{Status: 200, GRPC: 14}, "5xx"},
		{Record{Status: 200, GRPC: 5}, "4xx"},
		{Record{Status: 499, GRPC: -1, Reason: Cancelled}, "cancelled"},
		{Record{Status: 200, GRPC: -1, Reason: Truncated}, "5xx"},
		{Record{Protocol: "tcp", GRPC: -1}, "tcp"},
		{Record{Protocol: "tcp", GRPC: -1, Reason: NoEndpoint}, "5xx"},
	} {
		if got := c.r.Class(); got != c.want {
			t.Errorf("Class of %+v = %s, want %s", c.r, got, c.want)
		}
	}
}

// A full ring drops the new record, counts it, and never makes the writer wait.
func TestRingDropsWhenFull(t *testing.T) {
	r := NewRing(8)
	for i := range 11 {
		r.Hop(&Record{Status: i})
	}
	if r.Dropped() != 3 {
		t.Errorf("dropped %d, want 3", r.Dropped())
	}
	buf := make([]Record, 5)
	n1, err1 := r.Read(t.Context(), buf)
	n2, err2 := r.Read(t.Context(), buf)
	if n1 != 5 || n2 != 3 || err1 != nil || err2 != nil {
		t.Errorf("read %d, %v and %d, %v; want 5 and 3", n1, err1, n2, err2)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := r.Read(ctx, buf); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("an empty ring gave %d, %v", n, err)
	}
}

// What is written is read once, whoever wins.
func TestRingConcurrent(t *testing.T) {
	r := NewRing(64)
	const writers, each = 4, 5000
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				r.Hop(&Record{Status: 1})
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan uint64)
	go func() {
		var n uint64
		buf := make([]Record, 16)
		for {
			k, err := r.Read(ctx, buf)
			n += uint64(k)
			if err != nil {
				read <- n
				return
			}
		}
	}()
	wg.Wait()
	cancel()
	n := <-read
	for buf := make([]Record, 16); ; {
		k := r.take(buf)
		if k == 0 {
			break
		}
		n += uint64(k)
	}
	if n+r.Dropped() != writers*each {
		t.Errorf("read %d, dropped %d, wrote %d", n, r.Dropped(), writers*each)
	}
}

func BenchmarkRing(b *testing.B) {
	r := NewRing(0)
	rec := &Record{Status: 200}
	buf := make([]Record, 4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Hop(rec)
		if i%4096 == 4095 {
			r.take(buf)
		}
	}
}

// What the ring gives is a copy: the request's buffer may be used again at once.
func TestRingKeepsText(t *testing.T) {
	r := NewRing(8)
	path := []byte("/orders/7")
	rec := Record{Method: "GET", Host: "shop", Path: unsafe.String(&path[0], len(path)), Error: strings.Repeat("e", 2*maxText), Route: "orders"}
	r.Hop(&rec)
	copy(path, "/########")
	buf := make([]Record, 1)
	if n, err := r.Read(t.Context(), buf); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := buf[0]; got.Path != "/orders/7" || got.Method != "GET" || got.Host != "shop" || got.Route != "orders" || len(got.Error) != maxText {
		t.Errorf("got %+v", got)
	}
}
