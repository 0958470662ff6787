package fielddocs_test

import (
	"reflect"
	"strings"
	"testing"

	"stoa/api/blueprint"
	"stoa/api/core"
	"stoa/internal/kernel/fielddocs"
)

func TestCommentsAreFoundByTypeAndField(t *testing.T) {
	for _, c := range []struct {
		typ         reflect.Type
		field, want string
	}{
		{reflect.TypeFor[blueprint.Relation](), "Context", "Context is the name of the context that is depended on."},
		{reflect.TypeFor[core.Document](), "Kind", `"Service"`}, // beside the field
		{reflect.TypeFor[blueprint.Relation](), "Nothing", ""},
		{reflect.TypeFor[strings.Builder](), "", ""},
	} {
		if got := fielddocs.Of(c.typ, c.field); got != c.want {
			t.Errorf("%v.%s: got %q, want %q", c.typ, c.field, got, c.want)
		}
	}
	if got := fielddocs.Of(reflect.TypeFor[core.Section[int]](), ""); !strings.HasPrefix(got, "Section is") {
		t.Errorf("a generic type: got %q", got)
	}
	if got := fielddocs.Of(reflect.TypeFor[core.Document](), "File"); strings.Contains(got, "\n") {
		t.Errorf("lines of a paragraph should be joined: %q", got)
	}
}

func TestFirstSentence(t *testing.T) {
	for in, want := range map[string]string{
		"One. Two.":             "One",
		"It is 1.5 s long":      "It is 1.5 s long",
		"A file (e.g. a.b). No": "A file (e.g. a.b)",
		"":                      "",
	} {
		if got := fielddocs.First(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
