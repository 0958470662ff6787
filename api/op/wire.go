package op

import (
	"encoding"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
)

// A Field is one field of a request struct, with what its tags say of it.
type Field struct {
	Name  string // JSON name, also the query parameter
	Index []int  // for reflect.Value.FieldByIndex
	Type  reflect.Type
	Help  string
	Tag   reflect.StructTag

	Arg      string // name of the positional argument as help shows it: "SERVICE"; "" means it is none
	Optional bool   // the argument may be absent
	Rest     bool   // the argument takes all that follow; Type is []string
	After    bool   // the argument takes all that follow "--"; Type is []string; commands only

	Flag  string // "follow"; "" means it is none
	Short string // "f", or ""
}

// Fields gives the fields of a request in their order, those of embedded structs in the
// place of the struct. Unexported fields and fields with the JSON name "-" are left out.
// It panics if t is no struct or a tag contradicts itself: that is a defect of the program.
func Fields(t reflect.Type) []Field {
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("op: request type %s is no struct", t))
	}
	var out []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if sf.Anonymous && name == "" && sf.Type.Kind() == reflect.Struct && !isText(sf.Type) {
			for _, f := range Fields(sf.Type) {
				f.Index = append([]int{i}, f.Index...)
				out = append(out, f)
			}
			continue
		}
		if !sf.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = sf.Name
		}
		f := Field{Name: name, Index: []int{i}, Type: sf.Type, Help: sf.Tag.Get("help"), Tag: sf.Tag}
		if arg, ok := sf.Tag.Lookup("arg"); ok {
			var how string
			f.Arg, how, _ = strings.Cut(arg, ",")
			f.Optional, f.Rest, f.After = how == "optional", how == "rest", how == "after"
			if (f.Rest || f.After) && f.Type != reflect.TypeFor[[]string]() {
				panic(fmt.Sprintf("op: %s.%s takes the rest, so it must be a []string", t, sf.Name))
			}
		}
		if flag, ok := sf.Tag.Lookup("flag"); ok {
			f.Flag, f.Short, _ = strings.Cut(flag, ",")
		}
		out = append(out, f)
	}
	return out
}

// Method gives the HTTP method of an operation: GET for a read whose request has only
// fields that stand in a query (see Scalar), POST for every other.
func Method(e Effect, in reflect.Type) string {
	if e != Read && e != "" {
		return http.MethodPost
	}
	for _, f := range Fields(in) {
		if !Scalar(f.Type) {
			return http.MethodPost
		}
	}
	return http.MethodGet
}

// Scalar says whether a value of type t is one text: a string, a bool, a number, or
// what marshals itself as text (core.Ref, core.Duration).
func Scalar(t reflect.Type) bool {
	if isText(t) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		return true
	}
	return false
}

func isText(t reflect.Type) bool {
	return t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface &&
		reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) &&
		reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// Query gives request in, a struct of scalars, as query parameters. Zero values are left out.
func Query(in any) (url.Values, error) {
	v := reflect.ValueOf(in)
	q := url.Values{}
	for _, f := range Fields(v.Type()) {
		fv := v.FieldByIndex(f.Index)
		if fv.IsZero() {
			continue
		}
		s, err := Text(fv)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		q.Set(f.Name, s)
	}
	return q, nil
}

// Text gives a scalar as text that SetText reads.
func Text(v reflect.Value) (string, error) {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		return string(b), err
	}
	if !Scalar(v.Type()) {
		return "", fmt.Errorf("a %s is no scalar", v.Type())
	}
	return fmt.Sprint(v.Interface()), nil
}

// SetText sets a scalar from its text, or says what it wants. v must be settable.
func SetText(v reflect.Value, s string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(s))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("want true or false, not %q", s)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("want a whole number, not %q", s)
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(s, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("want a whole number from 0, not %q", s)
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		x, err := strconv.ParseFloat(s, v.Type().Bits())
		if err != nil || x != x || x-x != 0 { // NaN and infinities have no JSON form
			return fmt.Errorf("want a number, not %q", s)
		}
		v.SetFloat(x)
	default:
		return fmt.Errorf("a %s cannot be given as text", v.Type())
	}
	return nil
}
