package route

import (
	"fmt"
	"regexp"
	"strings"
)

// MaxConditions bounds the conditions of a rule, headers and queries together.
const MaxConditions = 16

// Bounds of a regular expression, which keep its worst case at about a millisecond: Go's
// take time linear in both.
const (
	maxRegex      = 256 // bytes of its text
	maxRegexSteps = 200 // instructions of its program
	maxRegexValue = 512 // bytes of a value; a longer one does not match
)

// maxText bounds names and values in a rule, in bytes.
const maxText = 1024

// Cond is a condition on one header field, or on one parameter of the query. Exactly one
// of the others is set beside Name.
//
// A header's name is read in any case. A field that comes in several lines has them joined
// by ", " (RFC 9110, section 5.2). Of a query the first parameter of the name counts;
// names and values are compared unescaped, + being a space.
type Cond struct {
	Name    string `json:"name"`
	Value   string `json:"value,omitempty"`  // the whole value, in its case
	Prefix  string `json:"prefix,omitempty"` // how it begins
	Regex   string `json:"regex,omitempty"`  // RE2, of the whole value
	Present bool   `json:"present,omitempty"`
	Absent  bool   `json:"absent,omitempty"`
}

// Request is what conditions read of a request. It is asked only where a rule has
// conditions, from the goroutine of the match.
type Request interface {
	// Header gives the value of a field whose name is in the form X-Request-Id, and
	// whether there is one. Of several lines it gives them joined by ", ".
	Header(name string) (value string, ok bool)
	// Query gives the raw query, without the question mark.
	Query() string
}

// text is the condition for people.
func (c Cond) text(query bool) string {
	name, is := c.Name, ": "
	if query {
		name, is = "?"+name, "="
	} else {
		name = fieldName(name)
	}
	switch {
	case c.Value != "":
		return name + is + c.Value
	case c.Prefix != "":
		return name + is + c.Prefix + "..."
	case c.Regex != "":
		return name + " ~ " + c.Regex
	case c.Absent:
		return "no " + name
	}
	return name
}

type mode uint8

const (
	isPresent mode = iota
	isAbsent
	isValue
	hasPrefix
	isRegex
)

// test is a compiled condition.
type test struct {
	name  string // of a field in its canonical form
	want  string // the value or prefix
	re    *regexp.Regexp
	query bool
	mode  mode
}

func (k *compiler) test(c Cond, query bool) test {
	t := test{name: c.Name, query: query}
	if !query {
		t.name = fieldName(c.Name)
	}
	switch {
	case c.Value != "":
		t.mode, t.want = isValue, c.Value
	case c.Prefix != "":
		t.mode, t.want = hasPrefix, c.Prefix
	case c.Regex != "":
		re := k.regexps[c.Regex]
		if re == nil {
			re = regexp.MustCompile(whole(c.Regex)) // Check has read it
			k.regexps[c.Regex] = re
		}
		t.mode, t.re = isRegex, re
	case c.Absent:
		t.mode = isAbsent
	}
	return t
}

// whole makes a regular expression one of the whole value.
func whole(re string) string { return `\A(?:` + re + `)\z` }

// tests makes the tests of a rule that Check has read.
func (k *compiler) tests(r *Rule) []test {
	var out []test
	for _, c := range r.Headers {
		out = append(out, k.test(c, false))
	}
	for _, c := range r.Queries {
		out = append(out, k.test(c, true))
	}
	return out
}

// weigh gives the specificity of conditions, which compares as the package comment says:
// how many, how many exact, bytes of prefixes, how many regular expressions.
func weigh(tests []test) uint64 {
	w := uint64(len(tests)) << 48
	for i := range tests {
		switch t := &tests[i]; t.mode {
		case isValue:
			w += 1 << 40
		case hasPrefix:
			w += uint64(len(t.want)) << 16 // at most 16 x 1,024
		case isRegex:
			w++
		}
	}
	return w
}

// holds says whether a value fits, raw if it is of a query. It allocates only for a regular
// expression on an escaped value, at most maxRegexValue bytes.
func (t *test) holds(value string, ok bool) bool {
	switch t.mode {
	case isPresent:
		return ok
	case isAbsent:
		return !ok
	case isValue:
		if t.query {
			return ok && matchUnescaped(value, t.want, false)
		}
		return ok && value == t.want
	case hasPrefix:
		if t.query {
			return ok && matchUnescaped(value, t.want, true)
		}
		return ok && strings.HasPrefix(value, t.want)
	}
	if !ok {
		return false
	}
	if t.query {
		if len(value) > 3*maxRegexValue {
			return false
		}
		value = unescape(value)
	}
	return len(value) <= maxRegexValue && t.re.MatchString(value)
}

// failing gives the first condition of the rule that does not hold, and what was there
// instead; -1 if all hold. It is the plain reference for the search.
func (c *compiled) failing(req Request) (i int, value string, ok bool) {
	for i := range c.tests {
		t := &c.tests[i]
		value, ok = t.read(req)
		if !t.holds(value, ok) {
			return i, value, ok
		}
	}
	return -1, "", false
}

func (t *test) read(req Request) (value string, ok bool) {
	switch {
	case req == nil:
		return "", false
	case t.query:
		return parameter(req.Query(), t.name)
	}
	return req.Header(t.name)
}

// fieldName gives the canonical form of a field's name: X-Request-Id.
func fieldName(name string) string {
	b := []byte(name)
	up := true
	for i, c := range b {
		switch {
		case up && 'a' <= c && c <= 'z':
			b[i] = c - 'a' + 'A'
		case !up && 'A' <= c && c <= 'Z':
			b[i] = c - 'A' + 'a'
		}
		up = c == '-'
	}
	return string(b)
}

// parameter gives the first parameter of a raw query that has this name, still escaped.
func parameter(query, name string) (raw string, ok bool) {
	for query != "" {
		pair := query
		if i := strings.IndexByte(query, '&'); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			query = ""
		}
		key, value := pair, ""
		if i := strings.IndexByte(pair, '='); i >= 0 {
			key, value = pair[:i], pair[i+1:]
		}
		if matchUnescaped(key, name, false) {
			return value, true
		}
	}
	return "", false
}

// matchUnescaped says whether raw, unescaped, is want, or begins so.
func matchUnescaped(raw, want string, prefix bool) bool {
	j := 0
	for i := 0; i < len(raw); i++ {
		if j == len(want) {
			return prefix
		}
		c := raw[i]
		if c == '+' {
			c = ' '
		} else if c == '%' && i+2 < len(raw) {
			if hi, lo := hexValue[raw[i+1]], hexValue[raw[i+2]]; hi|lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		if c != want[j] {
			return false
		}
		j++
	}
	return j == len(want)
}

// unescape gives a raw value with its escapes replaced; what is no escape stays.
func unescape(raw string) string {
	if !strings.ContainsAny(raw, "%+") {
		return raw
	}
	return string(appendUnescaped(nil, raw))
}

func appendUnescaped(dst []byte, raw string) []byte {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '+' {
			c = ' '
		} else if c == '%' && i+2 < len(raw) {
			if hi, lo := hexValue[raw[i+1]], hexValue[raw[i+2]]; hi|lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// escape makes s fit for a query.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; unreserved(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// hexValue is the value of a hex digit, 255 for another byte.
var hexValue = func() (t [256]byte) {
	for i := range t {
		switch c := byte(i); {
		case '0' <= c && c <= '9':
			t[i] = c - '0'
		case 'a' <= c && c <= 'f':
			t[i] = c - 'a' + 10
		case 'A' <= c && c <= 'F':
			t[i] = c - 'A' + 10
		default:
			t[i] = 255
		}
	}
	return t
}()
