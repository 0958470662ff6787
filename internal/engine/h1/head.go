package h1

import "bytes"

// Head is what the heads of requests and answers have in common.
type Head struct {
	Len    int // bytes of the head with its last CRLF; the body begins there
	Minor  int // 0 or 1, of HTTP/1.Minor
	Fields []Field

	ContentLength int64 // -1: none given
	Chunked       bool  // the body comes in chunks
	KeepAlive     bool  // the head allows another message on the connection: RFC 9112, section 9.3; of an answer see Reusable

	// Upgrade is the protocol to change to, if there is exactly one, Connection names
	// Upgrade, and the change may be passed on: a request of HTTP/1.1 without a body, or
	// an answer 101. A change to another version of HTTP or to TLS is not passed on, since
	// what follows would go past every rule of the proxy. Else it is the zero Span.
	Upgrade Span

	line, tried, seen int // see again

	// index is by ID: 1 + the index of the first field, with the bit twice if there is another.
	index [numIDs]uint16
}

const twice = 1 << 15

// Index is 1 + the index in Fields of the first field of id, or 0 if there is none.
func (h *Head) Index(id ID) int { return int(h.index[id] &^ twice) }

// First is the first field of id, or nil.
func (h *Head) First(id ID) *Field {
	if i := h.Index(id); i != 0 {
		return &h.Fields[i-1]
	}
	return nil
}

// Repeated says whether there is more than one field of id.
func (h *Head) Repeated(id ID) bool { return h.index[id]&twice != 0 }

// Value is the value of the first field of id in b, or nil if there is none.
func (h *Head) Value(b []byte, id ID) []byte {
	if i := h.Index(id); i != 0 {
		return h.Fields[i-1].Value.In(b)
	}
	return nil
}

// Reset forgets a head that was not whole. It must be called before another message is
// parsed if the last Parse gave ErrShort; otherwise Parse does it.
func (h *Head) Reset() { h.line, h.tried, h.seen = 0, 0, 0 }

// again says whether a head that was not whole is worth another try, now that there is
// more of it. It is when a line has ended, when the line in work is twice as long as at
// the last try, or at the limit. So no byte is read more than a few times, however small
// the pieces, and a try begins with the line in work, not with the head.
func (h *Head) again(b []byte, limit int) bool {
	came := b[h.seen:]
	h.seen = len(b)
	return bytes.IndexByte(came, '\n') >= 0 || len(b)-h.line >= 2*(h.tried-h.line) || len(b) >= limit
}

// stop ends a Parse that did not reach the end of the head.
func (h *Head) stop(r rule, b []byte, limit int) rule {
	if r == short && len(b) < limit {
		h.tried, h.seen = len(b), len(b)
		return short
	}
	h.Reset()
	if r == short {
		return headLong
	}
	return r
}

// fields reads field lines from i on until the empty line, and gives the offset behind it.
func (h *Head) fields(b []byte, i, most int) (int, rule) {
	for {
		h.line = i
		if i >= len(b) {
			return i, short
		}
		if b[i] == '\r' {
			if i+1 >= len(b) {
				return i, short
			}
			if b[i+1] != '\n' {
				return i, bareCR
			}
			return i + 2, ok
		}
		n := len(h.Fields)
		if n >= most {
			return i, tooManyFields
		}

		colon := skip(b, i, tokenByte)
		if colon == len(b) {
			return i, short
		}
		if b[colon] != ':' || colon == i {
			return i, badLine(b[i:], colon-i, n == 0)
		}
		from := colon + 1
		for from < len(b) && blank(b[from]) {
			from++
		}
		end := control(b, from)
		if end+1 >= len(b) {
			if end < len(b) && b[end] != '\r' {
				return i, badValue(b[end])
			}
			return i, short
		}
		if b[end] != '\r' || b[end+1] != '\n' {
			return i, badValue(b[end])
		}
		to := end
		for to > from && blank(b[to-1]) {
			to--
		}

		id := identify(b, i, colon)
		if id == Other && misspelt(b[i:colon]) {
			return i, underscoreFraming
		}
		if h.index[id] == 0 {
			h.index[id] = uint16(n + 1)
		} else {
			h.index[id] |= twice
		}
		// Written in place: a Field that is made first and then appended is copied in
		// pieces of another width than it was written in, which made up a quarter of the whole.
		if n == cap(h.Fields) {
			h.Fields = append(h.Fields, Field{})
		}
		h.Fields = h.Fields[:n+1]
		f := &h.Fields[n]
		f.Name.Off, f.Name.Len = int32(i), int32(colon-i)
		f.Value.Off, f.Value.Len = int32(from), int32(to-from)
		f.line, f.ID, f.Hop = int32(end+2-i), id, id.ofHop()
		i = end + 2
	}
}

// badLine says what is wrong with a line whose byte at n is the first that is not of a
// token, and not a colon behind a name.
func badLine(line []byte, n int, first bool) rule {
	switch c := line[n]; {
	case c == '\n':
		return bareLF
	case n == 0 && c == ':':
		return emptyName
	case n == 0 && blank(c) && first:
		return firstLineSpace
	case n == 0 && blank(c):
		return obsFold
	case blank(c):
		return spaceBeforeColon
	case c == '\r':
		return noColon
	case c < 0x20 || c == 0x7f:
		return controlByte
	}
	return badName
}

// badValue says what is wrong with a value that ends with c.
func badValue(c byte) rule {
	switch c {
	case '\n':
		return bareLF
	case '\r':
		return bareCR
	}
	return controlByte
}
