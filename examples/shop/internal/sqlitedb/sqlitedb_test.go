package sqlitedb

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenTakesURLsAndPaths(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, want string }{
		{"sqlite://" + filepath.Join(dir, "url.sqlite"), ""},
		{"sqlite://" + filepath.Join(dir, "with%20space.sqlite"), ""},
		{filepath.Join(dir, "path.sqlite"), ""},
		{filepath.Join(dir, "a?b#c.sqlite"), ""},
		{"postgres://localhost/x", "want sqlite:///"},
		{filepath.Join(dir, "none", "db.sqlite"), "none"},
	} {
		db, err := Open(c.name)
		switch {
		case err == nil:
			db.Close()
			if c.want != "" {
				t.Errorf("Open(%q): opened, want an error with %q", c.name, c.want)
			}
		case c.want == "" || !strings.Contains(err.Error(), c.want):
			t.Errorf("Open(%q): %v, want %q", c.name, err, c.want)
		}
	}
	for _, file := range []string{"url.sqlite", "with space.sqlite", "path.sqlite", "a?b#c.sqlite"} {
		if m, _ := filepath.Glob(filepath.Join(dir, strings.NewReplacer("?", "[?]").Replace(file))); len(m) != 1 {
			t.Errorf("%s was not made", file)
		}
	}
}

func TestMigrate(t *testing.T) {
	db, err := Open(filepath.Join(t.TempDir(), "db.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	one, two := "CREATE TABLE a (x INTEGER)", "CREATE TABLE b (x INTEGER); CREATE INDEX c ON b (x)"
	for _, c := range []struct {
		name    string
		steps   []string
		applied int
		version int
		fails   bool
	}{
		{"the first step", []string{one}, 1, 1, false},
		{"only what is new", []string{one, two}, 1, 2, false},
		{"again, nothing", []string{one, two}, 0, 2, false},
		{"a broken step changes nothing", []string{one, two, "CREATE TABLE d (x INTEGER)", "nonsense"}, 0, 2, true},
		{"an older program", []string{one}, 0, 2, true},
	} {
		n, err := Migrate(t.Context(), db, c.steps)
		if n != c.applied || (err != nil) != c.fails {
			t.Errorf("%s: %d applied, %v; want %d, failing: %v", c.name, n, err, c.applied, c.fails)
		}
		if v, err := Version(t.Context(), db); err != nil || v != c.version {
			t.Errorf("%s: version %d (%v), want %d", c.name, v, err, c.version)
		}
	}
}
