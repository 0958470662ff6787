package h1

// Chunks follows a chunked body (RFC 9112, section 7.1) without copying it. The zero
// value is ready for a request's body. Use one of Next and NextData for a body, in a loop:
//
//	for len(in) > 0 && !c.Done() {
//		pass, n, err := c.Next(in)
//		in = in[n:] // send pass on, which may be empty; then see to err
//	}
//
// Extensions are dropped, as RFC 9112 allows; trailers are checked as fields are, and
// those that have no business there (RFC 9110, section 6.5.1) are dropped. Only a trailer
// section that is not empty is kept, at most MaxTrailer bytes.
type Chunks struct {
	Answer bool // the body of an answer: errors have status 502

	state      chunkState
	digits     uint8 // of the size in work
	extensions int32 // bytes so far of all extensions
	left       int64 // of the chunk in work
	data       int64 // bytes of data so far
	failed     error

	trailer Head   // of kept; valid when the state is chunksDone
	kept    []byte // the trailer section as it came
	out     []byte // the trailer section to send on, with its last CRLF
}

// The bounds of a chunked body.
const (
	maxExtensions    = 4 << 10 // bytes of all extensions of a body
	MaxTrailer       = 8 << 10 // bytes of a trailer section
	maxTrailerFields = 64
)

type chunkState uint8

const (
	chunkSize      chunkState = iota // at a digit of a size, or what follows it
	chunkExtension                   // behind the semicolon
	chunkSizeCR                      // at the CR behind an extension
	chunkSizeLF                      // at the LF of a size line
	chunkData                        // at data; left > 0
	chunkCR                          // at the CR behind data
	chunkLF                          // at the LF behind data
	lastCR                           // behind the line of the last chunk: at a CR or a trailer
	lastLF                           // at the LF that ends the body
	trailers                         // in the trailer section
	chunksDone
)

// Reset makes c ready for another body. Answer stays.
func (c *Chunks) Reset() {
	answer, kept, out, fields := c.Answer, c.kept[:0], c.out[:0], c.trailer.Fields[:0]
	*c = Chunks{} // in place: a literal with c's own fields would be made on the stack first
	c.Answer, c.kept, c.out, c.trailer.Fields = answer, kept, out, fields
}

// Done says whether the body has ended. What stands behind it was not consumed.
func (c *Chunks) Done() bool { return c.state == chunksDone }

// Data is how many bytes of data have passed.
func (c *Chunks) Data() int64 { return c.data }

// part is what a run of bytes is.
type part uint8

const (
	framing part = iota // sizes, their CRLFs, and those behind data
	data
	dropped // an extension or a trailer section
)

// Next consumes n bytes of in. pass is what to send on of them as it is: a part of in or,
// behind the last chunk, of c, valid until Reset. It ends before an extension, and may
// be empty. With an error pass is what stood before the fault.
func (c *Chunks) Next(in []byte) (pass []byte, n int, err error) {
	from := 0
	for n < len(in) && c.state != chunksDone {
		if c.heldBack(in[n]) && n > from {
			break // the trailer section is a piece of its own
		}
		p, k, err := c.take(in[n:])
		if err != nil {
			return in[from:n], n, err
		}
		n += k
		if p != dropped {
			continue
		}
		if c.state == chunksDone {
			return c.out, n, nil
		}
		if n-k > from {
			return in[from : n-k], n, nil
		}
		from = n
	}
	return in[from:n], n, nil
}

// NextData consumes n bytes of in. d is the data in them, a part of in; it is one run,
// and may be empty. For a caller that frames the body anew; see Trailers.
func (c *Chunks) NextData(in []byte) (d []byte, n int, err error) {
	for n < len(in) && c.state != chunksDone {
		p, k, err := c.take(in[n:])
		if err != nil {
			return nil, n, err
		}
		n += k
		if p == data {
			return in[n-k : n], n, nil
		}
	}
	return nil, n, nil
}

// heldBack says whether the next byte, b, is of a trailer section that is not empty.
func (c *Chunks) heldBack(b byte) bool {
	return c.state == trailers || c.state == lastCR && b != '\r'
}

// take consumes the bytes at the start of in that are of one part, at least one of them.
func (c *Chunks) take(in []byte) (part, int, error) {
	if c.failed != nil {
		return 0, 0, c.failed
	}
	switch c.state {
	case chunkSize:
		n := 0
		for n < len(in) && octets[in[n]]&hexByte != 0 {
			if c.digits++; c.digits > 15 {
				return c.fail(chunkSizeLong)
			}
			c.left = c.left<<4 | int64(hexValue(in[n]))
			n++
		}
		if n == len(in) {
			return framing, n, nil
		}
		switch b := in[n]; {
		case c.digits == 0:
			return c.fail(badChunkSize)
		case b == '\r':
			c.state = chunkSizeLF
			return framing, n + 1, nil
		case b == ';':
			c.state = chunkExtension
			if n > 0 {
				return framing, n, nil
			}
			return c.take(in)
		case b == '\n':
			return c.fail(bareLF)
		}
		return c.fail(badChunkSize)

	case chunkExtension:
		n := control(in, 0)
		if c.extensions += int32(min(n, maxExtensions+1)); c.extensions > maxExtensions {
			return c.fail(extensionLong)
		}
		if n < len(in) {
			if in[n] != '\r' {
				return c.fail(badValue(in[n]))
			}
			c.state = chunkSizeCR
		}
		return dropped, n, nil

	case chunkSizeCR:
		c.state = chunkSizeLF
		return framing, 1, nil

	case chunkSizeLF:
		if in[0] != '\n' {
			return c.fail(bareCR)
		}
		c.digits = 0
		if c.state = chunkData; c.left == 0 {
			c.state = lastCR
		}
		return framing, 1, nil

	case chunkData:
		n := int(min(c.left, int64(len(in))))
		c.left -= int64(n)
		c.data += int64(n)
		if c.left == 0 {
			c.state = chunkCR
		}
		return data, n, nil

	case chunkCR:
		if in[0] != '\r' {
			return c.fail(badChunkEnd)
		}
		c.state = chunkLF
		return framing, 1, nil

	case chunkLF:
		if in[0] != '\n' {
			return c.fail(badChunkEnd)
		}
		c.state = chunkSize
		return framing, 1, nil

	case lastCR:
		if in[0] == '\r' {
			c.state = lastLF
			return framing, 1, nil
		}
		c.state = trailers
		return c.keep(in)

	case lastLF:
		if in[0] != '\n' {
			return c.fail(bareCR)
		}
		c.state = chunksDone
		return framing, 1, nil

	case trailers:
		return c.keep(in)
	}
	panic("h1: a chunked body is read past its end")
}

func (c *Chunks) fail(r rule) (part, int, error) {
	if c.failed = r.inRequest(); c.Answer {
		c.failed = r.inAnswer()
	}
	return 0, 0, c.failed
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&0xf + 9
}
