package route

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"stoa/api/fault"
	"strconv"
	"strings"
	"time"
)

// Bounds of lists in a rule.
const (
	maxSplit  = 64
	maxEdits  = 32      // of one kind and direction
	maxWeight = 1 << 20 // of one side of a split
)

// Check finds what is wrong with one rule by itself, or nil; of several faults it gives
// the first. See Rule.Check for all.
func Check(r Rule) error {
	var first error
	r.Check(func(path, text, _ string) {
		if first == nil {
			first = fault.New(fault.Invalid, r.id(), "%s: %s", path, text)
		}
	})
	return first
}

// Check tells bad of everything that is wrong with the rule by itself: the path of a field
// as in JSON, what is wrong, and what to do if that is not plain.
func (r *Rule) Check(bad func(path, text, hint string)) {
	r.checkMatch(bad)
	r.checkLeadsTo(bad)
	if r.Request != nil {
		r.Request.check("request", bad)
		if r.Upstream == "" && len(r.Split) == 0 {
			bad("request", "header edits of a request that goes to no upstream", "take them away, or move them to answer")
		}
	}
	if r.Answer != nil {
		r.Answer.check("answer", bad)
	}
	if m := r.Mirror; m != nil {
		if m.Upstream == "" {
			bad("mirror.upstream", "is missing", "")
		}
		if !(m.Percent > 0 && m.Percent <= 100) { // not a number is neither
			bad("mirror.percent", fmt.Sprintf("%v: want more than 0, at most 100", m.Percent), "")
		}
		if r.Upstream == "" && len(r.Split) == 0 {
			bad("mirror", "of a request that goes to no upstream", "take it away")
		}
	}
	if s := r.Sticky; s != nil {
		switch {
		case s.Cookie != "" && s.Header+s.Issue != "" || s.Header != "" && s.Issue != "" || s.Cookie+s.Header+s.Issue == "":
			bad("sticky", "want exactly one of cookie, header and issue", "")
		case !isToken(s.Cookie + s.Header + s.Issue):
			bad("sticky", fmt.Sprintf("%q is no name of a cookie or header", s.Cookie+s.Header+s.Issue), "")
		case strings.HasPrefix(s.Issue, "__"):
			bad("sticky.issue", fmt.Sprintf("%q: browsers want more of cookies that begin with __", s.Issue), "choose another name")
		}
		switch {
		case s.Lasts != 0 && s.Issue == "":
			bad("sticky.lasts", "is of the cookie of issue alone", "take it away")
		case s.Lasts != 0 && (s.Lasts < time.Second || s.Lasts > maxLasts):
			bad("sticky.lasts", "want a time from 1s to 400d", "leave it out for a cookie that lasts until the browser is closed")
		}
		if r.Upstream == "" && len(r.Split) == 0 {
			bad("sticky", "of a request that goes to no upstream", "take it away")
		}
	}
	if strings.ContainsFunc(r.Policy, isControl) {
		bad("policy", "has a control byte", "")
	}
	if r.Timeout < 0 {
		bad("timeout", fmt.Sprintf("%v: want 0 for none, or more", r.Timeout), "")
	}
}

// checkMatch reads host, path, methods and conditions.
func (r *Rule) checkMatch(bad func(path, text, hint string)) {
	if h := strings.TrimPrefix(r.Host, "*."); h != strings.ToLower(h) || strings.ContainsAny(h, "*:/ ") || r.Host != "" && h == "" {
		bad("host", fmt.Sprintf("%q: want a lower-case name without port, or *.name", r.Host), "")
	}
	for i, m := range r.Methods {
		if m != strings.ToUpper(m) || !isToken(m) {
			bad(fmt.Sprintf("methods[%d]", i), fmt.Sprintf("%q: want an upper-case method", m), "")
		}
	}
	plain := r.Path
	switch r.kind() {
	case Template:
		p, err := parseTemplate(r.Path)
		if err != nil {
			bad("path", fmt.Sprintf("%q: %v", r.Path, err), "")
			return
		}
		plain = p.sample()
	case Exact, Prefix:
	default:
		bad("kind", fmt.Sprintf("%q: want exact, prefix or template", r.Kind), "")
	}
	if strings.Count(plain, "/") > maxSegments {
		bad("path", fmt.Sprintf("has more than %d segments", maxSegments), "")
	}
	if err := Canonical(plain); err != nil {
		bad("path", fmt.Sprintf("%q: %v", r.Path, err), "")
	}
	if n := len(r.Headers) + len(r.Queries); n > MaxConditions {
		bad("headers", fmt.Sprintf("%d conditions with queries, want at most %d", n, MaxConditions), "")
	}
	checkConds("headers", r.Headers, false, bad)
	checkConds("queries", r.Queries, true, bad)
}

func checkConds(list string, conds []Cond, query bool, bad func(path, text, hint string)) {
	for i, c := range conds {
		at := fmt.Sprintf("%s[%d]", list, i)
		set := 0
		for _, is := range []bool{c.Value != "", c.Prefix != "", c.Regex != "", c.Present, c.Absent} {
			if is {
				set++
			}
		}
		if set != 1 {
			bad(at, "want exactly one of value, prefix, regex, present and absent", "")
		}
		same := func(o Cond) bool { return o.Name == c.Name || !query && fieldName(o.Name) == fieldName(c.Name) }
		if slices.ContainsFunc(conds[:i], same) {
			bad(at+".name", fmt.Sprintf("%q is asked for twice", c.Name), "say both in one regex")
		}
		switch {
		case query && c.Name == "" || !query && !isToken(c.Name) || len(c.Name) > maxText:
			bad(at+".name", fmt.Sprintf("%q is no name", c.Name), "")
		case !query && fieldName(c.Name) == "Host":
			bad(at+".name", "host is not among the headers", "use the field host of the route")
		}
		for _, v := range []struct{ field, text string }{{"value", c.Value}, {"prefix", c.Prefix}} {
			if len(v.text) > maxText {
				bad(at+"."+v.field, fmt.Sprintf("has more than %d bytes", maxText), "")
			}
			if !query && !isFieldValue(v.text) {
				bad(at+"."+v.field, fmt.Sprintf("%q cannot be how a header's value begins", v.text), "take control bytes and outer spaces away")
			}
		}
		if c.Regex != "" {
			if err := checkRegex(c.Regex); err != nil {
				bad(at+".regex", err.Error(), "")
			}
		}
	}
}

func checkRegex(text string) error {
	if len(text) > maxRegex {
		return fmt.Errorf("has more than %d bytes", maxRegex)
	}
	re, err := syntax.Parse(whole(text), syntax.Perl)
	if err != nil {
		return err
	}
	if _, err := syntax.Parse(text, syntax.Perl); err != nil { // by itself too: not a)(b
		return err
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return err
	}
	if len(prog.Inst) > maxRegexSteps {
		return fmt.Errorf("is too large: %d steps when compiled, want at most %d", len(prog.Inst), maxRegexSteps)
	}
	return nil
}

// checkLeadsTo reads where the rule leads and how its path is rewritten.
func (r *Rule) checkLeadsTo(bad func(path, text, hint string)) {
	set := 0
	for _, is := range []bool{r.Upstream != "", len(r.Split) > 0, r.Site != "", r.Redirect != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		bad("upstream", "want exactly one of upstream, split, site and redirect", "")
	}
	r.checkSplit(bad)
	if r.StripPrefix && (r.kind() != Prefix || r.Rewrite != "") {
		bad("stripPrefix", "goes with a prefix path and without rewrite", "")
	}
	if r.Rewrite != "" {
		r.checkTarget("rewrite", r.Rewrite, bad)
	}
	if r.Redirect != nil {
		r.checkRedirect(bad)
	}
}

func (r *Rule) checkSplit(bad func(path, text, hint string)) {
	if len(r.Split) > maxSplit {
		bad("split", fmt.Sprintf("has more than %d sides", maxSplit), "")
	}
	sum := 0
	for i, w := range r.Split {
		at := fmt.Sprintf("split[%d]", i)
		if w.Upstream == "" {
			bad(at+".upstream", "is missing", "")
		}
		if slices.ContainsFunc(r.Split[:i], func(o Weighted) bool { return o.Upstream == w.Upstream }) {
			bad(at+".upstream", w.Upstream+" is there twice", "give it one weight")
		}
		if w.Weight < 0 || w.Weight > maxWeight {
			bad(at+".weight", fmt.Sprintf("%d: want 0 to %d", w.Weight, maxWeight), "")
		}
		sum += max(w.Weight, 0)
	}
	if len(r.Split) > 0 && sum == 0 {
		bad("split", "all weights are 0", "give one side a weight")
	}
}

// checkTarget reads a path that replaces the request's.
func (r *Rule) checkTarget(field, path string, bad func(path, text, hint string)) {
	if r.kind() != Template {
		if err := Canonical(path); err != nil {
			bad(field, fmt.Sprintf("%q: %v", path, err), "")
		}
		return
	}
	p, err := parseTemplate(r.Path)
	if err != nil {
		return // told already
	}
	if _, err := expansion(path, p); err != nil {
		bad(field, fmt.Sprintf("%q: %v", path, err), "")
		return
	}
	q, _ := parseTemplate(path)
	if err := Canonical(q.sample()); err != nil {
		bad(field, fmt.Sprintf("%q: %v", path, err), "")
	}
}

func (r *Rule) checkRedirect(bad func(path, text, hint string)) {
	d := r.Redirect
	if d.Scheme != "" && d.Scheme != "http" && d.Scheme != "https" {
		bad("redirect.scheme", fmt.Sprintf("%q: want http or https", d.Scheme), "")
	}
	if d.Host != "" && (!plainHost(d.Host) || d.Host != withoutPort(d.Host) || d.Host != strings.ToLower(d.Host)) {
		bad("redirect.host", fmt.Sprintf("%q: want a lower-case name without port", d.Host), "say the port in redirect.port")
	}
	if d.Port < 0 || d.Port > 65535 {
		bad("redirect.port", strconv.Itoa(d.Port)+" is no port", "")
	}
	if !slices.Contains([]int{0, 301, 302, 303, 307, 308}, d.Code) {
		bad("redirect.code", fmt.Sprintf("%d: want 301, 302, 303, 307 or 308", d.Code), "")
	}
	if d.Path != "" {
		r.checkTarget("redirect.path", d.Path, bad)
		if r.StripPrefix || r.Rewrite != "" {
			bad("redirect.path", "goes without rewrite and stripPrefix", "")
		}
	}
	if r.Relaxed {
		bad("relaxed", "of a redirect: a path such as //other.example would lead to another host", "take it away")
	}
}

func (e *Edits) check(field string, bad func(path, text, hint string)) {
	if len(e.Set) > maxEdits || len(e.Add) > maxEdits || len(e.Remove) > maxEdits {
		bad(field, fmt.Sprintf("more than %d edits of one kind", maxEdits), "")
	}
	var set []string
	for _, list := range []struct {
		name   string
		fields []Field
	}{{"set", e.Set}, {"add", e.Add}} {
		for i, f := range list.fields {
			at := fmt.Sprintf("%s.%s[%d]", field, list.name, i)
			checkName(at+".name", f.Name, bad)
			if len(f.Value) > maxText || !isFieldValue(f.Value) {
				bad(at+".value", fmt.Sprintf("%q is no header's value of at most %d bytes", f.Value, maxText), "")
			}
			if list.name != "set" {
				continue
			}
			if slices.Contains(set, fieldName(f.Name)) {
				bad(at+".name", f.Name+" is set twice", "add the second")
			}
			set = append(set, fieldName(f.Name))
		}
	}
	for i, n := range e.Remove {
		at := fmt.Sprintf("%s.remove[%d]", field, i)
		checkName(at, n, bad)
		if slices.Contains(set, fieldName(n)) {
			bad(at, n+" is set too, which replaces it anyway", "take it away")
		}
	}
}

func checkName(at, name string, bad func(path, text, hint string)) {
	switch {
	case !isToken(name):
		bad(at, fmt.Sprintf("%q is no name of a header", name), "")
	case reserved(name):
		bad(at, name+" is the proxy's own: framing, one connection, host, or who calls", "")
	}
}

// reserved says whether a field may not be edited: it frames the message, is of one
// connection (RFC 9110, section 7.6.1), names the host, or says who calls, from where, in
// which trace and by when. Some servers read _ as -, so both are.
func reserved(name string) bool {
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	switch name {
	case "content-length", "transfer-encoding", "trailer", "te", "expect",
		"connection", "proxy-connection", "keep-alive", "upgrade", "proxy-authenticate", "proxy-authorization",
		"host", "forwarded", "x-forwarded", "x-real-ip", "traceparent", "tracestate", "grpc-timeout":
		return true
	}
	for _, p := range []string{"x-forwarded-", "x-envoy-", "stoa-", "sec-websocket-", ":"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// isToken says whether s is a name of a field or a method. RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxText
}

// isFieldValue says whether s can be the value of a field. RFC 9110, section 5.5.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == strings.Trim(s, " \t")
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }
