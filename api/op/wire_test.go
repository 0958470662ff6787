package op_test

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/op"
)

type page struct {
	Limit int `json:"limit,omitempty" flag:"limit,n"`
}

type logsIn struct {
	page
	Ref    core.Ref      `json:"ref" arg:"KIND/NAME,optional" help:"only this one"`
	Follow bool          `json:"follow,omitempty" flag:"follow,f"`
	Since  core.Duration `json:"since,omitempty" flag:"since"`
	Rate   float64       `json:"rate,omitempty"`
	Rev    uint64        `json:"rev,omitempty"`
	Skip   string        `json:"-"`
}

// A request of scalars survives the way through a query, embedded fields and text types included.
func TestQueryRoundTrip(t *testing.T) {
	in := logsIn{page: page{Limit: -7}, Ref: core.Ref{Kind: "Service", Name: "orders"}, Follow: true,
		Since: core.Duration(90 * time.Second), Rate: 0.1, Rev: 1 << 63}
	q, err := op.Query(in)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := q.Encode(), "follow=true&limit=-7&rate=0.1&ref=service%2Forders&rev=9223372036854775808&since=1m30s"; got != want {
		t.Errorf("query of %+v: got %s, want %s", in, got, want)
	}
	var out logsIn
	for _, f := range op.Fields(reflect.TypeOf(in)) {
		if err := op.SetText(reflect.ValueOf(&out).Elem().FieldByIndex(f.Index), q.Get(f.Name)); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	if out != in {
		t.Errorf("got %+v, want %+v", out, in)
	}
}

func TestMethod(t *testing.T) {
	for _, c := range []struct {
		effect op.Effect
		in     reflect.Type
		want   string
	}{
		{op.Read, reflect.TypeFor[logsIn](), http.MethodGet},
		{"", reflect.TypeFor[op.None](), http.MethodGet},
		{op.Write, reflect.TypeFor[op.None](), http.MethodPost},
		{op.Destroy, reflect.TypeFor[logsIn](), http.MethodPost},
		{op.Read, reflect.TypeFor[struct{ L []string }](), http.MethodPost},
		{op.Read, reflect.TypeFor[struct{ M map[string]string }](), http.MethodPost},
		{op.Read, reflect.TypeFor[struct{ S struct{ A int } }](), http.MethodPost},
	} {
		if got := op.Method(c.effect, c.in); got != c.want {
			t.Errorf("method of a %s with %s: got %s, want %s", c.effect, c.in, got, c.want)
		}
	}
}

func TestSetTextRefuses(t *testing.T) {
	var v struct {
		I int
		U uint8
		B bool
		F float64
		D core.Duration
		R core.Ref
	}
	for field, bad := range map[string][]string{
		"I": {"", "x", "1.5", "99999999999999999999"}, "U": {"-1", "256"}, "B": {"maybe", ""},
		"F": {"NaN", "+Inf", "x"}, "D": {"-1s", "5"}, "R": {"orders", "service/", "service/Bad"},
	} {
		for _, s := range bad {
			if err := op.SetText(reflect.ValueOf(&v).Elem().FieldByName(field), s); err == nil {
				t.Errorf("%s took %q", field, s)
			}
		}
	}
}
