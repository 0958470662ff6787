package develop

import (
	"context"
	"maps"
	"slices"
	"time"

	"stoa/api/core"
	"stoa/internal/engine/build"
	"stoa/internal/engine/fswatch"
	"stoa/internal/kernel/blueprint"
)

// quickBuilds is how long the first apply waits for builds: those that are cached are
// done by then, and start with the first revision.
const quickBuilds = 2 * time.Second

// A waiting is an edit that waits for builds.
type waiting struct {
	what string            // for the history
	refs map[core.Ref]bool // of what is not built yet
}

// readings are what was read of the blueprint.
type readings struct {
	good  *blueprint.Set // the last without problems
	last  *blueprint.Set // the last, with problems or without
	since time.Time      // before last was read
}

// run is the loop.
func (l *Loop) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer l.lives.Wait()
	defer close(l.done)
	defer cancel()
	changes, troubles := make(chan fswatch.Change), make(chan error)
	if l.h.watch != nil {
		run, follow := l.h.watch(fswatch.Options{
			Skip: l.skips, Tell: func(c fswatch.Change) { send(ctx, changes, c) }, Trouble: func(err error) { send(ctx, troubles, err) },
		})
		l.follow = follow
		l.follow(l.roots())
		l.lives.Go(func() { run(ctx) })
	}
	l.first(ctx)
	quick := time.NewTimer(quickBuilds)
	defer quick.Stop()
	l.force.retry = time.NewTimer(time.Hour)
	l.force.retry.Stop()
	defer l.force.retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-quick.C:
			l.begin(ctx)
		case r := <-l.results:
			l.finished(ctx, r)
			for more := true; more; { // those that ended at the same time go into one revision
				select {
				case r := <-l.results:
					l.finished(ctx, r)
				default:
					more = false
				}
			}
			l.due(ctx)
		case c := <-changes:
			l.changed(ctx, c)
			l.due(ctx)
		case <-l.force.retry.C:
			l.apply(ctx)
		case err := <-troubles:
			l.troubled(err)
		}
		l.settle()
	}
}

func send[T any](ctx context.Context, c chan<- T, v T) {
	select {
	case c <- v:
	case <-ctx.Done():
	}
}

// first builds everything that needs building. The first revision comes when all of it
// is built, or when quickBuilds are over: then each build that is still under way is an
// edit of its own.
func (l *Loop) first(ctx context.Context) {
	w := &waiting{what: "stoa dev", refs: map[core.Ref]bool{}}
	var docs []core.Document
	for _, d := range l.docs {
		if build.Needs(d) {
			docs = append(docs, d)
			w.refs[d.Ref()] = true
		}
	}
	l.waits = append(l.waits, w)
	l.start(ctx, docs)
	if len(docs) == 0 {
		l.begin(ctx)
	}
}

// begin applies for the first time.
func (l *Loop) begin(ctx context.Context) {
	if l.force.began {
		return
	}
	l.force.began = true
	for _, w := range l.waits {
		for _, ref := range slices.SortedFunc(maps.Keys(w.refs), core.Ref.Compare) {
			l.waits = append(l.waits, &waiting{what: "stoa dev: built " + ref.Name, refs: map[core.Ref]bool{ref: true}})
		}
		w.refs = nil
	}
	l.force.message = "stoa dev"
	l.due(ctx)
}

// due applies if an edit has all that it waits for.
func (l *Loop) due(ctx context.Context) {
	ready := ""
	l.waits = slices.DeleteFunc(l.waits, func(w *waiting) bool {
		if len(w.refs) > 0 {
			return false
		}
		ready = w.what
		return true
	})
	if ready == "" || ctx.Err() != nil {
		return
	}
	l.force.began = true // the first edit waits for everything, and this was the last of it
	if l.force.message == "" {
		l.force.message = ready
	}
	l.apply(ctx)
}

// settle tells that nothing is under way any more, once after each time that something was.
func (l *Loop) settle() {
	if l.busy && l.force.once && len(l.pending) == 0 {
		l.tell(Event{Kind: Settled})
		l.busy = false
	}
}

// changed looks at what changed on disk.
func (l *Loop) changed(ctx context.Context, c fswatch.Change) {
	e := edit{change: c, before: l.docs, inputs: l.inputs, writing: l.writing(time.Now())}
	left := *l.leave.Load()
	read := false
	if l.concernsBlueprint(c) {
		read = l.reload(ctx)
	}
	e.after, e.leave = l.docs, *l.leave.Load()
	e.rebuild = !slices.Equal(left, e.leave)
	builds := decide(e)
	for ref, w := range e.writing {
		w.saw(c.Paths)
		w.due = w.due || slices.ContainsFunc(builds, func(d core.Document) bool { return d.Ref() == ref })
	}
	if !read && len(builds) == 0 {
		return
	}
	l.force.again() // whatever was refused is tried with what is new
	w := &waiting{what: "stoa dev: the blueprint changed", refs: map[core.Ref]bool{}}
	for _, d := range builds {
		w.refs[d.Ref()] = true
		if !read {
			w.what = "stoa dev: built " + d.Name
		}
	}
	if l.force.began {
		l.waits = append(l.waits, w)
	} else { // it comes into force with the first apply
		maps.Copy(l.waits[0].refs, w.refs)
	}
	l.start(ctx, builds)
	if l.mended && len(builds) > 0 {
		l.mended = false
		l.tell(Event{Kind: Mended, Changes: l.force.differences(l.docs), Text: "what it asks for is built first"})
	}
}

// concernsBlueprint says whether a change may be one of the blueprint.
func (l *Loop) concernsBlueprint(c fswatch.Change) bool {
	return c.Everything || slices.ContainsFunc(c.Paths, func(p string) bool {
		// A folder that is moved away is told by its own name.
		return isBlueprint(p) || slices.ContainsFunc(l.read.last.Files, func(f string) bool { return within(f, p) })
	})
}

// reload reads the blueprint again and says whether it was taken over.
func (l *Loop) reload(ctx context.Context) bool {
	since := time.Now()
	set, err := l.h.load(ctx)
	if err == nil {
		// Also if it has problems: they may lie in a folder that it has just come to include.
		l.read.last, l.read.since = set, since
		l.follow(l.roots())
		if len(set.Problems) > 0 {
			l.refuse(Event{Problems: set.Problems, Text: "the blueprint has problems; what runs goes on"})
			return false
		}
		err = l.adopt(set)
	}
	if err != nil {
		if ctx.Err() == nil {
			l.refuse(refusal(err))
		}
		return false
	}
	l.read.good = set
	l.forget()
	l.mended, l.broken = l.mended || l.broken, false
	return true
}

// refuse tells that the blueprint was not taken over.
func (l *Loop) refuse(e Event) {
	l.broken, l.mended = true, false
	e.Kind = Refused
	l.tell(e)
}

// forget drops what is known of documents that are no longer declared.
func (l *Loop) forget() {
	gone := func(ref core.Ref) bool { _, ok := l.document(ref); return !ok }
	for _, ref := range slices.SortedFunc(maps.Keys(l.owed()), core.Ref.Compare) {
		if gone(ref) {
			l.tell(Event{Kind: Gone, Document: ref.String()})
		}
	}
	maps.DeleteFunc(l.made, func(ref core.Ref, _ map[string]string) bool { return gone(ref) })
	maps.DeleteFunc(l.inputs, func(ref core.Ref, _ build.Inputs) bool { return gone(ref) })
	maps.DeleteFunc(l.failed, func(ref core.Ref, _ bool) bool { return gone(ref) })
	for _, w := range l.waits {
		maps.DeleteFunc(w.refs, func(ref core.Ref, _ bool) bool { return gone(ref) })
	}
}
