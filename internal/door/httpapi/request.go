package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"stoa/api/fault"
	"stoa/api/op"
	"stoa/internal/ground/nearest"
)

// decode gives the request of x as a pointer to its type, or the fault and the status it
// travels under (0 for that of its kind).
func decode(w http.ResponseWriter, r *http.Request, x row) (any, int, error) {
	in := zeroIn(x)
	if x.method == http.MethodGet {
		return in.Interface(), 0, decodeQuery(r.URL.RawQuery, x, in.Elem())
	}
	if r.URL.RawQuery != "" {
		return nil, 0, fault.New(fault.Invalid, x.Name, "a %s has no query; its request is the JSON body", x.method)
	}
	rc := http.NewResponseController(w)
	extra := max(0, x.limit-bodyLimit) / (128 << 10)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime + time.Duration(extra)*time.Second)) // a test's writer has none
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, x.limit))
	// From here on the connection is watched only for the caller's leaving.
	_ = rc.SetReadDeadline(time.Time{})
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		f := fault.New(fault.Invalid, x.Name, "the request is longer than %d bytes", big.Limit)
		return nil, http.StatusRequestEntityTooLarge, f
	case err != nil:
		f := fault.New(fault.Invalid, x.Name, "the request did not arrive whole: %w", err)
		return nil, http.StatusRequestTimeout, f
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		b = []byte("{}")
	} else if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		// Also a fence: a page of another origin can send this type only after asking, and it is refused.
		f := fault.New(fault.Invalid, x.Name, "want Content-Type application/json, not %q", r.Header.Get("Content-Type"))
		return nil, http.StatusUnsupportedMediaType, f
	}
	if err := strict(b, x.In, x.Name); err != nil {
		return nil, 0, err
	}
	if err := json.Unmarshal(b, in.Interface()); err != nil {
		return nil, 0, fault.New(fault.Invalid, x.Name, "%s", jsonProblem(err))
	}
	return in.Interface(), 0, nil
}

func decodeQuery(raw string, x row, in reflect.Value) error {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return fault.New(fault.Invalid, x.Name, "the query cannot be read: %w", err)
	}
	var names []string
	byName := map[string]op.Field{}
	for _, f := range x.fields {
		names = append(names, f.Name)
		byName[f.Name] = f
	}
	for name, values := range q {
		f, ok := byName[name]
		if !ok {
			return fault.New(fault.Invalid, x.Name, "there is no parameter %q", name).WithHint("%s", nearest.Hint(name, names))
		}
		if len(values) != 1 {
			return fault.New(fault.Invalid, x.Name, "parameter %s is given %d times", name, len(values))
		}
		if err := op.SetText(in.FieldByIndex(f.Index), values[0]); err != nil {
			return fault.New(fault.Invalid, x.Name, "%s: %w", name, err)
		}
	}
	return nil
}

// maxUnknown is how many unknown fields of one request are told.
const maxUnknown = 20

// strict reports the fields of b that type t does not have, exactly as they are
// written, and fields written twice: encoding/json would pass over both.
func strict(b []byte, t reflect.Type, name string) error {
	var bad []string
	hint := ""
	tell := func(path, msg, h string) {
		if len(bad) < maxUnknown {
			bad = append(bad, path+": "+msg)
		}
		if hint == "" {
			hint = h
		}
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := (&walker{dec, fieldsOf{}, tell}).walk(t, "", 0); err != nil {
		return fault.New(fault.Invalid, name, "%s", jsonProblem(err))
	}
	if _, err := dec.Token(); err != io.EOF {
		return fault.New(fault.Invalid, name, "there is more after the JSON value")
	}
	if len(bad) > 0 {
		return fault.New(fault.Invalid, name, "%s", strings.Join(bad, "; ")).WithHint("%s", hint)
	}
	return nil
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	rawMessage      = reflect.TypeFor[json.RawMessage]()
)

// maxDepth bounds how deep a request is nested where its types do not.
const maxDepth = 100

// fieldsOf caches the fields of struct types by JSON name, for one request.
type fieldsOf map[reflect.Type]map[string]reflect.Type

func (c fieldsOf) of(t reflect.Type) map[string]reflect.Type {
	if m, ok := c[t]; ok {
		return m
	}
	m := map[string]reflect.Type{}
	for _, f := range op.Fields(t) {
		m[f.Name] = f.Type
	}
	c[t] = m
	return m
}

// A walker compares one JSON value with the type it is meant for.
type walker struct {
	dec   *json.Decoder
	types fieldsOf
	tell  func(path, msg, hint string)
}

// walk reads one value that is meant for type t; a nil t takes anything.
func (w *walker) walk(t reflect.Type, path string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if opaque(t) {
		var skip json.RawMessage
		return w.dec.Decode(&skip)
	}
	tok, err := w.dec.Token()
	if err != nil {
		return err
	}
	switch tok {
	case json.Delim('{'):
		seen := map[string]bool{}
		for w.dec.More() {
			tok, err := w.dec.Token()
			if err != nil {
				return err
			}
			key := tok.(string) // the decoder gives nothing else here
			at := key
			if path != "" {
				at = path + "." + key
			}
			if seen[key] {
				w.tell(at, "written twice", "")
			}
			seen[key] = true
			if err := w.walk(w.inner(t, key, at), at, depth+1); err != nil {
				return err
			}
		}
		_, err = w.dec.Token()
	case json.Delim('['):
		var elem reflect.Type
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
			elem = t.Elem()
		}
		for i := 0; w.dec.More(); i++ {
			if err := w.walk(elem, fmt.Sprintf("%s[%d]", path, i), depth+1); err != nil {
				return err
			}
		}
		_, err = w.dec.Token()
	}
	return err
}

// inner gives the type of the field key of t, which tells if there is none.
func (w *walker) inner(t reflect.Type, key, at string) reflect.Type {
	switch t.Kind() {
	case reflect.Map:
		return t.Elem()
	case reflect.Struct:
		fields := w.types.of(t)
		if ft, ok := fields[key]; ok {
			return ft
		}
		w.tell(at, "there is no such field", nearest.Hint(key, slices.Sorted(maps.Keys(fields))))
	}
	return nil
}

// opaque says whether what is inside a t is not for us to compare.
func opaque(t reflect.Type) bool {
	if t == nil || t == rawMessage || op.Scalar(t) || reflect.PointerTo(t).Implements(jsonUnmarshaler) {
		return true
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Array:
		return false
	}
	return true
}

// jsonProblem says in our words what encoding/json found.
func jsonProblem(err error) string {
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong):
		field := wrong.Field
		if field == "" {
			field = "the request"
		}
		return fmt.Sprintf("%s: want %s, not a %s", field, jsonType(wrong.Type), wrong.Value)
	case errors.As(err, &syntax):
		return fmt.Sprintf("no JSON at byte %d: %v", syntax.Offset, err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "the JSON breaks off"
	}
	return err.Error()
}

func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a number (" + t.String() + ")"
}
