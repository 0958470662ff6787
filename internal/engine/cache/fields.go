package cache

import (
	"slices"
	"strings"
)

// A Field is one line of a head. Engines make them for requests of cached routes only.
type Field struct{ Name, Value string }

// Fields are the lines of a head in their order. Names match in any case.
type Fields []Field

// same compares names of fields. A name is ASCII: of two strings of one length, a folded
// non-ASCII letter would make one longer.
func same(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// First gives the first value under name.
func (f Fields) First(name string) (string, bool) {
	for i := range f {
		if same(f[i].Name, name) {
			return f[i].Value, true
		}
	}
	return "", false
}

// Joined gives all values under name as one list, "" if there is none. It allocates only
// if there is more than one line.
func (f Fields) Joined(name string) string {
	v, n := "", 0
	for i := range f {
		if !same(f[i].Name, name) {
			continue
		}
		if n++; n == 1 {
			v = f[i].Value
		} else {
			v += ", " + f[i].Value
		}
	}
	return v
}

// members yields the members of a comma list, trimmed, without empty ones. It knows
// nothing of quotes: for lists of names.
func members(list string, yield func(string) bool) {
	for m := range strings.SplitSeq(list, ",") {
		if m = trim(m); m != "" && !yield(m) {
			return
		}
	}
}

func trim(s string) string { return strings.Trim(s, " \t") }

// perHop are the fields that are never stored: of one connection (RFC 9110, section 7.6.1;
// RFC 9111, section 3.1), made anew for every answer, or about one exchange.
func perHop(name string) bool {
	switch len(name) {
	case 2:
		return same(name, "TE")
	case 3:
		return same(name, "Age")
	case 7:
		return same(name, "Upgrade") || same(name, "Trailer")
	case 10:
		return same(name, "Connection") || same(name, "Keep-Alive")
	case 13:
		return same(name, "traceresponse")
	case 14:
		return same(name, "Content-Length")
	case 16:
		return same(name, "Proxy-Connection")
	case 17:
		return same(name, "Transfer-Encoding")
	case 18:
		return same(name, "Proxy-Authenticate")
	case 19:
		return same(name, "Proxy-Authorization")
	case 25:
		return same(name, "Proxy-Authentication-Info")
	}
	return len(name) > 5 && same(name[:5], "Stoa-")
}

// kept appends to dst those of f that may be stored: not per hop, not named by Connection.
func (f Fields) kept(dst Fields) Fields {
	var named []string
	for i := range f {
		if same(f[i].Name, "Connection") {
			members(f[i].Value, func(m string) bool { named = append(named, m); return true })
		}
	}
	for _, l := range f {
		if !perHop(l.Name) && !slices.ContainsFunc(named, func(n string) bool { return same(n, l.Name) }) {
			dst = append(dst, l)
		}
	}
	return dst
}

// cloned copies f's strings into one block, so that it does not hold on to a read buffer.
func (f Fields) cloned() Fields {
	n := 0
	for i := range f {
		n += len(f[i].Name) + len(f[i].Value)
	}
	var b strings.Builder
	b.Grow(n)
	for i := range f {
		b.WriteString(f[i].Name)
		b.WriteString(f[i].Value)
	}
	s, out := b.String(), make(Fields, len(f), len(f)+1)
	for i := range f {
		k, v := len(f[i].Name), len(f[i].Value)
		out[i] = Field{s[:k], s[k : k+v]}
		s = s[k+v:]
	}
	return out
}
