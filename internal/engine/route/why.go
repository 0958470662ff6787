package route

import (
	"fmt"
	"strings"
)

// why says why rule i does not match host and path, "" if it does. It reads the rule
// directly, not the compiled tables: the plain reference for Match.
func (t *Table) why(i int, host, path string) string {
	r := &t.rules[i]
	if !strings.HasPrefix(path, "/") {
		return "path does not begin with /"
	}
	if s, ok := strings.CutPrefix(r.Host, "*."); ok {
		if !strings.HasSuffix(host, "."+s) {
			return fmt.Sprintf("host %q is not below %s", host, s)
		}
	} else if r.Host != "" && r.Host != host {
		return fmt.Sprintf("host %q is not %s", host, r.Host)
	}
	switch r.kind() {
	case Exact:
		if path != r.Path {
			return "path is not " + r.Path
		}
	case Prefix:
		p := strings.TrimSuffix(r.Path, "/")
		if path != p && !strings.HasPrefix(path, p+"/") {
			return "path is not below " + r.Path
		}
	case Template:
		p, err := parseTemplate(r.Path)
		if err != nil {
			return err.Error()
		}
		if !p.matches(path) {
			return "path has not the form " + r.Path
		}
	}
	return ""
}

// matches is the definition of a template's match.
func (p pattern) matches(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	segs := strings.Split(path[1:], "/")
	for i, s := range p.segs {
		switch {
		case s == rest:
			return i < len(segs) && strings.Join(segs[i:], "/") != ""
		case i >= len(segs):
			return false
		case s == wild && segs[i] == "" || s != wild && s != segs[i]:
			return false
		}
	}
	return len(segs) == len(p.segs)
}

// better says in what rule i is more specific than rule j.
func (t *Table) better(i, j int) string {
	a, b := &t.rules[i], &t.rules[j]
	switch {
	case a.Host != b.Host:
		return "names the host more closely"
	case a.kind() == Exact && b.kind() != Exact:
		return "is an exact path"
	case a.kind() == Template && b.kind() == Prefix:
		return "is a template, which goes before a prefix"
	case a.kind() == Prefix && len(strings.TrimSuffix(a.Path, "/")) > len(strings.TrimSuffix(b.Path, "/")):
		return "is the longer prefix"
	case a.kind() == Template && a.Path != b.Path:
		return "has the literal segment further to the left"
	case len(a.Methods) > 0 && len(b.Methods) == 0:
		return "names the method"
	}
	x, y := t.compiled[i].weight, t.compiled[j].weight
	switch {
	case x>>48 != y>>48:
		return "has more conditions"
	case x>>40 != y>>40:
		return "has more exact conditions"
	case x>>16 != y>>16:
		return "has the longer prefixes in its conditions"
	case x != y:
		return "has more regular expressions in its conditions"
	case len(a.Methods) > 0:
		return "names HEAD itself"
	}
	return "was declared first"
}
