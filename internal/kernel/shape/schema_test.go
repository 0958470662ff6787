package shape_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"stoa/internal/kernel/shape"
)

// compile gives a validator of schema m made by a public implementation.
func compile(t *testing.T, m map[string]any) *jsonschema.Schema {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("x.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("x.json")
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return s
}

func TestSchemaAcceptsWhatTheTypeMeans(t *testing.T) {
	strict := compile(t, shape.Schema(reflect.TypeFor[tree](), func(typ reflect.Type, field string) string { return typ.Name() + "." + field }))
	w := &shape.Schemas{Prefix: "#/$defs/", Written: true}
	m := w.Of(reflect.TypeFor[tree]())
	m["$defs"] = w.Defs
	written := compile(t, m)
	for _, c := range []struct {
		text            string
		strict, written bool
	}{
		{`{"name":"a"}`, true, true},
		{`{"name":"a","kids":[{"name":"b","kids":[]}],"raw":{"x":1},"timeout":"3s"}`, true, true},
		{`{}`, false, false},
		{`{"name":"a","nme":"b"}`, false, false},
		{`{"name":"a","kids":[{"nme":"b"}]}`, false, false},
		{`{"name":"a","mode":"fast"}`, true, true},
		{`{"name":"a","mode":"quick"}`, false, false},
		{`{"name":"a","port":65535}`, true, true},
		{`{"name":"a","port":65536}`, false, false},
		{`{"name":"a","port":-1}`, false, false},
		{`{"name":"a","env":{"A":"1"}}`, true, true},
		{`{"name":"a","env":{"A":1}}`, false, true},
		{`{"name":"a","ready":{"http":"/"}}`, true, true},
		{`{"name":"a","ready":"/"}`, false, true},
	} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if err := strict.Validate(v); (err == nil) != c.strict {
			t.Errorf("strict %s: %v, want valid %v", c.text, err, c.strict)
		}
		if err := written.Validate(v); (err == nil) != c.written {
			t.Errorf("written %s: %v, want valid %v", c.text, err, c.written)
		}
	}
}

func TestDefinitionsCanLiveElsewhere(t *testing.T) {
	s := &shape.Schemas{Prefix: "#/components/schemas/"}
	m := s.Of(reflect.TypeFor[[]tree]())
	if got := m["items"].(map[string]any)["$ref"]; got != "#/components/schemas/shape_test.tree" {
		t.Errorf("reference %v", got)
	}
	if _, ok := s.Defs["shape_test.probe"]; !ok {
		t.Errorf("definitions %v, want those of nested structs too", s.Defs)
	}
}
