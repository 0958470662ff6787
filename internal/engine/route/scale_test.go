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

func BenchmarkCompile10000(b *testing.B) {
	rules := many(10000)
	for b.Loop() {
		Compile(rules)
	}
}

func BenchmarkMatch10000(b *testing.B) {
	table := compile(b, many(10000)...)
	for _, c := range []struct{ name, path string }{
		{"exact", "/svc2/e2"}, {"template", "/svc1/7/t1/x"}, {"prefix", "/svc999/p999/a/b"}, {"miss", "/none/at/all"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Match("shop.example:8080", "GET", c.path)
			}
		})
	}
}
