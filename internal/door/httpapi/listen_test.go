package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

func TestWhoMayAsk(t *testing.T) {
	for _, c := range []struct {
		uid, me int
		want    bool
	}{{1000, 1000, true}, {0, 1000, true}, {0, 0, true}, {1001, 1000, false}, {1000, 0, false}, {-1, 1000, false}, {65534, 0, false}} {
		if got := mayAsk(c.uid, c.me); got != c.want {
			t.Errorf("user %d at a platform of user %d: got %v, want %v", c.uid, c.me, got, c.want)
		}
	}
}

// The walker takes any bytes without a panic, and what it lets pass decodes without a surprise.
func FuzzStrict(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, `{"a":{"b":[{"c":1}]}}`, `[`, `{"a":`, `null`, `"x"`, `{"list":[{"in":{}}],"raw":{"x":[1]},"m":{"k":{"in":null}}}`, "\xff", `{"a":1,"a":2}`} {
		f.Add([]byte(s))
	}
	type inner struct {
		In *inner `json:"in"`
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		strictly[struct {
			A    any              `json:"a"`
			List []inner          `json:"list"`
			M    map[string]inner `json:"m"`
		}](t, b)
	})
}

func strictly[T any](t *testing.T, b []byte) {
	t.Helper()
	if err := strict(b, reflect.TypeFor[T](), "fuzz"); err != nil {
		return
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var v T
	var wrong *json.UnmarshalTypeError
	if err := dec.Decode(&v); err != nil && !errors.As(err, &wrong) {
		t.Errorf("%q passed, but: %v", b, err)
	}
}
