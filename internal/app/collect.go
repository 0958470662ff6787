package app

import (
	"context"
	"time"

	"stoa/internal/ground/life"
)

// What is kept of artefacts: those of the last revisions, and any that is young enough
// to belong to an apply that is about to name it.
const (
	keptRevisions = 20
	collectFirst  = time.Minute
	collectEvery  = 10 * time.Minute
	youngArtefact = time.Hour
)

// collector removes artefacts that no kept revision names. Rollback reaches back as far as they do.
func (p *Platform) collector() life.Part {
	return life.Part{Name: "artefacts", Run: func(ctx context.Context, ready func()) error {
		ready()
		t := time.NewTimer(collectFirst)
		defer t.Stop()
		for {
			select {
			case <-t.C:
			case <-ctx.Done():
				return nil
			}
			n, err := p.collect(ctx, time.Now().Add(-youngArtefact))
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

// collect removes the artefacts that were stored before the given time and are named by
// none of the kept revisions.
func (p *Platform) collect(ctx context.Context, before time.Time) (removed int, err error) {
	named := map[string]bool{}
	for _, r := range p.Store.History(keptRevisions) {
		state, err := p.Store.At(ctx, r.Revision)
		if err != nil {
			return 0, err
		}
		for _, d := range state.Docs {
			for _, digest := range d.Artefacts {
				named[digest] = true
			}
		}
	}
	for _, d := range p.Store.State().Docs {
		for _, digest := range d.Artefacts {
			named[digest] = true
		}
	}
	return p.opened.Load().artefacts.Keep(before, func(digest string) bool { return named[digest] })
}
