package blueprint_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	api "stoa/api/blueprint"
	"stoa/api/fault"
	"stoa/internal/kernel/blueprint"
	"stoa/internal/kernel/host"
)

// explain gives the text view of `stoa explain field`.
func explain(t *testing.T, field string) string {
	t.Helper()
	out, err := call[api.Explanation](t, "explain", &api.ExplainIn{Field: field})
	if err != nil {
		return "error: " + err.Error() + "; " + fault.HintOf(err)
	}
	return out
}

// call carries out an operation and gives its text view.
func call[Out any](t *testing.T, name string, in any) (string, error) {
	t.Helper()
	c := catalog()
	op, ok := c.Operation(name)
	if !ok || !op.Local {
		t.Fatalf("no local operation %s", name)
	}
	out, err := op.Call(context.Background(), in)
	if err != nil {
		return "", err
	}
	_ = out.(Out)
	var b bytes.Buffer
	op.Print(&b, out)
	return b.String(), nil
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		field string
		want  []string
	}{
		{"", []string{"system ", "service", "A bounded context", "More: stoa explain "}},
		{"service", []string{"service  a document", "name", "required", "uses", "a list of mappings", "What it calls", "More: stoa explain service."}},
		{"Service.uses", []string{"service.uses  a list of mappings", "What it calls.", "example   [{service: inventory}]", "timeout"}},
		{"service.uses[0].timeout", []string{"service.uses.timeout  a duration", "default   2s", "example   300ms"}},
		{"service.uses.service", []string{"a text, required"}},
		{"service.scale", []string{"default   {min: 1}"}},
		{"service.scale.min", []string{"service.scale.min  a whole number from 0", "default   1"}},
		{"system.gateway.listen", []string{"default   127.0.0.1:8080"}},
		{"service.env.PORT", []string{"service.env.PORT  a text"}},
		{"service.health.ready", []string{"A text is short for {http: ...}."}},
		{"job.when", []string{"valid     before-release, manual"}},
		{"job", []string{"of", "command"}},
		{"context.uses.relation", []string{"Relation is how the two stand to each other", "valid     customer-supplier, conformist"}},
		{"service.context", []string{"The bounded context it belongs to."}},
		{"system.environments", []string{"--env chooses one"}},
		{"unknown-field", []string{"unknown-field  a rule", "misspelt"}},
		{"health", []string{"a field is named with its kind", "Did you mean service.health?"}},
		{"uses", []string{"Did you mean context.uses or service.uses?"}},
		{"servic.uses", []string{"error: servic.uses: unknown kind", "did you mean service?"}},
		{"service.usse", []string{"did you mean uses?"}},
		{"service.uses.timout", []string{"did you mean timeout?"}},
		{"service.name.x", []string{"unknown field"}},
		{"service.scale.min.x", []string{"error: service.scale.min.x"}},
	} {
		got := explain(t, c.field)
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("explain %q lacks %q:\n%s", c.field, w, got)
			}
		}
	}
}

// The example that explain gives for a section is accepted by Load, alone.
func TestExamplesAreValid(t *testing.T) {
	cat := catalog()
	for _, s := range cat.Sections {
		x, err := blueprint.Explain(cat, strings.ToLower(s.Kind)+"."+s.Name)
		if err != nil || x.Example == "" {
			continue
		}
		text := "kind: " + s.Kind + "\nname: a\n" + s.Name + ": " + x.Example + "\n"
		for _, p := range load(t, text, blueprint.Options{}).Problems {
			if p.Rule != blueprint.RuleReference && p.Rule != blueprint.RuleSystem && p.Path != "run" {
				t.Errorf("%s\n%s", text, p)
			}
		}
	}
}

func TestEveryRuleIsExplained(t *testing.T) {
	for _, r := range []string{
		blueprint.RuleSyntax, blueprint.RuleLimit, blueprint.RuleUnknownKind, blueprint.RuleUnknownField, blueprint.RuleDuplicateField,
		blueprint.RuleDuplicateDocument, blueprint.RuleMissing, blueprint.RuleType, blueprint.RuleValue, blueprint.RuleName,
		blueprint.RuleReference, blueprint.RuleSystem, blueprint.RuleInclude, blueprint.RuleEnvironment,
	} {
		if x, err := blueprint.Explain(catalog(), r); err != nil || x.Help == "" {
			t.Errorf("%s: %v", r, err)
		}
	}
}

func TestCheckTellsTheDoorWhatToExitWith(t *testing.T) {
	good := parseArchive("-- stoa.yaml --\nkind: System\nname: shop\n").write(t)
	text, err := call[api.CheckOut](t, "check", &api.CheckIn{Dir: good})
	if err != nil || text != "1 document, no problems\n" {
		t.Errorf("got %q, %v", text, err)
	}
	bad := parseArchive("-- stoa.yaml --\nkind: System\nnme: shop\n").write(t)
	text, err = call[api.CheckOut](t, "check", &api.CheckIn{Dir: bad})
	if want := bad + `/stoa.yaml:2:1: system nme: unknown section "nme"; did you mean name?` + "\n0 documents, 1 problem\n"; err != nil || text != want {
		t.Errorf("got %q, %v, want %q", text, err, want)
	}
	prod := parseArchive("-- stoa.yaml --\nkind: System\nname: shop\nenvironments: {prod: {services: {a: {scale: {min: 9}}}}}\n---\nkind: Service\nname: a\nrun: {go: .}\nscale: {max: 2}\n").write(t)
	text, err = call[api.CheckOut](t, "check", &api.CheckIn{Dir: prod})
	if want := prod + "/stoa.yaml:8:14: service/a scale.max: 2 is less than min, 9 (in prod)\n2 documents, 1 problem\n"; err != nil || text != want {
		t.Errorf("got %q, %v, want %q", text, err, want)
	}
	if text, err = call[api.CheckOut](t, "check", &api.CheckIn{Dir: prod, Env: "dev"}); err != nil || text != "2 documents, no problems\n" {
		t.Errorf("got %q, %v, want no problems in dev", text, err)
	}
	for n, want := range map[int]int{0: 0, 3: 1} {
		if got := (api.CheckOut{Problems: make([]api.Problem, n)}).ExitCode(); got != want {
			t.Errorf("%d problems: exit code %d, want %d", n, got, want)
		}
	}
	if _, err := call[api.CheckOut](t, "check", &api.CheckIn{Dir: t.TempDir()}); !fault.Is(err, fault.NotFound) {
		t.Errorf("an empty folder: %v, want not found", err)
	}
}

var _ host.Module = toy{}
