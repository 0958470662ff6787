package route

import (
	"encoding/json"
	"strings"
	"testing"
)

// Explain says what happens, why, and which conditions failed.
func TestExplainText(t *testing.T) {
	split := headers(up("canary", "/orders/{id}", Template, "GET"), Cond{Name: "X-Beta", Value: "1"})
	split.Upstream, split.Split = "", []Weighted{{"orders-v1", 3}, {"orders-v2", 1}, {"orders-v0", 0}}
	split.Rewrite, split.Sticky = "/v2/{id}", &Sticky{Cookie: "user"}
	split.Source = "service/orders expose[1]"
	split.Request = &Edits{Set: []Field{{"x-version", "2"}}, Remove: []string{"X-Debug"}}
	split.Mirror, split.Policy = &Mirror{Upstream: "orders-next", Percent: 5}, "customers"
	table := compile(t,
		up("all", "/", Prefix),
		split,
		queries(headers(up("both", "/orders/{id}", Template), Cond{Name: "X-Beta", Present: true}), Cond{Name: "dry", Value: "yes"}),
		Rule{Name: "moved", Path: "/old", Redirect: &Redirect{Scheme: "https", Path: "/new", Code: 308}},
		up("post", "/form", Exact, "POST"),
		host("x.example", up("other", "/", Prefix)),
	)
	for _, c := range []struct {
		s    *Sample
		want string
	}{
		{&Sample{Method: "GET", Path: "/orders/7", RawQuery: "dry=no%21", Headers: []Field{{"X-Beta", "1"}}}, `
GET /orders/7?dry=no%21
  goes as /v2/7?dry=no%21, by cookie user, to
     75.0 %  orders-v1
     25.0 %  orders-v2
      0.0 %  orders-v0
  request loses X-Debug
  request gets X-Version: 2, and no other
  5 % of safe requests are copied to orders-next
  policy customers decides who may
  won   canary (service/orders expose[1]): GET /orders/{id} if X-Beta: 1
        the most specific rule that matches
  lost  all: /*
        matches too, but canary is a template, which goes before a prefix
  near  both: /orders/{id} if X-Beta and ?dry=yes
        want ?dry=yes, got "no!"
  3 other rules are for other hosts or paths
`},
		{&Sample{Method: "PUT", Path: "/orders/7"}, `
PUT /orders/7
  goes to u as /orders/7
  won   all: /*
        the most specific rule that matches
  near  canary (service/orders expose[1]): GET /orders/{id} if X-Beta: 1
        method PUT is not of GET
  near  both: /orders/{id} if X-Beta and ?dry=yes
        want X-Beta, got nothing, and want ?dry=yes, got nothing
  3 other rules are for other hosts or paths
`},
		{&Sample{Method: "GET", Host: "shop.example:80", Path: "/old/x", RawQuery: "a=b"}, `
GET shop.example/old/x?a=b
  is redirected (308) to https://shop.example/new?a=b
  won   moved: /old/*
        the most specific rule that matches
  lost  all: /*
        matches too, but moved is the longer prefix
  4 other rules are for other hosts or paths
`},
		{&Sample{Method: "GET", Path: "/a//b"}, `
GET /a//b
  is refused (400): empty segment (//) at byte 3
  won   all: /*
        the most specific rule that matches
  5 other rules are for other hosts or paths
`},
	} {
		e := table.ExplainRequest(c.s.Host, c.s.Method, c.s.Path, c.s)
		if got := "\n" + e.String(); got != c.want {
			t.Errorf("%v: got%swant%s", c.s, got, c.want)
		}
		if _, err := json.Marshal(e); err != nil {
			t.Errorf("%v: %v", c.s, err)
		}
	}
}

func TestExplainRefusals(t *testing.T) {
	table := compile(t, up("post", "/form", Exact, "POST"), Rule{Name: "r", Path: "/s", Redirect: &Redirect{Scheme: "https"}})
	for _, c := range []struct {
		host, method, path string
		status             int
		text               string
	}{
		{"", "GET", "/form", 405, "allowed are POST"},
		{"", "GET", "/none", 404, "no route"},
		{"a b", "GET", "/s", 400, `host "a b"`},
	} {
		e := table.Explain(c.host, c.method, c.path)
		if e.Status != c.status || !strings.Contains(e.String(), c.text) {
			t.Errorf("%s %s: %d %s", c.method, c.path, e.Status, e)
		}
	}
}

// A rule that is wrong, or was declared later than one it conflicts with, is told so.
func TestExplainConflicts(t *testing.T) {
	table, conflicts := Compile([]Rule{up("a", "/a", Prefix), up("b", "/a", Prefix), up("c", "a", Prefix)})
	if len(conflicts) != 2 {
		t.Fatalf("%v", conflicts)
	}
	v := table.Explain("", "GET", "/a").Verdicts
	if !v[0].Won || v[1].Why != "matches too, but a was declared first" || !strings.HasPrefix(v[2].Why, "is not in force: ") {
		t.Errorf("%+v", v)
	}
}
