package blueprint

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/host"
	"stoa/internal/kernel/shape"
)

// A walker reads nodes by shapes. It keeps what is good, and reports the rest.
type walker struct {
	// report hears of each problem and of the node to point at; the place at path is broken.
	report func(n *yaml.Node, path, rule, msg, hint string)
	// spoil marks a place as broken without a report; report implies it.
	spoil func(path string)
	// full says that no more problems are wanted, so that nothing need be spent on them.
	full func() bool
	// place hears where each field is; may be nil.
	place func(n *yaml.Node, path string)

	json bool // the nodes come from JSON: shorthands and texts written as numbers are refused
}

// A want says more of what is wanted at a place than its shape.
type want struct {
	enum    []string
	example string
	inside  bool // an element of a list or mapping
	partial bool // required fields may be absent: it is laid over a whole one
}

// value reads n as s. ok is false if nothing of it is good.
func (w *walker) value(n *yaml.Node, s *shape.Shape, wt want, path string) (v any, ok bool) {
	if n.Kind == broken {
		w.spoil(path)
		return nil, false
	}
	if s.Kind == shape.Object && s.Shorthand != "" && n.Kind != yaml.MappingNode && !w.json {
		f, _ := s.Field(s.Shorthand)
		several := f.Shape.Kind == shape.List || f.Shape.Kind == shape.Map
		if n.Kind != yaml.ScalarNode || kindOf(n) != scalarNull && !several {
			v, ok := w.value(n, f.Shape, want{enum: f.Enum, example: f.Example}, path)
			if !ok {
				return nil, false
			}
			return map[string]any{f.Name: v}, true
		}
	}
	switch s.Kind {
	case shape.Any:
		return w.any(n, path)
	case shape.Object:
		if n.Kind != yaml.MappingNode {
			return w.wrong(n, s, wt, path)
		}
		return w.object(n, s, wt, path), true
	case shape.Map:
		if n.Kind != yaml.MappingNode {
			return w.wrong(n, s, wt, path)
		}
		out := map[string]any{}
		for k, val := range w.fields(n, path) {
			at := join(path, k.Value)
			w.mark(k, val, at)
			if v, ok := w.value(val, s.Elem, want{enum: wt.enum, inside: true}, at); ok {
				out[k.Value] = v
			}
		}
		return out, true
	case shape.List:
		if n.Kind != yaml.SequenceNode {
			return w.wrong(n, s, wt, path)
		}
		out := make([]any, len(n.Content)) // a broken element stays null, so that the others keep their index
		for i, e := range n.Content {
			at := path + "[" + strconv.Itoa(i) + "]"
			w.mark(e, e, at)
			if v, ok := w.value(e, s.Elem, want{enum: wt.enum, inside: true}, at); ok {
				out[i] = v
			}
		}
		return out, true
	}
	return w.scalar(n, s, wt, path)
}

// object reads a mapping with known fields.
func (w *walker) object(n *yaml.Node, s *shape.Shape, wt want, path string) map[string]any {
	out, meant := map[string]any{}, map[string]bool{}
	for k, val := range w.fields(n, path) {
		at := join(path, k.Value)
		f, ok := s.Field(k.Value)
		if !ok {
			if m := w.unknown(k, k.Value, s.FieldNames(), path, "field"); m != "" {
				meant[m] = true
				w.spoil(join(path, m))
			}
			continue
		}
		meant[f.Name] = true
		w.mark(k, val, at)
		v, ok := w.value(val, f.Shape, want{enum: f.Enum, example: f.Example}, at)
		switch {
		case !ok:
		case f.NoZero && isZero(v):
			w.zero(val, f, at)
		default:
			out[f.Name] = v
		}
	}
	for _, f := range s.Fields {
		if f.Required && !meant[f.Name] && !wt.partial {
			hint := "it is " + f.Shape.String()
			if f.Example != "" {
				hint = fmt.Sprintf("write %s: %s", f.Name, f.Example)
			} else if f.Enum != nil {
				hint = "valid: " + strings.Join(f.Enum, ", ")
			}
			w.report(n, join(path, f.Name), RuleMissing, "is missing", hint)
		}
	}
	return out
}

// isZero says whether a value that was read is a zero: a number, or a duration.
func isZero(v any) bool {
	switch v := v.(type) {
	case int64:
		return v == 0
	case uint64:
		return v == 0
	case float64:
		return v == 0
	case string:
		return v == "0s"
	}
	return false
}

// zero refuses a zero that would be taken for nothing written.
func (w *walker) zero(n *yaml.Node, f shape.Field, path string) {
	hint := "leave it out, or write the value that you mean"
	if f.Default != "" {
		hint = "leave it out for " + f.Default + ", or write the value that you mean"
	}
	w.report(n, path, RuleValue, cut(n.Value)+" would be taken for nothing written", hint)
}

// unknown reports a name that is not valid, and gives the one that was probably meant, or "".
func (w *walker) unknown(k *yaml.Node, name string, valid []string, path, what string) string {
	if w.full() {
		w.report(k, join(path, name), RuleUnknownField, "unknown "+what, "")
		return ""
	}
	w.report(k, join(path, name), RuleUnknownField, fmt.Sprintf("unknown %s %q", what, cut(name)), near(name, valid))
	return nearest.To(name, valid)
}

// fields gives the pairs of a mapping. A field written twice is reported and the first
// one is given.
func (w *walker) fields(n *yaml.Node, path string) func(func(k, v *yaml.Node) bool) {
	if n.Anchor == spoiled {
		w.spoil(path)
	}
	return func(yield func(k, v *yaml.Node) bool) {
		first := make(map[string]*yaml.Node, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if f, ok := first[k.Value]; ok {
				msg := fmt.Sprintf("%q is written twice", cut(k.Value))
				if f.Line > 0 {
					msg += ", first " + above(k.Line-f.Line)
				}
				w.report(k, join(path, k.Value), RuleDuplicateField, msg, "delete one")
				continue
			}
			first[k.Value] = k
			if !yield(k, n.Content[i+1]) {
				return
			}
		}
	}
}

// mark notes where a field is: at its value if that stands on the same line, else at its key.
func (w *walker) mark(k, v *yaml.Node, path string) {
	if w.place == nil {
		return
	}
	if v.Line == k.Line && v.Column > 0 {
		k = v
	}
	w.place(k, path)
}

// wrong reports a value of the wrong type.
func (w *walker) wrong(n *yaml.Node, s *shape.Shape, wt want, path string) (any, bool) {
	if w.full() {
		w.report(n, path, RuleType, "", "")
		return nil, false
	}
	scalar := n.Kind == yaml.ScalarNode
	hint := ""
	switch {
	case scalar && kindOf(n) == scalarNull:
		hint = "write a value, or delete the field"
	case scalar && s.Kind == shape.List && (s.Elem.Kind == shape.String || s.Elem.Kind == shape.Text):
		hint = fmt.Sprintf("write [%s]", cut(n.Value))
	case s.Kind == shape.List && s.Elem.Kind == shape.Object && n.Kind == yaml.MappingNode:
		hint = "begin each with a hyphen"
	case s.Kind == shape.Object && scalar && len(s.Fields) > 0:
		hint = "its fields are " + strings.Join(s.FieldNames(), ", ")
		if i := slices.IndexFunc(s.Fields, func(f shape.Field) bool { return f.Required && f.Shape.Kind == shape.String }); i >= 0 {
			hint = fmt.Sprintf("write {%s: %s}", s.Fields[i].Name, cut(n.Value))
		} else if wt.example != "" {
			hint = "as in " + wt.example
		}
	case wt.example != "":
		hint = "as in " + wt.example
	}
	w.report(n, path, RuleType, fmt.Sprintf("want %s, not %s", s, describe(n)), hint)
	return nil, false
}

// scalar reads a value of one piece.
func (w *walker) scalar(n *yaml.Node, s *shape.Shape, wt want, path string) (any, bool) {
	if n.Kind != yaml.ScalarNode {
		return w.wrong(n, s, wt, path)
	}
	is := kindOf(n)
	if is == scalarNull {
		return w.wrong(n, s, wt, path)
	}
	var v any
	var err error
	switch s.Kind {
	case shape.String:
		if is != scalarText && (w.json || !wt.inside) {
			w.report(n, path, RuleType, fmt.Sprintf("want a text, not %s", describe(n)), quote(n, wt))
			return nil, false
		}
		if wt.enum != nil && !slices.Contains(wt.enum, n.Value) {
			w.report(n, path, RuleValue, fmt.Sprintf("%q is not valid here", cut(n.Value)), near(n.Value, wt.enum))
			return nil, false
		}
		return n.Value, true
	case shape.Text:
		if is != scalarText && w.json {
			return w.wrong(n, s, wt, path)
		}
		if v, err = s.Parse(n.Value); err != nil {
			w.report(n, path, RuleType, err.Error(), "")
			return nil, false
		}
		return v, true
	case shape.Bool:
		if is != scalarBool {
			hint := ""
			switch strings.ToLower(n.Value) {
			case "yes", "on", "y":
				hint = "write true"
			case "no", "off", "n":
				hint = "write false"
			}
			w.report(n, path, RuleType, fmt.Sprintf("want true or false, not %s", describe(n)), hint)
			return nil, false
		}
		return strings.EqualFold(n.Value, "true"), true
	case shape.Int, shape.Uint:
		if is != scalarInt {
			return w.wrong(n, s, wt, path)
		}
		v, err = parseInt(n.Value, s)
	case shape.Float:
		if is != scalarInt && is != scalarFloat {
			return w.wrong(n, s, wt, path)
		}
		v, err = parseFloat(n.Value, s.Bits)
	}
	if err != nil {
		w.report(n, path, RuleType, err.Error(), "")
		return nil, false
	}
	return v, true
}

// quote says what to write where a text is wanted and n looks like none: what is valid, as an
// example has it, or else the same in quotes.
func quote(n *yaml.Node, wt want) string {
	switch {
	case wt.enum != nil:
		return "valid: " + strings.Join(wt.enum, ", ")
	case wt.example != "":
		return "as in " + wt.example
	}
	return fmt.Sprintf("write %q in quotes", n.Value)
}

// any reads a value of any type.
func (w *walker) any(n *yaml.Node, path string) (any, bool) {
	switch n.Kind {
	case broken:
		w.spoil(path)
		return nil, false
	case yaml.MappingNode:
		out := map[string]any{}
		for k, val := range w.fields(n, path) {
			w.mark(k, val, join(path, k.Value))
			if v, ok := w.any(val, join(path, k.Value)); ok {
				out[k.Value] = v
			}
		}
		return out, true
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, e := range n.Content {
			out[i], _ = w.any(e, path+"["+strconv.Itoa(i)+"]")
		}
		return out, true
	}
	var v any
	var err error
	switch kindOf(n) {
	case scalarNull:
	case scalarBool:
		v = strings.EqualFold(n.Value, "true")
	case scalarInt:
		if v, err = parseInt(n.Value, &shape.Shape{Kind: shape.Int, Bits: 64}); err != nil {
			v, err = parseFloat(n.Value, 64)
		}
	case scalarFloat:
		v, err = parseFloat(n.Value, 64)
	default:
		v = n.Value
	}
	if err != nil {
		w.report(n, path, RuleType, err.Error(), "write it as a text, in quotes")
		return nil, false
	}
	return v, true
}

// section reads a whole section and gives its canonical JSON: what decodes as the type of sec.
func (w *walker) section(n *yaml.Node, s *shape.Shape, sec host.Section, wt want) (json.RawMessage, bool) {
	v, ok := w.value(n, s, wt, sec.Name)
	if !ok {
		return nil, false
	}
	raw, err := json.Marshal(v)
	if err == nil {
		err = decodes(raw, sec)
	}
	if err != nil { // a type with a decoding of its own
		w.report(n, sec.Name, RuleType, cmp.Or(strings.TrimPrefix(err.Error(), "json: "), "is not valid"), "")
		return nil, false
	}
	return raw, true
}

// join appends a field to a path.
func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// above tells where something is that stands a number of lines higher.
func above(lines int) string {
	switch lines {
	case 0:
		return "on the same line"
	case 1:
		return "on the line above"
	}
	return strconv.Itoa(lines) + " lines above"
}
