package hpack

import (
	"golang.org/x/net/http2/hpack"
)

// Fields are decoded fields, in order. The zero value is empty and has no bounds; Reset makes it ready
// for another block.
type Fields struct {
	buf   []byte
	spans []span
	size  int // as RFC 9113, section 6.5.2, counts
	over  bool

	// Max bounds the size of the fields, with 32 bytes for each. Those beyond it are decoded,
	// since the tables must be kept, and dropped: see Over.
	Max int
}

type span struct {
	off, name, value int32
	never            bool
}

// Reset empties f. Max stays.
func (f *Fields) Reset() {
	f.buf, f.spans, f.size, f.over = f.buf[:0], f.spans[:0], 0, false
}

// Len is how many fields there are.
func (f *Fields) Len() int { return len(f.spans) }

// At gives the field at i. The bytes are good until Reset.
func (f *Fields) At(i int) (name, value []byte) {
	s := &f.spans[i]
	mid := s.off + s.name
	return f.buf[s.off:mid:mid], f.buf[mid : mid+s.value : mid+s.value]
}

// Never says whether the field at i must not enter a table, here or further on: RFC 7541,
// section 7.1.3.
func (f *Fields) Never(i int) bool { return f.spans[i].never }

// Over says whether there were more than Max allows.
func (f *Fields) Over() bool { return f.over }

// Size is the size of the fields, with 32 bytes for each: RFC 9113, section 6.5.2.
func (f *Fields) Size() int { return f.size }

// Held is how much memory f holds, be it in use or not.
func (f *Fields) Held() int { return cap(f.buf) + 16*cap(f.spans) }

// end closes the field whose name begins at off and has n bytes.
func (f *Fields) end(off, n int, never bool) {
	value := len(f.buf) - off - n
	f.size += n + value + overhead
	if f.Max > 0 && f.size > f.Max {
		f.over = true
	}
	if f.over {
		f.buf = f.buf[:off]
		return
	}
	f.spans = append(f.spans, span{int32(off), int32(n), int32(value), never})
}

// Write appends; it is for the Huffman decoder.
func (f *Fields) Write(p []byte) (int, error) {
	f.buf = append(f.buf, p...)
	return len(p), nil
}

// Decoder decodes the blocks of one connection, in their order.
type Decoder struct {
	t     table
	ready bool
}

// Decode decodes a whole block and appends its fields to f. The error is ErrCompression.
func (d *Decoder) Decode(block []byte, f *Fields) error {
	if !d.ready {
		d.ready, d.t.max = true, TableSize
	}
	begun := false
	for len(block) > 0 {
		b := block[0]
		var i uint32
		var ok bool
		switch {
		case b&0x80 != 0: // indexed: RFC 7541, section 6.1
			if i, block, ok = integer(block, 7); !ok {
				return ErrCompression
			}
			off := len(f.buf)
			name, value, ok := d.get(i)
			if !ok {
				return ErrCompression
			}
			if f.over {
				break
			}
			f.buf = append(append(f.buf, name...), value...)
			f.end(off, len(name), false)
		case b&0xe0 == 0x20: // a new size of the table: section 6.3
			if i, block, ok = integer(block, 5); !ok || begun || i > TableSize {
				return ErrCompression
			}
			d.t.resize(int(i))
			continue
		default: // a literal: section 6.2
			prefix := 4
			if b&0xc0 == 0x40 {
				prefix = 6
			}
			if i, block, ok = integer(block, prefix); !ok {
				return ErrCompression
			}
			off := len(f.buf)
			if i == 0 {
				if block, ok = f.text(block); !ok {
					return ErrCompression
				}
			} else {
				name, _, ok := d.get(i)
				if !ok {
					return ErrCompression
				}
				f.buf = append(f.buf, name...)
			}
			n := len(f.buf) - off
			if block, ok = f.text(block); !ok {
				return ErrCompression
			}
			if prefix == 6 {
				d.t.add(f.buf[off:off+n], f.buf[off+n:], 0, 0)
			}
			f.end(off, n, b&0xf0 == 0x10)
		}
		begun = true
	}
	return nil
}

// get gives an entry of both tables. The bytes of static ones are of no buffer of d.
func (d *Decoder) get(i uint32) (name, value []byte, ok bool) {
	switch {
	case i == 0:
		return nil, nil, false
	case int(i) < len(static):
		return bytesOf(static[i][0]), bytesOf(static[i][1]), true
	case int64(i)-int64(len(static)) >= int64(d.t.len()):
		return nil, nil, false
	}
	name, value = d.t.at(int(i) - len(static) + 1)
	return name, value, true
}

// text decodes a string and appends it. RFC 7541, section 5.2.
func (f *Fields) text(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	coded := b[0]&0x80 != 0
	n, b, ok := integer(b, 7)
	if !ok || uint64(n) > uint64(len(b)) {
		return nil, false
	}
	if !coded {
		f.buf = append(f.buf, b[:n]...)
		return b[n:], true
	}
	if _, err := hpack.HuffmanDecode(f, b[:n]); err != nil {
		return nil, false
	}
	return b[n:], true
}

// integer decodes one with a prefix of so many bits: RFC 7541, section 5.1. None that is good
// here needs more than 28 bits beyond its prefix.
func integer(b []byte, prefix int) (n uint32, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	mask := uint32(1)<<prefix - 1
	if n = uint32(b[0]) & mask; n < mask {
		return n, b[1:], true
	}
	for i := 1; i < len(b) && i <= 4; i++ {
		n += uint32(b[i]&0x7f) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}
