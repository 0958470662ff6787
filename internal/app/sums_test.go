package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever happens to a file of a backup is found before anything is restored, and the file named.
func TestADamagedBackupIsFound(t *testing.T) {
	bytes := func(name string, change func([]byte) []byte) func(string) error {
		return func(root string) error {
			b, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(root, name), change(b), 0o600)
		}
	}
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	remove := func(name string) func(string) error {
		return func(root string) error { return os.Remove(filepath.Join(root, name)) }
	}
	const log, file, link = "journal/000002.log", "artefacts/sha256/ab/main", "artefacts/sha256/ab/link"
	for _, tt := range []struct {
		name   string
		damage func(root string) error
		want   string // in the error; none if it is to be taken
	}{
		{"untouched", func(string) error { return nil }, ""},
		{"a note beside it", func(root string) error { return os.WriteFile(filepath.Join(root, "README"), []byte("Tuesday"), 0o600) }, ""},
		{"a lock", func(root string) error { return os.WriteFile(filepath.Join(root, "journal/LOCK"), nil, 0o600) }, ""},
		{"the journal's tail cut", bytes(log, cut), log},
		{"a bit of the journal", bytes(log, flip), log},
		{"a bit of an artefact", bytes(file, flip), file},
		{"an artefact gone", remove(file), file},
		{"a part gone", func(root string) error { return os.RemoveAll(filepath.Join(root, "artefacts")) }, "artefacts/sha256"},
		{"a link led elsewhere", func(root string) error {
			return os.Rename(filepath.Join(root, file), filepath.Join(root, link)) // over the link
		}, link},
		{"a file more", func(root string) error { return os.WriteFile(filepath.Join(root, "journal/000009.log"), nil, 0o600) }, "journal/000009.log"},
		{"a bit of the sums", bytes(sumsName, flip), "/"}, // whichever file it is of
		{"the sums' tail cut", bytes(sumsName, func(b []byte) []byte { return b[:len(b)-3] }), sumsName},
		{"a line of the sums gone", bytes(sumsName, func(b []byte) []byte { return b[strings.IndexByte(string(b), '\n')+1:] }), "FORMAT"},
		{"no sums", remove(sumsName), sumsName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range map[string]string{"FORMAT": "1\n", "node": "n\n", log: "one two three", file: "program"} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink("main", filepath.Join(root, link)); err != nil {
				t.Fatal(err)
			}
			if err := writeSums(t.Context(), root); err != nil {
				t.Fatal(err)
			}
			if err := tt.damage(root); err != nil {
				t.Fatal(err)
			}
			err := checkSums(t.Context(), root)
			if tt.want == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want an error that names %q", err, tt.want)
			}
		})
	}
}
