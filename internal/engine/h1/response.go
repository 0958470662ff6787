package h1

import "encoding/binary"

// Response is the head of an answer. It is used again for the next one: Parse overwrites it.
type Response struct {
	Head

	Status int  // 100 to 999; from 600 on it means what 500 means: RFC 9110, section 15
	Reason Span // may be empty
	// Bodiless: no body follows, whatever the fields say, because of the status. The
	// answer to HEAD has none either, and is for the caller to know: see Body.
	Bodiless bool
}

// Body is how the body of an answer ends.
type Body uint8

// The ways. RFC 9112, section 6.3.
const (
	NoBody     Body = iota
	Sized           // after ContentLength bytes, which may be 0
	InChunks        // as Chunks says
	UntilClose      // when the service closes: the connection cannot be used again
)

// Body says how the body ends; head says whether the request was HEAD.
func (r *Response) Body(head bool) Body {
	switch {
	case r.Bodiless || head:
		return NoBody
	case r.Chunked:
		return InChunks
	case r.ContentLength >= 0:
		return Sized
	}
	return UntilClose
}

// Reusable says whether the connection can carry another request once the body has been
// read; head says whether the request was HEAD.
func (r *Response) Reusable(head bool) bool {
	return r.KeepAlive && r.Status != 101 && r.Body(head) != UntilClose
}

// Interim says whether another head follows: a status 1xx, but 101.
func (r *Response) Interim() bool { return r.Status < 200 && r.Status != 101 }

// Parse reads a head at the start of b, as Request.Parse does. Every *Error has the
// status 502.
func (r *Response) Parse(b []byte, l Limits) error {
	limit := l.head()
	if len(b) > limit {
		b = b[:limit]
	}
	i := 0
	if r.tried > 0 && len(b) >= r.seen {
		if !r.again(b, limit) {
			return ErrShort
		}
		i = r.line
	}
	if i == 0 {
		fields := r.Fields[:0]
		*r = Response{}
		r.Fields, r.ContentLength = fields, -1
		var bad rule
		if i, bad = r.statusLine(b); bad != ok {
			return r.stop(bad, b, limit).inAnswer()
		}
	}
	i, bad := r.fields(b, i, l.fields())
	if bad != ok {
		return r.stop(bad, b, limit).inAnswer()
	}
	r.Len = i
	r.Reset()
	return r.finish(b).inAnswer()
}

// statusLine reads the first line and gives the offset behind it.
func (r *Response) statusLine(b []byte) (int, rule) {
	const least = len("HTTP/1.1 200\r\n")
	if len(b) < least {
		return 0, partOfStatus(b)
	}
	minor := 1
	switch binary.LittleEndian.Uint64(b) {
	case http11:
	case http10:
		minor = 0
	default:
		return 0, oddStatusLine(b)
	}
	if b[8] != ' ' {
		return 0, oddStatusLine(b)
	}
	status := 0
	for _, c := range b[9:12] {
		if octets[c]&digitByte == 0 {
			return 0, oddStatusLine(b)
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 {
		return 0, badStatus
	}
	from := 12
	switch b[12] {
	case ' ':
		from = 13
	case '\r': // many leave the space away with the reason
	default:
		return 0, oddStatusLine(b)
	}
	end := control(b, from)
	if end+1 >= len(b) && (end == len(b) || b[end] == '\r') {
		return 0, short
	}
	switch c := b[end]; {
	case c == '\n':
		return 0, bareLF
	case c != '\r':
		return 0, badReason
	case b[end+1] != '\n':
		return 0, bareCR
	}
	r.Minor, r.Status = minor, status
	r.Reason = span(from, end)
	r.Bodiless = status < 200 || status == 204 || status == 304
	return end + 2, ok
}

// partOfStatus refuses what can become no status line.
func partOfStatus(b []byte) rule {
	const begin = "HTTP/1."
	for i := range min(len(b), len(begin)) {
		if b[i] != begin[i] {
			return badStatusLine
		}
	}
	return short
}

// oddStatusLine says what is wrong with a status line whose first bytes are b.
func oddStatusLine(b []byte) rule {
	const begin = "HTTP/1."
	if string(b[:len(begin)]) != begin {
		return badStatusLine
	}
	if b[7] != '0' && b[7] != '1' && octets[b[7]]&digitByte != 0 {
		return otherVersion
	}
	return badStatusLine
}

// finish reads what the fields mean together.
func (r *Response) finish(b []byte) rule {
	if bad := r.frame(b); bad != ok {
		return bad
	}
	upgrade, bad := r.connection(b)
	if bad != ok {
		return bad
	}
	if upgrade && r.Status == 101 && r.Minor == 1 {
		r.Upgrade = r.Head.upgrade(b)
	}
	if r.Status < 200 || r.Status == 204 {
		claims := r.Chunked || r.ContentLength > 0
		if claims && r.Status < 200 {
			return framedInterim
		}
		// A body behind a 204 would be taken for the next answer.
		r.KeepAlive = r.KeepAlive && !claims
		if i := r.Index(ContentLength); i != 0 {
			r.Fields[i-1].Hop = true // must not be sent: RFC 9110, section 8.6
		}
	}
	return ok
}

// KeepAliveTimeout reads the seconds of timeout= in the value of a Keep-Alive field: how
// long the sender keeps an idle connection. false if it says nothing valid.
func KeepAliveTimeout(value []byte) (seconds int, valid bool) {
	for i := 0; i <= len(value); {
		from, to := i, i
		for to < len(value) && value[to] != ',' {
			to++
		}
		i = to + 1
		from, to = trim(value, from, to)
		p := value[from:to]
		const name = "timeout="
		if len(p) > len(name) && same(p[:len(name)], name) {
			if n, good := number(p[len(name):]); good && n <= 1<<30 {
				return int(n), true
			}
			return 0, false
		}
	}
	return 0, false
}
