package develop

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stoa/internal/engine/fswatch"
)

// folders is the real hands.watch.
func folders(o fswatch.Options) (run func(context.Context), follow func(fswatch.Roots)) {
	w := fswatch.New(o)
	return w.Run, w.Follow
}

// roots are the folders in which a change concerns the blueprint or what it builds: those
// of the last reading, so that what is wrong in them can be mended, and of the last good
// one, whose services run.
func (l *Loop) roots() fswatch.Roots {
	r := fswatch.Roots{Since: l.read.since}
	for _, s := range []struct{ folders, files []string }{{l.read.good.Folders, l.read.good.Files}, {l.read.last.Folders, l.read.last.Files}} {
		r.Trees = append(r.Trees, s.folders...)
		for _, f := range s.files { // a file that is included by itself
			r.Flat = append(r.Flat, filepath.Dir(f))
		}
	}
	slices.Sort(r.Trees)
	r.Trees = slices.Compact(r.Trees)
	r.Trees = slices.DeleteFunc(slices.Clone(r.Trees), func(t string) bool {
		return slices.ContainsFunc(r.Trees, func(o string) bool { return o != t && within(t, o) })
	})
	slices.Sort(r.Flat)
	r.Flat = slices.DeleteFunc(slices.Compact(r.Flat), func(p string) bool {
		return slices.ContainsFunc(r.Trees, func(t string) bool { return within(p, t) })
	})
	return r
}

// skips says what is not watched: folders in which nothing is written by hand, and what
// is part of no artefact anyway.
func (l *Loop) skips(path string) bool {
	return skipDir(path) || slices.ContainsFunc(l.o.Leave, func(p string) bool { return within(path, p) })
}

// skipDir leaves out folders in which nothing is written by hand.
func skipDir(path string) bool {
	base := filepath.Base(path)
	if strings.HasPrefix(base, ".") && len(base) > 1 {
		info, err := os.Lstat(path)
		return err != nil || info.IsDir()
	}
	return base == "node_modules"
}

// troubled tells that files are not watched, and when they are again.
func (l *Loop) troubled(err error) {
	if err == nil {
		l.tell(Event{Kind: Watched})
		return
	}
	e := refusal(err)
	e.Kind = Unwatched
	l.tell(e)
}
