package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A pattern is a template taken apart. A segment that is a variable has its name in
// names, in order, and stands as wild (one segment) or rest (all that follow).
type pattern struct {
	segs  []string
	names []string
}

const (
	wild = "{}"
	rest = "{...}"
)

// parseTemplate reads /a/{b}/{c...}. The text of literal segments is not checked.
func parseTemplate(path string) (pattern, error) {
	var p pattern
	if !strings.HasPrefix(path, "/") {
		return p, errors.New("want a path that begins with /")
	}
	parts := strings.Split(path[1:], "/")
	for i, s := range parts {
		if !strings.ContainsAny(s, "{}") {
			p.segs = append(p.segs, s)
			continue
		}
		name, ok := strings.CutPrefix(s, "{")
		name, ok2 := strings.CutSuffix(name, "}")
		if !ok || !ok2 {
			return p, fmt.Errorf("segment %q: a variable is a whole segment, as {id}", s)
		}
		name, many := strings.CutSuffix(name, "...")
		if !isName(name) {
			return p, fmt.Errorf("segment %q: want a name of letters, digits and _", s)
		}
		if many && i != len(parts)-1 {
			return p, fmt.Errorf("segment %q: only the last may be {name...}", s)
		}
		if slices.Contains(p.names, name) {
			return p, fmt.Errorf("variable %q twice", name)
		}
		if len(p.names) == MaxVars {
			return p, fmt.Errorf("more than %d variables", MaxVars)
		}
		p.names = append(p.names, name)
		if many {
			p.segs = append(p.segs, rest)
		} else {
			p.segs = append(p.segs, wild)
		}
	}
	return p, nil
}

func isName(s string) bool {
	for i, c := range s {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// sample is a path that the pattern matches.
func (p pattern) sample() string {
	b := make([]string, len(p.segs))
	names := p.names
	for i, s := range p.segs {
		if s == wild || s == rest {
			s, names = names[0], names[1:]
		}
		b[i] = s
	}
	return "/" + strings.Join(b, "/")
}

// relation of two patterns: do they overlap (path is an example), and is one of them
// more special at some segment?
func relate(a, b pattern) (path string, aSpecial, bSpecial, overlap bool) {
	var out []string
	for i := 0; ; i++ {
		aEnd, bEnd := i == len(a.segs), i == len(b.segs)
		switch {
		case aEnd && bEnd:
			return "/" + strings.Join(out, "/"), aSpecial, bSpecial, true
		case aEnd || bEnd:
			return "", false, false, false
		}
		x, y := a.segs[i], b.segs[i]
		switch {
		case x == rest || y == rest:
			// The other's remaining segments, filled in, are matched by both.
			longer := a
			if x == rest {
				longer = b
			}
			for _, s := range longer.segs[i:] {
				if s == wild || s == rest {
					s = "x"
				}
				out = append(out, s)
			}
			if x != y {
				aSpecial, bSpecial = aSpecial || y == rest, bSpecial || x == rest
			}
			return "/" + strings.Join(out, "/"), aSpecial, bSpecial, out[i] != "" || len(out) > i+1
		case x == y && x == wild:
			out = append(out, "x")
		case x == y:
			out = append(out, x)
		case x == wild && y != "":
			bSpecial = true
			out = append(out, y)
		case y == wild && x != "":
			aSpecial = true
			out = append(out, x)
		default:
			return "", false, false, false
		}
	}
}

// A piece is a segment of a rewrite: literal text, or the variable of this index if
// at >= 0.
type piece struct {
	text string
	at   int
}

func expansion(rewrite string, p pattern) ([]piece, error) {
	q, err := parseTemplate(rewrite)
	if err != nil {
		return nil, err
	}
	var out []piece
	names := q.names
	for _, s := range q.segs {
		if s != wild && s != rest {
			out = append(out, piece{s, -1})
			continue
		}
		at := slices.Index(p.names, names[0])
		if at < 0 {
			return nil, fmt.Errorf("variable %q is not in the path", names[0])
		}
		out, names = append(out, piece{"", at}), names[1:]
	}
	return out, nil
}
