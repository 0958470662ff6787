package snapshot

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/route"
)

func mesh() Fragment {
	return Fragment{From: "mesh",
		Listeners: map[string]Listener{
			"orders>inventory": {Caller: "orders", Protocol: HTTP, Routes: []route.Rule{{Name: "all", Path: "/", Upstream: "inventory"}}},
			"orders>db":        {Caller: "orders", Protocol: TCP, Upstream: "db"},
		},
		Upstreams: map[string]Upstream{"inventory": {Protocol: HTTP1, Hold: 5 * time.Second}, "db": {Protocol: TCP}},
	}
}

func gateway(rules ...route.Rule) Fragment {
	return Fragment{From: "gateway",
		Listeners: map[string]Listener{"gateway": {Protocol: HTTP, Address: "127.0.0.1:8080", Routes: rules}},
		Upstreams: map[string]Upstream{"inventory": {Protocol: HTTP1, Hold: 5 * time.Second}},
		Sites:     map[string]Site{"web": {Dir: "/srv/web"}},
	}
}

// Fragments add up; what two declare alike is one thing, and both may add routes.
func TestMerge(t *testing.T) {
	s, err := Merge(Version{3, 7}, mesh(),
		gateway(route.Rule{Name: "inv", Path: "/inventory", Upstream: "inventory"}),
		gateway(route.Rule{Name: "web", Path: "/", Site: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Listeners) != 3 || len(s.Upstreams) != 2 || len(s.Sites) != 1 || len(s.Listeners["gateway"].Routes) != 2 || s.Version != (Version{3, 7}) {
		t.Errorf("merged %+v", s)
	}
}

// Merge changes nothing of what it is given, so fragments can be kept and merged again.
func TestMergeIsPure(t *testing.T) {
	f := gateway(route.Rule{Name: "inv", Path: "/inventory", Upstream: "inventory"})
	g := gateway(route.Rule{Name: "web", Path: "/", Site: "web"})
	first, err := Merge(Version{}, f, g)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Merge(Version{}, f, g)
	if err != nil || !reflect.DeepEqual(first, second) || len(f.Listeners["gateway"].Routes) != 1 {
		t.Errorf("merged twice: %+v\n%+v, %v", first, second, err)
	}
}

// Every problem is found at once, and names both sides.
func TestMergeProblems(t *testing.T) {
	bad := Fragment{From: "events",
		Listeners: map[string]Listener{
			"gateway":       {Protocol: HTTP, Address: "0.0.0.0:8080", Routes: []route.Rule{{Name: "inv2", Path: "/inventory/", Upstream: "inventory"}}},
			"gateway:admin": {Protocol: HTTP, Address: "127.0.0.1:8080"},
			"orders>queue":  {Caller: "orders", Protocol: TCP, Upstream: "inventory"},
			"orders>what":   {Caller: "orders", Protocol: "udp"},
			"orders>lost":   {Caller: "orders", Protocol: HTTP, Routes: []route.Rule{{Name: "x", Path: "/", Upstream: "nobody"}, {Name: "y", Path: "/y", Site: "none"}, {Name: "z", Path: "/z", Upstream: "db"}}},
		},
		Upstreams: map[string]Upstream{"inventory": {Protocol: H2C}, "odd": {Protocol: "smtp"}},
		Sites:     map[string]Site{"web": {Dir: "/other"}, "void": {}},
	}
	_, err := Merge(Version{}, mesh(), gateway(route.Rule{Name: "inv", Path: "/inventory", Upstream: "inventory"}), bad)
	if err == nil {
		t.Fatal("merged")
	}
	text := err.Error()
	for _, want := range []string{
		"listener/gateway: declared differently by gateway and by events",
		"upstream/inventory: declared differently by mesh and by events",
		"site/web: declared differently by gateway and by events",
		"listener/gateway:admin: has the address 127.0.0.1:8080 of listener/gateway",
		"listener/orders>queue: speaks tcp, but upstream inventory speaks http1",
		`listener/orders>what: protocol "udp"`,
		`route x: upstream "nobody" does not exist`,
		`route y: site "none" does not exist`,
		`route z: upstream "db" speaks tcp`,
		`upstream/odd: protocol "smtp"`,
		"site/void: no directory",
		"both match GET /inventory",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\n") + 1; n != 12 {
		t.Errorf("%d problems, want 12:\n%s", n, text)
	}
}

func TestVersionOrder(t *testing.T) {
	for _, c := range []struct {
		a, b Version
		want int
	}{{Version{1, 9}, Version{2, 1}, -1}, {Version{2, 1}, Version{2, 1}, 0}, {Version{2, 2}, Version{2, 1}, 1}} {
		if got := c.a.Compare(c.b); got != c.want {
			t.Errorf("%v against %v = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// What is saved is read back the same, over an older file, and leaves nothing beside it.
func TestSaveLoad(t *testing.T) {
	s, err := Merge(Version{3, 7}, mesh(), gateway(route.Rule{Name: "web", Path: "/<>&", Kind: route.Exact, Site: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "snapshot")
	in := Saved{Snapshot: s, Endpoints: []Endpoints{{Upstream: "inventory", Endpoints: []Endpoint{{ID: "a", Address: "127.0.0.1:1"}}}}}
	for range 2 {
		if err := Save(path, in); err != nil {
			t.Fatal(err)
		}
	}
	out, err := Load(path)
	in.Format = format
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("read back %+v, %v\nwant %+v", out, err, in)
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 1 {
		t.Errorf("%d files in the folder, want 1", len(left))
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", st.Mode())
	}
}

// A save that fails leaves the old file whole.
func TestSaveFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "none", "snapshot")
	if err := Save(path, Saved{Snapshot: &Snapshot{}}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("no folder: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "snapshot"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Save(filepath.Join(dir, "snapshot"), Saved{Snapshot: &Snapshot{}}); !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
		t.Errorf("over a folder: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("a temporary file is left: %v", left)
	}
}

func TestLoadRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	if _, err := Load(path); !fault.Is(err, fault.NotFound) {
		t.Errorf("no file: %v", err)
	}
	for _, c := range []struct{ claim, text string }{
		{"empty", ""}, {"torn", `{"format":1,"snapshot":{"version`}, {"no snapshot", `{"format":1}`},
		{"newer", `{"format":2,"snapshot":{}}`}, {"broken inside", `{"format":1,"snapshot":{"upstreams":{"a":{"protocol":"x"}}}}`},
	} {
		os.WriteFile(path, []byte(c.text), 0o600)
		if _, err := Load(path); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, want invalid with a hint", c.claim, err)
		}
	}
}

// The JSON form is a promise: nodes of different versions read it.
func TestJSONForm(t *testing.T) {
	s, err := Merge(Version{3, 7}, mesh())
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(s)
	const want = `{"version":{"revision":3,"serial":7},"listeners":{"orders\u003edb":{"caller":"orders","protocol":"tcp","upstream":"db"},` +
		`"orders\u003einventory":{"caller":"orders","protocol":"http","routes":[{"name":"all","path":"/","upstream":"inventory"}]}},` +
		`"upstreams":{"db":{"protocol":"tcp"},"inventory":{"protocol":"http1","hold":5000000000}}}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"format":1,"snapshot":{"listeners":{"a":{"protocol":"http","routes":[{"path":"/"}]}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "s")
		os.WriteFile(path, b, 0o600)
		if s, err := Load(path); err == nil {
			if err := Save(path, s); err != nil {
				t.Errorf("what was read cannot be saved: %v", err)
			}
		}
	})
}
