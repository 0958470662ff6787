// Package shape gives the written form of a Go type: what a person may write in YAML,
// or a program in JSON, for a value of that type.
//
// A type is walked once, by reflection, into a Shape. From the Shape come the strict
// decoding of blueprints, the JSON Schema for editors, the schemas of the OpenAPI
// document, `stoa explain` and the fields of the command line: one walk, so that none
// of them can disagree.
//
//	struct               Object, its fields by their json tag; embedded structs are flattened
//	map[string]T         Map
//	[]T, [n]T            List
//	encoding.TextUnmarshaler (core.Duration, core.Ref)   Text, a string with a syntax of its own
//	json.RawMessage, any, json.Unmarshaler               Any
//	string, bool, ints, floats                           String, Bool, Int, Uint, Float
//	*T                   what T is
//
// Struct tags that say more:
//
//	enum:"a,b,c"       the only valid texts (of a string, or of the elements of a list or map of strings)
//	required:"true"    must be written
//	example:"300ms"    shown by explain and in schemas
//	default:"2s"       what absent means, for readers; the section's Default is what counts
//	zero:"no"          a written zero would read as absent: it is refused, as is that of any number or
//	                   duration, unless it is a pointer, with a default
//
// # One form each
//
// A value has one written form. The exception is a struct type with a method
//
//	func (Probe) Shorthand() string { return "http" }
//
// which says that a value that is no mapping is written for that one field: in YAML,
// `ready: /readyz` means `ready: {http: /readyz}`. The blueprint loader expands it, so
// what is stored, and what JSON may say, is always the long form, and the type needs no
// decoding of its own.
//
// Shapes are immutable. Recursive types are allowed: a Shape may be its own descendant.
package shape

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// A Kind is a way to be written.
type Kind uint8

// The kinds.
const (
	Any    Kind = iota // anything
	Object             // a mapping with known fields
	Map                // a mapping with any keys
	List               // a sequence
	String             // a text
	Text               // a text with a syntax of its own, see Shape.Parse
	Bool               // true or false
	Int                // a whole number
	Uint               // a whole number, not negative
	Float              // a number
)

// A Shape is the written form of a type.
type Shape struct {
	Type      reflect.Type // without pointers
	Kind      Kind
	Fields    []Field // of an Object, in the order of the struct
	Elem      *Shape  // of a List or Map
	Bits      int     // of a number: 8, 16, 32 or 64
	Shorthand string  // field for which a value that is no mapping is written; "" if there is none
}

// A Field is one field of an Object.
type Field struct {
	Name     string       // as written
	Shape    *Shape       //
	Enum     []string     // valid texts; nil means any
	Required bool         //
	Example  string       //
	Default  string       // of the tag, for readers
	Optional bool         // json omitempty or omitzero
	NoZero   bool         // a zero that is written cannot be told from an absent one
	Struct   reflect.Type // struct that declares it, which may be an embedded one
	GoName   string       // its name there
	Index    []int        // from the outer struct, for reflect.Value.FieldByIndex
}

var (
	textType      = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonType      = reflect.TypeFor[json.Unmarshaler]()
	shorthandType = reflect.TypeFor[interface{ Shorthand() string }]()
	timeType      = reflect.TypeFor[time.Time]()
)

// Of gives the shape of t. It panics on a type that cannot be written (a func, a
// channel, a map without string keys): that is a defect of the program.
func Of(t reflect.Type) *Shape { return of(t, map[reflect.Type]*Shape{}) }

func of(t reflect.Type, seen map[reflect.Type]*Shape) *Shape {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s, ok := seen[t]; ok {
		return s
	}
	s := &Shape{Type: t}
	seen[t] = s
	switch {
	case reflect.PointerTo(t).Implements(textType):
		s.Kind = Text
		return s
	case reflect.PointerTo(t).Implements(jsonType):
		s.Kind = Any
		// core.Time embeds time.Time and is written as text.
		if t.Kind() == reflect.Struct && t.NumField() == 1 && t.Field(0).Anonymous && t.Field(0).Type == timeType {
			s.Kind = Text
		}
		return s
	}
	switch t.Kind() {
	case reflect.Interface:
		s.Kind = Any
	case reflect.String:
		s.Kind = String
	case reflect.Bool:
		s.Kind = Bool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		s.Kind, s.Bits = Int, t.Bits()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		s.Kind, s.Bits = Uint, t.Bits()
	case reflect.Float32, reflect.Float64:
		s.Kind, s.Bits = Float, t.Bits()
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 { // base64 in encoding/json
			s.Kind = String
			return s
		}
		s.Kind, s.Elem = List, of(t.Elem(), seen)
	case reflect.Map:
		if k := t.Key(); k.Kind() != reflect.String && !reflect.PointerTo(k).Implements(textType) {
			panic(fmt.Sprintf("shape: %v has keys that are no strings", t))
		}
		s.Kind, s.Elem = Map, of(t.Elem(), seen)
	case reflect.Struct:
		s.Kind = Object
		s.addFields(t, nil, seen)
		if reflect.PointerTo(t).Implements(shorthandType) {
			s.Shorthand = reflect.New(t).Interface().(interface{ Shorthand() string }).Shorthand()
			if _, ok := s.Field(s.Shorthand); !ok {
				panic(fmt.Sprintf("shape: the shorthand of %v is %q, which is none of its fields", t, s.Shorthand))
			}
		}
	default:
		panic(fmt.Sprintf("shape: %v cannot be written", t))
	}
	return s
}

// addFields appends the fields of struct t, which lies at index in the outer struct.
func (s *Shape) addFields(t reflect.Type, index []int, seen map[reflect.Type]*Shape) {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(index[:len(index):len(index)], i)
		tag, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if f.Anonymous && tag == "" {
			ft := f.Type
			for ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct {
				s.addFields(ft, at, seen)
				continue
			}
		}
		if !f.IsExported() {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		if _, ok := s.Field(tag); ok {
			continue // the outer field hides the embedded one if it comes first
		}
		field := Field{
			Name: tag, Shape: of(f.Type, seen), Required: f.Tag.Get("required") == "true",
			Example: f.Tag.Get("example"), Default: f.Tag.Get("default"),
			Optional: strings.Contains(opts, "omitempty") || strings.Contains(opts, "omitzero"),
			Struct:   t, GoName: f.Name, Index: at,
		}
		if e := f.Tag.Get("enum"); e != "" {
			field.Enum = strings.Split(e, ",")
		}
		switch field.Shape.Kind {
		case Text, Int, Uint, Float:
			field.NoZero = f.Type.Kind() != reflect.Pointer && field.Optional && (field.Default != "" || f.Tag.Get("zero") == "no")
		}
		s.Fields = append(s.Fields, field)
	}
}

// Field finds a field by its written name.
func (s *Shape) Field(name string) (Field, bool) {
	for _, f := range s.Fields {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// FieldNames gives the names of the fields in order.
func (s *Shape) FieldNames() []string {
	names := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		names[i] = f.Name
	}
	return names
}

// Parse checks text against the syntax of a Text and gives its canonical form.
func (s *Shape) Parse(text string) (string, error) {
	v := reflect.New(s.Type)
	switch u := v.Interface().(type) {
	case encoding.TextUnmarshaler:
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return "", err
		}
	case json.Unmarshaler:
		b, err := json.Marshal(text)
		if err == nil {
			err = u.UnmarshalJSON(b)
		}
		if err != nil {
			return "", err
		}
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		return string(b), err
	}
	return text, nil
}

// String says what is to be written, for people: "a list of strings", "a duration".
func (s *Shape) String() string {
	switch s.Kind {
	case Object:
		return "a mapping"
	case Map:
		return "a mapping of names to " + s.Elem.plural()
	case List:
		return "a list of " + s.Elem.plural()
	case String:
		return "a text"
	case Text:
		return "a " + strings.ToLower(s.Type.Name())
	case Bool:
		return "true or false"
	case Int:
		return "a whole number"
	case Uint:
		return "a whole number from 0"
	case Float:
		return "a number"
	}
	return "any value"
}

func (s *Shape) plural() string {
	switch s.Kind {
	case Object, Map:
		return "mappings"
	case List:
		return "lists"
	case String:
		return "texts"
	case Text:
		return strings.ToLower(s.Type.Name()) + "s"
	case Bool:
		return "true or false"
	case Int, Uint:
		return "whole numbers"
	case Float:
		return "numbers"
	}
	return "values"
}
