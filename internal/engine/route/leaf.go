package route

import (
	"cmp"
	"slices"
	"strings"
)

// leaf holds the rules of one pattern.
type leaf struct {
	rules []*compiled // in order of precedence: named methods, weight of the conditions, HEAD named, index
	by    []shelf     // nil if there are few rules
	loose []int32     // of rules, those on no shelf; only with by
}

// shelf finds rules by the value of an exact condition that each of them has.
type shelf struct {
	key   *test
	rules map[string][]int32 // in order
}

// fewRules is up to how many rules of one pattern are asked one after the other. Above,
// those with an exact condition are found by its value.
const fewRules = 12

// maxShelves bounds the names that are looked up for a leaf.
const maxShelves = 4

// precedes compares rules of one pattern, the more specific first.
func precedes(a, b *compiled) int {
	an, bn := len(a.rule.Methods) > 0, len(b.rule.Methods) > 0
	switch {
	case an != bn && an:
		return -1
	case an != bn:
		return 1
	}
	if c := cmp.Compare(b.weight, a.weight); c != 0 {
		return c
	}
	if ah, bh := slices.Contains(a.rule.Methods, "HEAD"), slices.Contains(b.rule.Methods, "HEAD"); ah != bh {
		if ah {
			return -1
		}
		return 1
	}
	return a.index - b.index
}

// seal orders the rules once all are there.
func (l *leaf) seal() {
	slices.SortFunc(l.rules, precedes)
	if len(l.rules) <= fewRules {
		return
	}
	keys := commonKeys(l.rules)
	if len(keys) == 0 {
		return
	}
	l.by = make([]shelf, len(keys))
	for i, k := range keys {
		l.by[i] = shelf{k, map[string][]int32{}}
	}
next:
	for at, c := range l.rules {
		for i, k := range keys {
			if t := c.exactTest(k); t != nil {
				l.by[i].rules[t.want] = append(l.by[i].rules[t.want], int32(at))
				continue next
			}
		}
		l.loose = append(l.loose, int32(at))
	}
}

// commonKeys gives the names that exact conditions of the rules ask for, the most common
// first, at most maxShelves.
func commonKeys(rules []*compiled) []*test {
	type name struct {
		query bool
		name  string
	}
	count := map[name]int{}
	var first []*test
	for _, c := range rules {
		for i := range c.tests {
			if t := &c.tests[i]; t.mode == isValue {
				n := name{t.query, t.name}
				if count[n] == 0 {
					first = append(first, t)
				}
				count[n]++
			}
		}
	}
	slices.SortStableFunc(first, func(a, b *test) int {
		return count[name{b.query, b.name}] - count[name{a.query, a.name}]
	})
	return first[:min(len(first), maxShelves)]
}

// exactTest gives the rule's exact condition on the name of k, or nil.
func (c *compiled) exactTest(k *test) *test {
	for i := range c.tests {
		if t := &c.tests[i]; t.mode == isValue && t.query == k.query && t.name == k.name {
			return t
		}
	}
	return nil
}

// take makes a hit of the first rule that accepts the method and whose conditions hold.
// If it has only others, it notes whether the method was the reason.
func (l *leaf) take(s *search, h *Hit) bool {
	if l == nil {
		return false
	}
	if c := l.rules[0]; !c.asks && s.collect == nil { // the usual leaf
		h.set(c)
		return true
	}
	if s.collect != nil {
		*s.collect = append(*s.collect, l.rules...)
		return false
	}
	return l.ask(s, h)
}

// reader reads a request for the conditions of one leaf. It remembers what it read last:
// rules of one pattern often ask for one name.
type reader struct {
	method string
	req    Request
	last   *test
	value  string
	ok     bool
}

// ask is take where methods or conditions decide.
func (l *leaf) ask(s *search, h *Hit) bool {
	r := reader{method: s.method, req: s.req}
	best := len(l.rules)
	if l.by == nil {
		for i, c := range l.rules {
			if r.fits(h, c) {
				best = i
				break
			}
		}
	} else {
		best = l.look(&r, h)
	}
	if best == len(l.rules) {
		return false
	}
	h.set(l.rules[best])
	return true
}

// look gives the first rule that fits by way of the shelves, or the number of rules.
func (l *leaf) look(r *reader, h *Hit) int {
	best := int32(len(l.rules))
	for i := range l.by {
		sh := &l.by[i]
		value, ok := r.read(sh.key)
		if !ok {
			continue
		}
		list := sh.rules[value]
		if sh.key.query && strings.ContainsAny(value, "%+") && len(value) <= 3*maxText {
			var buf [128]byte
			list = sh.rules[string(appendUnescaped(buf[:0], value))]
		}
		best = l.first(r, h, list, best)
	}
	return int(l.first(r, h, l.loose, best))
}

// first gives the first rule of list before best that fits, or best.
func (l *leaf) first(r *reader, h *Hit, list []int32, best int32) int32 {
	for _, at := range list {
		if at >= best {
			break
		}
		if r.fits(h, l.rules[at]) {
			return at
		}
	}
	return best
}

func (h *Hit) set(c *compiled) {
	h.Rule, h.Index, h.c, h.MethodMiss = c.rule, c.index, c, false
}

// fits says whether a rule of this path takes the request.
func (r *reader) fits(h *Hit, c *compiled) bool {
	if len(c.rule.Methods) > 0 && !c.rule.accepts(r.method) {
		if !h.MethodMiss && r.holds(c.tests) {
			h.MethodMiss = true
		}
		return false
	}
	return len(c.tests) == 0 || r.holds(c.tests)
}

func (r *reader) holds(tests []test) bool {
	for i := range tests {
		t := &tests[i]
		if value, ok := r.read(t); !t.holds(value, ok) {
			return false
		}
	}
	return true
}

// read gives what a condition is about.
func (r *reader) read(t *test) (value string, ok bool) {
	if r.last == nil || r.last.query != t.query || r.last.name != t.name {
		r.value, r.ok = t.read(r.req)
		r.last = t
	}
	return r.value, r.ok
}
