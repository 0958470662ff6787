package develop

import (
	"path/filepath"
	"slices"
)

// wrote tells the writing of a build command from what somebody saves while it runs: a
// build writes into the folders that it wrote into the time before. What changes elsewhere
// has the build run once more, and what changes during that is its own again, so none is
// run for ever. Of the first build all is taken for its own.
type wrote struct {
	last map[string]bool // folders in which files changed during the build before; nil: there was none
	now  map[string]bool // and during the one under way, or the last
	due  bool            // something changed that is not its own: once more
	once bool            // the one under way, or the last, is that
}

// maxWrote bounds the folders that are remembered.
const maxWrote = 10_000

// begin tells that the build begins.
func (w *wrote) begin() {
	w.last, w.now, w.once, w.due = w.now, map[string]bool{}, w.due, false
}

// foreign says whether one of the changed files is not the build's own.
func (w *wrote) foreign(paths []string, concerns func(string) bool) bool {
	return !w.once && w.last != nil && slices.ContainsFunc(paths, func(p string) bool { return !w.last[filepath.Dir(p)] && concerns(p) })
}

// saw takes down what changed while it writes.
func (w *wrote) saw(paths []string) {
	for _, p := range paths {
		if len(w.now) < maxWrote && w.now != nil {
			w.now[filepath.Dir(p)] = true
		}
	}
}
