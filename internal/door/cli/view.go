package cli

import (
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"stoa/api/core"
	"stoa/api/op"
)

// view writes a result that has no Print of its own: scalars as names and values, lists
// of structs as tables. A tag table:"HEAD" names a column, table:"-" leaves it out. item says that
// it is one of many: then it is one line.
func view(w io.Writer, out any, item bool) error {
	v := deref(reflect.ValueOf(out))
	if !v.IsValid() {
		return nil
	}
	if item || !isRecord(v.Type()) && !isList(v.Type()) {
		_, err := fmt.Fprintln(w, plainText(line(v)))
		return err
	}
	if isList(v.Type()) {
		return listView(w, v, "entries")
	}
	fields := shown(v.Type())
	if len(fields) == 1 && fields[0].Name == "message" {
		_, err := fmt.Fprintln(w, plainText(cell(v.FieldByIndex(fields[0].Index))))
		return err
	}
	var facts Table
	var lists []op.Field
	for _, f := range fields {
		fv := v.FieldByIndex(f.Index)
		switch {
		case isList(f.Type):
			lists = append(lists, f)
		case fv.IsZero() && strings.Contains(f.Tag.Get("json"), ",omit"):
		default:
			facts.Rows = append(facts.Rows, []string{words(f) + ":", cell(fv)})
		}
	}
	if _, err := facts.WriteTo(w); err != nil {
		return err
	}
	for i, f := range lists {
		fv := v.FieldByIndex(f.Index)
		if fv.Len() == 0 && (strings.Contains(f.Tag.Get("json"), ",omit") || len(lists) > 1) {
			continue
		}
		if len(facts.Rows) > 0 || i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := listView(w, fv, words(f)); err != nil {
			return err
		}
	}
	return nil
}

// listView writes a list, one entry a line; name is what its entries are called.
func listView(w io.Writer, v reflect.Value, name string) error {
	if v.Len() == 0 {
		_, err := fmt.Fprintf(w, "no %s\n", name)
		return err
	}
	elem := v.Type().Elem()
	for elem.Kind() == reflect.Pointer {
		elem = elem.Elem()
	}
	var t Table
	if !isRecord(elem) {
		for i := range v.Len() {
			t.Rows = append(t.Rows, []string{cell(v.Index(i))})
		}
		_, err := t.WriteTo(w)
		return err
	}
	for _, f := range shown(elem) {
		col, any := make([]string, v.Len()), false
		for i := range v.Len() {
			if e := deref(v.Index(i)); e.IsValid() {
				fv := e.FieldByIndex(f.Index)
				col[i] = cell(fv)
				any = any || !fv.IsZero()
			}
		}
		if !any && strings.Contains(f.Tag.Get("json"), ",omit") { // empty throughout: it says nothing
			continue
		}
		if t.Rows == nil {
			t.Rows = make([][]string, v.Len())
		}
		t.Head = append(t.Head, strings.ToUpper(words(f)))
		t.Right = append(t.Right, isNumber(f.Type))
		for i := range col {
			t.Rows[i] = append(t.Rows[i], col[i])
		}
	}
	_, err := t.WriteTo(w)
	return err
}

// line gives a value as one line.
func line(v reflect.Value) string {
	if !isRecord(v.Type()) {
		return cell(v)
	}
	var parts []string
	for _, f := range shown(v.Type()) {
		if fv := v.FieldByIndex(f.Index); !fv.IsZero() {
			parts = append(parts, cell(fv))
		}
	}
	return strings.Join(parts, columnGap)
}

// shown gives the fields that people see.
func shown(t reflect.Type) []op.Field {
	return slices.DeleteFunc(op.Fields(t), func(f op.Field) bool { return f.Tag.Get("table") == "-" })
}

// words gives a field's name as words: "lastError" is "last error".
func words(f op.Field) string {
	if t := f.Tag.Get("table"); t != "" {
		return t
	}
	var b strings.Builder
	lower := false
	for _, r := range f.Name {
		if unicode.IsUpper(r) && lower {
			b.WriteByte(' ')
		}
		lower = unicode.IsLower(r) || unicode.IsDigit(r)
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// cell gives a value as the text of one cell; "-" is nothing.
func cell(v reflect.Value) string {
	v = deref(v)
	if !v.IsValid() {
		return "-"
	}
	switch x := v.Interface().(type) {
	case core.Time:
		if x.IsZero() {
			return "-"
		}
		return x.Local().Format("2006-01-02 15:04:05")
	case core.Ref:
		if x.IsZero() {
			return "-"
		}
	case json.RawMessage:
		return orDash(string(x))
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if b, err := m.MarshalText(); err == nil {
			return orDash(string(b))
		}
	}
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return "yes"
		}
		return "no"
	case reflect.Float32, reflect.Float64:
		s := strconv.FormatFloat(v.Float(), 'f', 3, 64)
		return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	case reflect.String:
		return orDash(v.String())
	case reflect.Slice, reflect.Array:
		if v.Len() > 0 && isRecord(v.Type().Elem()) {
			return strconv.Itoa(v.Len())
		}
		var parts []string
		for i := range v.Len() {
			parts = append(parts, cell(v.Index(i)))
		}
		return orDash(strings.Join(parts, ", "))
	case reflect.Map:
		byKey := map[string]string{}
		for it := v.MapRange(); it.Next(); {
			byKey[cell(it.Key())] = cell(it.Value())
		}
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(byKey)) {
			parts = append(parts, k+"="+byKey[k])
		}
		return orDash(strings.Join(parts, " "))
	case reflect.Struct:
		var parts []string
		for _, f := range shown(v.Type()) {
			if fv := v.FieldByIndex(f.Index); !fv.IsZero() {
				parts = append(parts, f.Name+"="+cell(fv))
			}
		}
		return orDash(strings.Join(parts, " "))
	}
	return fmt.Sprint(v.Interface())
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func deref(v reflect.Value) reflect.Value {
	for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
		v = v.Elem()
	}
	return v
}

func isRecord(t reflect.Type) bool { return t.Kind() == reflect.Struct && !op.Scalar(t) }

func isList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && !op.Scalar(t) && t.Elem().Kind() != reflect.Uint8
}

func isNumber(t reflect.Type) bool {
	return t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64 && !(t.Implements(reflect.TypeFor[encoding.TextMarshaler]()))
}
