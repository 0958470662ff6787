package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// MaxConflicts bounds what Compile reports.
const MaxConflicts = 100

// Conflict is a rule that cannot be, or two between which nothing decides.
type Conflict struct {
	A, B    string // the rules, for people; B is empty if A alone is wrong
	Example string // a request that both match: "GET shop.example/orders/x"
	Why     string
}

// Error is the conflict in one line.
func (c Conflict) Error() string {
	if c.B == "" {
		return c.Why
	}
	return fmt.Sprintf("%s and %s: %s; both match %s", c.A, c.B, c.Why, c.Example)
}

// Compile makes the table of rules. Every conflict is reported (the first MaxConflicts
// of them); the table is then made of the rules that came first, and should not be used
// but to explain.
func Compile(rules []Rule) (*Table, []Conflict) {
	t := &Table{
		rules:  slices.Clone(rules),
		names:  make([][]string, len(rules)),
		exact:  map[string]*hostTable{},
		suffix: map[string]*hostTable{},
	}
	var found []Conflict
	report := func(c Conflict) (more bool) {
		if len(found) < MaxConflicts {
			found = append(found, c)
		}
		return len(found) < MaxConflicts
	}
	templates := map[*hostTable][]template{}
	byName := map[string]int{}
	for i := range t.rules {
		r := &t.rules[i]
		if err := Check(*r); err != nil {
			report(Conflict{A: r.id(), Why: err.Error()})
			continue
		}
		if j, twice := byName[r.Name]; twice && r.Name != "" {
			report(Conflict{A: t.rules[j].id(), B: r.id(), Why: "one name, " + r.Name, Example: "the same series"})
		}
		byName[r.Name] = i
		ht := t.host(r.Host)
		var l *leaf
		switch r.kind() {
		case Exact:
			l = leafOf(ht.exact, r.Path)
		case Prefix:
			p := strings.TrimSuffix(r.Path, "/")
			if ht.prefix == nil {
				ht.prefix = map[string]*leaf{}
			}
			ht.depth = max(ht.depth, strings.Count(p, "/"))
			l = leafOf(ht.prefix, p)
		case Template:
			p, _ := parseTemplate(r.Path) // Check has read it
			t.names[i] = p.names
			if ht.template == nil {
				ht.template = new(node)
			}
			l = ht.template.leaf(p)
			templates[ht] = append(templates[ht], template{i, p})
		}
		if j, m := l.add(t, i); j >= 0 {
			report(Conflict{A: t.rules[j].id(), B: r.id(), Why: "the same path and method", Example: t.example(i, m, "")})
		}
	}
	pairs := maxPairs
	for _, h := range sortedHosts(templates) {
		t.overlaps(templates[h], h, &pairs, report)
	}
	if pairs <= 0 {
		report(Conflict{Why: fmt.Sprintf("templates overlap in more than %d pairs: begin them with literal segments", maxPairs)})
	}
	return t, found
}

func (t *Table) host(host string) *hostTable {
	where, key := t.exact, host
	switch {
	case host == "":
		if t.any == nil {
			t.any = &hostTable{exact: map[string]*leaf{}}
		}
		return t.any
	case strings.HasPrefix(host, "*."):
		where, key = t.suffix, host[2:]
	}
	t.hasHosts = true
	if where[key] == nil {
		where[key] = &hostTable{exact: map[string]*leaf{}}
	}
	return where[key]
}

func leafOf(m map[string]*leaf, key string) *leaf {
	l := m[key]
	if l == nil {
		l = &leaf{any: -1}
		m[key] = l
	}
	return l
}

func (n *node) leaf(p pattern) *leaf {
	for _, s := range p.segs {
		switch s {
		case rest:
			if n.rest == nil {
				n.rest = &leaf{any: -1}
			}
			return n.rest
		case wild:
			if n.wild == nil {
				n.wild = new(node)
			}
			n = n.wild
		default:
			if n.literal == nil {
				n.literal = map[string]*node{}
			}
			if n.literal[s] == nil {
				n.literal[s] = new(node)
			}
			n = n.literal[s]
		}
	}
	if n.here == nil {
		n.here = &leaf{any: -1}
	}
	return n.here
}

// add puts rule i into the leaf, or gives the rule that stands in its way and a method of both.
func (l *leaf) add(t *Table, i int) (other int, method string) {
	if len(t.rules[i].Methods) == 0 {
		if l.any >= 0 {
			return l.any, "GET"
		}
		l.any = i
		return -1, ""
	}
	for _, j := range l.byMethod {
		if m := common(&t.rules[i], &t.rules[j]); m != "" {
			return j, m
		}
	}
	l.byMethod = append(l.byMethod, i)
	return -1, ""
}

// common gives a method that both rules name, or that neither names; "" if there is none.
// A rule with methods is more special than one without, so these two share none.
func common(a, b *Rule) string {
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

type template struct {
	rule int
	p    pattern
}

func sortedHosts(m map[*hostTable][]template) []*hostTable {
	var out []*hostTable
	for h := range m {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *hostTable) int { return cmp.Compare(m[a][0].rule, m[b][0].rule) })
	return out
}

// maxPairs bounds the search for overlapping templates, which compares each with those
// that share its branches of the tree: a second's work.
const maxPairs = 1 << 20

// overlaps reports the templates of one host that overlap where neither is a special
// case of the other. Each walks the tree of all along the branches it may share.
func (t *Table) overlaps(all []template, ht *hostTable, pairs *int, report func(Conflict) bool) {
	at := map[*leaf][]template{}
	for _, x := range all {
		l := ht.template.leaf(x.p)
		at[l] = append(at[l], x)
	}
	for _, x := range all {
		more := ht.template.meet(x.p.segs, func(l *leaf) bool {
			for _, y := range at[l] {
				if *pairs--; *pairs <= 0 {
					return false
				}
				if y.rule <= x.rule {
					continue
				}
				m := sharedMethod(&t.rules[x.rule], &t.rules[y.rule])
				if m == "" {
					continue
				}
				path, xs, ys, both := relate(x.p, y.p)
				if both && xs && ys && !report(Conflict{
					A: t.rules[x.rule].id(), B: t.rules[y.rule].id(),
					Why:     "they overlap and neither is a special case of the other",
					Example: t.example(x.rule, m, path),
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
	return common(a, b)
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

// example is a request that rule i matches, at path if given.
func (t *Table) example(i int, method, path string) string {
	r := &t.rules[i]
	if path == "" {
		path = r.Path
		if r.kind() == Template {
			p, _ := parseTemplate(r.Path)
			path = p.sample()
		}
	}
	return method + " " + strings.Replace(r.Host, "*", "any", 1) + path
}
