package develop

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"

	apiblueprint "stoa/api/blueprint"
	"stoa/api/core"
	"stoa/api/workload"
	"stoa/internal/engine/build"
	"stoa/internal/engine/fswatch"
)

// An edit is what is known when files have changed.
type edit struct {
	change fswatch.Change
	// before and after are the documents before and after the blueprint was read again;
	// the same if it was not, or has problems.
	before, after []core.Document
	// rebuild says that everything is to be built, because what builds leave out changed.
	rebuild bool
	inputs  map[core.Ref]build.Inputs // what documents were last built from; may lack some
	writing map[core.Ref]*wrote       // those whose own build command writes files just now
	leave   []string                  // files and folders that are part of no artefact
}

// decide says which documents an edit asks to be built. It is pure.
//
// A document is built if it is new, if it asks to be built otherwise (its recipe), or if
// a file changed from which it is built. An edit of env, scale, health and the like
// builds nothing.
func decide(e edit) (builds []core.Document) {
	recipes := map[core.Ref]string{}
	for _, d := range e.before {
		recipes[d.Ref()] = build.Recipe(d)
	}
	for _, d := range e.after {
		if !build.Needs(d) {
			continue
		}
		recipe, known := recipes[d.Ref()]
		if !known || recipe != build.Recipe(d) || e.rebuild || e.touches(d) {
			builds = append(builds, d)
		}
	}
	return builds
}

// touches says whether the change may change what d is built to.
func (e *edit) touches(d core.Document) bool {
	if w := e.writing[d.Ref()]; w != nil && len(workload.WatchSection.Of(d)) == 0 {
		return w.foreign(e.change.Paths, func(p string) bool { return e.concerns(d, p) })
	}
	return e.change.Everything || slices.ContainsFunc(e.change.Paths, func(p string) bool { return e.concerns(d, p) })
}

// concerns says whether a change of the file p may change what d is built to.
func (e *edit) concerns(d core.Document, p string) bool {
	if isBlueprint(p) || slices.ContainsFunc(e.leave, func(l string) bool { return within(p, l) }) {
		return false
	}
	in, ok := e.inputs[d.Ref()]
	if !ok {
		in = build.Inputs{Tree: build.DirOf(d)}
	}
	if !in.Has(p) {
		return false
	}
	rel, err := filepath.Rel(build.DirOf(d), p)
	if err != nil || strings.HasPrefix(rel, "..") {
		return true // of another folder of its module
	}
	if d.Kind != core.KindService {
		return true
	}
	rel = filepath.ToSlash(rel)
	if build.Ignore(workload.IgnoreSection.Of(d))(rel, false) {
		return false
	}
	globs := workload.WatchSection.Of(d)
	return len(globs) == 0 || slices.ContainsFunc(globs, func(g string) bool { return build.Match(g, rel) })
}

// isBlueprint says whether a file bears the name of a blueprint.
func isBlueprint(p string) bool {
	base := filepath.Base(p)
	return base == apiblueprint.FileName || base == "stoa.yml"
}

// within says whether path is dir or below it.
func within(path, dir string) bool {
	return dir != "" && (path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/"))
}

// differences counts the documents that one set has and the other has not, or otherwise.
func differences(before, after []core.Document) int {
	was := map[core.Ref][]byte{}
	for _, d := range before {
		was[d.Ref()] = d.Canonical()
	}
	n := 0
	for _, d := range after {
		text, ok := was[d.Ref()]
		if !ok || !bytes.Equal(text, d.Canonical()) {
			n++
		}
		delete(was, d.Ref())
	}
	return n + len(was)
}
