package blueprint_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stoa/internal/kernel/blueprint"
)

// FuzzLoad: whatever the file holds, Load gives documents or says where it is wrong.
// Documents without a problem are valid JSON that Strict accepts.
func FuzzLoad(f *testing.F) {
	f.Add(parseArchive("-- stoa.yaml --\n" + good).files[0][1])
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range parseArchive(string(b)).files {
			f.Add(file[1])
		}
	}
	for _, s := range hostile() {
		if len(s) < 4096 {
			f.Add(s)
		}
	}
	cat := catalog()
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "stoa.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := blueprint.Load(t.Context(), dir, cat, blueprint.Options{Env: "prod"})
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(text, "\n") + 2 // an end of the file that ends a line is on the next
		for _, p := range s.Problems {
			if p.Message == "" || p.Rule == "" || p.File == "" || p.Line < 0 || p.Line > lines {
				t.Fatalf("%+v: want message, rule, file and a line up to %d", p, lines)
			}
		}
		for _, d := range s.Docs {
			for name, raw := range d.Sections {
				if !json.Valid(raw) {
					t.Fatalf("%s %s: %s", d.Ref(), name, raw)
				}
			}
			if len(s.Problems) > 0 {
				continue
			}
			if fs := blueprint.Strict(cat, d); len(fs) > 0 {
				t.Fatalf("%s was loaded without a problem, but %s", d.Ref(), findings(fs))
			}
		}
		if len(s.Problems) == 0 {
			blueprint.CheckState(cat, s.State())
		}
	})
}
