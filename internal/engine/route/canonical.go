package route

import (
	"errors"
	"fmt"
	"strings"
)

// Canonical says what keeps a raw path (escaped, without query) from being canonical,
// or nil. A canonical path has one spelling for every reader:
//
//   - origin form: it begins with a slash;
//   - no empty segment (//), but the last may be; no . or .. segment, also not as %2e;
//   - no backslash, no fragment, no space or control byte, no byte of 0x80 and above;
//   - escapes are whole, in upper-case hex, not of NUL, and not of a letter, digit, '-',
//     '.', '_' or '~', which need none (RFC 3986, sections 2.1 and 2.3).
//
// Bytes that RFC 3986 wants escaped and that all readers take for themselves (the quote, < > ^ ` { | }) pass as they
// came: browsers escape most of them in paths and leave | and, the older ones, ^ (URL Standard, path percent-encode set), and curl
// leaves all. Escapes in lower-case hex pass, too, since links have them; see Spelt.
//
// So %2F stays %2F and %25 stays %25, and neither is a slash or a percent to anybody. A
// path as a client sends it goes through Spelt first.
func Canonical(raw string) error {
	if raw == "" || raw[0] != '/' {
		return notCanonical(raw)
	}
	// The usual path, eight bytes at a time: a byte needs a second look only if it is an
	// escape or forbidden, or a slash or a dot after a slash. A byte-by-byte table took
	// three times as long.
	if len(raw) < 8 {
		return notCanonical(raw)
	}
	var after uint64 // 0x80 in the lowest byte if a slash went before
	i := 0
	for ; i+8 <= len(raw); i += 8 {
		odd, slashes := look(word(raw[i:i+8]), after)
		if odd {
			return notCanonical(raw)
		}
		after = slashes >> 56
	}
	if i < len(raw) { // the last eight, some of them again
		i = len(raw) - 8
		after = 0
		if raw[i-1] == '/' {
			after = 0x80
		}
		if odd, _ := look(word(raw[i:]), after); odd {
			return notCanonical(raw)
		}
	}
	return nil
}

// word gives eight bytes, the first in the lowest place.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
	lows = 0x7f7f7f7f7f7f7f7f
)

// look says whether one of eight bytes of a path needs a second look, and gives 0x80 in the
// place of each slash.
func look(w, after uint64) (odd bool, slashes uint64) {
	// In the sums no byte carries into the next, since none has its top bit; where one
	// has, odd is true anyway. The top bit of a sum is set:
	fine := (w + ones*(0x7f-' ')) & // for bytes above the space,
		((w ^ ones*'%') + lows) & // and not for a percent,
		((w ^ ones*'#') + lows) &
		((w ^ ones*'?') + lows) &
		((w ^ ones*'\\') + lows)
	slashes = ^((w ^ ones*'/') + lows) & tops
	dots := ^((w ^ ones*'.') + lows) & tops
	bad := w | (w + ones) | ^fine | (slashes<<8|after)&(slashes|dots) // w+1: for 0x7f
	return bad&tops != 0, slashes
}

// notCanonical reads a path byte by byte, and says what is wrong with it, or nil.
func notCanonical(raw string) error {
	if raw == "" || raw[0] != '/' {
		return errors.New("want a path that begins with /")
	}
	start := 1 // of the segment
	for i := 1; i <= len(raw); i++ {
		if i == len(raw) || raw[i] == '/' {
			switch seg := raw[start:i]; {
			case seg == "" && i < len(raw):
				return fmt.Errorf("empty segment (//) at byte %d", i)
			case seg == "." || seg == "..":
				return fmt.Errorf("segment %q at byte %d", seg, start)
			}
			start = i + 1
			continue
		}
		switch c := raw[i]; {
		case c == '%':
			if err := canonicalEscape(raw, i); err != nil {
				return err
			}
			i += 2
		case c == '\\' || c == '#' || c == '?' || c <= ' ' || c >= 0x7f:
			return fmt.Errorf("byte %#02x at byte %d must be escaped", c, i)
		}
	}
	return nil
}

// Spelt gives a raw path with the hex digits of its escapes in upper case, which mean
// the same (RFC 3986, section 6.2.2.1) and are how rules are written. curl and others send
// lower case. It has the length of raw, and is raw where there is nothing to do.
func Spelt(raw string) string {
	first := strings.IndexByte(raw, '%')
	if first < 0 {
		return raw
	}
	var out []byte
	for i := first; i+2 < len(raw); i++ {
		if raw[i] != '%' {
			continue
		}
		for _, j := range [2]int{i + 1, i + 2} {
			if c := raw[j]; 'a' <= c && c <= 'f' {
				if out == nil {
					out = []byte(raw)
				}
				out[j] = c - 'a' + 'A'
			}
		}
	}
	if out == nil {
		return raw
	}
	return string(out)
}

func canonicalEscape(raw string, i int) error {
	if i+2 >= len(raw) {
		return fmt.Errorf("broken escape at byte %d", i)
	}
	hi, ok1 := upperHex(raw[i+1])
	lo, ok2 := upperHex(raw[i+2])
	if !ok1 || !ok2 {
		return fmt.Errorf("escape %q at byte %d: want two upper-case hex digits", raw[i:i+3], i)
	}
	switch c := hi<<4 | lo; {
	case c == 0:
		return fmt.Errorf("escaped NUL at byte %d", i)
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		return fmt.Errorf("escape %s at byte %d is needless: write %c", raw[i:i+3], i, c)
	}
	return nil
}

func upperHex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
