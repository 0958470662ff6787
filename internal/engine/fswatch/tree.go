package fswatch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"stoa/api/fault"
)

// A tree is the folders of a kernel's watch. One goroutine uses it.
type tree struct {
	w     *fsnotify.Watcher
	skip  func(string) bool
	found func(file string) // is given the files of folders that are entered, if they are younger than since
	since time.Time

	roots Roots
	dirs  int // added; some may have been removed since
}

// skipped says whether a path is left out.
func (t *tree) skipped(path string) bool { return t.skip != nil && t.skip(path) }

// elsewhere says whether a path lies in none of the roots: the kernel's watch of a root
// that is no longer asked for may have told it.
func (t *tree) elsewhere(path string) bool {
	return !t.inTree(path) && !slices.Contains(t.roots.Flat, path) && !slices.Contains(t.roots.Flat, filepath.Dir(path))
}

func (t *tree) inTree(path string) bool {
	return slices.ContainsFunc(t.roots.Trees, func(r string) bool { return within(path, r) })
}

// within says whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// follow makes these the roots: enters those that are not watched and leaves what is
// below none of them. A root that is not there is passed over; see absent.
func (t *tree) follow(roots Roots) error {
	before := t.roots
	t.roots = roots
	watched := map[string]bool{}
	for _, dir := range t.w.WatchList() {
		if t.elsewhere(dir) {
			_ = t.w.Remove(dir) // it may have gone by itself
			continue
		}
		watched[dir] = true
	}
	for _, r := range roots.Trees {
		if watched[r] && slices.ContainsFunc(before.Trees, func(b string) bool { return within(r, b) }) {
			continue
		}
		if err := t.add(r); err != nil {
			return err
		}
	}
	for _, r := range roots.Flat {
		if watched[r] || t.inTree(r) {
			continue
		}
		if err := t.watch(r); err != nil {
			return err
		}
	}
	return nil
}

// absent says whether a root is not watched, because it is not there.
func (t *tree) absent() bool {
	watched := t.w.WatchList()
	for _, r := range append(slices.Clone(t.roots.Trees), t.roots.Flat...) {
		if !slices.Contains(watched, r) {
			return true
		}
	}
	return false
}

// enter watches what has just come, if it is a folder of a tree.
func (t *tree) enter(path string) error {
	if !t.inTree(path) {
		return nil
	}
	if info, err := os.Lstat(path); err != nil || !info.IsDir() {
		return nil // it is no folder, or has gone again
	}
	return t.add(path)
}

// add watches dir and all folders below it, and gives the files that it finds there. A
// folder that has gone meanwhile, or may not be read, is passed over.
func (t *tree) add(dir string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, fs.ErrPermission) && p != dir:
			return fs.SkipDir
		case err != nil:
			return limit(err)
		}
		if !d.IsDir() {
			if !t.skipped(p) && t.young(d) {
				t.found(p)
			}
			return nil
		}
		if p != dir && t.skipped(p) {
			return fs.SkipDir
		}
		return t.watch(p)
	})
}

// young says whether a file was written since.
func (t *tree) young(d fs.DirEntry) bool {
	if t.since.IsZero() {
		return true
	}
	info, err := d.Info()
	return err == nil && !info.ModTime().Before(t.since)
}

// watch watches one folder.
func (t *tree) watch(dir string) error {
	if t.dirs++; t.dirs > MaxDirs {
		t.dirs = len(t.w.WatchList()) + 1 // those that were removed count no more
	}
	if t.dirs > MaxDirs {
		return fault.New(fault.Exhausted, dir, "holds more than %d folders", MaxDirs).WithHint("Move what is not part of the system out of its folder, or rename it to begin with a dot: hidden folders are not watched.")
	}
	if err := t.w.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return limit(err)
	}
	return nil
}

// limit says what to do where the kernel's bound on watches was reached.
func limit(err error) error {
	f := &fault.Error{Op: "fswatch.watch", Kind: fault.Unavailable, Err: err}
	if full(err) {
		f.Kind = fault.Exhausted
		f.Hint = "Raise the limit: sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=1024"
	}
	return f
}

// full says whether the kernel gives no more watches (inotify_add_watch(2): ENOSPC) or
// no more instances and files (inotify_init(2): EMFILE, ENFILE).
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
