// Package route decides which rule a request follows.
//
// Compile turns rules into a Table, a pure value that any number of requests read at
// once; Match finds the rule for (host, method, path); Explain says why. Everything works on
// the raw, still escaped path, and so do policy, log and forwarding: %2F is never a
// slash. Canonical tells whether a path has the one spelling that makes this safe.
//
// Order of precedence, the most specific first:
//
//	host      exact > *.suffix (longest) > any
//	path      exact > template > prefix (longest)
//	template  from the left, a literal segment > {name} > {name...}
//	method    named > any
//
// A rule of which only the method does not fit is passed over and the next is asked, so that
// POST /orders may go elsewhere than GET /orders. If none is left the miss says that
// the method was the reason. GET stands for HEAD too.
//
// Two rules between which this order does not decide are a conflict, shown with
// a request that both match. As in net/http, two templates conflict when they overlap
// and neither is a special case of the other: /a/{x} and /{y}/b.
//
// Limits: 8 variables in a template, 64 segments in a rule's path, MaxConflicts reports.
package route

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"stoa/api/fault"
)

// MaxVars bounds the variables of a template, so that a match needs no allocation.
const MaxVars = 8

// maxSegments bounds the path of a rule, and with it the work of a match.
const maxSegments = 64

// Kind says how a rule's path is read.
type Kind string

// The kinds. Empty means Prefix.
const (
	Exact    Kind = "exact"    // this path and no other
	Prefix   Kind = "prefix"   // this path and all below it, by whole segments; a trailing slash means nothing
	Template Kind = "template" // as /orders/{id}/items or /files/{path...}; a {name} is one segment, not empty
)

// Rule says where requests of one form go. Exactly one of Upstream and Site is set.
type Rule struct {
	Name     string   `json:"name"`              // for metrics, log and explain; unique within a listener
	Host     string   `json:"host,omitempty"`    // lower case, without port; *.example.com for all below; empty for any
	Kind     Kind     `json:"kind,omitempty"`    // how Path is read; empty means prefix
	Path     string   `json:"path"`              // canonical, see Canonical; "/" with Prefix for all
	Methods  []string `json:"methods,omitempty"` // upper case; empty for any
	Upstream string   `json:"upstream,omitempty"`
	Site     string   `json:"site,omitempty"`

	// StripPrefix takes the matched prefix away; Rewrite puts this in its place (or in
	// place of the whole path for exact and template, whose {name} may be used in it).
	StripPrefix bool   `json:"stripPrefix,omitempty"`
	Rewrite     string `json:"rewrite,omitempty"`

	// Relaxed lets paths pass that are not canonical, byte for byte, matched as they are.
	Relaxed bool `json:"relaxed,omitempty"`

	// Timeout bounds the call from its arrival to the last byte of the answer, in
	// nanoseconds; 0 for none. An upgraded connection is bound by it until its head only.
	Timeout time.Duration `json:"timeout,omitempty"`

	Source string `json:"source,omitempty"` // where it was declared, for people: service/orders expose[0]
}

// Pattern is the rule's condition in one line: "GET,POST shop.example/orders/*".
func (r *Rule) Pattern() string {
	var b strings.Builder
	if len(r.Methods) > 0 {
		b.WriteString(strings.Join(r.Methods, ",") + " ")
	}
	b.WriteString(r.Host)
	if r.kind() == Prefix {
		b.WriteString(strings.TrimSuffix(r.Path, "/") + "/*")
	} else {
		b.WriteString(r.Path)
	}
	return b.String()
}

func (r *Rule) kind() Kind {
	if r.Kind == "" {
		return Prefix
	}
	return r.Kind
}

// id names a rule for people.
func (r *Rule) id() string {
	if r.Source != "" {
		return r.Source + " (" + r.Pattern() + ")"
	}
	return r.Name + " (" + r.Pattern() + ")"
}

// accepts says whether the rule's methods allow m.
func (r *Rule) accepts(m string) bool {
	return len(r.Methods) == 0 || slices.Contains(r.Methods, m) || m == "HEAD" && slices.Contains(r.Methods, "GET")
}

// Check finds what is wrong with one rule by itself, or nil.
func Check(r Rule) error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, r.id(), format, args...)
	}
	if (r.Upstream == "") == (r.Site == "") {
		return bad("want exactly one of upstream and site")
	}
	if h := strings.TrimPrefix(r.Host, "*."); h != strings.ToLower(h) || strings.ContainsAny(h, "*:/ ") || r.Host != "" && h == "" {
		return bad("host %q: want a lower-case name without port, or *.name", r.Host)
	}
	for _, m := range r.Methods {
		if m == "" || m != strings.ToUpper(m) || strings.ContainsAny(m, " ,/") {
			return bad("method %q: want an upper-case method", m)
		}
	}
	if r.StripPrefix && (r.kind() != Prefix || r.Rewrite != "") {
		return bad("stripPrefix goes with a prefix path and without rewrite")
	}
	plain := r.Path
	if r.kind() == Template {
		p, err := parseTemplate(r.Path)
		if err != nil {
			return bad("path %q: %v", r.Path, err)
		}
		plain = p.sample()
		if r.Rewrite != "" {
			if _, err := expansion(r.Rewrite, p); err != nil {
				return bad("rewrite %q: %v", r.Rewrite, err)
			}
		}
	} else if k := r.kind(); k != Exact && k != Prefix {
		return bad("kind %q: want exact, prefix or template", k)
	} else if r.Rewrite != "" {
		if err := Canonical(r.Rewrite); err != nil {
			return bad("rewrite %q: %v", r.Rewrite, err)
		}
	}
	if strings.Count(plain, "/") > maxSegments {
		return bad("path has more than %d segments", maxSegments)
	}
	if err := Canonical(plain); err != nil {
		return bad("path %q: %v", r.Path, err)
	}
	return nil
}

// Vars are the variables of a template as they stood in the path, still escaped.
type Vars struct {
	n      int
	values [MaxVars]string
	names  []string // of the rule
}

// Len is how many there are.
func (v *Vars) Len() int { return v.n }

// Value gives the variable of this name, or "".
func (v *Vars) Value(name string) string {
	for i := range v.n {
		if v.names[i] == name {
			return v.values[i]
		}
	}
	return ""
}

// Hit is what Match found.
type Hit struct {
	Rule  *Rule // nil for a miss
	Index int   // of the rule in what Compile was given
	Vars  Vars

	// MethodMiss says of a miss that a rule matches but for its methods: 405, see Allowed.
	MethodMiss bool
}

// Target is the path to ask the upstream for: the path that was matched, rewritten as
// the rule says. Bytes that no rewrite touches stay as they are.
func (h *Hit) Target(path string) string {
	r := h.Rule
	switch {
	case !r.StripPrefix && r.Rewrite == "":
		return path
	case r.kind() == Exact:
		return r.Rewrite
	case r.kind() == Template:
		p, err := parseTemplate(r.Path)
		if err != nil {
			panic(fmt.Sprintf("route: compiled rule %s: %v", r.id(), err))
		}
		return expand(r.Rewrite, p, h.Vars.values[:h.Vars.n])
	}
	rest := path[len(strings.TrimSuffix(r.Path, "/")):] // "" or "/..."
	to := strings.TrimSuffix(r.Rewrite, "/") + rest
	if to == "" {
		return "/"
	}
	return to
}
