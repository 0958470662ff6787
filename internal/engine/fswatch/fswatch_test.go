package fswatch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"stoa/api/fault"
)

// A stand is a watcher that runs until the test ends.
type stand struct {
	*Watcher
	t       *testing.T
	told    chan Change
	trouble chan error
	never   func(path string) bool // what must not be told; nil for nothing
}

func begin(t *testing.T, w *Watcher, r Roots) *stand {
	s := &stand{Watcher: w, t: t, told: make(chan Change, 100), trouble: make(chan error, 100)}
	w.o.Tell = func(c Change) { s.told <- c }
	w.o.Trouble = func(err error) { s.trouble <- err }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.Follow(r)
	go func() { w.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// expect does something again and again until a change passes, because there is no saying
// when a folder is watched.
func (s *stand) expect(what string, do func(), pass func(Change) bool) {
	s.t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		do()
	drain:
		for {
			select {
			case c := <-s.told:
				if s.never != nil && slices.ContainsFunc(c.Paths, s.never) {
					s.t.Fatalf("told: %v", c.Paths)
				}
				if pass(c) {
					return
				}
			case <-tick.C:
				break drain
			case <-deadline:
				s.t.Fatalf("never told: %s", what)
			}
		}
	}
}

// write writes a file until that is told.
func (s *stand) write(path string) {
	s.t.Helper()
	s.expect(path, func() { put(s.t, path) }, func(c Change) bool { return slices.Contains(c.Paths, path) })
}

func put(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(time.Now().String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A change of a file, also in a folder that came later, is told; a skipped folder is not.
func TestWatch(t *testing.T) {
	root := t.TempDir()
	skipped := filepath.Join(root, "skipped")
	put(t, filepath.Join(skipped, "x"))
	s := begin(t, New(Options{Skip: func(p string) bool { return within(p, skipped) }}), Roots{Trees: []string{root}})
	s.never = func(p string) bool { return within(p, skipped) }
	s.write(filepath.Join(root, "a"))
	put(t, filepath.Join(skipped, "x"))
	s.write(filepath.Join(root, "new", "deep", "b"))
}

// A folder that comes with files in it is told by its files, not as Everything: who makes
// a folder while building would have everything built again, for ever.
func TestNewFolderIsToldByItsFiles(t *testing.T) {
	root, beside := t.TempDir(), t.TempDir()
	s := begin(t, New(Options{}), Roots{Trees: []string{root}})
	i := 0
	s.expect("a file of a new folder", func() {
		i++
		from := filepath.Join(beside, fmt.Sprint(i))
		put(t, filepath.Join(from, "deep", "file"))
		if err := os.Rename(from, filepath.Join(root, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}, func(c Change) bool {
		if c.Everything {
			t.Fatalf("everything was told: %v", c.Paths)
		}
		return slices.ContainsFunc(c.Paths, func(p string) bool { return filepath.Base(p) == "file" })
	})
}

// Folders are watched that are asked for later, and no longer those that are asked for no more.
func TestFollow(t *testing.T) {
	first, second, flat := t.TempDir(), t.TempDir(), t.TempDir()
	put(t, filepath.Join(flat, "deep", "x"))
	s := begin(t, New(Options{}), Roots{Trees: []string{first}})
	s.write(filepath.Join(first, "a"))
	s.Follow(Roots{Trees: []string{first, second}, Flat: []string{flat}, Since: time.Now()})
	s.write(filepath.Join(second, "deep", "b"))
	s.write(filepath.Join(flat, "c"))
	s.write(filepath.Join(first, "a"))

	s.Follow(Roots{Trees: []string{second}, Since: time.Now()})
	s.expect("the second folder alone", func() {
		put(t, filepath.Join(first, "a"))
		put(t, filepath.Join(second, "b"))
	}, func(c Change) bool {
		return slices.Contains(c.Paths, filepath.Join(second, "b")) && !slices.Contains(c.Paths, filepath.Join(first, "a"))
	})
}

// What was written between the reading of a folder and its being watched is told, what was there before is not.
func TestWhatWasWrittenSince(t *testing.T) {
	root := t.TempDir()
	old, young := filepath.Join(root, "old"), filepath.Join(root, "young")
	put(t, old)
	put(t, young)
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	s := begin(t, New(Options{}), Roots{Trees: []string{root}, Since: time.Now().Add(-time.Minute)})
	s.expect("the younger file", func() {}, func(c Change) bool {
		if slices.Contains(c.Paths, old) {
			t.Fatalf("told: %v", c.Paths)
		}
		return slices.Contains(c.Paths, young)
	})
}

// A file that comes and goes is not told: editors write a file beside it first.
func TestFileThatComesAndGoes(t *testing.T) {
	root := t.TempDir()
	stays := filepath.Join(root, "stays")
	put(t, stays)
	g := newGathering()
	defer g.quiet.Stop()
	gone := func(name string) string { return filepath.Join(root, name) }
	for _, ev := range []fsnotify.Event{
		{Name: gone("draft"), Op: fsnotify.Create}, {Name: gone("draft"), Op: fsnotify.Write}, {Name: gone("draft"), Op: fsnotify.Rename},
		{Name: stays, Op: fsnotify.Create},
		{Name: gone("old"), Op: fsnotify.Remove},
		{Name: gone("saved"), Op: fsnotify.Remove}, {Name: gone("saved"), Op: fsnotify.Create}, {Name: gone("saved"), Op: fsnotify.Remove},
	} {
		g.heard(ev)
	}
	if c := g.take(); !slices.Equal(c.Paths, []string{gone("old"), gone("saved"), stays}) {
		t.Errorf("told %v", c.Paths)
	}
	if c := g.take(); len(c.Paths) > 0 || c.Everything {
		t.Errorf("told again: %v", c)
	}
}

// A root that goes and comes back is watched again, and what is in it is told.
func TestRootThatComesBack(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	put(t, filepath.Join(root, "a"))
	s := begin(t, New(Options{}), Roots{Trees: []string{root}})
	s.write(filepath.Join(root, "a"))
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, "deep", "b"))
	s.expect("the folder that came back", func() {}, func(c Change) bool { return slices.Contains(c.Paths, filepath.Join(root, "deep", "b")) })
	s.write(filepath.Join(root, "deep", "c"))
}

// What keeps it from watching is said once, with the next step; when it can watch again that is
// said, and everything counts as changed.
func TestTroubleIsSaidAndHeals(t *testing.T) {
	root := t.TempDir()
	w := New(Options{})
	tries := 0
	w.open = func() (*fsnotify.Watcher, error) {
		if tries++; tries <= 2 {
			return nil, syscall.EMFILE
		}
		return fsnotify.NewWatcher()
	}
	s := begin(t, w, Roots{Trees: []string{root}})
	if err := <-s.trouble; !fault.Is(err, fault.Exhausted) || !strings.Contains(fault.HintOf(err), "sysctl fs.inotify") {
		t.Errorf("told %v with hint %q", err, fault.HintOf(err))
	}
	s.expect("everything", func() {}, func(c Change) bool { return c.Everything })
	if err := <-s.trouble; err != nil {
		t.Errorf("after the healing it told %v", err)
	}
	s.write(filepath.Join(root, "a"))
}
