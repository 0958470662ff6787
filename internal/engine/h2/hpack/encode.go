package hpack

import (
	"hash/maphash"
	"unsafe"
)

// How says how a field is sent.
type How uint8

// The ways.
const (
	Index How = iota // it is likely to come again: into the table
	Plain            // its value is not; the name may stand in the table
	Never            // it is a secret that nobody may guess by the size of blocks
)

// Encoder encodes the blocks of one connection, in their order.
type Encoder struct {
	t        table
	ready    bool
	resized  bool
	smallest int // of the sizes that the peer allowed since the last block
}

var seed = maphash.MakeSeed()

// SetMax says how large a table the peer allows.
func (e *Encoder) SetMax(n uint32) {
	e.begin()
	max := int(min(n, TableSize))
	if max == e.t.max && !e.resized {
		return
	}
	if !e.resized {
		e.smallest = max
	}
	e.resized, e.smallest = true, min(e.smallest, max)
	e.t.resize(max)
}

func (e *Encoder) begin() {
	if !e.ready {
		e.ready, e.t.max = true, TableSize
	}
}

// Begin appends what a block begins with.
func (e *Encoder) Begin(dst []byte) []byte {
	e.begin()
	if !e.resized {
		return dst
	}
	e.resized = false
	if e.smallest < e.t.max {
		dst = appendInteger(dst, 0x20, 5, uint32(e.smallest))
	}
	return appendInteger(dst, 0x20, 5, uint32(e.t.max))
}

// Append appends one field. name is in lower case.
func (e *Encoder) Append(dst, name, value []byte, how How) []byte {
	index, whole := inStatic(name, value)
	if whole {
		return appendInteger(dst, 0x80, 7, uint32(index))
	}
	var hash, nameHash uint32
	if index == 0 || how == Index {
		h := maphash.Bytes(seed, name)
		nameHash = uint32(h)
		hash = nameHash + uint32(maphash.Bytes(seed, value)>>7)
		named := 0
		all := e.t.entries
		for i := len(all) - 1; i >= e.t.first; i-- {
			if all[i].hash == hash && how == Index {
				if n, v := e.t.at(len(all) - i); string(n) == string(name) && string(v) == string(value) {
					return appendInteger(dst, 0x80, 7, uint32(len(static)-1+len(all)-i))
				}
			}
			if named == 0 && index == 0 && all[i].nameHash == nameHash {
				if n, _ := e.t.at(len(all) - i); string(n) == string(name) {
					named = len(static) - 1 + len(all) - i
					if how != Index {
						break
					}
				}
			}
		}
		if index == 0 {
			index = named
		}
	}
	if how != Never && (how == Index || index == 0) && len(name)+len(value)+overhead <= e.t.max/4 {
		dst = appendInteger(dst, 0x40, 6, uint32(index))
		if index == 0 {
			dst = appendText(dst, name)
		}
		dst = appendText(dst, value)
		e.t.add(name, value, hash, nameHash)
		return dst
	}
	first := byte(0)
	if how == Never {
		first = 0x10
	}
	dst = appendInteger(dst, first, 4, uint32(index))
	if index == 0 {
		dst = appendText(dst, name)
	}
	return appendText(dst, value)
}

func appendText(dst, s []byte) []byte {
	return append(appendInteger(dst, 0, 7, uint32(len(s))), s...)
}

func appendInteger(dst []byte, first byte, prefix int, n uint32) []byte {
	mask := uint32(1)<<prefix - 1
	if n < mask {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(mask))
	for n -= mask; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

// bytesOf gives s as bytes that must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
