package blueprint_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"stoa/internal/kernel/blueprint"
	"stoa/internal/kernel/host"
	"stoa/internal/module/contracts"
	"stoa/internal/module/gateway"
	"stoa/internal/module/mesh"
	"stoa/internal/module/secrets"
	"stoa/internal/module/stores"
	"stoa/internal/module/telemetry"
	"stoa/internal/module/workload"
)

// modules gives the catalog of the modules that own sections, as a blueprint meets it. They
// only declare, so they need no ports.
func modules() *host.Catalog {
	return host.Build(blueprint.Module{},
		workload.New(workload.Ports{}, workload.Options{}), mesh.New(mesh.Ports{}), gateway.New(gateway.Ports{}),
		secrets.New(secrets.Ports{}), stores.New(stores.Ports{}), contracts.New(), telemetry.New(telemetry.Options{}))
}

func examples(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("../../../examples/*/stoa.yaml")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for i := range dirs {
		dirs[i] = filepath.Dir(dirs[i])
	}
	return dirs
}

// Every example is without a problem, and valid by the schema that stoa schema prints.
func TestExamplesAreWithoutProblems(t *testing.T) {
	cat := modules()
	v := compileSchema(t, cat)
	for _, dir := range examples(t) {
		s, err := blueprint.Load(t.Context(), dir, cat, blueprint.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := problems(s); got != "" {
			t.Errorf("%s\n%s", dir, got)
		}
		for _, d := range s.Docs {
			if fs := blueprint.Strict(cat, d); len(fs) > 0 {
				t.Errorf("%s %s: %s", dir, d.Ref(), findings(fs))
			}
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
}

// Each field of the examples, misspelt, is refused by Load and by the schema alike.
func TestExamplesMisspeltAreRefused(t *testing.T) {
	cat := modules()
	v := compileSchema(t, cat)
	tried := 0
	for _, dir := range examples(t) {
		files, err := filepath.Glob(dir + "/*/stoa.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range append(files, dir+"/stoa.yaml") {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, field := range []string{"kind: ", "name: ", "owner: ", "run: ", "go: ", "listen: ", "contract: ", "expose:", "path: ", "uses:", "service: ", "operations: ", "stores:", "engine: ", "health: ", "ready: ", "live: ", "when: ", "relation: "} {
				broken := strings.Replace(string(b), field, "x"+field, 1)
				if broken == string(b) || strings.Contains(broken, "# x"+field) {
					continue
				}
				tried++
				if s := loadWith(t, cat, broken); len(s.Problems) == 0 {
					t.Errorf("%s with x%s: Load accepts it", f, field)
				}
				valid := true
				for _, d := range documents(t, broken) {
					valid = valid && v.Validate(d) == nil
				}
				if valid {
					t.Errorf("%s with x%s: the schema accepts it", f, field)
				}
			}
		}
	}
	if tried < 50 {
		t.Errorf("only %d fields were tried", tried)
	}
}

// Everything that may be written is explained, and what is shown as an example can be read.
func TestEverythingIsExplained(t *testing.T) {
	cat := modules()
	var walk func(path string)
	walk = func(path string) {
		x, err := blueprint.Explain(cat, path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		if x.Help == "" {
			t.Errorf("%s has no help", path)
		}
		for _, f := range x.Fields {
			if len(strings.Split(path, ".")) < 8 {
				walk(path + "." + f.Name)
			}
		}
		if x.Example == "" || strings.Count(path, ".") != 1 {
			return
		}
		kind, field, _ := strings.Cut(path, ".")
		k, _ := cat.KindOf(kind)
		if field == "name" || field == "kind" {
			return
		}
		text := "kind: " + k.Name + "\nname: a\n" + field + ": " + x.Example + "\n"
		for _, p := range loadWith(t, cat, text).Problems {
			switch p.Rule {
			case blueprint.RuleUnknownField, blueprint.RuleType, blueprint.RuleValue, blueprint.RuleSyntax, blueprint.RuleDuplicateField:
				t.Errorf("the example of %s: %s", path, p)
			}
		}
	}
	for _, k := range cat.Kinds {
		walk(strings.ToLower(k.Name))
	}
}

func loadWith(t *testing.T, cat *host.Catalog, text string) *blueprint.Set {
	t.Helper()
	s, err := blueprint.Load(t.Context(), parseArchive("-- stoa.yaml --\n"+text).write(t), cat, blueprint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// compileSchema compiles the schema of a platform with a public implementation.
func compileSchema(t *testing.T, cat *host.Catalog) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(blueprint.Schema(cat)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("stoa.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("stoa.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}
