package route

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// reference finds the winner by definition: of all rules that match, the first that no
// other beats. A miss says whether a method was the reason.
func reference(t *Table, s *Sample) (best int, methodMiss bool) {
	best = -1
	for i := range t.rules {
		r := &t.rules[i]
		if t.compiled[i].err != nil || t.why(i, CleanHost(s.Host), s.Path) != "" || !allHold(r, s) {
			continue
		}
		if !r.accepts(s.Method) {
			methodMiss = true
			continue
		}
		if best < 0 || beats(&t.rules[i], &t.rules[best]) {
			best = i
		}
	}
	return best, methodMiss && best < 0
}

// allHold reads a rule's conditions by the words of Cond.
func allHold(r *Rule, s *Sample) bool {
	for _, c := range r.Headers {
		var values []string
		for _, f := range s.Headers {
			if strings.EqualFold(f.Name, c.Name) {
				values = append(values, f.Value)
			}
		}
		if !c.plainly(strings.Join(values, ", "), len(values) > 0) {
			return false
		}
	}
	for _, c := range r.Queries {
		value, ok := "", false
		for pair := range strings.SplitSeq(s.RawQuery, "&") {
			k, v, _ := strings.Cut(pair, "=")
			if !ok && pair != "" && plainUnescape(k) == c.Name {
				value, ok = plainUnescape(v), true
			}
		}
		if !c.plainly(value, ok) {
			return false
		}
	}
	return true
}

var escapes = regexp.MustCompile("%[0-9a-fA-F]{2}|[+]")

func plainUnescape(s string) string {
	return escapes.ReplaceAllStringFunc(s, func(e string) string {
		if e == "+" {
			return " "
		}
		n, _ := strconv.ParseUint(e[1:], 16, 8)
		return string([]byte{byte(n)})
	})
}

func (c Cond) plainly(value string, ok bool) bool {
	switch {
	case c.Absent:
		return !ok
	case !ok:
		return false
	case c.Value != "":
		return value == c.Value
	case c.Prefix != "":
		return strings.HasPrefix(value, c.Prefix)
	case c.Regex != "":
		re, ok := plainRegexps.Load(c.Regex)
		if !ok {
			re, _ = plainRegexps.LoadOrStore(c.Regex, regexp.MustCompile("^(?:"+c.Regex+")$"))
		}
		return len(value) <= maxRegexValue && re.(*regexp.Regexp).MatchString(value)
	}
	return true
}

var plainRegexps sync.Map

// specificity is that of a rule's conditions, the weightiest part first.
func specificity(r *Rule) [4]int {
	var w [4]int
	for _, c := range append(slices.Clone(r.Headers), r.Queries...) {
		w[0]++
		if c.Value != "" {
			w[1]++
		}
		w[2] += len(c.Prefix)
		if c.Regex != "" {
			w[3]++
		}
	}
	return w
}

func rank(r *Rule) (h, k int) {
	switch {
	case strings.HasPrefix(r.Host, "*."):
		h = len(r.Host)
	case r.Host != "":
		h = 1 << 20
	}
	switch r.kind() {
	case Exact:
		k = 1 << 20
	case Template:
		k = 1 << 19
	default:
		k = len(strings.TrimSuffix(r.Path, "/"))
	}
	return h, k
}

func beats(a, b *Rule) bool {
	ah, ak := rank(a)
	bh, bk := rank(b)
	switch {
	case ah != bh:
		return ah > bh
	case ak != bk:
		return ak > bk
	}
	if a.kind() == Template {
		pa, _ := parseTemplate(a.Path)
		pb, _ := parseTemplate(b.Path)
		class := func(s string) int {
			switch s {
			case rest:
				return 0
			case wild:
				return 1
			}
			return 2
		}
		for i := range min(len(pa.segs), len(pb.segs)) {
			if x, y := class(pa.segs[i]), class(pb.segs[i]); x != y {
				return x > y
			}
		}
	}
	if (len(a.Methods) > 0) != (len(b.Methods) > 0) {
		return len(a.Methods) > 0
	}
	if x, y := specificity(a), specificity(b); x != y {
		return slices.Compare(x[:], y[:]) > 0
	}
	return slices.Contains(a.Methods, "HEAD") && !slices.Contains(b.Methods, "HEAD")
}

// randomRules makes n rules over a small alphabet, so that they meet.
func randomRules(rnd *rand.Rand, n int) []Rule {
	var rules []Rule
	for i := range n {
		r := Rule{Name: fmt.Sprint("r", i), Upstream: "u", Kind: []Kind{Exact, Prefix, Template}[rnd.IntN(3)]}
		r.Host = []string{"", "", "", "a.b", "*.b", "*.a.b"}[rnd.IntN(6)]
		r.Methods = [][]string{nil, nil, {"GET"}, {"POST", "PUT"}, {"HEAD"}}[rnd.IntN(5)]
		vars := 0
		for range rnd.IntN(4) + 1 {
			seg := string(rune('a' + rnd.IntN(3)))
			if r.Kind == Template && rnd.IntN(2) == 0 {
				seg = fmt.Sprintf("{v%d}", vars)
				vars++
			}
			r.Path += "/" + seg
		}
		if r.Kind == Template && rnd.IntN(4) == 0 {
			r.Path += "/{more...}"
		}
		if rnd.IntN(20) == 0 {
			r.Path = "/"
		}
		for _, name := range []string{"X-A", "x-b"} {
			if rnd.IntN(4) == 0 {
				r.Headers = append(r.Headers, randomCond(rnd, name))
			}
		}
		for _, name := range []string{"q", "r s"} {
			if rnd.IntN(6) == 0 {
				r.Queries = append(r.Queries, randomCond(rnd, name))
			}
		}
		rules = append(rules, r)
	}
	return rules
}

func randomCond(rnd *rand.Rand, name string) Cond {
	return []Cond{
		{Name: name, Value: "a"}, {Name: name, Value: "ab"}, {Name: name, Value: "b"}, {Name: name, Prefix: "a"}, {Name: name, Prefix: "ab"}, {Name: name, Present: true},
		{Name: name, Absent: true}, {Name: name, Regex: "a.*"}, {Name: name, Regex: "[ab]+"}, {Name: name, Regex: "(?i)B?"}, {Name: name, Regex: "a|^b$"},
	}[rnd.IntN(11)]
}

// sound gives those of the rules that are in conflict with none before.
func sound(rules []Rule) []Rule {
	var out []Rule
	for _, r := range rules {
		if _, c := Compile(append(out, r)); len(c) == 0 {
			out = append(out, r)
		}
	}
	return out
}

// randomSample is a request that such rules may match.
func randomSample(rnd *rand.Rand) *Sample {
	s := &Sample{Host: []string{"", "a.b", "c.b", "x.a.b", "b"}[rnd.IntN(5)], Method: []string{"GET", "POST", "HEAD", "DELETE"}[rnd.IntN(4)]}
	for range rnd.IntN(6) + 1 {
		s.Path += "/" + []string{"a", "b", "c", "x", ""}[rnd.IntN(5)]
	}
	values := []string{"a", "b", "ab", "abc", "B", "", "x"}
	for range rnd.IntN(3) {
		s.Headers = append(s.Headers, Field{[]string{"X-A", "x-a", "X-B"}[rnd.IntN(3)], values[rnd.IntN(len(values))]})
	}
	for range rnd.IntN(3) {
		s.RawQuery += []string{"q=", "%71=", "r+s=", "r%20s=a", "q", "&q=", "%7="}[rnd.IntN(7)] + append(values, "%61", "%4", "a%62")[rnd.IntN(len(values)+3)] + "&"
	}
	return s
}

func agree(t *testing.T, table *Table, s *Sample) {
	t.Helper()
	h := Hit{Index: 77, MethodMiss: true} // what was there must not matter
	found := table.MatchRequest(&h, s.Host, s.Method, s.Path, s)
	want, miss := reference(table, s)
	if h.Index != want || h.MethodMiss != miss || found != (want >= 0) || found != (h.Rule != nil) {
		var list strings.Builder
		for i := range table.rules {
			fmt.Fprintf(&list, "  %d %s %s\n", i, table.rules[i].Kind, table.rules[i].Pattern())
		}
		t.Fatalf("%v (%+v): rule %d, method miss %v; reference %d, %v, of\n%s", s, *s, h.Index, h.MethodMiss, want, miss, list.String())
	}
	if !found && h.MethodMiss == (len(table.AllowedRequest(s.Host, s.Path, s)) == 0) {
		t.Errorf("%v: method miss %v, allowed %v", s, h.MethodMiss, table.AllowedRequest(s.Host, s.Path, s))
	}
	if e := table.ExplainRequest(s.Host, s.Method, s.Path, s); Spelt(s.Path) == s.Path && e.Hit.Index != want {
		t.Errorf("%v: Explain says %d, reference %d", s, e.Hit.Index, want)
	}
}

// Match agrees with the definition on random tables and requests.
func TestMatchAgreesWithReference(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		table := compile(t, sound(randomRules(rnd, 60))...)
		for range 200 {
			agree(t, table, randomSample(rnd))
		}
	}
}

// So it does where one pattern has many rules, which are found by the value of a condition.
func TestShelvesAgreeWithReference(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		rules := randomRules(rnd, 80)
		for i := range rules {
			rules[i].Host, rules[i].Kind, rules[i].Path = "", Prefix, "/"
		}
		table, _ := Compile(rules) // conflicts do not matter: the first goes first
		for range 200 {
			agree(t, table, randomSample(rnd))
		}
	}
}

// A conflict is shown with a request that both rules match, and without conflicts no
// request leaves a choice.
func TestConflictsAreReal(t *testing.T) {
	shown := 0
	for seed := range uint64(100) {
		shown += realConflicts(t, randomRules(rand.New(rand.NewPCG(seed, 3)), 100))
	}
	if shown < 500 {
		t.Errorf("only %d conflicts to look at", shown)
	}
}

func realConflicts(t *testing.T, rules []Rule) (shown int) {
	t.Helper()
	table, conflicts := Compile(rules)
	for _, c := range conflicts {
		if c.B == "" || c.Request == nil {
			continue
		}
		shown++
		for i := range rules {
			r := &rules[i]
			if id := r.id(); id != c.A && id != c.B {
				continue
			}
			if w := table.why(i, c.Request.Host, c.Request.Path); w != "" || !r.accepts(c.Request.Method) || !allHold(r, c.Request) {
				t.Errorf("%v: rule %s does not match the example: %s", c, r.id(), w)
			}
		}
	}
	return shown
}

func FuzzMatch(f *testing.F) {
	f.Add(uint64(1), "a.b", "GET", "/a/b/c", "q=a&r+s=b", "X-A", "a")
	f.Add(uint64(2), "", "POST", "/", "", "X-B", "")
	f.Add(uint64(3), "[::1]:80", "", "//", "%71=%61", "", "")
	f.Fuzz(func(t *testing.T, seed uint64, h, method, path, query, name, value string) {
		table, _ := Compile(sound(randomRules(rand.New(rand.NewPCG(seed%64, 1)), 16)))
		if strings.HasPrefix(path, "/") {
			agree(t, table, &Sample{method, h, path, query, []Field{{name, value}}})
		}
		_ = table.Explain(h, method, path).String()
	})
}

// Whatever is declared, Compile does not panic, and what it says of conflicts is so.
func FuzzCompile(f *testing.F) {
	f.Add(uint64(1), `[{"name":"a","path":"/","upstream":"u","headers":[{"name":"X","regex":"a*"}]},{"name":"b","path":"/","upstream":"u","headers":[{"name":"x","prefix":"a"}]}]`)
	f.Add(uint64(2), `[{"name":"a","path":"/{x}","kind":"template","redirect":{"path":"/y/{x}"},"queries":[{"name":"","value":"%"}]}]`)
	f.Add(uint64(3), `[{"name":"a","path":"/a","split":[{"upstream":"u","weight":1}],"request":{"set":[{"name":"X","value":"y"}]},"mirror":{"upstream":"m","percent":5}}]`)
	f.Add(uint64(4), `[{"name":"a","path":"/","upstream":"u"},{}]`)
	f.Fuzz(func(t *testing.T, seed uint64, text string) {
		realConflicts(t, randomRules(rand.New(rand.NewPCG(seed, 4)), 12))
		var rules []Rule
		if json.Unmarshal([]byte(text), &rules) != nil || len(rules) > 50 {
			return
		}
		realConflicts(t, rules)
		table, _ := Compile(rules)
		s := randomSample(rand.New(rand.NewPCG(seed, 5)))
		agree(t, table, s)
		for i := range rules {
			rules[i].Choose(seed)
			s.Path = rules[i].Path
			_ = table.ExplainRequest(s.Host, s.Method, s.Path, s).String()
		}
	})
}
