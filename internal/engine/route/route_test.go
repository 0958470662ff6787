package route

import (
	"fmt"
	"strings"
	"testing"
)

func up(name, path string, kind Kind, methods ...string) Rule {
	return Rule{Name: name, Path: path, Kind: kind, Methods: methods, Upstream: "u"}
}

func host(h string, r Rule) Rule { r.Host = h; return r }

func compile(t testing.TB, rules ...Rule) *Table {
	t.Helper()
	table, conflicts := Compile(rules)
	for _, c := range conflicts {
		t.Fatalf("conflict: %v", c)
	}
	return table
}

func TestMatch(t *testing.T) {
	table := compile(t,
		up("all", "/", Prefix),
		up("orders", "/orders", Prefix),
		up("orders-archive", "/orders/archive/", Prefix),
		up("order", "/orders/{id}", Template, "GET"),
		up("order-new", "/orders/new", Exact),
		up("items", "/orders/{id}/items/{item}", Template),
		up("items-first", "/orders/{id}/items/first", Template),
		up("files", "/files/{path...}", Template),
		up("delete", "/cart", Exact, "DELETE"),
		up("cart", "/cart", Exact),
		host("shop.example", up("shop", "/", Prefix)),
		host("*.example", up("any-example", "/", Prefix)),
		host("*.eu.example", up("eu", "/", Prefix)),
	)
	for _, c := range []struct{ host, method, path, want, vars string }{
		{"", "GET", "/", "all", ""},
		{"", "GET", "/orders", "orders", ""},
		{"", "GET", "/orders/", "orders", ""},
		{"", "GET", "/ordersx", "all", ""},
		{"", "GET", "/orders/7", "order", "id=7"},
		{"", "HEAD", "/orders/7", "order", "id=7"},
		{"", "POST", "/orders/7", "orders", ""},
		{"", "GET", "/orders/a%2Fb", "order", "id=a%2Fb"},
		{"", "GET", "/orders/new", "order-new", ""},
		{"", "GET", "/orders/archive", "order", "id=archive"},
		{"", "GET", "/orders/archive/1", "orders-archive", ""},
		{"", "GET", "/orders/7/items/3", "items", "id=7 item=3"},
		{"", "GET", "/orders/7/items/first", "items-first", "id=7"},
		{"", "GET", "/orders/7/items/", "orders", ""},
		{"", "GET", "/files/a/b", "files", "path=a/b"},
		{"", "GET", "/files/", "all", ""},
		{"", "DELETE", "/cart", "delete", ""},
		{"", "GET", "/cart", "cart", ""},
		{"shop.example", "GET", "/orders/7", "shop", ""},
		{"SHOP.Example:8080", "GET", "/x", "shop", ""},
		{"a.example", "GET", "/x", "any-example", ""},
		{"a.b.eu.example.", "GET", "/x", "eu", ""},
		{"example", "GET", "/x", "all", ""},
		{"[::1]:80", "GET", "/x", "all", ""},
	} {
		h := table.Match(c.host, c.method, c.path)
		got := "none"
		if h.Rule != nil {
			got = h.Rule.Name
		}
		var vars []string
		for i := range h.Vars.Len() {
			n, v := h.Vars.At(i)
			if v != h.Vars.Value(n) {
				t.Errorf("%s: At gives %q, Value %q", n, v, h.Vars.Value(n))
			}
			vars = append(vars, n+"="+v)
		}
		if got != c.want || strings.Join(vars, " ") != c.vars {
			t.Errorf("%s %s%s: %s %v, want %s [%s]", c.method, c.host, c.path, got, vars, c.want, c.vars)
		}
	}
}

// A miss says whether the method was the reason.
func TestMiss(t *testing.T) {
	table := compile(t, up("a", "/a", Exact, "POST"), up("b", "/a", Exact, "PUT", "GET"))
	if h := table.Match("", "DELETE", "/a"); h.Rule != nil || !h.MethodMiss {
		t.Errorf("DELETE /a = %+v, want a method miss", h)
	}
	if got := fmt.Sprint(table.Allowed("", "/a")); got != "[POST PUT GET]" {
		t.Errorf("Allowed = %v", got)
	}
	if h := table.Match("", "GET", "/b"); h.Rule != nil || h.MethodMiss {
		t.Errorf("GET /b = %+v, want a plain miss", h)
	}
}

func TestTarget(t *testing.T) {
	for _, c := range []struct {
		rule       Rule
		path, want string
	}{
		{Rule{Path: "/api", StripPrefix: true}, "/api/a%2Fb/c", "/a%2Fb/c"},
		{Rule{Path: "/api", StripPrefix: true}, "/api", "/"},
		{Rule{Path: "/api/", StripPrefix: true}, "/api/", "/"},
		{Rule{Path: "/api", Rewrite: "/v2"}, "/api/x", "/v2/x"},
		{Rule{Path: "/", Rewrite: "/v2/"}, "/x", "/v2/x"},
		{Rule{Path: "/a", Kind: Exact, Rewrite: "/b/c"}, "/a", "/b/c"},
		{Rule{Path: "/o/{id}/i/{n}", Kind: Template, Rewrite: "/i/{n}/of/{id}"}, "/o/a%2Fb/i/3", "/i/3/of/a%2Fb"},
		{Rule{Path: "/f/{p...}", Kind: Template, Rewrite: "/g/{p}"}, "/f/x/y", "/g/x/y"},
		{Rule{Path: "/o"}, "/o/x", "/o/x"},
	} {
		c.rule.Name, c.rule.Upstream = "r", "u"
		h := compile(t, c.rule).Match("", "GET", c.path)
		if h.Rule == nil {
			t.Errorf("%+v does not match %s", c.rule, c.path)
		} else if got := h.Target(c.path); got != c.want {
			t.Errorf("%s %s: target %q, want %q", c.rule.Pattern(), c.path, got, c.want)
		}
	}
}

// Rules between which nothing decides are reported with a request that both match.
func TestConflicts(t *testing.T) {
	for _, c := range []struct {
		claim string
		rules []Rule
		want  string // example, or "" for none
	}{
		{"one prefix twice", []Rule{up("a", "/a", Prefix), up("b", "/a/", Prefix)}, "GET /a/"},
		{"one template by two names", []Rule{up("a", "/a/{x}", Template), up("b", "/a/{y}", Template)}, "GET /a/y"},
		{"methods apart", []Rule{up("a", "/a", Exact, "GET"), up("b", "/a", Exact, "POST")}, ""},
		{"methods shared", []Rule{up("a", "/a", Exact, "GET", "PUT"), up("b", "/a", Exact, "PUT")}, "PUT /a"},
		{"any and one method", []Rule{up("a", "/a", Exact), up("b", "/a", Exact, "PUT")}, ""},
		{"hosts apart", []Rule{host("x", up("a", "/a", Exact)), host("y", up("b", "/a", Exact))}, ""},
		{"one host", []Rule{host("x", up("a", "/a", Exact)), host("x", up("b", "/a", Exact))}, "GET x/a"},
		{"crossing templates", []Rule{up("a", "/a/{x}", Template), up("b", "/{y}/b", Template)}, "GET /a/b"},
		{"crossing templates, methods apart", []Rule{up("a", "/a/{x}", Template, "GET"), up("b", "/{y}/b", Template, "PUT")}, ""},
		{"a special case", []Rule{up("a", "/a/b", Template), up("b", "/{y}/b", Template)}, ""},
		{"rest against crossing", []Rule{up("a", "/{x}/b", Template), up("b", "/a/{y...}", Template)}, "GET /a/b"},
		{"rest and its special case", []Rule{up("a", "/a/{x}", Template), up("b", "/a/{y...}", Template)}, ""},
		{"exact and template", []Rule{up("a", "/a/b", Exact), up("b", "/a/{y}", Template)}, ""},
	} {
		table, conflicts := Compile(c.rules)
		switch {
		case c.want == "" && len(conflicts) > 0:
			t.Errorf("%s: conflict %v, want none", c.claim, conflicts)
		case c.want != "" && (len(conflicts) != 1 || conflicts[0].Example != c.want):
			t.Errorf("%s: conflicts %+v, want one with %q", c.claim, conflicts, c.want)
		}
		for _, k := range conflicts {
			method, rest, _ := strings.Cut(k.Example, " ")
			h, path, _ := strings.Cut(rest, "/")
			for i := range c.rules {
				if w := table.why(i, h, "/"+path); w != "" || !c.rules[i].accepts(method) {
					t.Errorf("%s: the example %q does not match rule %d: %s", c.claim, k.Example, i, w)
				}
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		claim string
		rule  Rule
	}{
		{"no target", Rule{Path: "/"}},
		{"two targets", Rule{Path: "/", Upstream: "u", Site: "s"}},
		{"relative path", Rule{Path: "a", Upstream: "u"}},
		{"path not canonical", Rule{Path: "/a//b", Upstream: "u"}},
		{"unknown kind", Rule{Path: "/", Kind: "regex", Upstream: "u"}},
		{"host with a port", Rule{Path: "/", Host: "a:80", Upstream: "u"}},
		{"host in upper case", Rule{Path: "/", Host: "A", Upstream: "u"}},
		{"method in lower case", Rule{Path: "/", Methods: []string{"get"}, Upstream: "u"}},
		{"part of a segment", Rule{Path: "/a{x}", Kind: Template, Upstream: "u"}},
		{"variable twice", Rule{Path: "/{x}/{x}", Kind: Template, Upstream: "u"}},
		{"rest in the middle", Rule{Path: "/{x...}/a", Kind: Template, Upstream: "u"}},
		{"nine variables", Rule{Path: "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", Kind: Template, Upstream: "u"}},
		{"rewrite with an unknown variable", Rule{Path: "/{a}", Kind: Template, Rewrite: "/{b}", Upstream: "u"}},
		{"strip of an exact path", Rule{Path: "/a", Kind: Exact, StripPrefix: true, Upstream: "u"}},
		{"65 segments", Rule{Path: strings.Repeat("/a", 65), Upstream: "u"}},
	} {
		if Check(c.rule) == nil {
			t.Errorf("%s: taken", c.claim)
		}
		if _, conflicts := Compile([]Rule{c.rule}); len(conflicts) != 1 {
			t.Errorf("%s: Compile reports %v", c.claim, conflicts)
		}
	}
}

func TestCanonical(t *testing.T) {
	for _, good := range []string{"/", "/a", "/a/", "/a/b;c=d,e", "/a%2Fb", "/a%25b", "/%C3%A9", "/...", "/.well-known", "/a:b@c!$&'()*+=~", "/%20", "/a%5Cb", "/\"<>|{}"} {
		if err := Canonical(good); err != nil {
			t.Errorf("Canonical(%q) = %v, want nil", good, err)
		}
	}
	for _, bad := range []string{"", "a", "*", "http://a/", "//", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/a/..", "/%2e", "/%2E%2E/a", "/.%2e/a", "/a\\b", "/a#b", "/a?b", "/a b", "/a\x00", "/a\x7f", "/\xc3\xa9", "/%00", "/%2f", "/%c3%A9", "/%41", "/%7E", "/%", "/%4", "/%zz"} {
		if Canonical(bad) == nil {
			t.Errorf("Canonical(%q) = nil, want an error", bad)
		}
	}
}

func TestSpelt(t *testing.T) {
	for raw, want := range map[string]string{
		"": "", "/": "/", "/a": "/a", "/%2f": "/%2F", "/%c3%a9/%C3%a9": "/%C3%A9/%C3%A9", "/%": "/%", "/%a": "/%a", "/%aa": "/%AA", "/%%aa": "/%%AA", "/%zf": "/%zF", "/abc%25ab": "/abc%25ab",
	} {
		if got := Spelt(raw); got != want {
			t.Errorf("Spelt(%q) = %q, want %q", raw, got, want)
		}
	}
	if allocs := testing.AllocsPerRun(100, func() { Spelt("/orders/%2F/abc") }); allocs != 0 {
		t.Errorf("a path that is spelt so already costs %v allocations", allocs)
	}
}

func TestExplain(t *testing.T) {
	table := compile(t, up("all", "/", Prefix), up("orders", "/orders", Prefix), up("order", "/orders/{id}", Template, "GET"), host("x", up("other", "/", Prefix)))
	e := table.Explain("", "GET", "/orders/7")
	if e.Hit.Rule == nil || e.Hit.Rule.Name != "order" || e.Canonical != "" {
		t.Fatalf("hit %+v, canonical %q", e.Hit, e.Canonical)
	}
	want := []string{
		"true false matches too, but order is a template, which goes before a prefix",
		"true false matches too, but order is a template, which goes before a prefix",
		"true true the most specific rule that matches",
		`false false host "" is not x`,
	}
	for i, v := range e.Verdicts {
		if got := fmt.Sprintf("%v %v %s", v.Matched, v.Won, v.Why); got != want[i] {
			t.Errorf("verdict %d: %s, want %s", i, got, want[i])
		}
	}
	e = table.Explain("", "PUT", "/orders/7")
	if v := e.Verdicts[2]; v.Matched || v.Why != "method PUT is not of GET" {
		t.Errorf("PUT: %+v", v)
	}
}
