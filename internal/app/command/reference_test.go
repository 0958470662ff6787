package command_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"

	"stoa/internal/app/command"
	"stoa/internal/door/cli"
	"stoa/internal/door/dash"
	"stoa/internal/door/httpapi"
	"stoa/internal/kernel/blueprint"
	"stoa/internal/kernel/fielddocs"
	"stoa/internal/kernel/host"
)

// The comments first: the reference is made of them.
//
//go:generate go -C ../../.. run ./internal/kernel/fielddocs/gen
//go:generate go -C ../../.. test ./internal/app/command -update

var update = flag.Bool("update", false, "write docs/reference")

// fresh compares a page of the reference with what it is generated from.
func fresh(t *testing.T, name string, want []byte) {
	t.Helper()
	path := filepath.Join("..", "..", "..", "docs", "reference", name)
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/reference/%s is stale (%v): go test ./internal/app/command -update", name, err)
	}
}

// The reference of the command line says what the binary offers.
func TestReferenceOfCommandsIsFresh(t *testing.T) {
	o := command.Options()
	fresh(t, "cli.md", cli.Reference(o.Catalog, o.Commands))
}

// The reference of the blueprint explains every field that can be written.
func TestReferenceOfBlueprintIsFresh(t *testing.T) {
	var b strings.Builder
	b.WriteString("# The blueprint\n\n<!-- Generated from the field comments of api/. Do not edit. -->\n\n")
	b.WriteString("Every document has `kind`, `name` and, if the system has bounded contexts, `context`. The same text, field by\nfield: `stoa explain service.uses`.\n")
	cat := command.Options().Catalog
	kinds, err := blueprint.Explain(cat, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds.Fields {
		page(t, &b, cat, k.Name, 2)
	}
	fresh(t, "blueprint.md", []byte(b.String()))
}

// page writes what can be written at path, and below it.
func page(t *testing.T, b *strings.Builder, cat *host.Catalog, path string, depth int) {
	t.Helper()
	e, err := blueprint.Explain(cat, path)
	if err != nil {
		t.Fatalf("explain %s: %v", path, err)
	}
	fmt.Fprintf(b, "\n%s %s\n\n%s\n", strings.Repeat("#", min(depth, 4)), path, sentence(e.Help))
	for _, row := range [][2]string{{"type", e.Type}, {"default", e.Default}, {"example", e.Example}, {"valid", strings.Join(e.Valid, ", ")}} {
		if row[1] != "" {
			fmt.Fprintf(b, "\n* %s: `%s`", row[0], strings.ReplaceAll(row[1], "\n", " "))
		}
	}
	if e.Required {
		b.WriteString("\n* must be written")
	}
	b.WriteString("\n")
	if depth > 6 {
		t.Fatalf("%s is nested deeper than a reader follows", path)
	}
	for _, f := range e.Fields {
		if path != "" && depth == 2 && slices.Contains([]string{"kind", "name", "context"}, f.Name) {
			continue // of the envelope
		}
		page(t, b, cat, path+"."+f.Name, depth+1)
	}
}

// sentence gives a text as stoa explain prints it: with a capital and a full stop.
func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + strings.TrimSuffix(s[n:], ".") + "."
}

// The OpenAPI document that the platform serves is valid.
func TestOpenAPIIsValid(t *testing.T) {
	doc, err := httpapi.OpenAPI(command.Options().Catalog, "test", fielddocs.Of)
	if err != nil {
		t.Fatal(err)
	}
	api, err := openapi3.NewLoader().LoadFromData(doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	if n := api.Paths.Len(); n < 20 {
		t.Errorf("%d paths: operations are missing", n)
	}
}

// The dashboard asks only for operations that exist.
func TestDashboardAsksForWhatIsThere(t *testing.T) {
	cat := command.Options().Catalog
	for _, name := range dash.Operations() {
		if _, ok := cat.Operation(name); !ok {
			t.Errorf("the dashboard asks for %s, which no module declares", name)
		}
	}
}

// Every operation says what it does, and shows how.
func TestOperationsHaveHelpAndExample(t *testing.T) {
	for _, o := range command.Options().Catalog.Operations {
		if o.Help == "" || o.Example == "" {
			t.Errorf("operation %s: help %q, example %q", o.Name, o.Help, o.Example)
		}
	}
}
