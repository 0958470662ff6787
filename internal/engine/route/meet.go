package route

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// Sample is a request that shows something. It is a Request, and reads as
// "GET shop.example/orders?beta=1 with X-Beta: 1".
type Sample struct {
	Method   string  `json:"method"`
	Host     string  `json:"host,omitempty"`
	Path     string  `json:"path"`
	RawQuery string  `json:"query,omitempty"`
	Headers  []Field `json:"headers,omitempty"`
}

// Header gives a field of the sample; of several of one name, their values joined.
func (s *Sample) Header(name string) (value string, ok bool) {
	for _, f := range s.Headers {
		switch {
		case fieldName(f.Name) != name:
		case ok:
			value += ", " + f.Value
		default:
			value, ok = f.Value, true
		}
	}
	return value, ok
}

// Query gives the raw query.
func (s *Sample) Query() string { return s.RawQuery }

// String gives the sample in one line.
func (s *Sample) String() string {
	out := s.Method + " " + s.Host + s.Path
	if s.RawQuery != "" {
		out += "?" + s.RawQuery
	}
	word := " with "
	for _, f := range s.Headers {
		out += word + f.Name + ": " + f.Value
		word = ", "
	}
	return out
}

// meet fills the headers and the query of a sample so that all conditions of both rules
// hold, or says that there is no such request. It costs work.
func (k *compiler) meet(a, b *compiled, s *Sample) bool {
	var query []string
	s.Headers, s.RawQuery = nil, ""
	add := func(x, y *test) bool {
		v, absent, ok := k.common(x, y)
		switch {
		case !ok:
			return false
		case absent:
		case x.query:
			query = append(query, escape(x.name)+"="+escape(v))
		default:
			s.Headers = append(s.Headers, Field{x.name, v})
		}
		return true
	}
	for i := range a.tests {
		if x := &a.tests[i]; !add(x, b.same(x)) {
			return false
		}
	}
	for i := range b.tests {
		if y := &b.tests[i]; a.same(y) == nil && !add(y, nil) {
			return false
		}
	}
	s.RawQuery = strings.Join(query, "&")
	return true
}

// same gives the rule's condition on what x asks for, or nil.
func (c *compiled) same(x *test) *test {
	for i := range c.tests {
		if t := &c.tests[i]; t.query == x.query && t.name == x.name {
			return t
		}
	}
	return nil
}

// common gives a value for which both conditions hold, or absent; y may be nil.
func (k *compiler) common(x, y *test) (value string, absent, ok bool) {
	if y == nil {
		y = x
	}
	if x.mode == isAbsent || y.mode == isAbsent {
		return "", true, x.mode == y.mode
	}
	if x.mode < y.mode { // the narrower kinds go first: value before prefix before presence
		x, y = y, x
	}
	switch {
	case x.mode == isValue:
		return x.want, false, y.mode == isPresent || x.want == y.want
	case y.mode == isValue:
		return y.want, false, y.fulfils(x)
	case x.mode == isRegex:
		v, ok := intersect(k.program(x), k.program(y), &k.work)
		return v, false, ok
	case x.mode == isPresent:
		return "1", false, true
	case y.mode == isPresent || len(x.want) >= len(y.want):
		return x.want, false, y.mode == isPresent || strings.HasPrefix(x.want, y.want)
	}
	return y.want, false, strings.HasPrefix(y.want, x.want)
}

// fulfils says whether the value that t wants is one for u, a prefix or an expression.
func (t *test) fulfils(u *test) bool {
	if u.mode == hasPrefix {
		return strings.HasPrefix(t.want, u.want)
	}
	return len(t.want) <= maxRegexValue && u.re.MatchString(t.want)
}

// program gives the condition as a regular expression's program. Each is made once.
func (k *compiler) program(t *test) *syntax.Prog {
	text := `(?s).*`
	switch t.mode {
	case isRegex:
		text = t.re.String()
	case hasPrefix:
		text = `(?s)\A` + regexp.QuoteMeta(t.want) + `.*\z`
	}
	if p := k.programs[text]; p != nil {
		return p
	}
	re, err := syntax.Parse(text, syntax.Perl)
	if err == nil {
		var p *syntax.Prog
		if p, err = syntax.Compile(re.Simplify()); err == nil {
			k.programs[text] = p
			return p
		}
	}
	panic("route: checked expression " + text + ": " + err.Error())
}

// intersect gives a string of printable ASCII, not empty at its ends, that both programs
// match as a whole, by a search of their product. It knows no \b, nor what else looks
// at neighbours.
func intersect(a, b *syntax.Prog, work *int) (string, bool) {
	type state struct {
		a, b         uint32
		begun, ended bool // past the first byte; past an assertion of the end
	}
	type step struct {
		from int
		c    byte // 0: none
	}
	start := state{a: uint32(a.Start), b: uint32(b.Start)}
	queue, steps := []state{start}, []step{{from: -1}}
	seen := map[state]bool{start: true}
	push := func(s state, from int, c byte) {
		if !seen[s] {
			seen[s] = true
			queue, steps = append(queue, s), append(steps, step{from, c})
		}
	}
	for at := 0; at < len(queue); at++ {
		if *work--; *work <= 0 {
			return "", false
		}
		s := queue[at]
		x, y := &a.Inst[s.a], &b.Inst[s.b]
		if first := !consumes(x); first || !consumes(y) {
			side := y
			if first {
				side = x
			}
			outs, begin, end := silent(side)
			if begin && s.begun {
				continue
			}
			for _, pc := range outs {
				n := s
				n.ended = n.ended || end
				if first {
					n.a = pc
				} else {
					n.b = pc
				}
				push(n, at, 0)
			}
			continue
		}
		if x.Op == syntax.InstMatch || y.Op == syntax.InstMatch {
			if x.Op != y.Op {
				continue
			}
			var out []byte
			for i := at; i >= 0; i = steps[i].from {
				if c := steps[i].c; c != 0 {
					out = append(out, c)
				}
			}
			slices.Reverse(out)
			if len(out) > maxRegexValue || len(out) > 0 && out[len(out)-1] == ' ' {
				continue
			}
			return string(out), true
		}
		if s.ended {
			continue
		}
		if c := both(x, y, s.begun); c != 0 {
			push(state{a: x.Out, b: y.Out, begun: true}, at, c)
		}
	}
	return "", false
}

// consumes says whether the instruction reads a byte, or is the end.
func consumes(i *syntax.Inst) bool {
	switch i.Op {
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL, syntax.InstMatch:
		return true
	}
	return false
}

// silent gives where an instruction that reads nothing leads, and whether it wants to be
// at the beginning or the end.
func silent(i *syntax.Inst) (outs []uint32, begin, end bool) {
	switch i.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		return []uint32{i.Out, i.Arg}, false, false
	case syntax.InstCapture, syntax.InstNop:
		return []uint32{i.Out}, false, false
	case syntax.InstEmptyWidth:
		e := syntax.EmptyOp(i.Arg)
		if e&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0 {
			return nil, false, false
		}
		return []uint32{i.Out}, e&(syntax.EmptyBeginText|syntax.EmptyBeginLine) != 0, e&(syntax.EmptyEndText|syntax.EmptyEndLine) != 0
	}
	return nil, false, false
}

// samples are the bytes of which examples are made, the plainest first.
const samples = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.~/:;,=@!#$%&'()*+<>?[]^{|}\"\\`"

// both gives a byte that both instructions read, 0 if there is none.
func both(x, y *syntax.Inst, begun bool) byte {
	for i := range len(samples) {
		if c := samples[i]; x.MatchRune(rune(c)) && y.MatchRune(rune(c)) {
			return c
		}
	}
	if begun && x.MatchRune(' ') && y.MatchRune(' ') {
		return ' '
	}
	return 0
}
