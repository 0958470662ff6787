package apply

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"stoa/api/core"
	"stoa/api/platform"
)

// canonical is Document.Canonical for one that may come from outside.
func canonical(d core.Document) ([]byte, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("a section is no JSON: %w", err)
	}
	return b, nil
}

// fields gives what differs between two forms of one document, in the order of the
// paths: envelope, artefacts and sections by name.
func fields(old, new core.Document) []platform.Field {
	var d differ
	d.text("context", old.Context, new.Context)
	d.text("source", old.Source, new.Source)
	d.text("file", old.File, new.File)
	for _, role := range names(old.Artefacts, new.Artefacts) {
		d.text("artefacts."+role, old.Artefacts[role], new.Artefacts[role])
	}
	for _, name := range names(old.Sections, new.Sections) {
		a, b := old.Sections[name], new.Sections[name]
		if !bytes.Equal(a, b) {
			d.value(name, decode(a), decode(b))
		}
	}
	return d.out
}

func names[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// absent is what is not written, unlike a null, which is.
type absent struct{}

// decode gives raw as values of encoding/json, numbers as written.
func decode(raw json.RawMessage) any {
	if len(raw) == 0 {
		return absent{}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return string(raw)
	}
	return v
}

// differ walks two values side by side.
type differ struct{ out []platform.Field }

func (d *differ) add(path string, old, new any) {
	d.out = append(d.out, platform.Field{Path: path, Old: show(old), New: show(new)})
}

func (d *differ) text(path, old, new string) {
	if old != new {
		d.out = append(d.out, platform.Field{Path: path, Old: old, New: new})
	}
}

func (d *differ) value(path string, old, new any) {
	switch o := old.(type) {
	case map[string]any:
		if n, ok := new.(map[string]any); ok {
			for _, key := range names(o, n) {
				d.value(join(path, key), at(o, key), at(n, key))
			}
			return
		}
	case []any:
		if n, ok := new.([]any); ok {
			d.list(path, o, n)
			return
		}
	}
	if show(old) != show(new) || !same(old, new) {
		d.add(path, old, new)
	}
}

// list compares elements that bear a name by their name, so that one that was put in
// front does not make all others look changed; other elements by their place.
func (d *differ) list(path string, old, new []any) {
	key := identity(old, new)
	if key == "" {
		for i := range max(len(old), len(new)) {
			d.value(fmt.Sprintf("%s[%d]", path, i), element(old, i), element(new, i))
		}
		return
	}
	var kept, now []string // names on both sides, in the order of each
	for i, o := range old {
		name := o.(map[string]any)[key].(string)
		if j := find(new, key, name); j < 0 {
			d.add(fmt.Sprintf("%s[%d]", path, i), o, absent{})
		} else {
			kept = append(kept, name)
		}
	}
	for j, n := range new {
		name := n.(map[string]any)[key].(string)
		i := find(old, key, name)
		if i >= 0 {
			now = append(now, name)
			d.value(fmt.Sprintf("%s[%d]", path, j), old[i], n)
		} else {
			d.add(fmt.Sprintf("%s[%d]", path, j), absent{}, n)
		}
	}
	if !slices.Equal(kept, now) {
		d.out = append(d.out, platform.Field{Path: path, Old: "order " + strings.Join(kept, ", "), New: "order " + strings.Join(now, ", ")})
	}
}

// identities are fields that name the element of a list, the more telling first.
var identities = []string{"name", "service", "topic", "context", "path", "env"}

// identity gives the field by which the elements of both lists can be told apart, or "".
func identity(old, new []any) string {
	if len(old) == 0 || len(new) == 0 {
		return ""
	}
	tells := func(list []any, key string) bool {
		seen := map[string]bool{}
		for _, e := range list {
			m, ok := e.(map[string]any)
			if !ok {
				return false
			}
			name, ok := m[key].(string)
			if !ok || seen[name] {
				return false
			}
			seen[name] = true
		}
		return true
	}
	for _, key := range identities {
		if tells(old, key) && tells(new, key) {
			return key
		}
	}
	return ""
}

func find(list []any, key, name string) int {
	return slices.IndexFunc(list, func(e any) bool { return e.(map[string]any)[key] == name })
}

func element(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return absent{}
}

func at(m map[string]any, key string) any {
	if v, ok := m[key]; ok {
		return v
	}
	return absent{}
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func join(path, key string) string {
	switch {
	case !plain.MatchString(key):
		return fmt.Sprintf("%s[%q]", path, key)
	case path == "":
		return key
	}
	return path + "." + key
}

func same(a, b any) bool {
	x, _ := json.Marshal(a) // came from JSON
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// maxShown is how many bytes of a value a plan shows.
const maxShown = 160

// show gives a value as a person writes it: absent is "", an empty text `""`.
func show(v any) string {
	var s string
	switch v := v.(type) {
	case absent:
		return ""
	case string:
		s = v
		if s == "" || strings.ContainsAny(s, "\n\r\t") {
			s = fmt.Sprintf("%q", v)
		}
	default:
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(v) // came from JSON
		s = strings.TrimSuffix(b.String(), "\n")
	}
	if len(s) <= maxShown {
		return s
	}
	n := maxShown
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
