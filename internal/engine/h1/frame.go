package h1

// frame reads the fields that say where the body ends. RFC 9112, section 6.3.
func (h *Head) frame(b []byte) rule {
	if i := h.Index(TransferEncoding); i != 0 {
		switch {
		case h.index[ContentLength] != 0:
			return lengthAndCoding
		case h.Repeated(TransferEncoding):
			return codingRepeated
		case h.Minor == 0:
			return codingInOld
		case !same(h.Fields[i-1].Value.In(b), "chunked"):
			return badCoding
		}
		h.Chunked = true
	}
	if i := h.Index(ContentLength); i != 0 {
		if h.Repeated(ContentLength) {
			return lengthRepeated
		}
		n, valid := number(h.Fields[i-1].Value.In(b))
		if !valid {
			return badLength
		}
		h.ContentLength = n
	}
	return ok
}

// number reads a decimal number of at most 18 digits that has one spelling.
func number(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// maxOptions bounds the fields that Connection may name, for each is looked for.
const maxOptions = 32

// connection reads the Connection fields: whether the connection stays, whether Upgrade
// is meant, and which fields are of this hop.
func (h *Head) connection(b []byte) (upgrade bool, r rule) {
	h.KeepAlive = h.Minor == 1
	first := h.Index(Connection)
	if first == 0 {
		return false, ok
	}
	if v := h.Fields[first-1].Value.In(b); len(v) == len("keep-alive") && same(v, "keep-alive") && !h.Repeated(Connection) {
		h.KeepAlive = true
		return false, ok
	}
	shut, keep, named := false, false, 0
	for f := first - 1; f < len(h.Fields); f++ {
		if h.Fields[f].ID != Connection {
			continue
		}
		v := h.Fields[f].Value
		for i, end := int(v.Off), int(v.End()); i <= end; {
			from, to := i, i
			for to < end && b[to] != ',' {
				to++
			}
			i = to + 1
			if from, to = trim(b[:end], from, to); from == to {
				continue
			}
			if skip(b[:to], from, tokenByte) != to {
				return false, badOption
			}
			switch id := identify(b, from, to); {
			case id == KeepAlive:
				keep = true
			case id == Upgrade:
				upgrade = true
			case id.ofHop():
			case id.has(forAll):
				return false, optionForbidden
			case same(b[from:to], "close"):
				shut = true
			default:
				if named++; named > maxOptions {
					return false, tooManyOptions
				}
				h.drop(b, b[from:to], id)
			}
		}
	}
	h.KeepAlive = !shut && (keep || h.Minor == 1)
	return upgrade, ok
}

// drop makes the fields of a name hop-by-hop.
func (h *Head) drop(b, name []byte, id ID) {
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == id && (id != Other || sameFold(f.Name.In(b), name)) {
			f.Hop = true
		}
	}
}

// upgrade gives the protocol of the Upgrade field if it is exactly one that may be
// passed on, else the zero Span.
func (h *Head) upgrade(b []byte) Span {
	i := h.Index(Upgrade)
	if i == 0 || h.Repeated(Upgrade) {
		return Span{}
	}
	v := h.Fields[i-1].Value
	p := v.In(b)
	name := skip(p, 0, tokenByte)
	if name == 0 {
		return Span{}
	}
	if name < len(p) { // a version
		if p[name] != '/' || name+1 == len(p) || skip(p, name+1, tokenByte) != len(p) {
			return Span{}
		}
	}
	for _, s := range [...]string{"h2c", "h2", "http", "tls"} {
		if same(p[:name], s) {
			return Span{}
		}
	}
	return v
}

// lists says whether the list b holds the item, which is lower case.
func lists(b []byte, item string) bool {
	for i := 0; i <= len(b); {
		from, to := i, i
		for to < len(b) && b[to] != ',' {
			to++
		}
		i = to + 1
		if from, to = trim(b, from, to); same(b[from:to], item) {
			return true
		}
	}
	return false
}
