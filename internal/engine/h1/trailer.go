package h1

// keep takes a part of the trailer section from the start of in.
func (c *Chunks) keep(in []byte) (part, int, error) {
	had := len(c.kept)
	n := min(len(in), MaxTrailer-had)
	c.kept = append(c.kept, in[:n]...)
	h := &c.trailer
	if had > 0 && !h.again(c.kept, MaxTrailer) {
		return dropped, n, nil
	}
	end, bad := h.fields(c.kept, h.line, maxTrailerFields)
	if bad != ok {
		switch bad = h.stop(bad, c.kept, MaxTrailer); bad {
		case short:
			return dropped, n, nil
		case headLong, tooManyFields:
			bad = trailerLong
		}
		return c.fail(bad)
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.ID.has(noTrailer) {
			f.Hop = true
			continue
		}
		c.out = append(c.out, f.Line().In(c.kept)...)
	}
	c.out = append(c.out, "\r\n"...)
	c.state = chunksDone
	return dropped, end - had, nil
}

// Trailers gives the names and values of the trailers to send on, in order. They are
// valid until Reset, and there are none before Done.
func (c *Chunks) Trailers(yield func(name, value []byte) bool) {
	if c.state != chunksDone {
		return
	}
	for i := range c.trailer.Fields {
		f := &c.trailer.Fields[i]
		if !f.Hop && !yield(f.Name.In(c.kept), f.Value.In(c.kept)) {
			return
		}
	}
}

// Trailer is the value of the first trailer of id that is sent on, or nil.
func (c *Chunks) Trailer(id ID) []byte {
	if c.state != chunksDone || id.has(noTrailer) {
		return nil
	}
	return c.trailer.Value(c.kept, id)
}

// TrailerSection is the lines of the trailers to send on, without the CRLF that ends
// them; empty if there are none.
func (c *Chunks) TrailerSection() []byte {
	if len(c.out) < 2 {
		return nil
	}
	return c.out[:len(c.out)-2]
}
