package core_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"stoa/api/core"
)

func TestParseRef(t *testing.T) {
	for _, c := range []struct {
		in   string
		want core.Ref
		ok   bool
	}{
		{"service/orders", core.Ref{Kind: "Service", Name: "orders"}, true},
		{"SERVICE/orders", core.Ref{Kind: "Service", Name: "orders"}, true},
		{"orders", core.Ref{}, false},
		{"service/", core.Ref{}, false},
		{"service/Orders", core.Ref{}, false},
		{"service/a/b", core.Ref{}, false},
		{"service/../x", core.Ref{}, false},
	} {
		got, err := core.ParseRef(c.in)
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("ParseRef(%q) = %v, %v; want %v, ok %v", c.in, got, err, c.want, c.ok)
		}
		if err == nil {
			if again, err := core.ParseRef(got.String()); err != nil || again != got {
				t.Errorf("%v does not read back: %v, %v", got, again, err)
			}
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "a-b-1": true, strings.Repeat("a", 63): true,
		"": false, "A": false, "1a": false, "-a": false, "a-": false, "a_b": false, "a.b": false, strings.Repeat("a", 64): false, "é": false,
	} {
		if err := core.CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v, want ok %v", name, err, ok)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, c := range []struct {
		in, out string
		want    time.Duration
		ok      bool
	}{
		{"300ms", "300ms", 300 * time.Millisecond, true},
		{"1h", "1h", time.Hour, true},
		{"90m", "1h30m", 90 * time.Minute, true},
		{"7d", "168h", 7 * 24 * time.Hour, true},
		{"0s", "0s", 0, true},
		{"-1s", "", 0, false},
		{"5", "", 0, false},
		{"1.5d", "", 0, false},
		{"", "", 0, false},
	} {
		got, err := core.ParseDuration(c.in)
		if (err == nil) != c.ok || got.D() != c.want || c.ok && got.String() != c.out {
			t.Errorf("ParseDuration(%q) = %v, %v", c.in, got, err)
		}
	}
}

// A time travels in milliseconds of UTC; none is null.
func TestTime(t *testing.T) {
	at := core.At(time.Date(2026, 1, 2, 3, 4, 5, 678_999_999, time.FixedZone("x", 3600)))
	b, err := json.Marshal([]core.Time{at, {}})
	if err != nil || string(b) != `["2026-01-02T02:04:05.678Z",null]` {
		t.Fatalf("%s, %v", b, err)
	}
	var back []core.Time
	if err := json.Unmarshal(b, &back); err != nil || !back[0].Equal(at.Time) || !back[1].IsZero() {
		t.Errorf("%v, %v", back, err)
	}
}

type pot struct {
	Size  int               `json:"size,omitempty"`
	Plant map[string]string `json:"plant,omitempty"`
}

// A section read from a document stands on its default; writing one leaves the document it came from alone.
func TestSection(t *testing.T) {
	s := core.Section[pot]{Kind: "Thing", Name: "pot", Default: func() pot { return pot{Size: 3} }}
	doc := core.Document{Kind: "Thing", Name: "a"}
	if got := s.Of(doc); got.Size != 3 {
		t.Errorf("default %+v", got)
	}
	with, err := s.With(doc, pot{Plant: map[string]string{"b": "1", "a": "2"}})
	if err != nil || doc.Has("pot") || !with.Has("pot") || s.Of(with).Size != 3 {
		t.Errorf("%+v, %v", with, err)
	}
	if got := string(with.Canonical()); got != `{"kind":"Thing","name":"a","sections":{"pot":{"plant":{"a":"2","b":"1"}}}}` {
		t.Errorf("canonical %s", got)
	}
}

// A section that was stored unchecked is a defect of ours, and says which.
func TestUncheckedSectionPanics(t *testing.T) {
	defer func() {
		if r := recover(); r == nil || !strings.Contains(r.(string), "thing/a") {
			t.Errorf("recovered %v", r)
		}
	}()
	s := core.Section[pot]{Kind: "Thing", Name: "pot"}
	s.Of(core.Document{Kind: "Thing", Name: "a", Sections: map[string]json.RawMessage{"pot": []byte(`{"size":"big"}`)}})
}

func TestState(t *testing.T) {
	docs := map[core.Ref]core.Document{}
	for _, d := range []core.Document{{Kind: "Service", Name: "b"}, {Kind: "Service", Name: "a"}, {Kind: "System", Name: "shop"}} {
		docs[d.Ref()] = d
	}
	s := core.State{Docs: docs}
	if got := s.Of("Service"); len(got) != 2 || got[0].Name != "a" {
		t.Errorf("Of gave %v", got)
	}
	if sys, ok := s.System(); !ok || sys.Name != "shop" {
		t.Errorf("System gave %v, %v", sys, ok)
	}
	if refs := s.Refs(); len(refs) != 3 || refs[0].String() != "service/a" || refs[2].String() != "system/shop" {
		t.Errorf("Refs gave %v", refs)
	}
}
