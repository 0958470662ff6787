package blueprint

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stoa/api/core"
	"stoa/internal/kernel/host"
)

// echoes tells which reports may only be echoes of what is broken in another document:
// that a service has no port grpc, say, while its ports could not be read.
//
// A report is about the value at its path, and about the mapping that the value is part
// of. If one of the texts there is the name of a broken document, and the report speaks of
// that document too, it waits until that one is mended.
type echoes struct {
	broken   map[string]bool // names
	sections map[string]any  // decoded, by document and section
}

func newEchoes(drafts []*draft) *echoes {
	e := &echoes{broken: map[string]bool{}, sections: map[string]any{}}
	for _, d := range drafts {
		if d.stub || len(d.broken) > 0 {
			e.broken[d.doc.Name] = true
		}
	}
	return e
}

// step is one step of a path.
var step = regexp.MustCompile(`[^.\[\]]+`)

// may says whether a finding in d may be an echo.
func (e *echoes) may(d *draft, f host.Finding) bool {
	if len(e.broken) == 0 {
		return false
	}
	steps := step.FindAllString(f.Path, -1)
	section := ""
	if len(steps) > 0 && d.doc.Has(steps[0]) {
		section, steps = steps[0], steps[1:]
	}
	v := e.section(d.doc, section)
	var part any // mapping that v is part of
	for _, s := range steps {
		switch c := v.(type) {
		case map[string]any:
			part, v = c, c[s]
		case []any:
			i, err := strconv.Atoi(s)
			if err != nil || i < 0 || i >= len(c) {
				return false
			}
			v = c[i]
		default:
			return false
		}
	}
	speaks := func(name string) bool {
		return name != d.doc.Name && e.broken[name] && (mentions(f.Msg, name) || mentions(f.Hint, name))
	}
	return names(v, speaks) || names(part, speaks)
}

// names says whether v is the name of a document that speaks approves, or such a name and
// what of it ("inventory.reserve"), or holds one.
func names(v any, speaks func(name string) bool) bool {
	switch v := v.(type) {
	case string:
		name, _, _ := strings.Cut(v, ".")
		return speaks(name)
	case map[string]any:
		for _, x := range v {
			if s, ok := x.(string); ok && names(s, speaks) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(x any) bool { s, ok := x.(string); return ok && names(s, speaks) })
	}
	return false
}

// section decodes a section once.
func (e *echoes) section(d core.Document, name string) any {
	key := d.Ref().String() + " " + name
	v, ok := e.sections[key]
	if !ok && len(d.Sections[name]) > 0 {
		_ = json.Unmarshal(d.Sections[name], &v) // it was made by the walker
	}
	e.sections[key] = v
	return v
}

// mentions says whether text holds name as a word of its own.
func mentions(text, name string) bool {
	return slices.Contains(strings.FieldsFunc(text, func(r rune) bool {
		return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), name)
}
