// Package develop is the loop of stoa dev: it builds what a blueprint declares, applies
// it, and does both again when files change.
//
//	files ──fswatch──▶ loop ──▶ reload the blueprint ─▶ decide ──▶ build ─┐
//	                    ▲                                 │ nothing       ▼
//	                    └──── what was built ─────────────┴──▶ compose ──▶ apply (one revision)
//
// What decides is pure: decide says which documents an edit asks to be built, compose
// what may come into force. What acts is Run: one goroutine, which owns what is known.
//
// An edit, of the blueprint or of sources or both, comes into force as one revision, when
// all that it asks to be built has been built; one that asks for nothing at once. What
// does not build leaves alone what runs: its service and the jobs before its release stay
// as they were applied last, and the rest of the edit comes into force. A blueprint with
// problems changes nothing at all.
//
// An apply that is refused for a reason that passes (the disk is full, somebody else
// applied) is tried again until it goes, or until files change; any other reason waits for
// a change. Files that cannot be watched are said and tried again; the loop goes on.
//
// Limits: a Go program that embeds a file named stoa.yaml is not built again when that
// changes. Two saves more than fswatch.Quiet apart are two edits: if the first is of the
// blueprint alone it comes into force alone.
package develop

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stoa/api/core"
	"stoa/internal/engine/artefact"
	"stoa/internal/engine/build"
	"stoa/internal/engine/fswatch"
	"stoa/internal/kernel/blueprint"
	"stoa/internal/kernel/host"
	"stoa/internal/module/secrets"
)

// Ports are what the loop needs of the platform.
type Ports struct {
	Catalog *host.Catalog
	// Apply puts documents in force and gives the revision.
	Apply func(ctx context.Context, source string, docs []core.Document, message string) (revision uint64, err error)
	// Observe records a condition.
	Observe func(core.Ref, core.Condition)
	// Line takes a line of a build's output.
	Line func(service, line string)
	// Tell takes events for whoever watches; called by one goroutine.
	Tell func(Event)
}

// Options say what is developed.
type Options struct {
	Dir      string    // folder of the blueprint
	Env      string    // environment
	Services []string  // only these and what they use; empty for all
	Workers  int       // tools that build at once; 0 means 2
	Cache    string    // folder in which what was built stays; see build.Builder
	Leave    []string  // files and folders that are part of no artefact, besides the System's secrets
	Since    time.Time // before the blueprint that New is given was read; zero means now
}

// hands are what the loop acts by.
type hands struct {
	// load reads the blueprint again.
	load func(context.Context) (*blueprint.Set, error)
	// build builds documents and gives each as it is made, one call at a time.
	build func(ctx context.Context, docs []core.Document, each func(core.Document, build.Made))
	// inputs finds out what a document is built from.
	inputs func(context.Context, core.Document) build.Inputs
	// watch gives what tells of changes: run does until its context ends, of the roots that
	// follow was given last. It is nil if files are not watched.
	watch func(fswatch.Options) (run func(context.Context), follow func(fswatch.Roots))
}

// Loop develops one blueprint.
type Loop struct {
	p Ports
	o Options
	h hands

	results chan result
	done    chan struct{} // closed when Run no longer reads results
	lives   sync.WaitGroup

	leave atomic.Pointer[[]string] // what builds leave out: Options.Leave, and the secrets of the blueprint

	// All below is owned by Run.
	set     *blueprint.Set
	docs    []core.Document // of set, as chosen
	read    readings
	broken  bool // the blueprint has problems
	mended  bool // it has none any more, and that was not told yet
	follow  func(fswatch.Roots)
	inputs  map[core.Ref]build.Inputs
	made    made
	pending map[core.Ref]*work
	ended   map[core.Ref]time.Time // when its last build ended
	failed  map[core.Ref]bool      // its last build failed
	wrote   map[core.Ref]*wrote    // where builds write
	waits   []*waiting
	force   force
	busy    bool // something was told since it settled last
}

// New returns a loop over a blueprint that was read without problems.
func New(p Ports, set *blueprint.Set, o Options) (*Loop, error) {
	if o.Workers == 0 {
		o.Workers = 2
	}
	// A folder around the blueprint holds more than what is to be left.
	o.Leave = slices.DeleteFunc(slices.Clone(o.Leave), func(p string) bool { return within(set.Dir, p) })
	if o.Since.IsZero() {
		o.Since = time.Now()
	}
	l := &Loop{
		p: p, o: o, results: make(chan result, 64), done: make(chan struct{}), follow: func(fswatch.Roots) {},
		made: made{}, inputs: map[core.Ref]build.Inputs{}, pending: map[core.Ref]*work{},
		ended: map[core.Ref]time.Time{}, failed: map[core.Ref]bool{}, wrote: map[core.Ref]*wrote{},
	}
	l.h = hands{
		load: func(ctx context.Context) (*blueprint.Set, error) {
			return blueprint.Load(ctx, o.Dir, p.Catalog, blueprint.Options{Env: o.Env})
		},
		inputs: build.InputsOf,
	}
	if err := l.adopt(set); err != nil {
		return nil, err
	}
	l.read = readings{good: set, last: set, since: o.Since}
	return l, nil
}

// Run builds, applies, and goes on until ctx ends. out is where artefacts go; watch
// says whether files are watched.
func (l *Loop) Run(ctx context.Context, out *artefact.Store, watch bool) {
	builder := &build.Builder{Out: out, Cache: l.o.Cache, Log: l.p.Line, Leave: func() []string { return *l.leave.Load() }}
	l.h.build = func(ctx context.Context, docs []core.Document, each func(core.Document, build.Made)) {
		builder.Documents(ctx, docs, l.o.Workers, each)
	}
	if watch {
		l.h.watch = folders
	}
	l.run(ctx)
}

// adopt takes a blueprint over. It fails, and changes nothing, if a service that was
// asked for is not in it.
func (l *Loop) adopt(set *blueprint.Set) error {
	docs, err := choose(set.Docs, l.o.Services)
	if err != nil {
		return err
	}
	l.set, l.docs = set, docs
	leave := append(slices.Clone(l.o.Leave), secrets.FilesOf(set)...)
	l.leave.Store(&leave)
	return nil
}

func (l *Loop) tell(e Event) {
	l.busy = l.busy || e.Kind != Watched && e.Kind != Unwatched
	e.At = core.At(time.Now())
	l.p.Tell(e)
}

// document gives the document of a ref as the blueprint wants it.
func (l *Loop) document(ref core.Ref) (core.Document, bool) {
	i := slices.IndexFunc(l.docs, func(d core.Document) bool { return d.Ref() == ref })
	if i < 0 {
		return core.Document{}, false
	}
	return l.docs[i], true
}
