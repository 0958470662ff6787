package route

import (
	"errors"
	"fmt"
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
// So %2F stays %2F and %25 stays %25, and neither is a slash or a percent to anybody. A
// path as a client sends it goes through Spelt first.
func Canonical(raw string) error {
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
	var out []byte
	for i := 0; i+2 < len(raw); i++ {
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
