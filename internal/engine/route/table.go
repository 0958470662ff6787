package route

import (
	"strings"
)

// Table is a compiled set of rules. It never changes; any number of readers.
type Table struct {
	rules    []Rule
	names    [][]string // of the variables, by rule
	exact    map[string]*hostTable
	suffix   map[string]*hostTable // by what follows "*."; a host must be longer
	any      *hostTable
	hasHosts bool
}

type hostTable struct {
	exact    map[string]*leaf
	prefix   map[string]*leaf // without a trailing slash; "" is the prefix /
	depth    int              // of the deepest prefix, in segments
	template *node            // nil if there is none
}

// leaf holds the rules of one pattern: for named methods in order, and for any.
type leaf struct {
	byMethod []int
	any      int // -1 if none
}

// node is one segment of the templates of a host.
type node struct {
	literal map[string]*node
	wild    *node
	here    *leaf // templates that end here
	rest    *leaf // templates that end in {name...} here
}

// Rules gives the rules in the order of Compile; not to be changed.
func (t *Table) Rules() []Rule { return t.rules }

// Match finds the rule for a request. host may have a port and any case; path is raw,
// without the query. It does not allocate when host is lower case.
func (t *Table) Match(host, method, path string) Hit {
	h := Hit{Index: -1}
	if t.hasHosts {
		host = CleanHost(host)
		if t.exact[host].match(t, &h, method, path) {
			return h
		}
		if len(t.suffix) > 0 {
			for i := strings.IndexByte(host, '.'); i >= 0; {
				if t.suffix[host[i+1:]].match(t, &h, method, path) {
					return h
				}
				j := strings.IndexByte(host[i+1:], '.')
				if j < 0 {
					break
				}
				i += j + 1
			}
		}
	}
	t.any.match(t, &h, method, path)
	return h
}

// CleanHost gives the host without its port, a trailing dot and upper case.
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

// match asks the patterns of one host in order; true if h is a hit.
func (ht *hostTable) match(t *Table, h *Hit, method, path string) bool {
	if ht == nil || path == "" || path[0] != '/' {
		return false
	}
	if ht.exact[path].take(t, h, method) {
		return true
	}
	if ht.template != nil {
		var vars [MaxVars]string
		if ht.template.walk(t, h, method, path[1:], &vars, 0) {
			return true
		}
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
		if ht.prefix[path[:end]].take(t, h, method) {
			return true
		}
		if end == 0 {
			return false
		}
		end = strings.LastIndexByte(path[:end], '/')
	}
}

// take makes h a hit if the leaf has a rule for the method, and notes a method miss if
// it has only others.
func (l *leaf) take(t *Table, h *Hit, method string) bool {
	if l == nil {
		return false
	}
	found := l.any
	for _, i := range l.byMethod {
		if t.rules[i].accepts(method) {
			found = i
			break
		}
	}
	if found < 0 {
		h.MethodMiss = true
		return false
	}
	h.Rule, h.Index, h.MethodMiss = &t.rules[found], found, false
	return true
}

// walk goes down the tree with the rest of the path after a slash. Each node is
// visited at most once per request, since a node has one way to it.
func (n *node) walk(t *Table, h *Hit, method, path string, vars *[MaxVars]string, nv int) bool {
	seg, after, more := path, "", false
	if i := strings.IndexByte(path, '/'); i >= 0 {
		seg, after, more = path[:i], path[i+1:], true
	}
	for pass := range 2 {
		var next *node
		k := nv
		if pass == 0 {
			next = n.literal[seg]
		} else if next = n.wild; next != nil && seg != "" {
			vars[k] = seg
			k++
		} else {
			next = nil
		}
		if next == nil {
			continue
		}
		if more {
			if next.walk(t, h, method, after, vars, k) {
				return true
			}
		} else if next.here.take(t, h, method) {
			h.setVars(t, vars, k)
			return true
		}
	}
	if n.rest != nil && path != "" && n.rest.take(t, h, method) {
		vars[nv] = path
		h.setVars(t, vars, nv+1)
		return true
	}
	return false
}

func (h *Hit) setVars(t *Table, vars *[MaxVars]string, n int) {
	h.Vars = Vars{n: n, values: *vars, names: t.names[h.Index]}
}

// Allowed lists the methods that rules for host and path accept: the Allow header of a 405.
func (t *Table) Allowed(host, path string) []string {
	seen := map[string]bool{}
	var out []string
	for i := range t.rules {
		if w := t.why(i, CleanHost(host), path); w != "" {
			continue
		}
		for _, m := range t.rules[i].Methods {
			if !seen[m] {
				seen[m] = true
				out = append(out, m)
			}
		}
	}
	return out
}
