package fswatch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A change of a file, also in a folder that came later, is told; a skipped folder is not.
func TestWatch(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "skipped"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	told := make(chan Change, 100)
	done := make(chan error, 1)
	go func() {
		done <- Watch(ctx, []string{root}, func(d string) bool { return filepath.Base(d) == "skipped" }, func(c Change) { told <- c })
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	// Writes until it is told, because there is no saying when watching has begun.
	expect := func(path string) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			if err := os.WriteFile(path, []byte(time.Now().String()), 0o644); err != nil {
				t.Fatal(err)
			}
			select {
			case c := <-told:
				if slices.ContainsFunc(c.Paths, func(p string) bool { return filepath.Base(filepath.Dir(p)) == "skipped" }) {
					t.Fatalf("a skipped path was told: %v", c.Paths)
				}
				if slices.Contains(c.Paths, path) {
					return
				}
			case <-tick.C:
			case <-deadline:
				t.Fatalf("no change of %s was told", path)
			}
		}
	}
	expect(filepath.Join(root, "a"))
	if err := os.WriteFile(filepath.Join(root, "skipped", "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "new", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	expect(filepath.Join(root, "new", "deep", "b"))
}

// A folder that comes with files in it is told by its files, not as Everything: who makes
// a folder while building would have everything built again, for ever.
func TestNewFolderIsToldByItsFiles(t *testing.T) {
	root, beside := t.TempDir(), t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	told := make(chan Change, 100)
	done := make(chan error, 1)
	go func() { done <- Watch(ctx, []string{root}, nil, func(c Change) { told <- c }) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	// Moves folders in until one is told, because there is no saying when watching has begun.
	for i := 0; ; i++ {
		from := filepath.Join(beside, fmt.Sprint(i))
		if err := os.MkdirAll(filepath.Join(from, "deep"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(from, "deep", "file"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(from, filepath.Join(root, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		select {
		case c := <-told:
			if c.Everything {
				t.Fatalf("everything was told: %v", c.Paths)
			}
			if slices.ContainsFunc(c.Paths, func(p string) bool { return filepath.Base(p) == "file" }) {
				return
			}
		case <-tick.C:
		case <-deadline:
			t.Fatal("no file of a new folder was told")
		}
	}
}
