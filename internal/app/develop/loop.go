// Package develop is the loop of stoa dev: it builds what a blueprint declares, applies
// it, and does both again when files change.
//
//	files ──fswatch──▶ loop ──▶ reload the blueprint ─┐
//	                    │                             ├──▶ apply (one revision)
//	                    └─────▶ build what is touched ┘
//
// One goroutine, run, owns what is known: the last good blueprint, what each document
// was built to, what is being built. A blueprint with problems leaves what runs alone;
// so does a build that fails.
package develop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apiblueprint "stoa/api/blueprint"
	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/mesh"
	"stoa/api/workload"
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
	Dir      string   // folder of the blueprint
	Env      string   // environment
	Services []string // only these and what they use; empty for all
	Workers  int      // tools that build at once; 0 means 2
	Cache    string   // folder in which what was built stays; see build.Builder
	Leave    []string // files and folders that are part of no artefact, besides the System's secrets
}

// The kinds of events.
const (
	BuildBegan  = "build"
	Built       = "built"
	BuildFailed = "build-failed"
	Applied     = "applied"
	Refused     = "refused" // the blueprint has problems, or the platform would not have it
	Settled     = "settled" // everything was built once and applied
)

// An Event is something that happened in the loop.
type Event struct {
	Kind     string                 `json:"kind"`
	At       core.Time              `json:"at"`
	Document string                 `json:"document,omitempty"` // "service/orders"
	Text     string                 `json:"text,omitempty"`
	Took     core.Duration          `json:"took,omitempty"`
	Revision uint64                 `json:"revision,omitempty"`
	Problems []apiblueprint.Problem `json:"problems,omitempty"`
}

// Loop develops one blueprint.
type Loop struct {
	p Ports
	o Options

	builder build.Builder
	results chan result
	done    chan struct{} // closed when Run no longer reads results
	lives   sync.WaitGroup

	leave atomic.Pointer[[]string] // what builds leave out: Options.Leave, and the secrets of the blueprint

	// All below is owned by Run.
	set     *blueprint.Set
	docs    []core.Document // of set, as chosen, with what they were built to
	made    map[core.Ref]map[string]string
	inputs  map[core.Ref]build.Inputs
	pending map[core.Ref]*work
	ended   map[core.Ref]time.Time // when its last build ended
	settled bool
	failed  bool // the last apply was refused
}

// work is a build under way.
type work struct {
	again bool // something changed since it began
}

type result struct {
	ref    core.Ref
	made   map[string]string
	took   time.Duration
	err    error
	inputs build.Inputs
	only   bool // it tells the inputs and nothing else
}

// New returns a loop over a blueprint that was read without problems.
func New(p Ports, set *blueprint.Set, o Options) (*Loop, error) {
	if o.Workers == 0 {
		o.Workers = 2
	}
	l := &Loop{
		p: p, o: o, results: make(chan result, 64), done: make(chan struct{}),
		made: map[core.Ref]map[string]string{}, inputs: map[core.Ref]build.Inputs{}, pending: map[core.Ref]*work{},
		ended: map[core.Ref]time.Time{},
	}
	l.builder.Log, l.builder.Cache = p.Line, o.Cache
	l.builder.Leave = func() []string { return *l.leave.Load() }
	if err := l.adopt(set); err != nil {
		return nil, err
	}
	return l, nil
}

// adopt takes a blueprint over. It fails, and changes nothing, if a service that was
// asked for is not in it.
func (l *Loop) adopt(set *blueprint.Set) error {
	docs, err := choose(set.Docs, l.o.Services)
	if err != nil {
		return err
	}
	l.set, l.docs = set, docs
	leave := slices.Clone(l.o.Leave)
	if sys, ok := set.State().System(); ok {
		if f := secrets.FileOf(sys); f != "" {
			leave = append(leave, f)
		}
	}
	l.leave.Store(&leave)
	return nil
}

// choose gives the documents of the services named and of all that they use, with
// everything that is no service; all if none is named.
func choose(docs []core.Document, services []string) ([]core.Document, error) {
	if len(services) == 0 {
		return slices.Clone(docs), nil
	}
	byName := map[string]core.Document{}
	var names []string
	for _, d := range docs {
		if d.Kind == core.KindService {
			byName[d.Name] = d
			names = append(names, d.Name)
		}
	}
	wanted := map[string]bool{}
	todo := slices.Clone(services)
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		d, ok := byName[name]
		if !ok {
			return nil, fault.New(fault.NotFound, "service/"+name, "not found").WithHint("There are %s.", strings.Join(names, ", "))
		}
		if wanted[name] {
			continue
		}
		wanted[name] = true
		for _, u := range mesh.UsesSection.Of(d) {
			todo = append(todo, u.Service)
		}
	}
	return slices.DeleteFunc(slices.Clone(docs), func(d core.Document) bool {
		switch d.Kind {
		case core.KindService:
			return !wanted[d.Name]
		case core.KindJob:
			return !wanted[workload.JobBody.Of(d).Of]
		}
		return false
	}), nil
}

// quickBuilds is how long the first apply waits for builds: those that are cached are
// done by then, and start with the first revision.
const quickBuilds = 2 * time.Second

// Run builds, applies, and goes on until ctx ends. out is where artefacts go; watch
// says whether files are watched.
func (l *Loop) Run(ctx context.Context, out *artefact.Store, watch bool) error {
	l.builder.Out = out
	ctx, cancel := context.WithCancel(ctx)
	defer l.lives.Wait()
	defer close(l.done)
	defer cancel()
	changes := make(chan fswatch.Change)
	var watchErr chan error
	if watch {
		watchErr = make(chan error, 1)
		folders := l.set.Folders // read here: l.set is this goroutine's
		l.lives.Go(func() { watchErr <- watchFolders(ctx, folders, changes) })
	}
	l.buildAll(ctx)
	first := time.NewTimer(quickBuilds)
	defer first.Stop()
	applied := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-watchErr:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("files cannot be watched: %w", err)
			}
		case <-first.C:
			if !applied {
				applied = true
				l.apply(ctx, "stoa dev")
			}
		case r := <-l.results:
			changed := l.finished(ctx, r)
			for more := true; more; { // those that ended at the same time go into one revision
				select {
				case r := <-l.results:
					changed = l.finished(ctx, r) || changed
				default:
					more = false
				}
			}
			if len(l.pending) == 0 && !applied {
				applied = true
				first.Stop()
				changed = true
			}
			if changed && applied {
				l.apply(ctx, "stoa dev: built "+r.ref.Name)
			}
			l.settle(applied)
		case c := <-changes:
			l.changed(ctx, c, applied)
		}
	}
}

// settle tells once that everything was built and applied.
func (l *Loop) settle(applied bool) {
	if !l.settled && applied && len(l.pending) == 0 {
		l.settled = true
		l.tell(Event{Kind: Settled})
	}
}

func (l *Loop) tell(e Event) {
	e.At = core.At(time.Now())
	l.p.Tell(e)
}

// buildAll builds everything that needs building, and settles if nothing does.
func (l *Loop) buildAll(ctx context.Context) {
	var docs []core.Document
	for _, d := range l.docs {
		if build.Needs(d) {
			docs = append(docs, d)
		}
	}
	l.build(ctx, docs)
	if len(docs) == 0 {
		l.results <- result{} // nothing: the loop goes on as after a build
	}
}

// build begins to build documents; one that is being built is noted, to be built again.
func (l *Loop) build(ctx context.Context, docs []core.Document) {
	var begin []core.Document
	for _, d := range docs {
		ref := d.Ref()
		if w := l.pending[ref]; w != nil {
			w.again = true
			continue
		}
		l.pending[ref] = &work{}
		begin = append(begin, d)
		l.tell(Event{Kind: BuildBegan, Document: ref.String()})
		l.observe(ref, core.Pending, "Building", "is being built", nil)
	}
	if len(begin) == 0 {
		return
	}
	l.lives.Go(func() {
		l.builder.Documents(ctx, begin, l.o.Workers, func(d core.Document, m build.Made) {
			l.send(result{ref: d.Ref(), made: m.Artefacts, took: m.Took, err: m.Err})
		})
		for _, d := range begin { // after the programs run: nobody waits for these
			l.send(result{ref: d.Ref(), inputs: build.InputsOf(ctx, d), only: true})
		}
	})
}

// send gives a result to the loop, unless that has ended.
func (l *Loop) send(r result) {
	select {
	case l.results <- r:
	case <-l.done:
	}
}

// finished takes a result over and says whether something new is to be applied.
func (l *Loop) finished(ctx context.Context, r result) bool {
	if r.ref.IsZero() {
		return true
	}
	if r.only {
		if len(r.inputs.Dirs) > 0 || l.inputs[r.ref].Tree == "" {
			l.inputs[r.ref] = r.inputs
		}
		return false
	}
	w := l.pending[r.ref]
	delete(l.pending, r.ref)
	l.ended[r.ref] = time.Now()
	i := slices.IndexFunc(l.docs, func(d core.Document) bool { return d.Ref() == r.ref })
	if i < 0 {
		return false // it is no longer declared
	}
	if w != nil && w.again {
		l.build(ctx, l.docs[i:i+1])
		return false
	}
	if ctx.Err() != nil {
		return false
	}
	if r.err != nil {
		text := r.err.Error()
		l.tell(Event{Kind: BuildFailed, Document: r.ref.String(), Text: text, Took: core.Duration(r.took)})
		l.observe(r.ref, core.False, "BuildFailed", firstLine(text), evidence(r.err))
		return false
	}
	l.tell(Event{Kind: Built, Document: r.ref.String(), Took: core.Duration(r.took)})
	l.observe(r.ref, core.True, "Built", "was built in "+r.took.Round(time.Millisecond).String(), nil)
	if maps.Equal(l.made[r.ref], r.made) {
		return false
	}
	l.made[r.ref] = r.made
	return true
}

func (l *Loop) observe(ref core.Ref, s core.Status, reason, message string, evidence []string) {
	c := core.Condition{Type: "Built", Status: s, Reason: reason, Message: message, Evidence: evidence, Since: core.At(time.Now())}
	if s == core.False {
		c.Hint = "Correct it and save: it is built again. What ran before goes on."
	}
	l.p.Observe(ref, c)
}

// evidence gives the last lines of a failed build.
func evidence(err error) []string {
	var failed *build.Error
	if !errors.As(err, &failed) {
		return nil
	}
	lines := strings.Split(strings.TrimRight(failed.Output, "\n"), "\n")
	return lines[max(0, len(lines)-core.MaxEvidence):]
}

func firstLine(s string) string {
	lines := strings.SplitN(s, "\n", 3)
	if len(lines) > 1 && strings.HasPrefix(lines[1], "#") && len(lines) > 2 { // go's "# package"
		lines[1], _, _ = strings.Cut(lines[2], "\n")
	}
	return strings.Join(lines[:min(2, len(lines))], " ")
}

// apply puts the documents in force with what they were built to.
func (l *Loop) apply(ctx context.Context, message string) {
	docs := make([]core.Document, len(l.docs))
	for i, d := range l.docs {
		d = d.Clone()
		d.Artefacts = maps.Clone(l.made[d.Ref()])
		docs[i] = d
	}
	rev, err := l.p.Apply(ctx, l.set.Dir, docs, message)
	if err != nil {
		if ctx.Err() == nil {
			l.failed = true
			l.tell(Event{Kind: Refused, Text: err.Error()})
		}
		return
	}
	l.failed = false
	l.tell(Event{Kind: Applied, Revision: rev})
}

// changed looks at what changed on disk.
func (l *Loop) changed(ctx context.Context, c fswatch.Change, applied bool) {
	reload := c.Everything
	for _, p := range c.Paths {
		base := filepath.Base(p)
		if base == apiblueprint.FileName || base == "stoa.yml" || slices.Contains(l.set.Files, p) {
			reload = true
		}
	}
	before := map[core.Ref]string{}
	for _, d := range l.docs {
		before[d.Ref()] = string(d.Canonical())
	}
	if reload && !l.reload(ctx) {
		reload = false
	}
	var touched []core.Document
	for _, d := range l.docs {
		if !build.Needs(d) {
			continue
		}
		was, had := before[d.Ref()]
		if !had || reload && buildChanged(was, d) || c.Everything || slices.ContainsFunc(c.Paths, func(p string) bool { return l.touches(d, p) }) {
			touched = append(touched, d)
		}
	}
	l.build(ctx, touched)
	if reload && applied {
		l.apply(ctx, "stoa dev: the blueprint changed")
	}
}

// buildChanged says whether the document asks to be built otherwise than its canonical text before.
func buildChanged(was string, d core.Document) bool { return was != string(d.Canonical()) }

// reload reads the blueprint again and says whether it was taken over.
func (l *Loop) reload(ctx context.Context) bool {
	set, err := blueprint.Load(ctx, l.o.Dir, l.p.Catalog, blueprint.Options{Env: l.o.Env})
	if err == nil && len(set.Problems) > 0 {
		l.tell(Event{Kind: Refused, Problems: set.Problems, Text: "the blueprint has problems; what runs goes on"})
		return false
	}
	if err == nil {
		err = l.adopt(set)
	}
	if err != nil {
		l.tell(Event{Kind: Refused, Text: err.Error()})
		return false
	}
	for ref := range l.made {
		if !slices.ContainsFunc(l.docs, func(d core.Document) bool { return d.Ref() == ref }) {
			delete(l.made, ref)
			delete(l.inputs, ref)
		}
	}
	return true
}

// touches says whether a change of the file p may change what d is built to.
func (l *Loop) touches(d core.Document, p string) bool {
	in, ok := l.inputs[d.Ref()]
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
	rel = filepath.ToSlash(rel)
	if d.Kind == core.KindService {
		if l.ownWriting(d) {
			return false
		}
		if build.Ignore(workload.IgnoreSection.Of(d))(rel, false) {
			return false
		}
		if globs := workload.WatchSection.Of(d); len(globs) > 0 {
			return slices.ContainsFunc(globs, func(g string) bool { return build.Match(g, rel) })
		}
	}
	return true
}

// ownWriting says whether a change told now must be taken for the writing of the
// service's own build command, which would otherwise be run again for ever. Whoever
// wants a save during a build to count names his sources under watch.
func (l *Loop) ownWriting(d core.Document) bool {
	if len(workload.RunSection.Of(d).Build) == 0 || d.Has(workload.WatchSection.Name) {
		return false
	}
	return l.pending[d.Ref()] != nil || time.Since(l.ended[d.Ref()]) < fswatch.Quiet+fswatch.Patience
}

// watchFolders tells the loop of changes below the folders of the blueprint.
func watchFolders(ctx context.Context, folders []string, changes chan<- fswatch.Change) error {
	return fswatch.Watch(ctx, folders, skipDir, func(c fswatch.Change) {
		select {
		case changes <- c:
		case <-ctx.Done():
		}
	})
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
