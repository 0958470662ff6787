package blueprint

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	api "stoa/api/blueprint"
	"stoa/api/fault"
	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/fielddocs"
	"stoa/internal/kernel/host"
	"stoa/internal/kernel/shape"
)

// index is the position in a list, which says nothing about the field.
var index = regexp.MustCompile(`\[[0-9]*\]`)

// Explain tells what may be written at field, as kind.section.field...: lists and the
// names of a mapping are passed through ("service.uses.timeout", "service.env.PORT").
// A rule of reading can be asked for too, and "" lists the kinds.
func Explain(cat *host.Catalog, field string) (api.Explanation, error) {
	field = strings.Trim(index.ReplaceAllString(strings.TrimSpace(field), ""), ".")
	if field == "" {
		var e api.Explanation
		e.Help = "The kinds of documents of a blueprint."
		for _, k := range cat.Kinds {
			e.Fields = append(e.Fields, api.ExplanationItem{Name: strings.ToLower(k.Name), Help: fielddocs.First(k.Help)})
		}
		return e, nil
	}
	if text, ok := rules[strings.ToLower(field)]; ok {
		return api.Explanation{Path: strings.ToLower(field), Type: "a rule", Help: text}, nil
	}
	steps := strings.Split(field, ".")
	kind, ok := cat.KindOf(steps[0])
	if !ok {
		var names []string
		for _, k := range cat.Kinds {
			names = append(names, strings.ToLower(k.Name))
		}
		if whole := meant(cat, steps[0]); len(whole) > 0 && nearest.To(steps[0], names) == "" {
			return api.Explanation{}, &fault.Error{Op: "blueprint.explain", Subject: field, Kind: fault.NotFound,
				Err: fmt.Errorf("a field is named with its kind"), Hint: "Did you mean " + oneOf(whole) + "?"}
		}
		rule := slices.Sorted(maps.Keys(rules))
		err := miss(field, "kind", steps[0], append(names, rule...), names)
		if hint := fault.HintOf(err); strings.HasPrefix(hint, "valid") {
			return api.Explanation{}, &fault.Error{Op: "blueprint.explain", Subject: field, Kind: fault.NotFound, Err: errors.Unwrap(err),
				Hint: "Kinds are " + strings.Join(names, ", ") + "; rules are " + strings.Join(rule, ", ") + ". Fields follow a kind, as in service.uses.timeout."}
		}
		return api.Explanation{}, err
	}
	e := explainer{cat: cat, shapes: shapesOf(cat), kind: kind}
	return e.document(strings.ToLower(kind.Name), steps[1:])
}

// otherwise are words of the field that people ask for, and what the blueprint says for them.
var otherwise = map[string]string{
	"deadline": "timeout", "deadlines": "timeout", "circuit": "breaker", "circuitbreaker": "breaker", "circuit-breaker": "breaker", "bulkhead": "concurrency",
	"hedging": "hedge", "canary": "split", "weight": "split", "ratelimiting": "rateLimit", "rate-limit": "rateLimit", "shedding": "priority",
	"loadbalancing": "balance", "load-balancing": "balance", "lb": "balance", "certificates": "tls", "certificate": "tls", "port": "listen", "route": "expose", "routes": "expose",
}

// meant gives the fields that may be meant by a name that is no kind: those of the name, each
// with its kind and what it is in ("service.traffic.breaker"), or of the nearest.
func meant(cat *host.Catalog, name string) []string {
	if out := inKinds(cat, name); len(out) > 0 {
		return out
	}
	if other := otherwise[strings.ToLower(name)]; other != "" {
		return inKinds(cat, other)
	}
	names := map[string]bool{}
	eachField(cat, func(path []string) { names[path[len(path)-1]] = true })
	if near := nearest.To(name, append(slices.Sorted(maps.Keys(names)), slices.Sorted(maps.Keys(rules))...)); names[near] {
		return inKinds(cat, near)
	}
	return nil
}

// inKinds gives where there are fields of that name, those nearest to the top of a document first.
func inKinds(cat *host.Catalog, name string) (out []string) {
	depths := map[string]int{}
	eachField(cat, func(path []string) {
		if strings.EqualFold(path[len(path)-1], name) {
			whole := strings.Join(path, ".")
			depths[whole] = len(path)
			if len(path) > 1 && path[1] == "defaults" { // for what is said elsewhere
				depths[whole]++
			}
			out = append(out, whole)
		}
	})
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(depths[a], depths[b]) })
	return slices.Compact(out)
}

// maxNested is how deep fields are looked for by their name alone: service.expose.retry.on.
const maxNested = 4

// eachField calls f with the path of every field of all kinds, the outer before the inner.
func eachField(cat *host.Catalog, f func(path []string)) {
	shapes := shapesOf(cat)
	var walk func(path []string, sh *shape.Shape)
	walk = func(path []string, sh *shape.Shape) {
		for sh != nil && (sh.Kind == shape.List || sh.Kind == shape.Map) {
			sh = sh.Elem
		}
		if sh == nil || sh.Kind != shape.Object || len(path) >= maxNested {
			return
		}
		for _, field := range sh.Fields {
			at := append(slices.Clone(path), field.Name)
			f(at)
			walk(at, field.Shape)
		}
	}
	for _, k := range cat.Kinds {
		kind := strings.ToLower(k.Name)
		for _, name := range envelope(k.Name) {
			f([]string{kind, name})
		}
		for _, s := range cat.SectionsOf(k.Name) {
			at := []string{kind}
			if s.Name != "" {
				at = append(at, s.Name)
				f(at)
			}
			walk(at, shapes.of(s))
		}
	}
}

// maxMeant is how many fields one hint offers.
const maxMeant = 6

// oneOf gives "a, b or c".
func oneOf(names []string) string {
	names = names[:min(len(names), maxMeant)]
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// miss is the answer to a name that is not there.
func miss(field, what, name string, all, shown []string) error {
	hint := near(name, shown)
	if h := near(name, all); strings.HasPrefix(h, "did you mean") {
		hint = h
	}
	return &fault.Error{Op: "blueprint.explain", Subject: field, Kind: fault.NotFound, Err: fmt.Errorf("unknown %s %q", what, name), Hint: hint}
}

type explainer struct {
	cat    *host.Catalog
	shapes shapes
	kind   host.Kind
}

// document explains what is at steps in a document.
func (e explainer) document(path string, steps []string) (api.Explanation, error) {
	sections := e.cat.SectionsOf(e.kind.Name)
	if len(steps) == 0 {
		x := api.Explanation{Path: path, Type: "a document", Help: e.kind.Help}
		for _, f := range envelope(e.kind.Name) {
			x.Fields = append(x.Fields, api.ExplanationItem{Name: f, Type: envelopeType(f), Required: f == fieldKind || f == fieldName, Help: fielddocs.First(envelopeHelp[f])})
		}
		for _, s := range sections {
			if s.Name == "" {
				x.Fields = append(x.Fields, items(e.shapes.of(s))...)
				continue
			}
			x.Fields = append(x.Fields, api.ExplanationItem{Name: s.Name, Type: e.shapes.of(s).String(), Help: fielddocs.First(s.Help)})
		}
		return x, nil
	}
	path += "." + steps[0]
	valid := envelope(e.kind.Name)
	if slices.Contains(valid, steps[0]) && len(steps) == 1 {
		return api.Explanation{
			Path: path, Type: envelopeType(steps[0]), Help: envelopeHelp[steps[0]], Example: envelopeExample[steps[0]],
			Required: steps[0] == fieldKind || steps[0] == fieldName, Valid: e.envelopeValid(steps[0]),
		}, nil
	}
	for _, s := range sections {
		sh := e.shapes.of(s)
		switch {
		case s.Name == steps[0]:
			x := api.Explanation{Path: path, Help: s.Help, Default: written(s.Default)}
			if doc := beyond(s.Help, fielddocs.Of(sh.Type, "")); doc != "" {
				x.Help = strings.TrimSuffix(s.Help, ".") + ".\n\n" + doc
			}
			return inside(x, sh, nil, reflect.ValueOf(s.Default), steps[1:])
		case s.Name == "":
			if _, ok := sh.Field(steps[0]); ok {
				return inside(api.Explanation{Path: strings.TrimSuffix(path, "."+steps[0])}, sh, nil, reflect.ValueOf(s.Default), steps)
			}
			valid = append(valid, sh.FieldNames()...)
		default:
			valid = append(valid, s.Name)
		}
	}
	return api.Explanation{}, miss(path, "field", steps[0], valid, valid)
}

// beyond gives what a type's comment says besides help, which is often its first sentence:
// "Gateway is where the outside arrives."
func beyond(help, doc string) string {
	first := fielddocs.First(doc)
	if !strings.HasSuffix(strings.TrimSuffix(first, "."), strings.TrimSuffix(help, ".")) {
		return doc
	}
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(doc, strings.TrimSuffix(first, ".")), "."))
}

// inside explains what is at steps below a place of shape sh; x holds what is known of
// the place itself, def what absent means there.
func inside(x api.Explanation, sh *shape.Shape, enum []string, def reflect.Value, steps []string) (api.Explanation, error) {
	if len(steps) == 0 {
		x.Type = sh.String()
		x.Valid = enum
		if x.Example == "" {
			x.Example = example(sh, enum, 0)
		}
		several := sh.Kind == shape.List || sh.Kind == shape.Map
		for sh.Kind == shape.List || sh.Kind == shape.Map {
			sh = sh.Elem
		}
		if sh.Shorthand != "" {
			x.Help = strings.TrimSpace(x.Help + "\n\n" + shorthand(sh, several))
		}
		x.Fields = items(sh)
		return x, nil
	}
	switch sh.Kind {
	case shape.List:
		return inside(x, sh.Elem, enum, reflect.Value{}, steps)
	case shape.Map:
		x = api.Explanation{Path: x.Path + "." + steps[0], Help: x.Help}
		return inside(x, sh.Elem, enum, reflect.Value{}, steps[1:])
	case shape.Object:
		f, ok := sh.Field(steps[0])
		if !ok {
			return x, miss(x.Path+"."+steps[0], "field", steps[0], sh.FieldNames(), sh.FieldNames())
		}
		for def.IsValid() && def.Kind() == reflect.Pointer {
			def = def.Elem()
		}
		if def.IsValid() {
			if v, err := def.FieldByIndexErr(f.Index); err == nil {
				def = v
			} else {
				def = reflect.Value{}
			}
		}
		next := api.Explanation{
			Path: x.Path + "." + f.Name, Help: fielddocs.Of(f.Struct, f.GoName),
			Required: f.Required, Example: f.Example, Default: f.Default,
		}
		if def.IsValid() {
			if w := written(def.Interface()); w != "" {
				next.Default = w
			}
		}
		return inside(next, f.Shape, f.Enum, def, steps[1:])
	}
	return x, miss(x.Path+"."+steps[0], "field", steps[0], nil, nil)
}

// shorthand says what may be written instead of a mapping; several says that there is a
// list or mapping of such.
func shorthand(sh *shape.Shape, several bool) string {
	f, _ := sh.Field(sh.Shorthand)
	what := capital(f.Shape.String())
	if f.Shape.Kind == shape.Text {
		what = "A text"
	}
	in := ""
	if several {
		in = " in it"
	}
	return fmt.Sprintf("%s%s is short for {%s: ...}.", what, in, sh.Shorthand)
}

// items gives the fields of an object.
func items(sh *shape.Shape) []api.ExplanationItem {
	var out []api.ExplanationItem
	for _, f := range sh.Fields {
		out = append(out, api.ExplanationItem{Name: f.Name, Type: f.Shape.String(), Required: f.Required, Help: fielddocs.First(fielddocs.Of(f.Struct, f.GoName))})
	}
	return out
}

func envelopeType(field string) string {
	switch field {
	case fieldInclude:
		return "a list of texts"
	case fieldContexts:
		return "a list of mappings"
	case fieldEnvironments:
		return "a mapping of names to mappings"
	}
	return "a text"
}

// envelopeValid gives the valid values of an envelope's field, if they are few.
func (e explainer) envelopeValid(field string) []string {
	if field == fieldKind {
		return []string{e.kind.Name}
	}
	return nil
}

// example makes an example from those of the fields: the required ones, or else the first that has one.
func example(sh *shape.Shape, enum []string, depth int) string {
	if depth > 4 {
		return ""
	}
	switch sh.Kind {
	case shape.Bool:
		return "true"
	case shape.String:
		if len(enum) > 0 {
			return enum[0]
		}
	case shape.List:
		if e := example(sh.Elem, enum, depth+1); e != "" {
			return "[" + e + "]"
		}
	case shape.Object:
		var parts []string
		for _, f := range sh.Fields {
			e := f.Example
			if e == "" {
				e = example(f.Shape, f.Enum, depth+1)
			}
			if e != "" && f.Required {
				parts = append(parts, f.Name+": "+e)
			}
		}
		for _, f := range sh.Fields {
			if len(parts) == 0 && f.Example != "" {
				parts = append(parts, f.Name+": "+f.Example)
			}
		}
		if len(parts) > 0 {
			return "{" + strings.Join(parts, ", ") + "}"
		}
	}
	return ""
}

// written gives a default as one would write it in YAML, on one line; "" for a zero value.
func written(v any) string {
	if r := reflect.ValueOf(v); !r.IsValid() || r.IsZero() {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	var any any
	if json.Unmarshal(b, &any) != nil {
		return ""
	}
	return inline(any)
}

// bare is a text that needs no quotes in a flow mapping.
var bare = regexp.MustCompile(`^[A-Za-z./_][A-Za-z0-9./_-]*$|^[0-9.]+[a-z]+$|^[0-9.]+:[0-9]+$`)

func inline(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, k+": "+inline(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, inline(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case string:
		if bare.MatchString(v) && v != "true" && v != "false" && v != "null" {
			return v
		}
	}
	b, _ := json.Marshal(v) // a scalar: cannot fail
	return string(b)
}

// printExplanation gives the text view.
func printExplanation(w io.Writer, x api.Explanation) {
	if x.Path != "" {
		fmt.Fprintf(w, "%s  %s", x.Path, x.Type)
		if x.Required {
			fmt.Fprint(w, ", required")
		}
		fmt.Fprint(w, "\n\n")
	}
	if x.Help != "" {
		fmt.Fprintln(w, strings.TrimSuffix(capital(x.Help), ".")+".")
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	if x.Default+x.Example+strings.Join(x.Valid, "") != "" {
		fmt.Fprintln(t)
	}
	for _, row := range [][2]string{{"default", x.Default}, {"example", x.Example}, {"valid", strings.Join(x.Valid, ", ")}} {
		if row[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
		}
	}
	t.Flush()
	if len(x.Fields) > 0 {
		fmt.Fprintln(w)
	}
	for _, f := range x.Fields {
		typ := f.Type
		if f.Required {
			typ += ", required"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Name, typ, capital(f.Help))
	}
	t.Flush()
	switch {
	case x.Path == "" && len(x.Fields) > 0:
		fmt.Fprintf(w, "\nMore: stoa explain %s\n", x.Fields[len(x.Fields)-1].Name)
	case len(x.Fields) > 0:
		fmt.Fprintf(w, "\nMore: stoa explain %s.%s\n", x.Path, x.Fields[len(x.Fields)-1].Name)
	}
}

// capital begins a sentence.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
