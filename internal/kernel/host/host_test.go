package host_test

import (
	"context"
	"encoding/json"
	"iter"
	"strings"
	"testing"

	"stoa/api/core"
	"stoa/api/op"
	"stoa/internal/kernel/host"
)

// A module is declared by a func.
type module struct {
	name    string
	declare func(*host.Catalog)
}

func (m module) Name() string            { return m.name }
func (m module) Declare(c *host.Catalog) { m.declare(c) }

type colour struct {
	Name string `json:"name"`
}

var paint = core.Section[colour]{Kind: "Thing", Name: "paint", Default: func() colour { return colour{Name: "white"} }}

func kind(c *host.Catalog) { c.Kind("Thing", "a thing", true) }

// What contradicts itself is a defect of the program and panics when the catalog is built.
func TestContradictionsPanic(t *testing.T) {
	read := op.Op[op.None, op.None]{Name: "look"}
	do := func(context.Context, op.None) (op.None, error) { return op.None{}, nil }
	for name, declare := range map[string]func(*host.Catalog){
		"a kind twice":            func(c *host.Catalog) { kind(c); kind(c) },
		"two owners of a section": func(c *host.Catalog) { kind(c); host.Owns(c, paint, nil); host.Owns(c, paint, nil) },
		"a section and a body": func(c *host.Catalog) {
			kind(c)
			host.Owns(c, paint, nil)
			host.Owns(c, core.Section[colour]{Kind: "Thing"}, nil)
		},
		"a section of no kind":       func(c *host.Catalog) { host.Owns(c, paint, nil) },
		"files of another's section": func(c *host.Catalog) { kind(c); host.Beside(c, paint, nil) },
		"an operation twice":         func(c *host.Catalog) { host.Handle(c, read, do, nil); host.Handle(c, read, do, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			host.Build(module{"m", declare})
		})
	}
}

// A check sees the section on top of its default, and reports paths from the document.
func TestChecks(t *testing.T) {
	var seen []string
	cat := host.Build(module{"m", func(c *host.Catalog) {
		kind(c)
		host.Owns(c, paint, func(k *host.Checker, v colour) {
			seen = append(seen, v.Name)
			k.Exists("name", "Thing", "chair")
			k.OneOf("name", v.Name, "white", "black")
		})
	}})
	s := cat.SectionsOf("Thing")[0]
	if s.Owner != "m" || s.Default != (colour{"white"}) {
		t.Errorf("section %+v", s)
	}
	doc := core.Document{Kind: "Thing", Name: "table"}
	state := core.State{Docs: map[core.Ref]core.Document{doc.Ref(): doc, {Kind: "Thing", Name: "chairs"}: {Kind: "Thing", Name: "chairs"}}}
	var findings []host.Finding
	s.Check(host.NewChecker(doc, state, s.Name, &findings), nil)
	s.Check(host.NewChecker(doc, state, s.Name, &findings), json.RawMessage(`{"name":"blak"}`))
	if strings.Join(seen, " ") != "white blak" {
		t.Errorf("the check saw %q", seen)
	}
	if len(findings) != 3 {
		t.Fatalf("findings %+v, want 3", findings)
	}
	for i, want := range []string{"did you mean chairs?", "did you mean chairs?", "did you mean black?"} {
		if f := findings[i]; f.Path != "paint.name" || f.Hint != want || f.Ref != doc.Ref() {
			t.Errorf("finding %d: %+v, want path paint.name and hint %q", i, f, want)
		}
	}
}

// An operation carries its types and effect; a stream hands on values and its error.
func TestOperations(t *testing.T) {
	cat := host.Build(module{"m", func(c *host.Catalog) {
		host.Handle(c, op.Op[colour, string]{Name: "mix", Effect: op.Write}, func(_ context.Context, in colour) (string, error) { return in.Name + "ish", nil }, nil)
		host.Follow(c, op.Op[colour, int]{Name: "count"}, func(context.Context, colour) (iter.Seq2[int, error], error) {
			return func(yield func(int, error) bool) { _ = yield(1, nil) && yield(0, context.Canceled) }, nil
		}, nil)
	}})
	mix, _ := cat.Operation("mix")
	if out, err := mix.Call(t.Context(), &colour{"red"}); out != "redish" || err != nil || mix.Effect != op.Write {
		t.Errorf("mix gave %v, %v, effect %s", out, err, mix.Effect)
	}
	count, _ := cat.Operation("count")
	seq, err := count.Stream(t.Context(), &colour{})
	if err != nil || count.Effect != op.Read {
		t.Fatal(err)
	}
	var values []any
	var last error
	for v, err := range seq {
		values, last = append(values, v), err
	}
	if len(values) != 2 || values[0] != 1 || last != context.Canceled {
		t.Errorf("count gave %v, %v", values, last)
	}
}

func TestJoinPath(t *testing.T) {
	for _, c := range [][3]string{{"uses", "[0].timeout", "uses[0].timeout"}, {"health", "ready", "health.ready"}, {"", "of", "of"}, {"run", "", "run"}} {
		if got := host.JoinPath(c[0], c[1]); got != c[2] {
			t.Errorf("JoinPath(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
