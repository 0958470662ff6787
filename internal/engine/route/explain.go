package route

import (
	"fmt"
	"strings"
)

// Verdict is what became of one rule for a request.
type Verdict struct {
	Rule    *Rule
	Matched bool   // host, path and method fit
	Won     bool   // and it was the most specific
	Why     string // in words
}

// Explanation says how a request is routed.
type Explanation struct {
	Host, Method, Path string
	Canonical          string // what keeps the path from being canonical, "" if nothing
	Hit                Hit
	Verdicts           []Verdict // of every rule, in the order of Compile
}

// Explain says for every rule why it matched, won or lost.
func (t *Table) Explain(host, method, path string) Explanation {
	path = Spelt(path)
	e := Explanation{Host: CleanHost(host), Method: method, Path: path, Hit: t.Match(host, method, path)}
	if err := Canonical(path); err != nil {
		e.Canonical = err.Error()
	}
	for i := range t.rules {
		r := &t.rules[i]
		v := Verdict{Rule: r, Why: t.why(i, e.Host, path)}
		switch {
		case v.Why != "":
		case !r.accepts(method):
			v.Why = fmt.Sprintf("method %s is not of %s", method, strings.Join(r.Methods, ", "))
		case i == e.Hit.Index:
			v.Matched, v.Won, v.Why = true, true, "the most specific rule that matches"
		default:
			v.Matched = true
			v.Why = "matches too, but " + e.Hit.Rule.Name + " " + t.better(e.Hit.Index, i)
		}
		e.Verdicts = append(e.Verdicts, v)
	}
	return e
}

// why says why rule i does not match host and path, "" if it does. It reads the rule
// directly, not the compiled tables: the plain reference for Match.
func (t *Table) why(i int, host, path string) string {
	r := &t.rules[i]
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
	}
	return "names the method"
}
