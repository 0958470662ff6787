package blueprint

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	api "stoa/api/blueprint"
	"stoa/api/core"
	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/host"
	"stoa/internal/kernel/shape"
)

// The fields of the envelope.
const (
	fieldKind         = "kind"
	fieldName         = "name"
	fieldContext      = "context"
	fieldInclude      = "include"      // of a System
	fieldEnvironments = "environments" // of a System
	fieldContexts     = "contexts"     // of a System
)

// envelope gives the fields of a document of kind that are no sections.
func envelope(kind string) []string {
	switch kind {
	case core.KindSystem:
		return []string{fieldKind, fieldName, fieldInclude, fieldContexts, fieldEnvironments}
	case core.KindContext:
		return []string{fieldKind, fieldName}
	}
	return []string{fieldKind, fieldName, fieldContext}
}

// shapes are the shapes of all sections, by kind and name.
type shapes map[[2]string]*shape.Shape

func shapesOf(cat *host.Catalog) shapes {
	out := shapes{}
	for _, s := range cat.Sections {
		out[[2]string{s.Kind, s.Name}] = shape.Of(s.Type)
	}
	return out
}

func (s shapes) of(sec host.Section) *shape.Shape { return s[[2]string{sec.Kind, sec.Name}] }

// decodes says why raw is no value of the section's type, or nil.
func decodes(raw json.RawMessage, sec host.Section) error {
	return json.Unmarshal(raw, reflect.New(sec.Type).Interface())
}

// A draft is a document while it is read: what is good of it, and where everything is.
type draft struct {
	doc  core.Document
	file *file
	line int  // see root
	stub bool // only the name is known; nothing is checked

	places map[string]api.Position // by path
	broken map[string]bool         // paths that are broken (true), and those around them (false)

	include      []located  // of a System
	environments *yaml.Node // of a System; nil if there is none
}

// A located is a text and where it is written.
type located struct {
	text string
	path string
	at   api.Position
}

func (d *draft) position(n *yaml.Node) api.Position {
	return api.Position{File: d.file.rel, Line: n.Line + d.line, Column: n.Column}
}

// at gives the place of path, or of the nearest field around it.
func (d *draft) at(path string) api.Position {
	for {
		if p, ok := d.places[path]; ok {
			return p
		}
		if path == "" {
			return api.Position{File: d.file.rel}
		}
		path = around(path)
	}
}

// spoil marks the place at path as broken.
func (d *draft) spoil(path string) {
	if d.broken == nil {
		d.broken = map[string]bool{}
	}
	d.broken[path] = true
	for path != "" {
		path = around(path)
		if _, ok := d.broken[path]; ok {
			return
		}
		d.broken[path] = false
	}
}

// touches says whether path is at, above or below a broken place.
func (d *draft) touches(path string) bool {
	if d.stub {
		return true
	}
	if _, ok := d.broken[path]; ok {
		return true
	}
	for path != "" {
		path = around(path)
		if d.broken[path] {
			return true
		}
	}
	return false
}

// around gives the path of what the field at path is part of.
func around(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// within says whether path a is b or lies below it.
func within(a, b string) bool {
	return strings.HasPrefix(a, b) && (len(a) == len(b) || b == "" || a[len(b)] == '.' || a[len(b)] == '[')
}

// take turns a parsed file into drafts.
func (l *loader) take(p parsed) {
	l.files = append(l.files, p.file)
	l.problems = append(l.problems, p.file.held...)
	for _, r := range p.docs {
		l.document(p.file, r)
	}
	for _, d := range p.lost {
		l.stub(p.file, root{&yaml.Node{}, 0}, d.kind, d.name)
	}
}

// stub keeps the name of a document that cannot be read, so that references to it hold.
// If its kind is not known, the name is kept for every kind.
func (l *loader) stub(f *file, r root, kind, name string) {
	if name == "" {
		l.unread = true
		return
	}
	if kind == core.KindSystem {
		l.unread = true // its contexts are lost with it
	}
	var kinds []string
	for _, k := range l.cat.Kinds {
		if k.Name == kind {
			kinds = []string{kind}
			break
		}
		if k.Many {
			kinds = append(kinds, k.Name)
		}
	}
	for _, k := range kinds {
		d := &draft{doc: core.Document{Kind: k, Name: name, Source: l.dir, File: f.rel}, file: f, line: r.line, stub: true}
		if _, ok := l.byRef[d.doc.Ref()]; !ok {
			l.byRef[d.doc.Ref()] = d
			l.drafts = append(l.drafts, d)
		}
	}
}

// document reads one document.
func (l *loader) document(f *file, r root) {
	d := &draft{file: f, line: r.line, places: map[string]api.Position{}}
	at := d.position(r.node)
	if r.node.Kind != yaml.MappingNode {
		l.unread = true
		if r.node.Kind != broken {
			l.report(at, "", "", RuleType, "want a document with kind and name, not "+describe(r.node), "")
		}
		return
	}
	kind, name := child(r.node, fieldKind), child(r.node, fieldName)
	kindText, nameText := "", ""
	if name != nil && name.Kind == yaml.ScalarNode {
		nameText = name.Value
	}
	if kind != nil && kind.Kind == yaml.ScalarNode {
		kindText = kind.Value
	}
	var kinds []string
	for _, k := range l.cat.Kinds {
		kinds = append(kinds, k.Name)
	}
	switch {
	case kind == nil:
		l.report(at, "", fieldKind, RuleMissing, "is missing", "valid: "+strings.Join(kinds, ", "))
	case kindText == "":
		if kind.Kind != broken {
			l.report(d.position(kind), "", fieldKind, RuleType, "want a kind, not "+describe(kind), "valid: "+strings.Join(kinds, ", "))
		}
	case !slices.Contains(kinds, kindText):
		l.report(d.position(kind), "", fieldKind, RuleUnknownKind, fmt.Sprintf("unknown kind %q", cut(kindText)), near(kindText, kinds))
	default:
		d.doc = core.Document{Kind: kindText, Source: l.dir, File: f.rel}
		l.body(d, r.node, false)
		return
	}
	l.stub(f, r, nearest.To(kindText, kinds), nameText)
}

// body reads what follows the kind. inline says that it is a Context inside a System,
// whose kind is not written.
func (l *loader) body(d *draft, n *yaml.Node, inline bool) {
	kind := d.doc.Kind
	if name := child(n, fieldName); name != nil && name.Kind == yaml.ScalarNode {
		d.doc.Name = name.Value
	}
	subject := d.doc.Ref().String()
	if d.doc.Name == "" {
		subject = strings.ToLower(kind)
	}
	w := &walker{
		report: func(n *yaml.Node, path, rule, msg, hint string) {
			if l.full(d.file.rel) {
				path = "" // nobody will hear of it: do not keep the place either
			}
			d.spoil(path)
			l.report(d.position(n), subject, path, rule, msg, hint)
		},
		spoil: d.spoil,
		full:  func() bool { return l.full(d.file.rel) },
		place: func(n *yaml.Node, path string) { d.places[path] = d.position(n) },
	}
	w.place(n, "")

	sections := l.cat.SectionsOf(kind)
	envelope := envelope(kind)
	if inline {
		envelope = []string{fieldName}
	}
	valid := slices.Clone(envelope)
	whole := len(sections) == 1 && sections[0].Name == "" // one owner has all other fields
	for _, s := range sections {
		if whole {
			valid = append(valid, l.shapes.of(s).FieldNames()...)
		} else {
			valid = append(valid, s.Name)
		}
	}
	d.doc.Sections = map[string]json.RawMessage{}
	rest := &yaml.Node{Kind: yaml.MappingNode, Line: n.Line, Column: n.Column}
	meant := map[string]bool{}
	for k, v := range w.fields(n, "") {
		i := slices.IndexFunc(sections, func(s host.Section) bool { return s.Name == k.Value && s.Name != "" })
		switch {
		case slices.Contains(envelope, k.Value):
			w.mark(k, v, k.Value)
			meant[k.Value] = true
			l.envelope(d, w, k, v)
		case i >= 0:
			w.mark(k, v, k.Value)
			if raw, ok := w.section(v, l.shapes.of(sections[i]), sections[i], want{}); ok {
				d.doc.Sections[k.Value] = raw
			}
		case whole && slices.Contains(valid, k.Value):
			rest.Content = append(rest.Content, k, v)
		default:
			what := "field"
			if !whole {
				what = "section"
			}
			if m := w.unknown(k, k.Value, valid, "", what); m != "" {
				meant[m] = true
				w.spoil(m)
				if whole && !slices.Contains(envelope, m) && child(n, m) == nil { // so that it is not missed as well
					rest.Content = append(rest.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: m, Style: yaml.DoubleQuotedStyle}, &yaml.Node{Kind: broken})
				}
			}
		}
	}
	if whole {
		if raw, ok := w.section(rest, l.shapes.of(sections[0]), sections[0], want{}); ok {
			d.doc.Sections[""] = raw
		}
	}
	switch {
	case d.doc.Name == "" && !meant[fieldName]:
		w.report(n, fieldName, RuleMissing, "is missing", "add name: and its name")
	case d.doc.Name != "":
		l.keep(d)
		return
	}
	l.unread = true
}

// envelope reads one field of the envelope.
func (l *loader) envelope(d *draft, w *walker, k, v *yaml.Node) {
	switch k.Value {
	case fieldName, fieldContext:
		if v.Kind == broken {
			w.spoil(k.Value)
			return
		}
		if v.Kind != yaml.ScalarNode || v.Value == "" || kindOf(v) == scalarNull {
			w.report(v, k.Value, RuleType, "want a name, not "+describe(v), "")
			return
		}
		if err := core.CheckName(v.Value); err != nil {
			hint := ""
			if s := slug(v.Value); s != "" {
				hint = "write " + s
			}
			w.report(v, k.Value, RuleName, strings.TrimPrefix(err.Error(), v.Value+": ")+fmt.Sprintf(", not %q", cut(v.Value)), hint)
		}
		if k.Value == fieldContext {
			d.doc.Context = v.Value
		}
	case fieldInclude:
		list, ok := w.value(v, shape.Of(reflect.TypeFor[[]string]()), want{example: "[../payments, services/*]"}, fieldInclude)
		if !ok {
			return
		}
		for i, e := range list.([]any) {
			if text, ok := e.(string); ok {
				path := fmt.Sprintf("%s[%d]", fieldInclude, i)
				d.include = append(d.include, located{text, path, d.at(path)})
			}
		}
	case fieldEnvironments:
		if v.Kind != yaml.MappingNode {
			if v.Kind != broken {
				w.report(v, fieldEnvironments, RuleType, "want a mapping of names to environments, not "+describe(v), "")
			}
			w.spoil(fieldEnvironments)
			return
		}
		d.environments = v
	case fieldContexts:
		if v.Kind != yaml.SequenceNode {
			if v.Kind != broken {
				w.report(v, fieldContexts, RuleType, "want a list of contexts, not "+describe(v), "write [{name: sales, owner: team-sales}]")
			}
			l.unread = true
			return
		}
		for i, c := range v.Content {
			path := fmt.Sprintf("%s[%d]", fieldContexts, i)
			if c.Kind != yaml.MappingNode {
				if c.Kind != broken {
					w.report(c, path, RuleType, "want a context, not "+describe(c), fmt.Sprintf("write {name: %s}", cut(c.Value)))
				}
				l.stub(d.file, root{c, d.line}, core.KindContext, c.Value)
				continue
			}
			inner := &draft{file: d.file, line: d.line, places: map[string]api.Position{}}
			inner.doc = core.Document{Kind: core.KindContext, Source: l.dir, File: d.file.rel}
			l.body(inner, c, true)
		}
	}
}

// slug gives the valid name closest to s, or "".
func slug(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, s)
	s = strings.Trim(s, "-0123456789")
	if core.CheckName(s) != nil {
		return ""
	}
	return s
}
