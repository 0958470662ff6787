package apply_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/platform"
	"stoa/internal/kernel/apply"
	"stoa/internal/kernel/host"
)

// uses and level are the sections of a made-up capability.
type use struct {
	Service string        `json:"service"`
	Timeout core.Duration `json:"timeout,omitempty"`
}

var (
	uses  = core.Section[[]use]{Kind: core.KindService, Name: "uses"}
	level = core.Section[string]{Kind: core.KindService, Name: "level"}
)

type module struct{}

func (module) Name() string { return "fake" }

func (module) Declare(c *host.Catalog) {
	c.Kind(core.KindService, "a service", true)
	host.Owns(c, uses, func(k *host.Checker, us []use) {
		for i, u := range us {
			k.Exists(fmt.Sprintf("[%d].service", i), core.KindService, u.Service)
		}
	})
	host.Owns(c, level, nil)
	c.Effect("calls", func(before, after core.State) []host.PlanLine {
		var lines []host.PlanLine
		for _, d := range after.Of(core.KindService) {
			if old, ok := before.Docs[d.Ref()]; ok && string(old.Sections["level"]) != string(d.Sections["level"]) {
				lines = append(lines, host.PlanLine{Ref: d.Ref(), Effect: "restart", Text: "it restarts"})
				for _, other := range after.Of(core.KindService) {
					for _, u := range uses.Of(other) {
						if u.Service == d.Name {
							lines = append(lines, host.PlanLine{Ref: other.Ref(), Effect: "none", Text: "calls " + d.Name})
						}
					}
				}
			}
		}
		return lines
	})
}

// check is what the blueprint's CheckState does: every owner checks its sections.
func check(cat *host.Catalog) func(core.State) []host.Finding {
	return func(s core.State) []host.Finding {
		var found []host.Finding
		for _, ref := range s.Refs() {
			d := s.Docs[ref]
			for _, sec := range cat.SectionsOf(d.Kind) {
				if raw, ok := d.Sections[sec.Name]; ok {
					sec.Check(host.NewChecker(d, s, sec.Name, &found), raw)
				}
			}
		}
		return found
	}
}

func strict(d core.Document) []host.Finding {
	var found []host.Finding
	for name := range d.Sections {
		if name != "uses" && name != "level" && name != "env" {
			found = append(found, host.Finding{Ref: d.Ref(), Path: name, Msg: "unknown field", Hint: "did you mean uses?"})
		}
	}
	return found
}

func planner() apply.Planner {
	cat := host.Build(module{})
	return apply.Planner{Catalog: cat, Check: check(cat), Strict: strict}
}

func svc(name string, sections ...string) core.Document {
	d := core.Document{Kind: core.KindService, Name: name, File: name + "/stoa.yaml", Sections: map[string]json.RawMessage{}}
	for i := 0; i < len(sections); i += 2 {
		d.Sections[sections[i]] = json.RawMessage(sections[i+1])
	}
	return d
}

func state(source string, docs ...core.Document) core.State {
	s := core.State{Revision: 7, Docs: map[core.Ref]core.Document{}}
	for _, d := range docs {
		if d.Source == "" {
			d.Source = source
		}
		s.Docs[d.Ref()] = d
	}
	return s
}

func ref(name string) core.Ref { return core.Ref{Kind: core.KindService, Name: name} }

// actions gives "a:created b:same".
func actions(p apply.Plan) string {
	var out []string
	for _, c := range p.Changes {
		out = append(out, c.Ref.Name+":"+c.Action)
	}
	return strings.Join(out, " ")
}

// An apply creates, changes and deletes what is its source's, and nothing else.
func TestPlan(t *testing.T) {
	other := svc("other")
	other.Source = "/elsewhere"
	before := state("/shop", svc("a", "level", `"info"`), svc("b"), svc("c"), other)
	p := planner().Plan(before, []core.Document{svc("a", "level", `"warn"`), svc("c"), svc("d", "uses", `[{"service":"other"}]`)}, apply.Scope{Source: "/shop"})
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	if got, want := actions(p), "a:changed b:deleted c:same d:created"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	if got, want := p.After.Refs(), []core.Ref{ref("a"), ref("c"), ref("d"), ref("other")}; !reflect.DeepEqual(got, want) {
		t.Fatalf("after: %v, want %v", got, want)
	}
	if len(p.Puts) != 2 || p.Puts[0].Name != "a" || p.Puts[1].Source != "/shop" || !reflect.DeepEqual(p.Deletes, []core.Ref{ref("b")}) {
		t.Fatalf("puts %v, deletes %v", p.Puts, p.Deletes)
	}
	if got, want := p.Reads, []core.Ref{ref("a"), ref("b"), ref("c"), ref("d")}; !reflect.DeepEqual(got, want) {
		t.Fatalf("reads %v, want %v", got, want)
	}
	if p.Revision != 7 || p.After.Revision != 8 || len(before.Docs) != 4 {
		t.Fatalf("made on %d for %d, before has %d", p.Revision, p.After.Revision, len(before.Docs))
	}
	again := planner().Plan(p.After, []core.Document{svc("a", "level", `"warn"`), svc("c"), svc("d", "uses", `[{"service":"other"}]`)}, apply.Scope{Source: "/shop"})
	if !again.Empty() {
		t.Fatalf("applied twice: %s", actions(again))
	}
}

// A change names each field with its old and its new value.
func TestFields(t *testing.T) {
	for _, tt := range []struct {
		name     string
		old, new string // sections: name, JSON
		want     string
	}{
		{"a value", `{"timeout":"2s"}`, `{"timeout":"5s"}`, "x.timeout 2s -> 5s"},
		{"a value comes", `{}`, `{"timeout":"5s"}`, "x.timeout  -> 5s"},
		{"a value goes", `{"timeout":""}`, `{}`, `x.timeout "" -> `},
		{"null is not absent", `{}`, `{"a":null}`, "x.a  -> null"},
		{"numbers as written", `{"n":10000000000000001}`, `{"n":10000000000000002}`, "x.n 10000000000000001 -> 10000000000000002"},
		{"another type", `{"a":["x"]}`, `{"a":"x"}`, `x.a ["x"] -> x`},
		{"a text is not a number", `{"a":"1"}`, `{"a":1}`, `x.a 1 -> 1`},
		{"odd keys", `{"a.b":1}`, `{"a.b":2}`, `x["a.b"] 1 -> 2`},
		{"in a list by name", `[{"service":"a","t":1},{"service":"b","t":1}]`, `[{"service":"n","t":9},{"service":"a","t":1},{"service":"b","t":2}]`,
			`x[0]  -> {"service":"n","t":9}; x[2].t 1 -> 2`},
		{"out of a list", `[{"service":"a"},{"service":"b"}]`, `[{"service":"b"}]`, `x[0] {"service":"a"} -> `},
		{"another order", `[{"service":"a"},{"service":"b"}]`, `[{"service":"b"},{"service":"a"}]`, `x order a, b -> order b, a`},
		{"a list of texts", `["-v","-x"]`, `["-v"]`, `x[1] -x -> `},
		{"names that are no names", `[{"service":"a"},{"service":"a","t":1}]`, `[{"service":"a"},{"service":"a","t":2}]`, `x[1].t 1 -> 2`},
		{"lines", `{"s":"a\nb"}`, `{"s":"a <b>"}`, `x.s "a\nb" -> a <b>`},
		{"a whole section", ``, `{"a":1}`, `x  -> {"a":1}`},
	} {
		mk := func(raw string) core.Document {
			if raw == "" {
				return svc("a")
			}
			return svc("a", "x", raw)
		}
		p := apply.Planner{}.Plan(state("s", mk(tt.old)), []core.Document{mk(tt.new)}, apply.Scope{Source: "s"})
		var got []string
		for _, f := range p.Changes[0].Fields {
			got = append(got, fmt.Sprintf("%s %s -> %s", f.Path, f.Old, f.New))
		}
		if s := strings.Join(got, "; "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, s, tt.want)
		}
	}
}

// Many and long fields are cut, and said to be.
func TestFieldsAreBounded(t *testing.T) {
	env := func(v string) core.Document {
		m := map[string]string{}
		for i := range 80 {
			m[fmt.Sprintf("V%02d", i)] = strings.Repeat(v, 500)
		}
		raw, _ := json.Marshal(m)
		return svc("a", "env", string(raw))
	}
	p := apply.Planner{}.Plan(state("s", env("ä")), []core.Document{env("ö")}, apply.Scope{Source: "s"})
	c := p.Changes[0]
	if len(c.Fields) != platform.MaxFields || c.More != 30 {
		t.Fatalf("%d fields and %d more", len(c.Fields), c.More)
	}
	if n := len(c.Fields[0].Old); n > 200 || strings.ContainsRune(c.Fields[0].Old, '�') {
		t.Fatalf("%d bytes: %s", n, c.Fields[0].Old)
	}
}

// What changes for others is told with them.
func TestTouches(t *testing.T) {
	other := svc("other", "uses", `[{"service":"a"}]`)
	other.Source = "/elsewhere"
	before := state("s", svc("a", "level", `"info"`), svc("b", "uses", `[{"service":"a"}]`), other)
	p := planner().Plan(before, []core.Document{svc("a", "level", `"warn"`), svc("b", "uses", `[{"service":"a"}]`)}, apply.Scope{Source: "s"})
	if c := p.Changes[0]; len(c.Touches) != 1 || c.Touches[0].Effect != "restart" {
		t.Fatalf("a: %+v", c)
	}
	if c := p.Changes[1]; c.Action != platform.Same || len(c.Touches) != 1 || c.Touches[0].Text != "calls a" {
		t.Fatalf("b: %+v", c)
	}
	if len(p.Touches) != 1 || p.Touches[0].Ref != ref("other") {
		t.Fatalf("others: %+v", p.Touches)
	}
}

// All problems are told at once; broken shapes come before dangling references.
func TestProblems(t *testing.T) {
	before := state("s", svc("a"), svc("gone"))
	p := planner().Plan(before, []core.Document{svc("a", "uses", `[{"service":"gone"},{"service":"nil"}]`), svc("b"), svc("b")}, apply.Scope{Source: "s"})
	if len(p.Problems) != 1 || p.Problems[0].Message != "it is among the documents twice" {
		t.Fatalf("problems %+v", p.Problems)
	}
	p = planner().Plan(before, []core.Document{svc("a", "uses", `[{"service":"gone"},{"service":"nil"}]`), svc("b")}, apply.Scope{Source: "s"})
	err := p.Err()
	if len(p.Problems) != 2 || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "uses[1].service") || !strings.Contains(err.Error(), "uses[0].service") {
		t.Fatalf("problems %+v, %v", p.Problems, err)
	}
	p = planner().Plan(before, []core.Document{svc("a", "usse", `7`, "uses", `7`)}, apply.Scope{Source: "s"})
	if err := p.Err(); len(p.Problems) != 1 || fault.HintOf(err) != "did you mean uses?" || !strings.HasPrefix(err.Error(), "service/a usse: ") {
		t.Fatalf("problems %+v, %v", p.Problems, err)
	}
	broken := svc("a", "uses", `{`)
	if p := planner().Plan(before, []core.Document{broken}, apply.Scope{Source: "s"}); len(p.Problems) != 1 {
		t.Fatalf("no JSON: %+v", p.Problems)
	}
}

// What was wrong before, with others, does not stand in the way.
func TestOldProblemsOfOthers(t *testing.T) {
	other := svc("other", "uses", `[{"service":"never"}]`)
	other.Source = "/elsewhere"
	before := state("s", svc("a"), other)
	if p := planner().Plan(before, []core.Document{svc("a", "level", `"warn"`)}, apply.Scope{Source: "s"}); p.Err() != nil {
		t.Fatal(p.Err())
	}
	other = svc("other", "uses", `[{"service":"a"}]`)
	other.Source = "/elsewhere"
	if p := planner().Plan(state("s", svc("a"), other), nil, apply.Scope{Source: "s"}); !fault.Is(p.Err(), fault.Invalid) {
		t.Fatalf("deleted what another source calls: %v", p.Err())
	}
}

// A document of another source is a conflict that names it, unless it is taken over.
func TestSources(t *testing.T) {
	theirs := svc("a", "level", `"info"`)
	theirs.Source = "/theirs"
	before := state("/ours", theirs)
	p := planner().Plan(before, []core.Document{svc("a")}, apply.Scope{Source: "/ours"})
	if err := p.Err(); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "service/a belongs to /theirs") || fault.HintOf(err) == "" {
		t.Fatalf("got %v", err)
	}
	p = planner().Plan(before, []core.Document{svc("a")}, apply.Scope{Source: "/ours", TakeOver: true})
	if p.Err() != nil || p.After.Docs[ref("a")].Source != "/ours" || p.Changes[0].Fields[0] != (platform.Field{Path: "source", Old: "/theirs", New: "/ours"}) {
		t.Fatalf("taken over: %v %+v", p.Err(), p.Changes)
	}
}

// Two sources may say the same of one document: it stays whose it is, is deleted only by
// that one, and is a conflict again as soon as they differ.
func TestSourcesThatAgree(t *testing.T) {
	theirs := svc("a", "level", `"info"`)
	theirs.Source, theirs.File = "/theirs", "stoa.yaml"
	ours := svc("a", "level", `"info"`)
	ours.File = "sub/stoa.yaml"
	before := state("/ours", theirs)
	p := planner().Plan(before, []core.Document{ours, svc("b")}, apply.Scope{Source: "/ours"})
	if got, want := actions(p), "a:same b:created"; p.Err() != nil || got != want || p.After.Docs[ref("a")].Source != "/theirs" {
		t.Fatalf("%s (%v), owner %s; want %s, and that it stays theirs", got, p.Err(), p.After.Docs[ref("a")].Source, want)
	}
	before = p.After
	if p := planner().Plan(before, []core.Document{svc("b")}, apply.Scope{Source: "/ours"}); actions(p) != "b:same" {
		t.Errorf("we say it no more: %s, want that it is left", actions(p))
	}
	if p := planner().Plan(before, nil, apply.Scope{Source: "/theirs"}); actions(p) != "a:deleted" {
		t.Errorf("they say it no more: %s, want it deleted", actions(p))
	}
	if p := planner().Plan(before, []core.Document{svc("a"), svc("b")}, apply.Scope{Source: "/ours"}); !fault.Is(p.Err(), fault.Conflict) {
		t.Errorf("we say something else: %v, want a conflict", p.Err())
	}
}

// A rollback brings back what was, of all sources or of one, artefacts included.
func TestRestore(t *testing.T) {
	withArtefact := func(name, digest string) core.Document {
		d := svc(name)
		d.Artefacts = map[string]string{"program": digest}
		return d
	}
	theirs := func(level string) core.Document {
		d := svc("theirs", "level", level)
		d.Source = "/theirs"
		return d
	}
	target := state("/ours", withArtefact("a", "sha256:1"), svc("back"), theirs(`"old"`))
	target.Revision = 3
	before := state("/ours", withArtefact("a", "sha256:2"), svc("new"), theirs(`"new"`))

	p := planner().Restore(before, target, "")
	if got, want := actions(p), "a:changed back:created new:deleted theirs:changed"; got != want || p.Err() != nil || p.Restores != 3 {
		t.Fatalf("%s, want %s; %v, restores %d", got, want, p.Err(), p.Restores)
	}
	if f := p.Changes[0].Fields; len(f) != 1 || f[0] != (platform.Field{Path: "artefacts.program", Old: "sha256:2", New: "sha256:1"}) {
		t.Fatalf("fields %+v", f)
	}
	p = planner().Restore(before, target, "/ours")
	if got, want := actions(p), "a:changed back:created new:deleted"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	gone := planner()
	gone.HasArtefact = func(digest string) bool { return digest != "sha256:1" }
	p = gone.Restore(before, target, "")
	if err := p.Err(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "sha256:1") || fault.HintOf(err) == "" {
		t.Fatalf("got %v", err)
	}
}

// What others refer to cannot be removed, what is not there neither.
func TestRemove(t *testing.T) {
	before := state("s", svc("a"), svc("b", "uses", `[{"service":"a"}]`))
	if p := planner().Remove(before, []core.Ref{ref("a")}); !fault.Is(p.Err(), fault.Invalid) || !strings.Contains(p.Err().Error(), "service/b uses[0].service") {
		t.Fatalf("a: %v", p.Err())
	}
	if p := planner().Remove(before, []core.Ref{ref("a"), ref("b"), ref("a")}); p.Err() != nil || len(p.After.Docs) != 0 || len(p.Deletes) != 2 {
		t.Fatalf("both: %v", p.Err())
	}
	if p := planner().Remove(before, []core.Ref{ref("x")}); !strings.Contains(p.Err().Error(), "service/x") || fault.HintOf(p.Err()) == "" {
		t.Fatalf("x: %v", p.Err())
	}
}

// thousand gives 1,000 services that use one another.
func thousand(timeout string) []core.Document {
	docs := make([]core.Document, 1000)
	for i := range docs {
		docs[i] = svc(fmt.Sprintf("s%d", i),
			"uses", fmt.Sprintf(`[{"service":"s%d","timeout":"%s"},{"service":"s%d","timeout":"2s"}]`, (i+1)%1000, timeout, (i+7)%1000),
			"level", `"info"`, "env", `{"LOG_LEVEL":"info","REGION":"eu-west-1","GREETING":"hello"}`)
		docs[i].Artefacts = map[string]string{"program": fmt.Sprintf("sha256:%064d", i)}
	}
	return docs
}

// A plan of 1,000 services, all changed, does not take for ever. It takes under a second,
// which is for the benchmark to say; what is caught here is a check of all with all.
func TestPlanOfThousand(t *testing.T) {
	p, before := planner(), state("s", thousand("2s")...)
	began := time.Now()
	plan := p.Plan(before, thousand("5s"), apply.Scope{Source: "s"})
	if took := time.Since(began); plan.Err() != nil || len(plan.Puts) != 1000 || took > time.Minute {
		t.Fatalf("%d changes in %v, %v", len(plan.Puts), took, plan.Err())
	}
}

func BenchmarkPlanOfThousand(b *testing.B) {
	p, before := planner(), state("s", thousand("2s")...)
	for name, docs := range map[string][]core.Document{"same": thousand("2s"), "changed": thousand("5s")} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p.Plan(before, docs, apply.Scope{Source: "s"})
			}
		})
	}
}
