// Package route decides which rule a request follows, and what the rule does to it.
//
// Compile turns rules into a Table, a pure value that any number of requests read at
// once; MatchRequest finds the rule, Match does so where no rule has conditions; Explain
// says why. What a rule does (Target, Location, Choose, Takes, Edits) is computed here and
// done by the caller. Everything works on the raw, still escaped path, and so do policy,
// log and forwarding: %2F is never a slash. Canonical tells whether a path has the one
// spelling that makes this safe.
//
// Order of precedence, the most specific first:
//
//	host       exact > *.suffix (longest) > any
//	path       exact > template > prefix (longest)
//	template   from the left, a literal segment > {name} > {name...}
//	method     named > any (HEAD itself > GET, which stands for it too)
//	conditions more > fewer; of as many, more exact ones, then the longer prefixes
//	           (summed), then more regular expressions
//
// A rule of which only the method or a condition does not fit is passed over and the next
// is asked, so that POST /orders may go elsewhere than GET /orders. If none is left the
// miss says whether the method was the reason.
//
// Two rules between which this order does not decide are a conflict, shown with
// a request that both match. As in net/http, two templates conflict when they overlap
// and neither is a special case of the other: /a/{x} and /{y}/b. Rules whose conditions
// cannot hold at once are no conflict.
//
// Limits: 8 variables in a template, 64 segments in a rule's path, MaxConditions,
// MaxConflicts reports. Of two regular expressions with \b, or that meet outside printable
// ASCII only, a conflict may go unseen: then what was declared first goes first.
package route

import (
	"slices"
	"strings"
	"time"
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

// Rule says where requests of one form go. Exactly one of Upstream, Split, Site and
// Redirect is set.
type Rule struct {
	Name    string   `json:"name"`              // for metrics, log and explain; unique within a listener
	Host    string   `json:"host,omitempty"`    // lower case, without port; *.example.com for all below; empty for any
	Kind    Kind     `json:"kind,omitempty"`    // how Path is read; empty means prefix
	Path    string   `json:"path"`              // canonical, see Canonical; "/" with Prefix for all
	Methods []string `json:"methods,omitempty"` // upper case; empty for any
	Headers []Cond   `json:"headers,omitempty"` // all must hold; one for each field
	Queries []Cond   `json:"queries,omitempty"` // all must hold; one for each parameter

	Upstream string     `json:"upstream,omitempty"`
	Split    []Weighted `json:"split,omitempty"` // several upstreams by weight, see Choose
	Site     string     `json:"site,omitempty"`
	Redirect *Redirect  `json:"redirect,omitempty"`

	// StripPrefix takes the matched prefix away; Rewrite puts this in its place (or in
	// place of the whole path for exact and template, whose {name} may be used in it).
	StripPrefix bool   `json:"stripPrefix,omitempty"`
	Rewrite     string `json:"rewrite,omitempty"`

	Request *Edits  `json:"request,omitempty"` // header fields on the way to the upstream
	Answer  *Edits  `json:"answer,omitempty"`  // and on the way back
	Mirror  *Mirror `json:"mirror,omitempty"`  // a copy of some requests goes here too
	Sticky  *Sticky `json:"sticky,omitempty"`  // calls with one key go to one version and endpoint
	Policy  string  `json:"policy,omitempty"`  // name of a policy in the snapshot

	// Relaxed lets paths pass that are not canonical, byte for byte, matched as they are.
	Relaxed bool `json:"relaxed,omitempty"`

	// Timeout bounds the call from its arrival to the last byte of the answer, in
	// nanoseconds; 0 for none. An upgraded connection is bound by it until its head only.
	Timeout time.Duration `json:"timeout,omitempty"`

	Source string `json:"source,omitempty"` // where it was declared, for people: service/orders expose[0]
}

// Pattern is the rule's condition in one line: "GET,POST shop.example/orders/* if X-Beta: 1".
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
	word := " if "
	for _, c := range r.Headers {
		b.WriteString(word + c.text(false))
		word = " and "
	}
	for _, c := range r.Queries {
		b.WriteString(word + c.text(true))
		word = " and "
	}
	return b.String()
}

// Upstreams lists every upstream that the rule names, its mirror's included.
func (r *Rule) Upstreams() []string {
	var out []string
	if r.Upstream != "" {
		out = append(out, r.Upstream)
	}
	for _, w := range r.Split {
		out = append(out, w.Upstream)
	}
	if r.Mirror != nil && !slices.Contains(out, r.Mirror.Upstream) {
		out = append(out, r.Mirror.Upstream)
	}
	return out
}

func (r *Rule) kind() Kind {
	if r.Kind == "" {
		return Prefix
	}
	return r.Kind
}

// stem is the path of a prefix without its trailing slash.
func (r *Rule) stem() string { return strings.TrimSuffix(r.Path, "/") }

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
