package resources

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// writeSections gives the sections of a document in the form of a blueprint: YAML of the
// plainest kind, in the order of the JSON it is stored in. It is for reading; it is not
// read back.
func writeSections(w io.Writer, sections map[string]json.RawMessage) {
	for _, name := range sortedKeys(sections) {
		dec := json.NewDecoder(bytes.NewReader(sections[name]))
		dec.UseNumber()
		v, err := readValue(dec)
		if err != nil {
			fmt.Fprintf(w, "%s: %s\n", name, clean(string(sections[name])))
			continue
		}
		if name == "" { // a body: its fields are the document's
			if o, ok := v.(object); ok {
				writeFields(w, o, "")
				continue
			}
			name = "body"
		}
		writeFields(w, object{{name, v}}, "")
	}
}

// object is a JSON object in the order in which it is written.
type object []member

type member struct {
	key   string
	value any
}

// readValue reads the next value: object, []any, string, json.Number, bool or nil.
func readValue(dec *json.Decoder) (any, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := object{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := readValue(dec)
			if err != nil {
				return nil, err
			}
			o = append(o, member{key.(string), v})
		}
		_, err := dec.Token()
		return o, err
	case json.Delim('['):
		l := []any{}
		for dec.More() {
			v, err := readValue(dec)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		_, err := dec.Token()
		return l, err
	}
	return t, nil
}

func writeFields(w io.Writer, o object, indent string) {
	for _, m := range o {
		if s, ok := inline(m.value); ok {
			fmt.Fprintf(w, "%s%s: %s\n", indent, text(m.key), s)
			continue
		}
		fmt.Fprintf(w, "%s%s:\n", indent, text(m.key))
		switch v := m.value.(type) {
		case object:
			writeFields(w, v, indent+"  ")
		case []any:
			for _, e := range v {
				writeElement(w, e, indent+"  ")
			}
		}
	}
}

func writeElement(w io.Writer, e any, indent string) {
	if s, ok := inline(e); ok {
		fmt.Fprintf(w, "%s- %s\n", indent, s)
		return
	}
	// The fields or elements of e, the first of them behind the dash.
	var b bytes.Buffer
	switch v := e.(type) {
	case object:
		writeFields(&b, v, indent+"  ")
	case []any:
		for _, e := range v {
			writeElement(&b, e, indent+"  ")
		}
	}
	fmt.Fprintf(w, "%s- %s", indent, strings.TrimPrefix(b.String(), indent+"  "))
}

// maxInline is how long a list or object of plain values may be to stand on one line.
const maxInline = 80

// inline gives v on one line: a scalar, or a short list or object of scalars.
func inline(v any) (string, bool) {
	var parts []string
	switch v := v.(type) {
	case object:
		for _, m := range v {
			s, ok := scalar(m.value)
			if !ok {
				return "", false
			}
			parts = append(parts, text(m.key)+": "+s)
		}
		s := "{" + strings.Join(parts, ", ") + "}"
		return s, len(s) <= maxInline
	case []any:
		for _, e := range v {
			s, ok := scalar(e)
			if !ok {
				return "", false
			}
			parts = append(parts, s)
		}
		s := "[" + strings.Join(parts, ", ") + "]"
		return s, len(s) <= maxInline
	}
	return scalar(v)
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case object:
		return "{}", len(v) == 0
	case []any:
		return "[]", len(v) == 0
	case string:
		return text(v), true
	case nil:
		return "null", true
	}
	return fmt.Sprint(v), true
}

// bare are texts that YAML reads as the same text without quotes, be they in a list or not.
var bare = regexp.MustCompile(`^[A-Za-z_./][A-Za-z0-9_./+@%=-]*( [A-Za-z0-9_./+@%=-]+)*$|^[0-9]+(ms|s|m|h|d)$`)

// words are texts that YAML would read as something else.
var words = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

func text(s string) string {
	if bare.MatchString(s) && !slices.Contains(words, strings.ToLower(s)) && (s[0] != '.' || strings.HasPrefix(s, "./")) {
		return s
	}
	b, _ := json.Marshal(s) // a string: cannot fail; a JSON text is a YAML text
	return string(b)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
