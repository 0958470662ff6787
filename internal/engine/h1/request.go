package h1

import "encoding/binary"

// Request is the head of a request. It is used again for the next one: Parse overwrites it.
type Request struct {
	Head

	Verb   Verb
	Method Span
	Target Span // the whole request target
	Path   Span // raw; never empty: begins with /, or is the * of OPTIONS
	Query  Span // behind the ?
	// HasQuery tells /x? from /x.
	HasQuery bool
	Absolute bool // the target was a whole URL; its authority is the same as Host
	Host     Span // name and port; the zero Span only in HTTP/1.0. Of an IPv6 address with its brackets
	Hostname Span // Host without the port

	Expect100  bool // the caller waits for 100 (Continue) before it sends the body
	TETrailers bool // TE lists trailers, the one value to send on
}

// Origin is path and query as one span: the target to send on in origin form.
func (r *Request) Origin() Span { return span(int(r.Path.Off), int(r.Target.End())) }

// HasBody says whether bytes of a body follow the head.
func (r *Request) HasBody() bool { return r.Chunked || r.ContentLength > 0 }

// Parse reads a head at the start of b. It gives ErrShort while the head is not whole:
// call again with the same bytes and more behind them; ErrPreface if HTTP/2 is spoken;
// or an *Error, which is the same however the bytes were cut.
func (r *Request) Parse(b []byte, l Limits) error {
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
		*r = Request{} // in one go: a literal with values is made apart and copied
		r.Fields, r.ContentLength = fields, -1
		var bad rule
		if i, bad = r.requestLine(b, l.target()); bad != ok {
			return r.stop(bad, b, limit).inRequest()
		}
	}
	i, bad := r.fields(b, i, l.fields())
	if bad != ok {
		return r.stop(bad, b, limit).inRequest()
	}
	r.Len = i
	r.Reset()
	return r.finish(b).inRequest()
}

const (
	http11 = 'H' | 'T'<<8 | 'T'<<16 | 'P'<<24 | '/'<<32 | '1'<<40 | '.'<<48 | '1'<<56
	http10 = http11 - 1<<56
)

// requestLine reads the first line and gives the offset behind it.
func (r *Request) requestLine(b []byte, most int) (int, rule) {
	i := skip(b, 0, tokenByte)
	if i == len(b) {
		return 0, short
	}
	if b[i] != ' ' || i == 0 {
		if b[0] == '\r' || b[0] == '\n' {
			return 0, emptyLine
		}
		return 0, badMethod
	}
	r.Method = span(0, i)
	r.Verb = verb(b[:i])

	from := i + 1
	to, bad := r.target(b, from, most)
	if bad != ok {
		return 0, bad
	}
	r.Target = span(from, to)

	version := to + 1
	if version+10 > len(b) {
		return 0, partOfVersion(b[version:])
	}
	minor := 1
	switch binary.LittleEndian.Uint64(b[version:]) {
	case http11:
	case http10:
		minor = 0
	default:
		return 0, r.oddVersion(b, version)
	}
	if b[version+8] != '\r' || b[version+9] != '\n' {
		return 0, lineEnd(b[version+8])
	}
	r.Minor = minor
	switch {
	case r.Method.Len == 3 && string(b[:3]) == "PRI":
		return 0, reservedPRI
	case r.Verb == CONNECT || r.Verb == TRACE:
		return 0, methodRefused
	}
	return version + 10, ok
}

// partOfVersion refuses what can become no version before all of it is there: else a
// caller who sends too little would wait for its time to run out.
func partOfVersion(b []byte) rule {
	for i, c := range b {
		if c == '\n' {
			if i > 0 && b[i-1] == '\r' {
				return badRequestLine
			}
			return bareLF
		}
	}
	return short
}

// oddVersion says what is wrong with the ten bytes at i of the request line.
func (r *Request) oddVersion(b []byte, i int) rule {
	v := b[i : i+10]
	if bad := partOfVersion(v[:9]); bad != short {
		return bad
	}
	if string(v[:5]) != "HTTP/" {
		return badRequestLine
	}
	if octets[v[5]]&digitByte == 0 || v[6] != '.' || octets[v[7]]&digitByte == 0 {
		return badVersion
	}
	if v[8] != '\r' || v[9] != '\n' {
		return lineEnd(v[8])
	}
	if string(b[:i+8]) == "PRI * HTTP/2.0" {
		return preface
	}
	return otherVersion
}

// lineEnd says what is wrong where a first line should end with CRLF and c stands.
func lineEnd(c byte) rule {
	switch c {
	case '\n':
		return bareLF
	case '\r':
		return bareCR
	}
	return badRequestLine
}

// target reads the request target from i on and gives the offset of the space behind it.
func (r *Request) target(b []byte, i, most int) (int, rule) {
	end := skip(b, i, pathByte)
	if end < len(b) && b[end] == '?' {
		r.HasQuery = true
		r.Query.Off = int32(end + 1)
		end = skip(b, end+1, queryByte)
		r.Query.Len = int32(end) - r.Query.Off
	}
	if end-i > most {
		return 0, targetLong
	}
	if end == len(b) {
		return 0, short
	}
	switch c := b[end]; {
	case c == '#':
		return 0, targetFragment
	case c == '\n':
		return 0, bareLF
	case c == '\r':
		if end+1 == len(b) {
			return 0, short
		}
		if b[end+1] != '\n' {
			return 0, bareCR
		}
		return 0, badRequestLine // HTTP/0.9, or no version
	case c != ' ':
		return 0, badTarget
	case end == i:
		return 0, badRequestLine // two spaces
	}
	last := end
	if r.HasQuery {
		last = int(r.Query.Off) - 1
	}
	switch {
	case r.Verb == CONNECT: // refused when its line is whole
	case b[i] == '/':
		r.Path = span(i, last)
	case b[i] == '*' && end == i+1:
		if r.Verb != OPTIONS && string(r.Method.In(b)) != "PRI" {
			return 0, targetStar
		}
		r.Path = span(i, end)
	default:
		return end, r.absolute(b[:last], i)
	}
	return end, ok
}

// absolute reads a target in absolute form, b[i:] without the query.
func (r *Request) absolute(b []byte, i int) rule {
	scheme := i
	for i < len(b) && octets[b[i]]&tokenByte != 0 {
		i++
	}
	if i+3 > len(b) || string(b[i:i+3]) != "://" {
		return targetForm
	}
	if s := b[scheme:i]; !same(s, "http") && !same(s, "https") {
		return targetScheme
	}
	i += 3
	path := i
	for path < len(b) && b[path] != '/' {
		path++
	}
	if path == len(b) {
		return targetPath
	}
	r.Absolute = true
	r.Host = span(i, path) // checked against the field in host
	r.Path = span(path, len(b))
	return ok
}

// finish reads what the fields mean together.
func (r *Request) finish(b []byte) rule {
	if bad := r.host(b); bad != ok {
		return bad
	}
	if bad := r.frame(b); bad != ok {
		return bad
	}
	upgrade, bad := r.connection(b)
	if bad != ok {
		return bad
	}
	if upgrade && r.Minor == 1 && !r.HasBody() {
		r.Upgrade = r.Head.upgrade(b)
	}
	if r.index[TE] != 0 {
		for i := range r.Fields {
			if f := &r.Fields[i]; f.ID == TE && lists(f.Value.In(b), "trailers") {
				r.TETrailers = true
			}
		}
	}
	if i := r.Index(Expect); i != 0 {
		if r.Repeated(Expect) || !same(r.Fields[i-1].Value.In(b), "100-continue") {
			return badExpect
		}
		// Nothing is waited for in HTTP/1.0 or without a body: RFC 9110, section 10.1.1.
		r.Expect100 = r.Minor == 1 && r.HasBody()
		r.Fields[i-1].Hop = !r.Expect100
	}
	return ok
}
