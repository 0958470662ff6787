package route

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// MaxConflicts bounds what Compile reports.
const MaxConflicts = 100

// maxWork bounds the search for conflicts, in pairs of rules compared or, within a pair,
// in steps: a second's work.
const maxWork = 1 << 21

// Conflict is a rule that cannot be, or two between which nothing decides.
type Conflict struct {
	A, B    string // the rules, for people; B is empty if A alone is wrong
	Example string // a request that both match: "GET shop.example/orders?beta=1 with X-Beta: 1"
	Why     string
	Request *Sample // the example, taken apart; nil if none is needed
}

// Error is the conflict in one line.
func (c Conflict) Error() string {
	if c.B == "" {
		return c.Why
	}
	return fmt.Sprintf("%s and %s: %s; both match %s", c.A, c.B, c.Why, c.Example)
}

// compiler is a compilation under way.
type compiler struct {
	t         *Table
	conflicts []Conflict
	work      int
	leaves    []*leaf
	hosts     []*hostTable // those with templates
	templates map[*hostTable][]template
	regexps   map[string]*regexp.Regexp // by what the rules say
	programs  map[string]*syntax.Prog   // of regular expressions that were compared
}

type template struct {
	c *compiled
	p pattern
}

// Compile makes the table of rules. Every conflict is reported (the first MaxConflicts
// of them); the table is then made of the rules that came first, and should not be used
// but to explain.
func Compile(rules []Rule) (*Table, []Conflict) {
	t := &Table{
		rules:    slices.Clone(rules),
		compiled: make([]compiled, len(rules)),
		exact:    map[string]*hostTable{},
		suffix:   map[string]*hostTable{},
	}
	k := &compiler{t: t, work: maxWork, templates: map[*hostTable][]template{}, regexps: map[string]*regexp.Regexp{}, programs: map[string]*syntax.Prog{}}
	byName := make(map[string]int, len(rules))
	for i := range t.rules {
		r, c := &t.rules[i], &t.compiled[i]
		c.rule, c.index = r, i
		if c.err = Check(*r); c.err != nil {
			k.report(Conflict{A: r.id(), Why: c.err.Error()})
			continue
		}
		if j, twice := byName[r.Name]; twice && r.Name != "" {
			k.report(Conflict{A: t.rules[j].id(), B: r.id(), Why: "one name, " + r.Name, Example: "the same series"})
		}
		byName[r.Name] = i
		k.place(c)
	}
	for _, l := range k.leaves {
		l.seal()
		k.collisions(l)
	}
	for _, h := range k.hosts {
		k.overlaps(k.templates[h], h)
	}
	for i := range t.compiled {
		k.circle(&t.compiled[i])
	}
	if k.work <= 0 {
		k.report(Conflict{Why: fmt.Sprintf("rules overlap in more than %d ways: begin templates with literal segments, and give rules of one path the same condition with different values", maxWork)})
	}
	return t, k.conflicts
}

// report says whether there is room for more.
func (k *compiler) report(c Conflict) (more bool) {
	if len(k.conflicts) < MaxConflicts {
		k.conflicts = append(k.conflicts, c)
	}
	return len(k.conflicts) < MaxConflicts
}

// place puts a checked rule into the table.
func (k *compiler) place(c *compiled) {
	r := c.rule
	c.tests = k.tests(r)
	c.weight = weigh(c.tests)
	c.asks = len(r.Methods)+len(c.tests) > 0
	ht := k.t.host(r.Host)
	var l *leaf
	switch r.kind() {
	case Exact:
		l = k.leafOf(&ht.exact, r.Path)
	case Prefix:
		l = k.leafOf(&ht.prefix, r.stem())
		ht.depth = max(ht.depth, strings.Count(r.stem(), "/"))
	case Template:
		p, _ := parseTemplate(r.Path) // Check has read these
		c.names = p.names
		if r.Rewrite != "" {
			c.rewrite, _ = expansion(r.Rewrite, p)
		}
		if r.Redirect != nil && r.Redirect.Path != "" {
			c.redirect, _ = expansion(r.Redirect.Path, p)
		}
		if ht.template == nil {
			ht.template = new(node)
			k.hosts = append(k.hosts, ht)
		}
		l = k.leafAt(ht.template, p)
		k.templates[ht] = append(k.templates[ht], template{c, p})
	}
	l.rules = append(l.rules, c)
}

func (t *Table) host(host string) *hostTable {
	where, key := t.exact, host
	switch {
	case host == "":
		if t.any == nil {
			t.any = &hostTable{}
		}
		return t.any
	case strings.HasPrefix(host, "*."):
		where, key = t.suffix, host[2:]
	}
	t.hasHosts = true
	if where[key] == nil {
		where[key] = &hostTable{}
	}
	return where[key]
}

func (k *compiler) newLeaf() *leaf {
	l := new(leaf)
	k.leaves = append(k.leaves, l)
	return l
}

func (k *compiler) leafOf(m *map[string]*leaf, key string) *leaf {
	if *m == nil {
		*m = map[string]*leaf{}
	}
	l := (*m)[key]
	if l == nil {
		l = k.newLeaf()
		(*m)[key] = l
	}
	return l
}

// leafAt gives the leaf of a pattern, and makes it if it is not there.
func (k *compiler) leafAt(n *node, p pattern) *leaf {
	for _, s := range p.segs {
		switch s {
		case rest:
			if n.rest == nil {
				n.rest = k.newLeaf()
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
		n.here = k.newLeaf()
	}
	return n.here
}
