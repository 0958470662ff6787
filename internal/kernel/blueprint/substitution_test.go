package blueprint_test

import (
	"strings"
	"testing"

	"stoa/internal/kernel/blueprint"
)

func TestSubstitutions(t *testing.T) {
	values := map[string]string{"uses:inventory.url": "http://127.0.0.1:1", "uses:legacy-erp.port": "9000", "secret:stripe.KEY_1": "s3cret"}
	lookup := func(text string) (string, bool) { v, ok := values[text]; return v, ok }
	for _, c := range []struct{ in, want, err string }{
		{"", "", ""},
		{"plain $HOME $$ $", "plain $HOME $$ $", ""},
		{"${uses:inventory.url}/v1", "http://127.0.0.1:1/v1", ""},
		{"a${uses:legacy-erp.port}b${secret:stripe.KEY_1}c", "a9000bs3cretc", ""},
		{"$${uses:inventory.url}", "${uses:inventory.url}", ""},
		{"$$${x}", "$${x}", ""},
		{"$${", "${", ""},
		{"${uses:other.url}", "", "${uses:other.url} has no value"},
		{"${uses:inventory}", "", "want a service and what of it"},
		{"${uses:inventory.uri}", "", `unknown part "uri"; did you mean url?`},
		{"${uses:In.url}", "", "want a service"},
		{"${secret:}", "", "want a secret's name"},
		{"${secret:a/b}", "", "want a secret's name"},
		{"${secret:../x}", "", "want a secret's name"},
		{"${HOME}", "", "${HOME} is no substitution"},
		{"${env:HOME}", "", "is no substitution"},
		{"${", "", "is not closed"},
		{"${uses:inventory.url", "", "is not closed"},
		{"${uses:${secret:a}}", "", "want a service"},
	} {
		got, err := blueprint.Expand(c.in, lookup)
		if c.err == "" && (err != nil || got != c.want) {
			t.Errorf("%q: got %q, %v, want %q", c.in, got, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q: got %q, %v, want an error with %q", c.in, got, err, c.err)
		}
	}
	subs, err := blueprint.Substitutions("${uses:inventory.addr} ${secret:x}")
	if err != nil || len(subs) != 2 {
		t.Fatal(subs, err)
	}
	if s := subs[0]; s.Kind != "uses" || s.Name != "inventory" || s.Part != "addr" || s.Text != "uses:inventory.addr" {
		t.Errorf("got %+v", s)
	}
	if s := subs[1]; s.Kind != "secret" || s.Name != "x" || s.Part != "" {
		t.Errorf("got %+v", s)
	}
}

// What is expanded holds what the lookup gave, and nothing is expanded twice.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"${uses:a.url}", "$${", "${secret:b}${", "$$${uses:a.url}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := blueprint.Expand(s, func(string) (string, bool) { return "${secret:inner}", true })
		subs, err2 := blueprint.Substitutions(s)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("%q: Expand %v, Substitutions %v", s, err, err2)
		}
		if err == nil && len(subs) == 0 && !strings.Contains(s, "$${") && got != s {
			t.Fatalf("%q became %q without a substitution", s, got)
		}
	})
}
