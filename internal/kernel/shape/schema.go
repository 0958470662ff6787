package shape

import (
	"encoding/json"
	"math"
	"path"
	"reflect"
	"strings"
)

// Dialect is the JSON Schema dialect of every schema made here.
const Dialect = "https://json-schema.org/draft/2020-12/schema"

// Schemas makes JSON Schemas (2020-12) of types. Named structs become definitions that
// are referred to by name, so that types may recur and documents stay small.
type Schemas struct {
	Prefix  string                                             // before a definition's name in a reference: "#/$defs/", "#/components/schemas/"
	Defs    map[string]any                                     // filled by Of; made if nil
	Doc     func(structType reflect.Type, field string) string // describes a field; may be nil
	Written bool                                               // allow what only YAML may say: shorthands, numbers and booleans in lists and maps of texts

	shapes map[reflect.Type]*Shape
}

// Schema gives one self-contained schema of t, with its definitions under $defs.
// doc describes a field by the struct that declares it and its Go name; it may be nil.
func Schema(t reflect.Type, doc func(structType reflect.Type, field string) string) map[string]any {
	s := &Schemas{Prefix: "#/$defs/", Doc: doc}
	m := s.Of(t)
	m["$schema"] = Dialect
	if len(s.Defs) > 0 {
		m["$defs"] = s.Defs
	}
	return m
}

// Of gives the schema of t; named structs it needs are added to Defs.
func (s *Schemas) Of(t reflect.Type) map[string]any {
	if s.Defs == nil {
		s.Defs = map[string]any{}
	}
	if s.shapes == nil {
		s.shapes = map[reflect.Type]*Shape{}
	}
	return s.schema(of(t, s.shapes), nil, false)
}

// DefName gives the name under which struct t is defined: "mesh.Use".
func DefName(t reflect.Type) string {
	name := t.Name()
	if p := path.Base(t.PkgPath()); t.PkgPath() != "" {
		name = p + "." + name
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, name)
}

// schema gives the schema of sh; inside says that it is an element of a list or map.
func (s *Schemas) schema(sh *Shape, enum []string, inside bool) map[string]any {
	switch sh.Kind {
	case Object:
		if sh.Type.Name() == "" {
			return s.object(sh)
		}
		name := DefName(sh.Type)
		if _, ok := s.Defs[name]; !ok {
			s.Defs[name] = nil // it may refer to itself
			s.Defs[name] = s.object(sh)
		}
		return map[string]any{"$ref": s.Prefix + name}
	case Map:
		m := map[string]any{"type": "object", "additionalProperties": s.schema(sh.Elem, enum, true)}
		return m
	case List:
		return map[string]any{"type": "array", "items": s.schema(sh.Elem, enum, true)}
	case String:
		m := map[string]any{"type": "string"}
		if s.Written && inside && enum == nil {
			m["type"] = []string{"string", "number", "boolean"}
		}
		if enum != nil {
			m["enum"] = enum
		}
		return m
	case Text:
		return map[string]any{"type": "string"}
	case Bool:
		return map[string]any{"type": "boolean"}
	case Int:
		m := map[string]any{"type": "integer"}
		if sh.Bits < 64 {
			m["minimum"], m["maximum"] = -(int64(1) << (sh.Bits - 1)), int64(1)<<(sh.Bits-1)-1
		}
		return m
	case Uint:
		m := map[string]any{"type": "integer", "minimum": 0}
		if sh.Bits < 64 {
			m["maximum"] = int64(math.MaxUint32) >> (32 - sh.Bits)
		}
		return m
	case Float:
		return map[string]any{"type": "number"}
	}
	return map[string]any{}
}

// object gives the schema of a struct itself.
func (s *Schemas) object(sh *Shape) map[string]any {
	props, required := map[string]any{}, []string{}
	for _, f := range sh.Fields {
		props[f.Name] = s.Field(f)
		if f.Required {
			required = append(required, f.Name)
		}
	}
	m := map[string]any{"type": "object", "properties": props, "additionalProperties": false}
	if len(required) > 0 {
		m["required"] = required
	}
	if s.Doc != nil {
		describe(m, s.Doc(sh.Type, ""))
	}
	if s.Written && sh.Shorthand != "" {
		f, _ := sh.Field(sh.Shorthand)
		return map[string]any{"anyOf": []any{s.Field(f), m}}
	}
	return m
}

// Field gives the schema of a field, described.
func (s *Schemas) Field(f Field) map[string]any {
	m := s.schema(f.Shape, f.Enum, false)
	if s.Written && f.NoZero {
		m["not"] = map[string]any{"const": 0}
		if f.Shape.Kind == Text {
			m["not"] = map[string]any{"pattern": "^0+(ns|us|ms|s|m|h|d)?$"}
		}
	}
	if s.Doc != nil {
		describe(m, s.Doc(f.Struct, f.GoName))
	}
	if v, ok := literal(f.Shape, f.Default); ok {
		m["default"] = v
	}
	if v, ok := literal(f.Shape, f.Example); ok {
		m["examples"] = []any{v}
	}
	return m
}

func describe(m map[string]any, text string) {
	if text != "" {
		m["description"] = text
	}
}

// literal gives the value that a tag's text stands for in a schema.
func literal(sh *Shape, text string) (any, bool) {
	switch {
	case text == "":
		return nil, false
	case sh.Kind == String, sh.Kind == Text:
		return text, true
	}
	var v any
	err := json.Unmarshal([]byte(text), &v)
	return v, err == nil
}
