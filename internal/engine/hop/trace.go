package hop

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// TraceID names a trace; all zero is none.
type TraceID [16]byte

// SpanID names a span; all zero is none.
type SpanID [8]byte

// String is 32 lower-case hex digits.
func (t TraceID) String() string { return hex.EncodeToString(t[:]) }

// String is 16 lower-case hex digits.
func (s SpanID) String() string { return hex.EncodeToString(s[:]) }

// IsZero says whether t names no trace.
func (t TraceID) IsZero() bool { return t == TraceID{} }

// IsZero says whether s names no span.
func (s SpanID) IsZero() bool { return s == SpanID{} }

// Context is the trace context of a request: the trace, the span of the caller, and
// the flags. Source: W3C Trace Context, sections 3.2 and 4.
type Context struct {
	Trace TraceID
	Span  SpanID
	Flags byte // bit 0: sampled
}

// Sampled says whether the caller may have recorded the trace.
func (c Context) Sampled() bool { return c.Flags&1 != 0 }

// NewContext begins a trace: a new trace id, a new span id, sampled. The ids come from
// the runtime's generator, which is seeded from the system: unique, not secret.
func NewContext() Context {
	c := Context{Flags: 1}
	for c.Trace.IsZero() {
		binary.BigEndian.PutUint64(c.Trace[:8], rand.Uint64())
		binary.BigEndian.PutUint64(c.Trace[8:], rand.Uint64())
	}
	c.Span = newSpan()
	return c
}

// Child is the context of a new span below c: same trace, same sampling, new span id.
// Other flags are cleared, since we do not know what they mean (section 4.3).
func (c Context) Child() Context {
	return Context{Trace: c.Trace, Span: newSpan(), Flags: c.Flags & 1}
}

func newSpan() SpanID {
	var s SpanID
	for s.IsZero() {
		binary.BigEndian.PutUint64(s[:], rand.Uint64())
	}
	return s
}

// traceparentLen is the length of a traceparent of version 00.
const traceparentLen = 55

// Traceparent is the header's value, always of version 00: 00-<32 hex>-<16 hex>-<2 hex>.
func (c Context) Traceparent() string {
	var b [traceparentLen]byte
	return string(c.AppendTraceparent(b[:0]))
}

// AppendTraceparent appends the header's value to b.
func (c Context) AppendTraceparent(b []byte) []byte {
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, c.Trace[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, c.Span[:])
	const digits = "0123456789abcdef"
	return append(b, '-', digits[c.Flags>>4], digits[c.Flags&15])
}

// ParseTraceparent reads a traceparent header. It refuses, as section 3.2.2 asks: upper-case
// hex, version ff, an all-zero trace or span, version 00 of another length, and a
// higher version whose first 55 bytes are not followed by the end or a dash. Of a
// higher version only the first 55 bytes are read.
func ParseTraceparent(s string) (Context, bool) {
	var c Context
	if len(s) < traceparentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return Context{}, false
	}
	var version, flags [1]byte
	if !unhex(version[:], s[:2]) || version[0] == 0xff ||
		!unhex(c.Trace[:], s[3:35]) || !unhex(c.Span[:], s[36:52]) || !unhex(flags[:], s[53:55]) {
		return Context{}, false
	}
	if len(s) > traceparentLen && (version[0] == 0 || s[traceparentLen] != '-') {
		return Context{}, false
	}
	if c.Trace.IsZero() || c.Span.IsZero() {
		return Context{}, false
	}
	c.Flags = flags[0]
	return c, true
}

// ParseTraceID reads 32 lower-case hex digits.
func ParseTraceID(s string) (TraceID, bool) {
	var t TraceID
	if len(s) != 32 || !unhex(t[:], s) || t.IsZero() {
		return TraceID{}, false
	}
	return t, true
}

// unhex decodes lower-case hex only; hex.Decode takes both.
func unhex(dst []byte, s string) bool {
	for i := range dst {
		hi, ok1 := nibble(s[2*i])
		lo, ok2 := nibble(s[2*i+1])
		if !ok1 || !ok2 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func nibble(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
