package app

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"stoa/api/core"
	"stoa/internal/ground/life"
)

// What is kept of artefacts: what runs, what the last revisions name as far as it takes
// no more than so many bytes, and any that is young enough to belong to an apply that is
// about to name it. Rollback reaches back as far.
const (
	keptRevisions  = 20
	leastRevisions = 3 // are kept whatever they take
	keptBytes      = 2 << 30
	seenRevisions  = 100 // in which to look for what was once named

	collectFirst  = time.Minute
	collectEvery  = 10 * time.Minute
	youngArtefact = time.Hour        // that no revision has named yet: its upload may be slow
	youngAgain    = 10 * time.Minute // that an old revision has named, and that was stored again
)

// collector removes artefacts that nobody needs any more.
func (p *Platform) collector() life.Part {
	return life.Part{Name: "artefacts", Run: func(ctx context.Context, ready func()) error {
		ready()
		sizes := map[string]int64{}
		t := time.NewTimer(collectFirst)
		defer t.Stop()
		for {
			select {
			case <-t.C:
			case <-ctx.Done():
				return nil
			}
			n, err := p.collect(ctx, time.Now(), sizes)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				p.o.Log.Warn("artefacts could not be collected", "err", err)
			case n > 0:
				p.o.Log.Info("artefacts of old revisions were removed", "count", n)
			}
			t.Reset(collectEvery)
		}
	}}
}

// collect removes the artefacts that are neither kept nor young. It remembers in sizes
// what it has measured.
func (p *Platform) collect(ctx context.Context, now time.Time, sizes map[string]int64) (removed int, err error) {
	o := p.opened.Load()
	size := func(digest string) int64 {
		n, ok := sizes[digest]
		if !ok {
			n, _ = o.artefacts.Size(digest) // one that is gone takes nothing
			sizes[digest] = n
		}
		return n
	}
	var states []core.State
	once := map[string]bool{}
	for _, r := range p.Store.History(seenRevisions) {
		state, err := p.Store.At(ctx, r.Revision)
		if err != nil {
			return 0, err
		}
		if len(states) < keptRevisions {
			states = append(states, state.State)
		}
		maps.Copy(once, digests(state.State))
	}
	named := kept(states, size, keptBytes)
	for digest := range digests(p.Store.State()) {
		named[digest] = true
	}
	for _, digest := range p.workload.InUse() {
		named[digest] = true
	}
	removed, err = o.artefacts.Keep(now.Add(-youngAgain), func(digest string) bool { return named[digest] || !once[digest] })
	if err == nil {
		var never int
		never, err = o.artefacts.Keep(now.Add(-youngArtefact), func(digest string) bool { return named[digest] })
		removed += never
	}
	if removed > 0 {
		clear(sizes) // of what is gone as well; the rest is measured again
		dropDangling(o.folder.programs())
	}
	return removed, err
}

// kept gives the digests that the states name, newest first, as far back as they take at
// most so many bytes together; those of the newest few whatever they take.
func kept(states []core.State, size func(digest string) int64, most int64) map[string]bool {
	named := map[string]bool{}
	var total int64
	for i, s := range states {
		fresh := digests(s)
		for digest := range fresh {
			if named[digest] {
				delete(fresh, digest)
			} else {
				total += size(digest)
			}
		}
		if i >= leastRevisions && total > most {
			break
		}
		for digest := range fresh {
			named[digest] = true
		}
	}
	return named
}

// digests gives the artefacts that a state names.
func digests(s core.State) map[string]bool {
	named := map[string]bool{}
	for _, d := range s.Docs {
		for _, digest := range d.Artefacts {
			named[digest] = true
		}
	}
	return named
}

// dropDangling removes from the folder of programs the links whose artefacts are gone.
func dropDangling(programs string) {
	entries, _ := os.ReadDir(programs) // none, if it is not there
	for _, e := range entries {
		dir := filepath.Join(programs, e.Name())
		links, _ := fs.Glob(os.DirFS(dir), "*")
		for _, l := range links {
			if _, err := os.Stat(filepath.Join(dir, l)); err == nil {
				continue
			}
			_ = os.Remove(filepath.Join(dir, l)) // a link more does no harm
		}
		_ = os.Remove(dir) // if it is empty now
	}
}
