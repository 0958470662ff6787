package route

import (
	"slices"
	"strings"
)

// Table is a compiled set of rules. It never changes; any number of readers.
type Table struct {
	rules    []Rule
	compiled []compiled // of each rule
	exact    map[string]*hostTable
	suffix   map[string]*hostTable // by what follows "*."; a host must be longer
	any      *hostTable
	hasHosts bool
}

// compiled is what a match reads of a rule.
type compiled struct {
	rule     *Rule
	index    int
	err      error    // of Check; such a rule is in no leaf
	names    []string // of the variables
	tests    []test
	weight   uint64 // of the tests, see weigh
	asks     bool   // has methods or tests
	rewrite  []piece
	redirect []piece
}

type hostTable struct {
	exact    map[string]*leaf
	prefix   map[string]*leaf // without a trailing slash; "" is the prefix /
	depth    int              // of the deepest prefix, in segments
	template *node            // nil if there is none
}

// node is one segment of the templates of a host.
type node struct {
	literal map[string]*node
	wild    *node
	here    *leaf // templates that end here
	rest    *leaf // templates that end in {name...} here
}

// search is one match under way. It lives on the caller's stack, and so does the Hit beside
// it, which must not be a part of it: what stands next to an interface that is called
// escapes.
type search struct {
	method  string
	path    string
	req     Request      // nil: no header, no query
	collect *[]*compiled // set: collect every rule of host and path instead
}

// Rules gives the rules in the order of Compile; not to be changed.
func (t *Table) Rules() []Rule { return t.rules }

// Match finds the rule for a request of which headers and query are not known: they count
// as empty. See MatchRequest.
func (t *Table) Match(host, method, path string) Hit {
	var h Hit
	t.MatchRequest(&h, host, method, path, nil)
	return h
}

// MatchRequest finds the rule for a request, puts what it found into h, whatever h was, and
// says whether there is one. host may have a port and any case; path is raw, without the
// query; h keeps it. It does not allocate when host is lower case, nor do conditions but
// for regular expressions on escaped values.
func (t *Table) MatchRequest(h *Hit, host, method, path string, req Request) bool {
	h.Rule, h.Index, h.MethodMiss, h.c, h.Vars.n = nil, -1, false, nil, 0
	s := search{method: method, path: path, req: req}
	return t.find(&s, h, host)
}

func (t *Table) find(s *search, h *Hit, host string) bool {
	if s.path == "" || s.path[0] != '/' {
		return false
	}
	if t.hasHosts {
		host = CleanHost(host)
		if t.exact[host].match(s, h) {
			return true
		}
		if len(t.suffix) > 0 {
			for i := strings.IndexByte(host, '.'); i >= 0; {
				if t.suffix[host[i+1:]].match(s, h) {
					return true
				}
				j := strings.IndexByte(host[i+1:], '.')
				if j < 0 {
					break
				}
				i += j + 1
			}
		}
	}
	return t.any.match(s, h)
}

// CleanHost gives the host without its port, a trailing dot and upper case. It does
// not allocate when host is lower case.
func CleanHost(host string) string {
	if strings.HasPrefix(host, "[") {
		if i := strings.IndexByte(host, ']'); i > 0 {
			host = host[1:i]
		}
	} else if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// match asks the patterns of one host in order; true if there is a hit.
func (ht *hostTable) match(s *search, h *Hit) bool {
	if ht == nil {
		return false
	}
	path := s.path
	if len(ht.exact) > 0 && ht.exact[path].take(s, h) {
		return true
	}
	if ht.template != nil && ht.template.walk(s, h, 1, 0) {
		return true
	}
	if ht.prefix == nil {
		return false
	}
	// The ends of the first depth segments; then the longest first.
	end, n := 0, 0
	for n < ht.depth && end < len(path) {
		i := strings.IndexByte(path[end+1:], '/')
		if i < 0 {
			end = len(path)
		} else {
			end += 1 + i
		}
		n++
	}
	for {
		if ht.prefix[path[:end]].take(s, h) {
			return true
		}
		if end == 0 {
			return false
		}
		end = strings.LastIndexByte(path[:end], '/')
	}
}

// walk goes down the tree with the path from a byte after a slash; nv variables are
// found. Each node is visited at most once per request, since it has one way to it.
func (n *node) walk(s *search, h *Hit, from, nv int) bool {
	path := s.path
	to, more := len(path), false
	if i := strings.IndexByte(path[from:], '/'); i >= 0 {
		to, more = from+i, true
	}
	if next := n.literal[path[from:to]]; next != nil {
		if more {
			if next.walk(s, h, to+1, nv) {
				return true
			}
		} else if next.here.take(s, h) {
			h.setVars(path, nv)
			return true
		}
	}
	if next := n.wild; next != nil && from < to {
		h.Vars.at[nv] = span{int32(from), int32(to)}
		if more {
			if next.walk(s, h, to+1, nv+1) {
				return true
			}
		} else if next.here.take(s, h) {
			h.setVars(path, nv+1)
			return true
		}
	}
	if n.rest != nil && from < len(path) && n.rest.take(s, h) {
		h.Vars.at[nv] = span{int32(from), int32(len(path))}
		h.setVars(path, nv+1)
		return true
	}
	return false
}

func (h *Hit) setVars(path string, n int) {
	h.Vars.n, h.Vars.path, h.Vars.c = n, path, h.c
}

// Allowed lists the methods that rules for host and path accept, whatever their
// conditions: the Allow header of a 405.
func (t *Table) Allowed(host, path string) []string {
	return t.allowed(host, path, nil, true)
}

// AllowedRequest lists the methods that rules accept whose conditions hold.
func (t *Table) AllowedRequest(host, path string, req Request) []string {
	return t.allowed(host, path, req, false)
}

func (t *Table) allowed(host, path string, req Request, all bool) []string {
	var found []*compiled
	var h Hit
	s := search{path: path, req: req, collect: &found}
	t.find(&s, &h, host)
	slices.SortFunc(found, func(a, b *compiled) int { return a.index - b.index })
	var out []string
	for _, c := range found {
		if i, _, _ := c.failing(req); i >= 0 && !all {
			continue
		}
		for _, m := range c.rule.Methods {
			if !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return out
}
