package route

import (
	"slices"
	"strings"
)

// collisions reports the rules of one pattern between which nothing decides, each with
// the first that stands in its way. Only rules of one weight can.
func (k *compiler) collisions(l *leaf) {
	for from := 0; from < len(l.rules); {
		to := from + 1
		for to < len(l.rules) && tied(l.rules[from], l.rules[to]) {
			to++
		}
		if to-from > 1 && !k.collide(l.rules[from:to]) {
			return
		}
		from = to
	}
}

// tied says whether two rules of one pattern differ in neither naming methods nor weight.
func tied(a, b *compiled) bool {
	return a.weight == b.weight && (len(a.rule.Methods) > 0) == (len(b.rule.Methods) > 0)
}

// collide compares each of the tied rules with those before it, less those that ask for
// another value of the commonest name, which are apart from it. False: enough.
func (k *compiler) collide(tied []*compiled) bool {
	var key *test
	if keys := commonKeys(tied); len(keys) > 0 {
		key = keys[0]
	}
	byValue := map[string][]*compiled{} // of key
	var others []*compiled              // without an exact condition on key
	for i, c := range tied {
		var t *test
		if key != nil {
			t = c.exactTest(key)
		}
		near := [2][]*compiled{others, nil}
		if t != nil {
			near[1] = byValue[t.want]
		} else if key != nil {
			near = [2][]*compiled{tied[:i], nil}
		}
		if !k.against(near, c) {
			return false
		}
		if t != nil {
			byValue[t.want] = append(byValue[t.want], c)
		} else {
			others = append(others, c)
		}
	}
	return true
}

// against reports the first of earlier rules that collides with c. False: enough.
func (k *compiler) against(earlier [2][]*compiled, c *compiled) bool {
	for _, list := range earlier {
		for _, e := range list {
			if k.work--; k.work <= 0 {
				return false
			}
			m := namedByBoth(e.rule, c.rule)
			if m == "" {
				continue
			}
			s := c.sample(m, "")
			if !k.meet(e, c, s) {
				continue
			}
			why := "the same path and method"
			if len(c.tests) > 0 {
				why = "the same path and method, and conditions of one weight that can both hold"
			}
			return k.report(Conflict{A: e.rule.id(), B: c.rule.id(), Why: why, Example: s.String(), Request: s})
		}
	}
	return true
}

// overlaps reports the templates of one host that overlap where neither is a special
// case of the other. Each walks the tree of all along the branches it may share.
func (k *compiler) overlaps(all []template, ht *hostTable) {
	at := map[*leaf][]template{}
	for _, x := range all {
		l := k.leafAt(ht.template, x.p)
		at[l] = append(at[l], x)
	}
	for _, x := range all {
		more := ht.template.meet(x.p.segs, func(l *leaf) bool {
			for _, y := range at[l] {
				if k.work--; k.work <= 0 {
					return false
				}
				if y.c.index <= x.c.index {
					continue
				}
				m := sharedMethod(x.c.rule, y.c.rule)
				if m == "" {
					continue
				}
				path, xs, ys, both := relate(x.p, y.p)
				if !both || !xs || !ys {
					continue
				}
				s := x.c.sample(m, path)
				if k.meet(x.c, y.c, s) && !k.report(Conflict{
					A: x.c.rule.id(), B: y.c.rule.id(),
					Why:     "they overlap and neither is a special case of the other",
					Example: s.String(), Request: s,
				}) {
					return false
				}
			}
			return true
		})
		if !more {
			return
		}
	}
}

// sharedMethod gives a method that both rules accept.
func sharedMethod(a, b *Rule) string {
	switch {
	case len(a.Methods) == 0 && len(b.Methods) == 0:
		return "GET"
	case len(a.Methods) == 0:
		return b.Methods[0]
	case len(b.Methods) == 0:
		return a.Methods[0]
	}
	if m := namedByBoth(a, b); m != "" {
		return m
	}
	if a.accepts("HEAD") && b.accepts("HEAD") {
		return "HEAD"
	}
	return ""
}

// namedByBoth gives a method that both rules name, or that neither has to. A rule that
// names HEAD goes before one that takes it for GET.
func namedByBoth(a, b *Rule) string {
	if len(a.Methods) == 0 && len(b.Methods) == 0 {
		return "GET"
	}
	for _, m := range a.Methods {
		if slices.Contains(b.Methods, m) {
			return m
		}
	}
	return ""
}

// meet calls f for every leaf whose pattern may overlap segs, until f says false.
func (n *node) meet(segs []string, f func(*leaf) bool) bool {
	if n == nil {
		return true
	}
	if n.rest != nil && !f(n.rest) {
		return false
	}
	if len(segs) == 0 {
		return n.here == nil || f(n.here)
	}
	switch s := segs[0]; s {
	case rest:
		return n.each(f)
	case wild:
		for _, c := range n.literal {
			if !c.meet(segs[1:], f) {
				return false
			}
		}
	default:
		if !n.literal[s].meet(segs[1:], f) {
			return false
		}
	}
	return n.wild.meet(segs[1:], f)
}

func (n *node) each(f func(*leaf) bool) bool {
	if n == nil {
		return true
	}
	if n.here != nil && !f(n.here) || n.rest != nil && !f(n.rest) {
		return false
	}
	for _, c := range n.literal {
		if !c.each(f) {
			return false
		}
	}
	return n.wild.each(f)
}

// sample is a request that the rule matches but for conditions, at path if given.
func (c *compiled) sample(method, path string) *Sample {
	r := c.rule
	if path == "" {
		path = r.Path
		if r.kind() == Template {
			p, _ := parseTemplate(r.Path)
			path = p.sample()
		}
	}
	return &Sample{Method: method, Host: strings.Replace(r.Host, "*", "any", 1), Path: path}
}

// circle reports a redirect that leads to itself, as far as an example shows.
func (k *compiler) circle(c *compiled) {
	d := c.rule.Redirect
	if d == nil || c.err != nil || d.Scheme != "" || d.Port != 0 || d.Host != "" && d.Host != c.rule.Host {
		return
	}
	s := c.sample(sharedMethod(c.rule, c.rule), "")
	var h Hit
	if !k.meet(c, c, s) || !k.t.MatchRequest(&h, s.Host, s.Method, s.Path, s) || h.c != c {
		return
	}
	to := d.Path
	switch {
	case to == "":
		to = h.Target(s.Path)
	case c.rule.kind() == Template:
		to = string(h.expand(nil, c.redirect, s.Path))
	}
	var again Hit
	if k.t.MatchRequest(&again, s.Host, s.Method, to, s) && again.c == c {
		k.report(Conflict{A: c.rule.id(), Why: c.rule.id() + ": redirects to itself: " + s.String() + " leads to " + to, Example: s.String(), Request: s})
	}
}
