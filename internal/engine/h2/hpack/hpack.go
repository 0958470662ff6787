// Package hpack compresses the fields of HTTP/2 (RFC 7541) without allocating: what is
// decoded goes into a buffer that is used again, and what is encoded is appended to one.
//
//	block -> Decoder.Decode -> Fields (names and values as bytes of one buffer)
//	name, value, how -> Encoder.Append -> block
//
// The tables, integers and strings are ours, since those of golang.org/x/net/http2/hpack give a
// string for each name and value; its Huffman code is used, and it is the oracle in the
// tests.
//
// Limits: the dynamic tables have at most TableSize bytes on both sides, whatever the peer
// allows. Strings are sent as they are, not in Huffman's code: it would save a quarter of
// the bytes of what is not in a table yet, for some 2 ns a byte on both sides.
package hpack

import "errors"

// TableSize bounds the dynamic tables: the value with which every connection begins (RFC
// 9113, section 6.5.2), and so what our settings need not say.
const TableSize = 4096

// ErrCompression says that a block cannot be decoded. The tables of both sides differ from
// here on: the connection must be closed (COMPRESSION_ERROR).
var ErrCompression = errors.New("hpack: the block cannot be decoded")

// overhead is what an entry counts besides its bytes. RFC 7541, section 4.1.
const overhead = 32

// entry is an entry of a dynamic table: the name at off in its bytes, and the value behind it.
type entry struct {
	off, name, value int32
	hash, nameHash   uint32 // of an encoder's
}

// table is a dynamic table: RFC 7541, section 2.3.2. The bytes of its entries stand in one
// buffer, oldest first.
type table struct {
	max, size int
	entries   []entry // from first on, oldest first
	first     int
	buf       []byte
}

func (t *table) len() int { return len(t.entries) - t.first }

// at gives the entry of an index, which begins at 1 with the newest.
func (t *table) at(i int) (name, value []byte) {
	e := &t.entries[len(t.entries)-i]
	mid := e.off + e.name
	return t.buf[e.off:mid:mid], t.buf[mid : mid+e.value : mid+e.value]
}

func (t *table) evict(room int) {
	for t.size > room && t.first < len(t.entries) {
		e := &t.entries[t.first]
		t.size -= int(e.name+e.value) + overhead
		t.first++
	}
	if t.first == len(t.entries) {
		t.entries, t.first, t.buf, t.size = t.entries[:0], 0, t.buf[:0], 0
	}
}

func (t *table) resize(max int) {
	t.max = max
	t.evict(max)
}

// add inserts an entry, whose bytes are not of t, and drops the oldest ones that have no
// room any more; also the new one if it alone has none.
func (t *table) add(name, value []byte, hash, nameHash uint32) {
	n := len(name) + len(value)
	if n+overhead > t.max {
		t.evict(0)
		return
	}
	t.evict(t.max - n - overhead)
	if len(t.entries) == cap(t.entries) && t.first > 0 {
		t.entries = t.entries[:copy(t.entries, t.entries[t.first:])]
		t.first = 0
	}
	if t.first < len(t.entries) && len(t.buf)+n > 2*TableSize {
		lo := t.entries[t.first].off
		t.buf = t.buf[:copy(t.buf, t.buf[lo:])]
		for i := t.first; i < len(t.entries); i++ {
			t.entries[i].off -= lo
		}
	}
	t.entries = append(t.entries, entry{int32(len(t.buf)), int32(len(name)), int32(len(value)), hash, nameHash})
	t.buf = append(append(t.buf, name...), value...)
	t.size += n + overhead
}
