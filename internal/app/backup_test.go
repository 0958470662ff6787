package app

import (
	"os"
	"path/filepath"
	"testing"
)

// A backup inside the data folder would copy itself.
func TestInside(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "data")
	if err := os.MkdirAll(filepath.Join(root, "artefacts"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{
		"data/bk": true, "data": true, "data/artefacts/bk": true, "link/bk": true, "data/../data/bk": true,
		"bk": false, "data-2": false, "data/../bk": false,
	} {
		if got := inside(root, top+"/"+dir); got != want {
			t.Errorf("inside(%q) = %v, want %v", dir, got, want)
		}
	}
}
