// Package h1 reads HTTP/1.1: the heads of requests and answers, how their bodies are
// framed, and chunked bodies, strictly and without allocating.
//
//	bytes -> Request.Parse  -> spans, fields with an ID, framing -> the caller reads the body
//	bytes -> Response.Parse -> the same                            by ContentLength, or through
//	body  -> Chunks.Next    -> the bytes to send on                Chunks, or until the close
//
// It is pure: bytes in, offsets out. It copies nothing, starts nothing and reads no
// clock. Everything that it gives is a Span of the buffer that was parsed, so the buffer
// may move between two calls, but must not change before the caller is done with the head.
//
// Refusing beats cleaning: what two readers could understand differently is an error,
// and after an error the connection must be closed, since nobody knows where the next
// message begins. The rules and their sources stand in rules.go. What is accepted can be
// sent on as the bytes that came, less the fields with Hop set, plus the caller's own.
//
// Invariants of an accepted head:
//
//   - every line ends with CRLF; no other CR, LF, NUL or control byte but HTAB is in it;
//   - at most one of ContentLength >= 0 and Chunked holds, each from exactly one field;
//   - a Field's name is a token, its value has no space or tab at its ends;
//   - a request has one authority: Host is there (but in HTTP/1.0), is valid, and is
//     what an absolute target says;
//   - the path begins with a slash, or is the * of OPTIONS. Whether it is canonical is
//     for package route to say.
//
// Where we are stricter than RFC 9112 allows: bare LF and folded lines are not repaired
// (2.2, 5.2), an empty line before a request is refused (2.2), as are an empty Host,
// escapes and sub-delims in a host (3.2), an absolute target without a path (3.2.2),
// every Transfer-Encoding but chunked (7), and an expectation other than 100-continue.
// A reader of many small pieces costs no more than one of few: see Head.again.
package h1

// Span is a part of the buffer that was parsed. The zero Span is no part of it.
type Span struct{ Off, Len int32 }

// In gives the bytes of s in b, which is the buffer that was parsed or a longer one
// that begins with it.
func (s Span) In(b []byte) []byte { return b[s.Off : s.Off+s.Len : s.Off+s.Len] }

// End is the offset behind the last byte.
func (s Span) End() int32 { return s.Off + s.Len }

func span(from, to int) Span { return Span{int32(from), int32(to - from)} }

// Field is one field line.
type Field struct {
	Name  Span
	Value Span // without spaces and tabs at its ends; bytes >= 0x80 are never taken away
	line  int32
	ID    ID
	Hop   bool // for this connection only, and not to be sent on: RFC 9110, section 7.6.1
}

// Line is the whole line, from its name to the end of its CRLF.
func (f Field) Line() Span { return Span{f.Name.Off, f.line} }

// Limits bound a head. Zero means the default.
type Limits struct {
	Head   int // bytes with the last CRLF: 16 KiB, at most 1 MiB; 431
	Target int // bytes of the request target: 8 KiB; 414
	Fields int // field lines: 100, at most 1,000; 431
}

const (
	defaultHead   = 16 << 10
	defaultTarget = 8 << 10
	defaultFields = 100
	maxHead       = 1 << 20
	maxFields     = 1000
)

func (l Limits) head() int   { return within(l.Head, defaultHead, maxHead) }
func (l Limits) target() int { return within(l.Target, defaultTarget, maxHead) }
func (l Limits) fields() int { return within(l.Fields, defaultFields, maxFields) }

func within(n, zero, most int) int {
	if n <= 0 {
		return zero
	}
	return min(n, most)
}
