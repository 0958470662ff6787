package route

import (
	"fmt"
	"slices"
	"strings"
)

// Verdict is what became of one rule for a request.
type Verdict struct {
	Rule       *Rule       `json:"-"`
	Name       string      `json:"name"`
	Pattern    string      `json:"pattern"`
	Source     string      `json:"source,omitempty"`
	Near       bool        `json:"near,omitempty"` // host and path fit
	PathFits   bool        `json:"-"`              // but not the host
	Matched    bool        `json:"matched"`        // and method and conditions
	Won        bool        `json:"won"`            // and it was the most specific
	Why        string      `json:"why"`            // in words
	Conditions []Condition `json:"conditions,omitempty"`
}

// Condition is what became of one condition of a rule that was near.
type Condition struct {
	Text string `json:"text"` // "X-Beta: 1"
	Held bool   `json:"held"`
	Got  string `json:"got"` // what was there: a value in quotes, or "nothing"
}

// Share is a part of the requests of a split.
type Share struct {
	Upstream string  `json:"upstream"`
	Percent  float64 `json:"percent"` // 0: kept warm
}

// Explanation says how a request is routed, and what is done to it.
type Explanation struct {
	Host      string   `json:"host"`
	Method    string   `json:"method"`
	Path      string   `json:"path"`
	Query     string   `json:"query,omitempty"`
	Canonical string   `json:"notCanonical,omitempty"` // what keeps the path from being canonical, "" if nothing
	Status    int      `json:"status,omitempty"`       // of an answer without an upstream: 400, 404, 405, a redirect's
	Allowed   []string `json:"allowed,omitempty"`      // methods, with 405

	Hit       Hit               `json:"-"`
	Rule      *Rule             `json:"rule,omitempty"` // that won
	Variables map[string]string `json:"variables,omitempty"`
	Target    string            `json:"target,omitempty"`   // path and query that the upstream or the site is asked for
	Location  string            `json:"location,omitempty"` // of a redirect
	Split     []Share           `json:"split,omitempty"`

	Verdicts []Verdict `json:"verdicts"` // of every rule, in the order of Compile
}

// Explain says for every rule why it matched, won or lost, for a request without headers
// and query.
func (t *Table) Explain(host, method, path string) Explanation {
	return t.ExplainRequest(host, method, path, nil)
}

// ExplainRequest says for every rule why it matched, won or lost, and what the winner does.
// req may be nil.
func (t *Table) ExplainRequest(host, method, path string, req Request) Explanation {
	spelt := Spelt(path)
	e := Explanation{Host: CleanHost(host), Method: method, Path: spelt}
	t.MatchRequest(&e.Hit, host, method, spelt, req)
	if req != nil {
		e.Query = req.Query()
	}
	if err := Canonical(spelt); err != nil {
		e.Canonical = err.Error()
	}
	for i := range t.rules {
		e.Verdicts = append(e.Verdicts, t.verdict(i, &e, req))
	}
	e.outcome(t, host, path, req)
	return e
}

func (t *Table) verdict(i int, e *Explanation, req Request) Verdict {
	c := &t.compiled[i]
	r := c.rule
	v := Verdict{Rule: r, Name: r.Name, Pattern: r.Pattern(), Source: r.Source}
	if c.err != nil {
		v.Why = "is not in force: " + c.err.Error()
		return v
	}
	if v.Why = t.why(i, e.Host, e.Path); v.Why != "" {
		v.PathFits = r.Host != "" && t.why(i, witness(r.Host), e.Path) == ""
		return v
	}
	v.Near = true
	failed := v.ask(c, req)
	switch {
	case !r.accepts(e.Method):
		v.Why = fmt.Sprintf("method %s is not of %s", e.Method, strings.Join(r.Methods, ", "))
	case failed != "":
		v.Why = failed
	case i == e.Hit.Index:
		v.Matched, v.Won, v.Why = true, true, "the most specific rule that matches"
	default:
		v.Matched = true
		v.Why = "matches too, but " + e.Hit.Rule.Name + " " + t.better(e.Hit.Index, i)
	}
	return v
}

// witness gives a host that fits a rule's.
func witness(host string) string {
	if below, ok := strings.CutPrefix(host, "*."); ok {
		return "any." + below
	}
	return host
}

// ask lists what became of the rule's conditions, and says why they fail, "" if they hold.
func (v *Verdict) ask(c *compiled, req Request) (failed string) {
	for i := range c.tests {
		t := &c.tests[i]
		value, ok := t.read(req)
		held, got := t.holds(value, ok), "nothing"
		if ok && t.query {
			value = unescape(value)
		}
		if ok {
			got = fmt.Sprintf("%q", value)
		}
		text := c.cond(i).text(t.query)
		v.Conditions = append(v.Conditions, Condition{Text: text, Held: held, Got: got})
		if !held {
			if failed != "" {
				failed += ", and "
			}
			failed += "want " + text + ", got " + got
		}
	}
	return failed
}

// cond gives the condition of the i-th test.
func (c *compiled) cond(i int) Cond {
	if n := len(c.rule.Headers); i >= n {
		return c.rule.Queries[i-n]
	}
	return c.rule.Headers[i]
}

// outcome says what is done with the request. path is as it came.
func (e *Explanation) outcome(t *Table, host, path string, req Request) {
	r := e.Hit.Rule
	if e.Canonical != "" && (r == nil || !r.Relaxed) {
		e.Status = 400
		return
	}
	if r == nil {
		if e.Status = 404; e.Hit.MethodMiss {
			e.Status, e.Allowed = 405, t.AllowedRequest(host, e.Path, req)
		}
		return
	}
	e.Rule = r
	for i := range e.Hit.Vars.Len() {
		if e.Variables == nil {
			e.Variables = map[string]string{}
		}
		name, value := e.Hit.Vars.At(i)
		e.Variables[name] = value
	}
	if r.Redirect != nil {
		var ok bool
		if e.Location, ok = e.Hit.Location(host, path, e.Query); ok {
			e.Status = r.Redirect.Status()
		} else {
			e.Status = 400
		}
		return
	}
	if e.Target = e.Hit.Target(path); e.Query != "" {
		e.Target += "?" + e.Query
	}
	sum := 0
	for _, w := range r.Split {
		sum += w.Weight
	}
	for _, w := range r.Split {
		e.Split = append(e.Split, Share{w.Upstream, 100 * float64(w.Weight) / float64(sum)})
	}
}

// String is the explanation for people, in lines: what happens, then the rules that
// match or nearly do, the most specific first, and how many others there are.
func (e Explanation) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	query := ""
	if e.Query != "" {
		query = "?" + e.Query
	}
	line("%s %s%s%s", e.Method, e.Host, e.Path, query)
	switch {
	case e.Status == 400 && e.Canonical != "":
		line("  is refused (400): %s", e.Canonical)
	case e.Status == 400:
		line("  is refused (400): host %q cannot stand in a redirect", e.Host)
	case e.Status == 404:
		line("  is refused (404): no route")
	case e.Status == 405:
		line("  is refused (405): allowed are %s", strings.Join(e.Allowed, ", "))
	case e.Rule.Redirect != nil:
		line("  is redirected (%d) to %s", e.Status, e.Location)
	case e.Rule.Site != "":
		line("  goes to site %s as %s", e.Rule.Site, e.Target)
	case len(e.Split) > 0:
		by := "trace"
		switch s := e.Rule.Sticky; {
		case s == nil:
		case s.Cookie != "":
			by = "cookie " + s.Cookie
		case s.Header != "":
			by = "header " + s.Header
		default:
			by = "cookie " + s.Issue + " (ours) or trace"
		}
		line("  goes as %s, by %s, to", e.Target, by)
		for _, s := range e.Split {
			line("    %5.1f %%  %s", s.Percent, s.Upstream)
		}
	default:
		line("  goes to %s as %s", e.Rule.Upstream, e.Target)
	}
	if e.Rule != nil {
		e.Rule.details(line)
	}
	others := 0
	for _, v := range e.inOrder() {
		mark := "near"
		switch {
		case !v.Near:
			others++
			continue
		case v.Won:
			mark = "won"
		case v.Matched:
			mark = "lost"
		}
		name := v.Name
		if v.Source != "" {
			name += " (" + v.Source + ")"
		}
		line("  %-5s %s: %s", mark, name, v.Pattern)
		line("        %s", v.Why)
	}
	if others > 0 {
		line("  %d other rules are for other hosts or paths", others)
	}
	return b.String()
}

// details tells what else the rule does.
func (r *Rule) details(line func(format string, args ...any)) {
	for _, side := range []struct {
		name string
		e    *Edits
	}{{"request", r.Request}, {"answer", r.Answer}} {
		if side.e == nil {
			continue
		}
		for _, n := range side.e.Remove {
			line("  %s loses %s", side.name, fieldName(n))
		}
		for _, f := range side.e.Set {
			line("  %s gets %s: %s, and no other", side.name, fieldName(f.Name), f.Value)
		}
		for _, f := range side.e.Add {
			line("  %s gets %s: %s too", side.name, fieldName(f.Name), f.Value)
		}
	}
	if m := r.Mirror; m != nil {
		which := "safe requests"
		if m.Unsafe {
			which = "requests"
		}
		line("  %v %% of %s are copied to %s", m.Percent, which, m.Upstream)
	}
	if r.Policy != "" {
		line("  policy %s decides who may", r.Policy)
	}
}

// inOrder gives the verdicts: the winner, other matches, near ones.
func (e Explanation) inOrder() []Verdict {
	rank := func(v Verdict) int {
		switch {
		case v.Won:
			return 0
		case v.Matched:
			return 1
		case v.Near:
			return 2
		}
		return 3
	}
	out := slices.Clone(e.Verdicts)
	slices.SortStableFunc(out, func(a, b Verdict) int { return rank(a) - rank(b) })
	return out
}
