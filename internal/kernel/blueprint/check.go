package blueprint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"stoa/api/core"
	"stoa/internal/kernel/host"
)

// CheckState runs the check of every section of every document of st, those that are not
// written too (on their default), and gives what is wrong, ordered by document, at most
// host.MaxFindings. Sections must decode as their types, as Load and Strict see to.
func CheckState(cat *host.Catalog, st core.State) []host.Finding {
	var out []host.Finding
	once := map[string]any{}
	checkSystems(st, &out)
	contexts := slices.ContainsFunc(slices.Collect(maps.Keys(st.Docs)), func(r core.Ref) bool { return r.Kind == core.KindContext })
	for _, ref := range st.Refs() {
		if len(out) >= host.MaxFindings {
			break
		}
		d := st.Docs[ref]
		if contexts && d.Context != "" {
			host.NewChecker(d, st, fieldContext, &out).Exists("", core.KindContext, d.Context)
		}
		for _, s := range cat.SectionsOf(ref.Kind) {
			s.Check(host.NewChecker(d, st, s.Name, &out).Sharing(once), d.Sections[s.Name])
		}
	}
	return out
}

// checkSystems refuses a second System: gateway and secrets are those of one.
func checkSystems(st core.State, out *[]host.Finding) {
	systems := st.Of(core.KindSystem)
	if len(systems) < 2 {
		return
	}
	var of []string
	for _, d := range systems {
		of = append(of, strings.TrimSuffix(fmt.Sprintf("%s of %s", d.Ref(), d.Source), " of "))
	}
	host.NewChecker(systems[0], st, "", out).Bad("", "a platform runs one System, here are "+strings.Join(of, " and "),
		"take the System out of one folder, which makes it a part of the other's; delete the one that is no longer wanted; or run another platform, with --data")
}

// checkBeside is CheckState for what documents say of the files beside them.
func checkBeside(cat *host.Catalog, st core.State) []host.Finding {
	var out []host.Finding
	for _, ref := range st.Refs() {
		d := st.Docs[ref]
		for _, s := range cat.SectionsOf(ref.Kind) {
			if s.Beside != nil && d.Has(s.Name) && len(out) < host.MaxFindings {
				s.Beside(host.NewChecker(d, st, s.Name, &out), d.Sections[s.Name])
			}
		}
	}
	return out
}

// Strict says what is wrong with the form of a document that comes as JSON: unknown kind
// or sections, bad name, unknown fields, wrong types, bad values. A document without
// findings may be stored and checked (CheckState).
func Strict(cat *host.Catalog, d core.Document) []host.Finding {
	var out []host.Finding
	ref := d.Ref()
	bad := func(path, msg, hint string) {
		if len(out) >= host.MaxFindings {
			return
		}
		out = append(out, host.Finding{Ref: ref, Path: path, Msg: msg, Hint: hint})
	}
	var kinds []string
	for _, k := range cat.Kinds {
		kinds = append(kinds, k.Name)
	}
	if !slices.Contains(kinds, d.Kind) {
		bad(fieldKind, fmt.Sprintf("unknown kind %q", cut(d.Kind)), near(d.Kind, kinds))
		return out
	}
	if err := core.CheckName(d.Name); err != nil {
		bad(fieldName, strings.TrimPrefix(err.Error(), d.Name+": "), "")
	}
	if err := core.CheckName(d.Context); d.Context != "" && err != nil {
		bad(fieldContext, strings.TrimPrefix(err.Error(), d.Context+": "), "")
	}
	sections := cat.SectionsOf(d.Kind)
	var names []string
	for _, s := range sections {
		names = append(names, s.Name)
	}
	shapes := shapesOf(cat)
	w := &walker{
		report: func(_ *yaml.Node, path, _, msg, hint string) { bad(path, msg, hint) },
		spoil:  func(string) {}, full: func() bool { return len(out) >= maxOfFile }, json: true,
	}
	for _, name := range slices.Sorted(maps.Keys(d.Sections)) {
		i := slices.Index(names, name)
		if i < 0 {
			bad(name, fmt.Sprintf("unknown section %q", cut(name)), near(name, names))
			continue
		}
		n, err := jsonNode(d.Sections[name])
		if err != nil {
			bad(name, err.Error(), "")
			continue
		}
		w.section(n, shapes.of(sections[i]), sections[i], want{})
	}
	return out
}

// jsonNode gives the nodes of a JSON text.
func jsonNode(raw []byte) (*yaml.Node, error) {
	if len(raw) > maxFileBytes {
		return nil, errTooLarge
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	n, err := jsonValue(dec, 0)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it ends too early")
	}
	if err != nil {
		return nil, fmt.Errorf("is no JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("holds more than one JSON value")
	}
	return n, nil
}

func jsonValue(dec *json.Decoder, depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d", maxDepth)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := t.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if v == '{' {
			n.Kind = yaml.MappingNode
		}
		for dec.More() {
			e, err := jsonValue(dec, depth+1) // keys too: they are tokens of their own
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, e)
		}
		_, err := dec.Token()
		return n, err
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Style: yaml.DoubleQuotedStyle, Value: v}, nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: v.String()}, nil
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: "null"}, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(t)}, nil
}
