package shape_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"stoa/api/core"
	"stoa/internal/kernel/shape"
)

type probe struct {
	HTTP string `json:"http,omitempty"`
	GRPC string `json:"grpc,omitempty"`
}

func (probe) Shorthand() string { return "http" }

type base struct {
	Timeout core.Duration `json:"timeout,omitempty" default:"2s" example:"300ms"`
}

type tree struct {
	base
	Name   string            `json:"name" required:"true"`
	Mode   string            `json:"mode,omitempty" enum:"fast,slow"`
	Port   uint16            `json:"port,omitempty"`
	Env    map[string]string `json:"env,omitempty"`
	Ready  *probe            `json:"ready,omitempty"`
	Kids   []tree            `json:"kids,omitempty"`
	Raw    json.RawMessage   `json:"raw,omitempty"`
	Since  core.Time         `json:"since"`
	Ref    core.Ref          `json:"ref"`
	Hidden string            `json:"-"`
	secret string
}

func TestAStructIsWalkedByItsTags(t *testing.T) {
	_ = tree{}.secret
	s := shape.Of(reflect.TypeFor[*tree]())
	if got, want := strings.Join(s.FieldNames(), " "), "timeout name mode port env ready kids raw since ref"; got != want {
		t.Fatalf("fields %q, want %q", got, want)
	}
	for name, want := range map[string]shape.Kind{
		"timeout": shape.Text, "name": shape.String, "port": shape.Uint, "env": shape.Map, "ready": shape.Object,
		"kids": shape.List, "raw": shape.Any, "since": shape.Text, "ref": shape.Text,
	} {
		f, _ := s.Field(name)
		if f.Shape.Kind != want {
			t.Errorf("%s: kind %d, want %d", name, f.Shape.Kind, want)
		}
	}
	if f, _ := s.Field("mode"); !slices.Equal(f.Enum, []string{"fast", "slow"}) {
		t.Errorf("mode: enum %q", f.Enum)
	}
	if f, _ := s.Field("name"); !f.Required || f.Optional {
		t.Errorf("name: %+v, want required", f)
	}
	if f, _ := s.Field("timeout"); f.Struct != reflect.TypeFor[base]() || f.GoName != "Timeout" || f.Default != "2s" {
		t.Errorf("timeout: %+v, want it declared by base", f)
	}
	if f, _ := s.Field("kids"); f.Shape.Elem != s {
		t.Error("a recursive type should be its own descendant")
	}
	if f, _ := s.Field("ready"); f.Shape.Shorthand != "http" {
		t.Errorf("ready: shorthand %q, want http", f.Shape.Shorthand)
	}
}

func TestTextIsParsedToItsCanonicalForm(t *testing.T) {
	d := shape.Of(reflect.TypeFor[core.Duration]())
	if got, err := d.Parse("60m"); err != nil || got != "1h" {
		t.Errorf("60m: got %q, %v, want 1h", got, err)
	}
	if _, err := d.Parse("soon"); err == nil {
		t.Error("soon should be no duration")
	}
	tm := shape.Of(reflect.TypeFor[core.Time]())
	if _, err := tm.Parse("yesterday"); err == nil {
		t.Error("yesterday should be no time")
	}
}

func TestATypeThatCannotBeWrittenPanics(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[func()](), reflect.TypeFor[map[int]string](), reflect.TypeFor[struct{ C chan int }]()} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v should panic", typ)
				}
			}()
			shape.Of(typ)
		}()
	}
}
