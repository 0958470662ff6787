package blueprint_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"stoa/api/core"
	"stoa/internal/kernel/blueprint"
)

// validator compiles the schema of the toy platform.
func validator(t *testing.T) *jsonschema.Schema { return compileSchema(t, catalog()) }

// documents gives the documents of a YAML text as a validator sees them.
func documents(t *testing.T, text string) []any {
	t.Helper()
	var out []any
	l, err := yaml.NewLoader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for {
		var v any
		if err := l.Load(&v); err != nil {
			return out
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
}

func TestSchemaAcceptsWhatLoadAccepts(t *testing.T) {
	v := validator(t)
	for _, f := range parseArchive("-- stoa.yaml --\n" + good).files {
		for i, d := range documents(t, f[1]) {
			if err := v.Validate(d); err != nil {
				t.Errorf("%s, document %d: %v", f[0], i, err)
			}
		}
	}
}

func TestSchemaRefusesWhatLoadRefuses(t *testing.T) {
	v := validator(t)
	for _, text := range []string{
		"kind: Servic\nname: a",
		"name: a",
		"kind: Service",
		"kind: Service\nname: A_b",
		"kind: Service\nname: a\nuse: []",
		"kind: Service\nname: a\nuses: [inventory]",
		"kind: Service\nname: a\nuses: [{timeout: 5s}]",
		"kind: Service\nname: a\nuses: [{service: b, retries: 1}]",
		"kind: Service\nname: a\nscale: {min: 300}",
		"kind: Service\nname: a\nrun: {spa: 'yes'}",
		"kind: Job\nname: a\ncommand: [x]",
		"kind: Job\nname: a\nof: b\ncommand: [x]\nwhen: never",
		"kind: Context\nname: a\ncontext: b",
		"kind: Context\nname: a\nuses: [{context: b, relation: friend}]",
		"kind: System\nname: a\ncontexts: [sales]",
		"kind: System\nname: a\ncontexts: [{name: b, kind: Context}]",
		"kind: System\nname: a\nenvironments: {prod: {uses: []}}",
		"kind: System\nname: a\nenvironments: {prod: {services: {a: {uses: []}}}}",
		"kind: System\nname: a\nenvironments: {prod: {services: {a: {run: {go: x}}}}}",
	} {
		for _, d := range documents(t, text) {
			if v.Validate(d) == nil {
				t.Errorf("accepted:\n%s", text)
			}
		}
		if s := load(t, text, blueprint.Options{}); len(s.Problems) == 0 {
			t.Errorf("Load accepts:\n%s", text)
		}
	}
}

// What the schema says of a name is what core says.
func TestSchemaKnowsNames(t *testing.T) {
	v := validator(t)
	for _, n := range []string{"a", "a-b", "a1", "", "-a", "a-", "A", "1a", "a_b", "a.b", strings.Repeat("a", 63), strings.Repeat("a", 64)} {
		err := v.Validate(map[string]any{"kind": "Service", "name": n})
		if (err == nil) != (core.CheckName(n) == nil) {
			t.Errorf("%q: schema %v, core %v", n, err, core.CheckName(n))
		}
	}
}

// The blueprint that earns no message is valid by the schema as well.
func TestSchemaAcceptsTheGoodArchive(t *testing.T) {
	v := validator(t)
	b, err := os.ReadFile("testdata/good.txtar")
	if err != nil {
		t.Fatal(err)
	}
	s, err := blueprint.Load(t.Context(), parseArchive(string(b)).write(t), catalog(), blueprint.Options{})
	if err != nil || len(s.Files) != 4 {
		t.Fatalf("files %q, %v", s.Files, err)
	}
	for _, f := range s.Files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range documents(t, string(b)) {
			if err := v.Validate(d); d != nil && err != nil {
				t.Errorf("%s: %v", f, err)
			}
		}
	}
}
