package route

import (
	"fmt"
	"strings"
	"testing"
)

func headers(r Rule, conds ...Cond) Rule { r.Headers = append(r.Headers, conds...); return r }
func queries(r Rule, conds ...Cond) Rule { r.Queries = append(r.Queries, conds...); return r }

// Of the rules for one pattern the one with more conditions goes first, if they hold.
func TestConditions(t *testing.T) {
	all := up("all", "/orders", Prefix)
	named := func(name string, r Rule) Rule { r.Name = name; return r }
	table := compile(t,
		all,
		headers(named("beta", all), Cond{Name: "x-beta", Value: "1"}),
		headers(named("beta-any", all), Cond{Name: "X-BETA", Present: true}),
		queries(headers(named("both", all), Cond{Name: "X-Beta", Value: "1"}), Cond{Name: "beta", Value: "1"}),
		queries(up("name", "/people", Prefix), Cond{Name: "full name", Value: "Ann é&"}),
		queries(headers(named("curl", all), Cond{Name: "User-Agent", Prefix: "curl/"}), Cond{Name: "q", Regex: "[a-c]+"}),
		queries(headers(named("quiet", all), Cond{Name: "X-Loud", Absent: true}, Cond{Name: "X-Quiet", Present: true}, Cond{Name: "X-Mode", Prefix: "lo"}), Cond{Name: "loud", Absent: true}),
		headers(up("special", "/orders/new", Exact), Cond{Name: "X-Beta", Value: "2"}),
		headers(up("get", "/orders", Exact, "GET"), Cond{Name: "X-Old", Present: true}),
	)
	for _, c := range []struct{ path, query, headers, want string }{
		{"/orders", "", "", "all"},
		{"/orders/7", "", "X-Beta=1", "beta"},
		{"/orders/7", "", "X-Beta=1 X-Beta=2", "beta-any"}, // "1, 2"
		{"/orders/7", "", "X-Beta=", "beta-any"},
		{"/orders/7", "beta=1", "X-Beta=1", "both"},
		{"/orders/7", "a=b&b%65ta=%31&beta=2", "X-Beta=1", "both"},
		{"/orders/7", "beta=2&beta=1", "X-Beta=1", "beta"}, // the first counts
		{"/people", "full+name=Ann%20%C3%A9%26", "", "name"},
		{"/people", "full%20name=Ann", "", "none"},
		{"/orders/7", "q=abc", "User-Agent=curl/8.1", "curl"},
		{"/orders/7", "q=%61bc", "User-Agent=curl/8.1", "curl"},
		{"/orders/7", "q=abcd", "User-Agent=curl/8.1", "all"},
		{"/orders/7", "q", "User-Agent=curl/8.1", "all"},
		{"/orders/7", "q=" + strings.Repeat("a", 513), "User-Agent=curl/8.1", "all"},
		{"/orders/7", "", "X-Quiet=1 X-Mode=low", "quiet"},
		{"/orders/7", "loud", "X-Quiet=1 X-Mode=low", "all"},
		{"/orders/7", "", "X-Quiet=1 X-Mode=low X-Loud=", "all"},
		{"/orders/new", "", "X-Beta=2", "special"},
		{"/orders/new", "", "X-Beta=1", "beta"},
		{"/orders", "", "X-Old=1 X-Beta=1", "get"},
	} {
		s := &Sample{Method: "GET", Path: c.path, RawQuery: c.query}
		for f := range strings.FieldsSeq(c.headers) {
			name, value, _ := strings.Cut(f, "=")
			s.Headers = append(s.Headers, Field{name, value})
		}
		var h Hit
		got := "none"
		if table.MatchRequest(&h, "", s.Method, s.Path, s) {
			got = h.Rule.Name
		}
		if got != c.want {
			t.Errorf("%v: %s, want %s", s, got, c.want)
		}
	}
	if h := table.Match("", "GET", "/orders"); h.Rule == nil || h.Rule.Name != "all" {
		t.Errorf("without headers: %+v", h.Rule)
	}
}

// Two rules of equal weight are a conflict if a request exists for which both hold.
func TestConflictsOfConditions(t *testing.T) {
	a, b := host("shop.example", up("a", "/orders", Prefix)), host("shop.example", up("b", "/orders", Prefix))
	h := func(c Cond) Cond { c.Name = "x-beta"; return c }
	for _, c := range []struct {
		claim string
		a, b  Rule
		want  string // the example, "" for none
	}{
		{"one value", headers(a, h(Cond{Value: "1"})), headers(b, h(Cond{Value: "1"})), "GET shop.example/orders with X-Beta: 1"},
		{"two values", headers(a, h(Cond{Value: "1"})), headers(b, h(Cond{Value: "2"})), ""},
		{"header and query", headers(a, h(Cond{Value: "1"})), queries(b, Cond{Name: "beta", Value: "1"}), "GET shop.example/orders?beta=1 with X-Beta: 1"},
		{"more conditions", headers(a, h(Cond{Value: "1"})), queries(headers(b, h(Cond{Value: "1"})), Cond{Name: "beta", Value: "1"}), ""},
		{"a value and presence", headers(a, h(Cond{Value: "1"})), headers(b, h(Cond{Present: true})), ""},
		{"presence and absence", headers(a, h(Cond{Absent: true})), headers(b, h(Cond{Present: true})), ""},
		{"absence twice", headers(a, h(Cond{Absent: true})), headers(b, h(Cond{Absent: true})), "GET shop.example/orders"},
		{"prefixes, one longer", headers(a, h(Cond{Prefix: "a"})), headers(b, h(Cond{Prefix: "ab"})), ""},
		{"prefixes apart", headers(a, h(Cond{Prefix: "ac"})), headers(b, h(Cond{Prefix: "ab"})), ""},
		{"prefixes of two fields", headers(a, h(Cond{Prefix: "a"})), headers(b, Cond{Name: "X-C", Prefix: "b"}), "GET shop.example/orders with X-Beta: a, X-C: b"},
		{"expressions that meet", headers(a, h(Cond{Regex: "[a-m]+[0-9]"})), headers(b, h(Cond{Regex: "k.*"})), "GET shop.example/orders with X-Beta: k0"},
		{"expressions apart", headers(a, h(Cond{Regex: "a+(b|c)"})), headers(b, h(Cond{Regex: "a*d?"})), ""},
		{"expressions with anchors", headers(a, h(Cond{Regex: "^a$|^b"})), headers(b, h(Cond{Regex: "b$|c"})), "GET shop.example/orders with X-Beta: b"},
		{"query to be escaped", queries(a, Cond{Name: "a b", Value: "c&d"}), queries(b, Cond{Name: "a b", Value: "c&d"}), "GET shop.example/orders?a%20b=c%26d"},
		{"methods apart", headers(host("", up("a", "/", Prefix, "GET")), h(Cond{Value: "1"})), headers(host("", up("b", "/", Prefix, "PUT")), h(Cond{Value: "1"})), ""},
		{"crossing templates", headers(up("a", "/a/{x}", Template), h(Cond{Value: "1"})), queries(up("b", "/{y}/b", Template), Cond{Name: "q", Present: true}), "GET /a/b?q=1 with X-Beta: 1"},
		{"crossing templates, values apart", headers(up("a", "/a/{x}", Template), h(Cond{Value: "1"})), headers(up("b", "/{y}/b", Template), h(Cond{Value: "2"})), ""},
		{"GET and HEAD", up("a", "/", Prefix, "GET"), up("b", "/", Prefix, "HEAD"), ""},
		{"crossing templates, GET and HEAD", up("a", "/a/{x}", Template, "GET"), up("b", "/{y}/b", Template, "HEAD"), "HEAD /a/b"},
	} {
		rules := []Rule{c.a, c.b}
		_, conflicts := Compile(rules)
		switch {
		case c.want == "" && len(conflicts) > 0:
			t.Errorf("%s: %v, want no conflict", c.claim, conflicts)
		case c.want != "" && (len(conflicts) != 1 || conflicts[0].Example != c.want):
			t.Errorf("%s: %+v, want one with %q", c.claim, conflicts, c.want)
		}
		if realConflicts(t, rules) != len(conflicts) {
			t.Errorf("%s: no request to show it", c.claim)
		}
	}
}

// A rule that names HEAD goes before one that takes it for GET.
func TestHead(t *testing.T) {
	table := compile(t, up("get", "/", Prefix, "GET"), up("head", "/", Prefix, "HEAD"))
	for method, want := range map[string]string{"GET": "get", "HEAD": "head"} {
		if h := table.Match("", method, "/x"); h.Rule == nil || h.Rule.Name != want {
			t.Errorf("%s: %+v, want %s", method, h.Rule, want)
		}
	}
}

// A method is the reason of a miss only if the conditions hold.
func TestMissWithConditions(t *testing.T) {
	table := compile(t, headers(up("a", "/a", Exact, "POST"), Cond{Name: "X-Beta", Value: "1"}))
	for _, beta := range []string{"1", "2"} {
		s := &Sample{Method: "GET", Path: "/a", Headers: []Field{{"X-Beta", beta}}}
		var h Hit
		if table.MatchRequest(&h, "", s.Method, s.Path, s); h.Rule != nil || h.MethodMiss != (beta == "1") {
			t.Errorf("%v: %+v", s, h)
		}
		if got := fmt.Sprint(table.AllowedRequest("", "/a", s)); (got == "[POST]") != (beta == "1") {
			t.Errorf("%v: allowed %s", s, got)
		}
	}
}

func TestCheckConditions(t *testing.T) {
	r := up("a", "/", Prefix)
	for _, c := range []struct {
		claim string
		rule  Rule
		want  string // field
	}{
		{"no test", headers(r, Cond{Name: "X"}), "headers[0]"},
		{"two tests", headers(r, Cond{Name: "X", Value: "1", Present: true}), "headers[0]"},
		{"no name", queries(r, Cond{Present: true}), "queries[0].name"},
		{"no token", headers(r, Cond{Name: "X Y", Present: true}), "headers[0].name"},
		{"host", headers(r, Cond{Name: "host", Value: "a"}), "headers[0].name"},
		{"one field twice", headers(r, Cond{Name: "X-A", Value: "a"}, Cond{Name: "x-a", Prefix: "a"}), "headers[1].name"},
		{"broken regex", headers(r, Cond{Name: "X", Regex: "("}), "headers[0].regex"},
		{"regex that escapes its group", headers(r, Cond{Name: "X", Regex: "a)(b"}), "headers[0].regex"},
		{"large regex", headers(r, Cond{Name: "X", Regex: "(a{30}){30}"}), "headers[0].regex"},
		{"long regex", headers(r, Cond{Name: "X", Regex: strings.Repeat("a", 257)}), "headers[0].regex"},
		{"a value no field has", headers(r, Cond{Name: "X", Value: " a"}), "headers[0].value"},
		{"17 conditions", headers(r, make([]Cond, 17)...), "headers"},
	} {
		var got []string
		c.rule.Check(func(path, text, hint string) { got = append(got, path) })
		if len(got) == 0 || got[0] != c.want {
			t.Errorf("%s: told of %v, want %s", c.claim, got, c.want)
		}
	}
}

type fixed struct{ name, value, query string }

func (f *fixed) Header(name string) (string, bool) { return f.value, name == f.name }
func (f *fixed) Query() string                     { return f.query }

func TestConditionsAllocateNothing(t *testing.T) {
	var rules []Rule
	for i := range 100 {
		rules = append(rules, queries(headers(up(fmt.Sprint("r", i), "/", Prefix), Cond{Name: "X-Tenant", Value: fmt.Sprint("t", i)}), Cond{Name: "q", Value: "a b"}, Cond{Name: "r", Prefix: "ab"}))
	}
	rules = append(rules, headers(up("p", "/", Prefix), Cond{Name: "X-Tenant", Prefix: "zz"}))
	table := compile(t, rules...)
	req := &fixed{"X-Tenant", "t77", "x=y&q=a%20b&r=abc"}
	var h Hit
	if n := testing.AllocsPerRun(100, func() { table.MatchRequest(&h, "shop.example:80", "GET", "/a", req) }); n != 0 || h.Index != 77 {
		t.Errorf("rule %d with %g allocations, want 77 with none", h.Index, n)
	}
}
