package stores

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/stores"
	"stoa/internal/kernel/host"
)

func doc(name, section string) core.Document {
	return core.Document{Kind: core.KindService, Name: name, Sections: map[string]json.RawMessage{"stores": json.RawMessage(section)}}
}

func state(docs ...core.Document) core.State {
	s := core.State{Docs: map[core.Ref]core.Document{}}
	for _, d := range docs {
		s.Docs[d.Ref()] = d
	}
	return s
}

// A store is a file that only its owner may read, in a folder of the service's own, and is kept.
func TestGrant(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "stores")
	m := New(Ports{Dir: func() string { return dir }})
	in := host.Instance{Doc: doc("orders", `[{"name":"orders","engine":"sqlite"},{"name":"old-orders","engine":"sqlite"}]`)}
	g, err := m.grant(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "orders", "orders", "orders.sqlite")
	if g.Env["DATABASE_URL"] != "sqlite://"+file || !strings.HasSuffix(g.Env["OLD_ORDERS_URL"], "/old-orders.sqlite") {
		t.Errorf("env %v", g.Env)
	}
	for path, want := range map[string]fs.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %o", path, info, err, want)
		}
	}
	if err := os.WriteFile(file, []byte("rows"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.grant(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(file); string(b) != "rows" {
		t.Errorf("a second start left %q of the data", b)
	}
}

// Reset stops the service, throws its data away and nobody else's, and lets it start again.
func TestReset(t *testing.T) {
	dir := t.TempDir()
	var steps []string
	m := New(Ports{
		Dir:   func() string { return dir },
		State: func() core.State { return state(doc("orders", `[]`)) },
		Pause: func(_ context.Context, service string) (func(), error) {
			_, err := os.Stat(filepath.Join(dir, service))
			steps = append(steps, "pause "+service, map[bool]string{true: "there"}[err == nil])
			return func() { steps = append(steps, "resume "+service) }, nil
		},
	})
	for _, s := range []string{"orders", "cart"} {
		if err := os.MkdirAll(filepath.Join(dir, s, s), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	out, err := m.reset(t.Context(), stores.ResetIn{Service: "orders"})
	if err != nil || !slices.Equal(out.Removed, []string{"orders/orders"}) || !slices.Equal(steps, []string{"pause orders", "there", "resume orders"}) {
		t.Errorf("%v, %v, %v", out, err, steps)
	}
	if _, err := os.Stat(filepath.Join(dir, "cart")); err != nil {
		t.Error("another service's data went too")
	}
	if _, err := m.reset(t.Context(), stores.ResetIn{Service: "nobody"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown service gave %v", err)
	}
	if _, err := m.reset(t.Context(), stores.ResetIn{Service: "../cart"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a path gave %v", err)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ name, section, want string }{
		{"good", `[{"name":"b-db","engine":"sqlite"}]`, ""},
		{"owned by another", `[{"name":"a-db","engine":"sqlite"}]`, `stores[0].name: service/a owns the store "a-db"`},
		{"twice", `[{"name":"b-db","engine":"sqlite"},{"name":"b-db","engine":"sqlite","env":"X"}]`, "stores[1].name: is the store of stores[0]"},
		{"unknown engine", `[{"name":"b-db","engine":"sqlight"}]`, `stores[0].engine: "sqlight" is not valid here`},
		{"one variable twice", `[{"name":"b-db","engine":"sqlite"},{"name":"c-db","engine":"sqlite","env":"DATABASE_URL"}]`, "stores[1].env: DATABASE_URL holds the address of stores[0] already"},
		{"bad name", `[{"name":"B","engine":"sqlite"}]`, "stores[0].name: "},
	} {
		d := doc("b", c.section)
		var findings []host.Finding
		check(host.NewChecker(d, state(doc("a", `[{"name":"a-db","engine":"sqlite"}]`), d), "stores", &findings), stores.StoresSection.Of(d))
		var got []string
		for _, f := range findings {
			got = append(got, f.Path+": "+f.Msg)
		}
		switch {
		case c.want == "" && len(got) > 0:
			t.Errorf("%s: got %q, want none", c.name, got)
		case c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], c.want)):
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
