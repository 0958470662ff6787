package blueprint_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"stoa/api/core"
	"stoa/internal/kernel/blueprint"
	"stoa/internal/kernel/host"
)

func findings(fs []host.Finding) string {
	var lines []string
	for _, f := range fs {
		lines = append(lines, fmt.Sprintf("%s: %s; %s", f.Path, f.Msg, f.Hint))
	}
	return strings.Join(lines, "\n")
}

func TestStrictRefusesWhatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		name, kind, section, json string
		want                      string
	}{
		{"good", "Service", "uses", `[{"service":"a","timeout":"5s"}]`, ""},
		{"unknown kind", "Servic", "uses", `[]`, `kind: unknown kind "Servic"; did you mean Service?`},
		{"unknown section", "Service", "use", `[]`, `use: unknown section "use"; did you mean uses?`},
		{"unknown field", "Service", "uses", `[{"service":"a","timout":"5s"}]`, `uses[0].timout: unknown field "timout"; did you mean timeout?`},
		{"case matters", "Service", "uses", `[{"Service":"a"}]`, `uses[0].Service: unknown field "Service"; did you mean service?`},
		{"duplicate", "Service", "uses", `[{"service":"a","service":"b"}]`, `uses[0].service: "service" is written twice; delete one`},
		{"missing", "Service", "uses", `[{}]`, `uses[0].service: is missing; write service: inventory`},
		{"wrong type", "Service", "scale", `{"min":"2"}`, `scale.min: want a whole number from 0, not the text "2"; `},
		{"too large", "Service", "scale", `{"min":300}`, `scale.min: 300 is out of range: want 0 to 255; `},
		{"fraction", "Service", "scale", `{"min":1e1}`, `scale.min: want a whole number from 0, not the number 1e1; `},
		{"no shorthand in JSON", "Service", "health", `{"ready":"/readyz"}`, `health.ready: want a mapping, not the text "/readyz"; its fields are http, grpc`},
		{"no number for a text in JSON", "Service", "env", `{"A":5}`, `env.A: want a text, not the number 5; write "5" in quotes`},
		{"null", "Service", "env", `null`, `env: want a mapping of names to texts, not nothing; write a value, or delete the field`},
		{"enum", "Job", "", `{"of":"a","command":["x"],"when":"never"}`, `when: "never" is not valid here; valid: before-release, manual`},
		{"no JSON", "Service", "env", `{"A":`, `env: is no JSON: it ends too early; `},
		{"two values", "Service", "env", `{} {}`, `env: holds more than one JSON value; `},
		{"too deep", "Topic", "schema", strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70), `schema: is no JSON: it is nested deeper than 64; `},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := core.Document{Kind: c.kind, Name: "x", Sections: map[string]json.RawMessage{c.section: json.RawMessage(c.json)}}
			if got := findings(blueprint.Strict(catalog(), d)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	if got := findings(blueprint.Strict(catalog(), core.Document{Kind: "Service", Name: "X", Context: "Y"})); strings.Count(got, "want a name") != 2 {
		t.Errorf("bad name and context: got\n%s", got)
	}
}

func TestCheckStateChecksEverySection(t *testing.T) {
	st := core.State{Docs: map[core.Ref]core.Document{}}
	for _, d := range []core.Document{
		{Kind: "Service", Name: "a", Context: "sale", Sections: map[string]json.RawMessage{"uses": json.RawMessage(`[{"service":"b"},{"service":"nothing-like-it"}]`)}},
		{Kind: "Service", Name: "b", Sections: map[string]json.RawMessage{"run": json.RawMessage(`{"go":"."}`)}},
		{Kind: "Context", Name: "sales"},
	} {
		st.Docs[d.Ref()] = d
	}
	want := `context: there is no Context "sale"; did you mean sales?
run: want one of go, command, external; 
uses[1].service: there is no Service "nothing-like-it"; valid: a, b`
	if got := findings(blueprint.CheckState(catalog(), st)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestASecondSystemIsRefused(t *testing.T) {
	st := core.State{Docs: map[core.Ref]core.Document{}}
	for _, d := range []core.Document{{Kind: "System", Name: "shop", Source: "/a"}, {Kind: "System", Name: "other", Source: "/b"}} {
		if got := findings(blueprint.CheckState(catalog(), st)); got != "" {
			t.Errorf("with %d Systems: got\n%s", len(st.Docs), got)
		}
		st.Docs[d.Ref()] = d
	}
	if got := findings(blueprint.CheckState(catalog(), st)); !strings.HasPrefix(got, ": a platform runs one System, here are system/other of /b and system/shop of /a; take") {
		t.Errorf("with two Systems: got\n%s", got)
	}
}

func TestChecksStopCollecting(t *testing.T) {
	uses := "[" + strings.TrimSuffix(strings.Repeat(`{"service":"x"},`, 5000), ",") + "]"
	d := core.Document{Kind: "Service", Name: "a", Sections: map[string]json.RawMessage{"uses": json.RawMessage(uses)}}
	if n := len(blueprint.CheckState(catalog(), core.State{Docs: map[core.Ref]core.Document{d.Ref(): d}})); n != host.MaxFindings {
		t.Errorf("%d findings, want %d", n, host.MaxFindings)
	}
}
