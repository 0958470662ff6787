// Package fswatch tells when files below some folders have changed.
//
// It is the only importer of fsnotify. Changes are gathered: a save in an editor is
// several events, a checkout thousands. What is told is the set of paths that changed
// since the last telling, after a moment of quiet; what became of them is to be looked
// up, because it may have changed again.
package fswatch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"stoa/api/fault"
)

// Bounds of a watch.
const (
	Quiet    = 120 * time.Millisecond // without an event before changes are told
	Patience = time.Second            // the longest that changes wait for quiet
	maxPaths = 4096                   // that are told one by one; more are told as Everything
	MaxDirs  = 20_000                 // that are watched
)

// A Change is what changed since the last one.
type Change struct {
	Paths      []string // absolute, sorted
	Everything bool     // too much changed, or events were lost: look at all
}

// Watch tells of changes below roots until ctx ends. skip says which folders are left
// out, with all below them, by their absolute path. tell is called by one goroutine;
// while it runs, further changes are gathered.
func Watch(ctx context.Context, roots []string, skip func(dir string) bool, tell func(Change)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return limit(err)
	}
	defer w.Close()
	t := tree{w: w, skip: skip}
	for _, r := range roots {
		if err := t.add(r, func(string) {}); err != nil {
			return err
		}
	}
	changed := map[string]bool{}
	var everything bool
	var first time.Time
	quiet := time.NewTimer(time.Hour)
	defer quiet.Stop()
	touch := func() {
		if first.IsZero() {
			first = time.Now()
		}
		quiet.Reset(max(0, min(Quiet, time.Until(first.Add(Patience)))))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev, ok := <-w.Events:
			if !ok {
				return nil
			}
			if ev.Op == fsnotify.Chmod || t.skipped(ev.Name) {
				continue
			}
			if ev.Has(fsnotify.Create) {
				if info, err := os.Lstat(ev.Name); err == nil && info.IsDir() {
					// What was written into it before it was watched must be told too. Not as
					// Everything: a build that makes a folder would have all built again.
					if err := t.add(ev.Name, func(p string) { changed[p] = true }); err != nil {
						return err
					}
				}
			}
			if changed[ev.Name] = true; len(changed) > maxPaths {
				clear(changed)
				everything = true
			}
			touch()
		case err, ok := <-w.Errors:
			if !ok {
				return nil
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return limit(err)
			}
			everything = true
			touch()
		case <-quiet.C:
			c := Change{Everything: everything}
			for p := range changed {
				c.Paths = append(c.Paths, p)
			}
			slices.Sort(c.Paths)
			clear(changed)
			everything, first = false, time.Time{}
			if len(c.Paths) > 0 || c.Everything {
				tell(c)
			}
		}
	}
}

// A tree adds folders to a watcher.
type tree struct {
	w    *fsnotify.Watcher
	skip func(string) bool
	dirs int // added; some may have been removed since
}

// skipped says whether a path is a folder that is left out.
func (t *tree) skipped(path string) bool { return t.skip != nil && t.skip(path) }

// add watches dir and all folders below it, and gives the files that it finds there. A
// folder that has gone meanwhile is passed over.
func (t *tree) add(dir string, found func(file string)) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !d.IsDir() {
			if !t.skipped(p) {
				found(p)
			}
			return nil
		}
		if p != dir && t.skipped(p) {
			return filepath.SkipDir
		}
		if t.dirs++; t.dirs > MaxDirs {
			t.dirs = len(t.w.WatchList()) + 1 // those that were removed count no more
		}
		if t.dirs > MaxDirs {
			return fault.New(fault.Exhausted, dir, "holds more than %d folders", MaxDirs).WithHint("Name what need not be watched under ignore: in stoa.yaml.")
		}
		if err := t.w.Add(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return limit(err)
		}
		return nil
	})
}

// limit says what to do where the kernel's bound on watches was reached.
func limit(err error) error {
	return &fault.Error{Op: "fswatch.watch", Kind: fault.Exhausted, Err: err,
		Hint: "Raise the limit: sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=1024"}
}
