package h1

import (
	"encoding/binary"
	"math/bits"
)

// The classes of bytes. RFC 9110, section 5.6.2; RFC 9112, section 3.2; RFC 3986, section 2.3.
const (
	tokenByte = 1 << iota // of a method or field name
	pathByte              // of a target before the query: visible ASCII but # and ?
	queryByte             // of a target after the ?: visible ASCII but #
	hostByte              // of a host name or IPv4 address: unreserved
	addrByte              // of an IPv6 address
	digitByte             // 0 to 9
	hexByte               // a hexadecimal digit
	ctlByte               // a control byte, HTAB too
)

var octets = func() (t [256]uint8) {
	for c := range 256 {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		hex := digit || 'a' <= c|0x20 && c|0x20 <= 'f'
		visible := 0x20 < c && c < 0x7f
		for class, in := range map[uint8]bool{
			tokenByte: letter || digit || visible && indexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0,
			pathByte:  visible && c != '#' && c != '?',
			queryByte: visible && c != '#',
			hostByte:  letter || digit || c == '-' || c == '.' || c == '_' || c == '~',
			addrByte:  hex || c == ':' || c == '.',
			digitByte: digit,
			hexByte:   hex,
			ctlByte:   c < 0x20 || c == 0x7f,
		} {
			if in {
				t[c] |= class
			}
		}
	}
	return t
}()

func indexByte(s string, c byte) int {
	for i := range len(s) {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// skip gives the offset of the first byte of b from i on that is not of the class, or len(b).
func skip(b []byte, i int, class uint8) int {
	for n, c := range b[i:] {
		if octets[c]&class == 0 {
			return i + n
		}
	}
	return len(b)
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// controls marks, in the high bits of the eight bytes of x, the control bytes. The lowest
// mark is right; those above it may be too many, by the borrow of a byte below: x - n*ones
// sets the high bit of a byte below n, and of no byte before the first such.
func controls(x uint64) uint64 {
	return ((x - 0x20*ones) | (x ^ 0x7f*ones - ones)) &^ x & highs
}

// control gives the offset of the first control byte but HTAB in b from i on, or len(b).
func control(b []byte, i int) int {
	for i+8 <= len(b) {
		m := controls(binary.LittleEndian.Uint64(b[i:]))
		if m == 0 {
			i += 8
			continue
		}
		i += firstByte(m)
		if b[i] != '\t' {
			return i
		}
		i++
	}
	for i < len(b) && (octets[b[i]]&ctlByte == 0 || b[i] == '\t') {
		i++
	}
	return i
}

// blank says whether c is optional whitespace. RFC 9110, section 5.6.3.
func blank(c byte) bool { return c == ' ' || c == '\t' }

// trim narrows from..to of b by the spaces and tabs at its ends.
func trim(b []byte, from, to int) (int, int) {
	for from < to && blank(b[from]) {
		from++
	}
	for from < to && blank(b[to-1]) {
		to--
	}
	return from, to
}

// same says whether b is the lower-case s in any case. Both are ASCII.
func same(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if lower(c) != s[i] {
			return false
		}
	}
	return true
}

// sameFold says whether a and b are the same in any case. Both are ASCII.
func sameFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if lower(c) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// firstByte is the index of the lowest byte of m that is not zero.
func firstByte(m uint64) int { return bits.TrailingZeros64(m) >> 3 }
