package route

import (
	"fmt"
	"testing"
	"time"
)

func many(n int) []Rule {
	var rules []Rule
	for i := range n {
		r := Rule{Name: fmt.Sprint("r", i), Upstream: fmt.Sprint("svc", i%1000)}
		switch i % 3 {
		case 0:
			r.Path = fmt.Sprintf("/svc%d/p%d", i%1000, i)
		case 1:
			r.Kind, r.Path = Template, fmt.Sprintf("/svc%d/{id}/t%d/{item}", i%1000, i)
		case 2:
			r.Kind, r.Path = Exact, fmt.Sprintf("/svc%d/e%d", i%1000, i)
		}
		rules = append(rules, r)
	}
	return rules
}

// absurd is what no compilation takes on any machine, unless it has become quadratic. How
// long they take is for the benchmarks.
const absurd = time.Minute

// 10,000 rules of 1,000 services compile, and a match allocates nothing.
func TestScale(t *testing.T) {
	table := compile(t, many(10000)...)
	for _, path := range []string{"/svc999/p999/a/b", "/svc1/7/t1/x", "/svc2/e2", "/none"} {
		if n := testing.AllocsPerRun(100, func() { table.Match("shop.example", "GET", path) }); n != 0 {
			t.Errorf("Match of %s allocates %g times", path, n)
		}
	}
}

// Templates that all may meet are the dear case of the search for conflicts.
func TestScaleCrossing(t *testing.T) {
	var rules []Rule
	for i := range 5000 {
		rules = append(rules, up(fmt.Sprint("a", i), fmt.Sprintf("/{x}/b%d", i), Template), up(fmt.Sprint("b", i), fmt.Sprintf("/a%d/{y}", i), Template))
	}
	start := time.Now()
	if _, conflicts := Compile(rules); len(conflicts) != MaxConflicts {
		t.Errorf("%d conflicts reported, want the first %d", len(conflicts), MaxConflicts)
	}
	if d := time.Since(start); d > absurd {
		t.Errorf("took %v", d)
	}
	for i := range rules { // no conflict, but as many pairs
		rules[i].Methods = []string{[]string{"GET", "PUT"}[i%2]}
	}
	start = time.Now()
	if _, conflicts := Compile(rules); len(conflicts) != 1 {
		t.Errorf("%d conflicts, want one that says that there are too many pairs", len(conflicts))
	}
	if d := time.Since(start); d > absurd {
		t.Errorf("without conflicts: took %v", d)
	}
}

// mixes are 10,000 rules of 1,000 services in the shapes that cost most.
var mixes = []struct {
	name  string
	rules func() []Rule
}{
	{"paths", func() []Rule { return many(10000) }},
	{"hosts", func() []Rule { // ten rules on each of 1,000 hosts
		rules := many(10000)
		for i := range rules {
			rules[i].Host = fmt.Sprintf("h%d.example", i%1000)
		}
		return rules
	}},
	{"conditions", func() []Rule { // each path has ten rules that differ by header and query
		rules := many(1000)
		for i := range 9000 {
			r := rules[i%1000]
			r.Name = fmt.Sprint("c", i)
			r = headers(r, Cond{Name: "X-Version", Value: fmt.Sprint("v", i/1000)})
			if i%2 == 0 {
				r = queries(r, Cond{Name: "beta", Present: true})
			}
			rules = append(rules, r)
		}
		return rules
	}},
	{"tenants", func() []Rule { // one path, told apart by the value of a header
		var rules []Rule
		for i := range 10000 {
			rules = append(rules, headers(up(fmt.Sprint("t", i), "/", Prefix), Cond{Name: "X-Tenant", Value: fmt.Sprint("tenant-", i)}))
		}
		return rules
	}},
	{"expressions", func() []Rule { // ten rules of one path and weight that never meet
		rules := many(1000)
		for i := range 9000 {
			r := rules[i%1000]
			r.Name = fmt.Sprint("x", i)
			rules = append(rules, headers(r, Cond{Name: "X-Version", Regex: fmt.Sprintf("v%d(\\.[0-9]+)*", i/1000)}))
		}
		return rules
	}},
}

func mixOf(t testing.TB, name string) *Table {
	for _, m := range mixes {
		if m.name == name {
			return compile(t, m.rules()...)
		}
	}
	t.Fatalf("no mix %q", name)
	return nil
}

// Every mix compiles without conflict: the search for them is not what ends it.
func TestScaleMixes(t *testing.T) {
	for _, m := range mixes {
		start := time.Now()
		if _, conflicts := Compile(m.rules()); len(conflicts) > 0 {
			t.Errorf("%s: %v", m.name, conflicts[0])
		}
		if d := time.Since(start); d > absurd {
			t.Errorf("%s: took %v", m.name, d)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, m := range mixes {
		b.Run(m.name, func(b *testing.B) {
			rules := m.rules()
			for b.Loop() {
				Compile(rules)
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, c := range []struct{ mix, name, path, tenant, version, query, want string }{
		{"paths", "exact", "/svc2/e2", "", "", "", "r2"},
		{"paths", "template", "/svc1/7/t1/x", "", "", "", "r1"},
		{"paths", "prefix", "/svc999/p999/a/b", "", "", "", "r999"},
		{"paths", "miss", "/none/at/all", "", "", "", ""},
		{"hosts", "exact", "/svc2/e2", "", "", "", "r2"},
		{"conditions", "most", "/svc2/e2", "", "v0", "a=b&beta", "c2"},
		{"conditions", "none holds", "/svc2/e2", "", "x", "a=b", "r2"},
		{"tenants", "last", "/a/b", "tenant-9999", "", "", "t9999"},
		{"expressions", "fourth of nine", "/svc2/e2", "", "v3.14", "", "x3002"},
	} {
		b.Run(c.mix+"/"+c.name, func(b *testing.B) {
			table, host := mixOf(b, c.mix), "shop.example:8080"
			if c.mix == "hosts" {
				host = "h2.example"
			}
			req := &benchRequest{c.tenant, c.version, c.query}
			var h Hit
			if table.MatchRequest(&h, host, "GET", c.path, req); c.want != "" && (h.Rule == nil || h.Rule.Name != c.want) {
				b.Fatalf("%+v, want %s", h.Rule, c.want)
			}
			b.ReportAllocs()
			for b.Loop() {
				table.MatchRequest(&h, host, "GET", c.path, req)
			}
		})
	}
}

type benchRequest struct{ tenant, version, query string }

func (r *benchRequest) Header(name string) (string, bool) {
	switch name {
	case "X-Tenant":
		return r.tenant, r.tenant != ""
	case "X-Version":
		return r.version, r.version != ""
	}
	return "", false
}

func (r *benchRequest) Query() string { return r.query }

func BenchmarkCleanHost(b *testing.B) {
	for _, host := range []string{"shop.example", "shop.example:8080", "Shop.Example"} {
		b.Run(host, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				CleanHost(host)
			}
		})
	}
}

func BenchmarkChoose(b *testing.B) {
	r := Rule{Name: "service/orders shop.example/orders", Split: []Weighted{{"v1", 90}, {"v2", 10}}}
	for b.Loop() {
		r.Choose(12345)
	}
}
