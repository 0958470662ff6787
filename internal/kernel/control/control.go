// Package control brings what is observed towards what is declared.
//
// It runs the reconcilers of the catalog, level-triggered: a reconciler is called with
// a reference whenever that document may have changed, reads everything anew and
// enforces everything. What exactly happened is of no concern, so nothing is lost when
// several changes become one call, and after a restart every reference is called once.
//
//	store.Watch --+                      +-- worker --+
//	all at start -+--> queue (each ref --+-- worker --+--> reconciler
//	Kick ---------+     once)            +-- worker --+        |
//	     ^------------- again, or back-off after an error -----+
//
// Each reconciler has a queue and workers of its own, so that a slow one holds up no
// other. It is never called twice at once for one reference. A document that was
// deleted is called too: the reconciler finds it absent and takes down what it had.
//
// What keeps failing shows on the board as the condition Reconciled. A deleted document
// leaves the board when all its reconcilers are done with it.
package control

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/internal/ground/life"
	"stoa/internal/kernel/board"
	"stoa/internal/kernel/host"
	"stoa/internal/kernel/store"
)

// Reconciled is the type of the condition that a reference has while a reconciler keeps
// failing for it; its one reason is Failing.
const (
	Reconciled = "Reconciled"
	Failing    = "Failing"
)

// failsShown is from which failure in a row on the board tells: one alone is often a
// race that the next call has forgotten.
const failsShown = 2

// watchPause is how long control waits before it watches a store again that failed.
const watchPause = time.Second

// Source is what control needs of the store. State is never behind an event of Watch.
type Source interface {
	State() core.State
	Watch(ctx context.Context, from uint64) iter.Seq2[store.Event, error]
}

// Options tune Controllers. The zero value is a good default.
type Options struct {
	Workers int          // calls at once of each reconciler; 0 means 8
	Log     *slog.Logger // nil means slog.Default()
}

// Controllers run reconcilers.
type Controllers struct {
	o     Options
	src   Source
	board *board.Board
	loops map[string]*loop // by name; never changes

	mu      sync.Mutex
	failing map[core.Ref]map[string]error // by reference and reconciler; guarded by mu
}

type loop struct {
	host.Reconciler
	queue *queue
}

// New returns controllers for the reconcilers of cat. b may be nil: no conditions then.
func New(cat *host.Catalog, src Source, b *board.Board, o Options) *Controllers {
	if o.Workers == 0 {
		o.Workers = 8
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = o.Log.With("part", "control")
	c := &Controllers{o: o, src: src, board: b, loops: map[string]*loop{}, failing: map[core.Ref]map[string]error{}}
	for _, r := range cat.Reconcilers {
		if c.loops[r.Name] != nil {
			panic(fmt.Sprintf("control: reconciler %s is declared twice", r.Name))
		}
		c.loops[r.Name] = &loop{Reconciler: r, queue: newQueue()}
	}
	return c
}

// Kick has the reconciler called with ref, soon and once however often it is kicked.
// Before the part runs it is remembered. A reference that fails is not called sooner
// than 100 ms after its last call. An unknown name panics: names are the program's own.
func (c *Controllers) Kick(reconciler string, ref core.Ref) {
	l := c.loops[reconciler]
	if l == nil {
		panic(fmt.Sprintf("control: there is no reconciler %s", reconciler))
	}
	l.queue.kick(ref)
}

// Part runs the reconcilers. It is ready when every document there is has been queued;
// it ends when the calls under way have ended, whose context it cancels.
func (c *Controllers) Part() life.Part {
	return life.Part{Name: "control", Run: c.run}
}

func (c *Controllers) run(ctx context.Context, ready func()) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from := c.addAll(nil)
	for _, l := range c.loops {
		for range c.o.Workers {
			all.Go(func() { c.work(ctx, l) })
		}
	}
	ready()
	c.follow(ctx, from)
	return nil
}

// follow queues what changes, until ctx ends.
func (c *Controllers) follow(ctx context.Context, from uint64) {
	known := map[core.Ref]bool{} // documents that are or were, so that a reset finds those deleted
	for _, ref := range c.src.State().Refs() {
		known[ref] = true
	}
	for {
		for e, err := range c.src.Watch(ctx, from) {
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				c.o.Log.Warn("watching the store failed; all documents are looked at again", "err", err)
				break
			}
			from = e.Revision.Revision
			if e.Reset {
				c.addAll(known)
				continue
			}
			for _, ch := range e.Changes {
				known[ch.Ref] = true
				if ch.Doc == nil {
					delete(known, ch.Ref)
				}
				c.add(ch.Ref)
			}
		}
		t := time.NewTimer(watchPause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		from = c.addAll(known)
	}
}

// addAll queues every document there is and every one in known, which it brings up to
// date, and gives the revision from which to watch.
func (c *Controllers) addAll(known map[core.Ref]bool) uint64 {
	st := c.src.State()
	for ref := range known {
		if _, ok := st.Docs[ref]; !ok {
			c.add(ref)
			delete(known, ref)
		}
	}
	for _, ref := range st.Refs() {
		if known != nil {
			known[ref] = true
		}
		c.add(ref)
	}
	return st.Revision
}

// add queues ref with every reconciler that watches its kind.
func (c *Controllers) add(ref core.Ref) {
	for _, l := range c.loops {
		if slices.Contains(l.Watches, ref.Kind) {
			l.queue.add(ref)
		}
	}
}

// work calls l's reconciler until ctx ends.
func (c *Controllers) work(ctx context.Context, l *loop) {
	for {
		ref, ok := l.queue.next(ctx)
		if !ok {
			return
		}
		again, err := l.Do(ctx, ref)
		if ctx.Err() != nil {
			err = nil // cut short is not failed
		}
		fails := 0
		if err != nil {
			fails = l.queue.fails(ref) + 1
		}
		c.tell(ref, l.Name, fails, err) // before done: from then on another worker may have it
		pause := l.queue.done(ref, again, err != nil)
		if err != nil {
			c.o.Log.Warn("reconciling failed", "reconciler", l.Name, "ref", ref.String(), "fails", fails, "again", pause, "err", err)
		} else if slices.Contains(l.Watches, ref.Kind) {
			c.forget(ref)
		}
	}
}

// forget takes ref off the board when its document is gone and no reconciler has
// anything left to do for it.
func (c *Controllers) forget(ref core.Ref) {
	if c.board == nil {
		return
	}
	for _, l := range c.loops {
		if l.queue.has(ref) {
			return
		}
	}
	if _, ok := c.src.State().Docs[ref]; !ok {
		c.board.Clear(ref)
	}
}

// tell keeps the condition Reconciled of ref.
func (c *Controllers) tell(ref core.Ref, name string, fails int, err error) {
	if c.board == nil || err != nil && fails < failsShown {
		return
	}
	c.mu.Lock()
	by := c.failing[ref]
	switch {
	case err != nil && by == nil:
		by = map[string]error{name: err}
		c.failing[ref] = by
	case err != nil:
		by[name] = err
	case by[name] == nil:
		c.mu.Unlock()
		return
	default:
		if delete(by, name); len(by) == 0 {
			delete(c.failing, ref)
		}
	}
	cond := core.Condition{Type: Reconciled, Status: core.False, Reason: Failing}
	var lines []string
	for _, n := range slices.Sorted(maps.Keys(by)) {
		lines = append(lines, n+": "+by[n].Error())
		if cond.Hint == "" {
			cond.Hint = fault.HintOf(by[n])
		}
	}
	c.mu.Unlock()
	if lines == nil {
		c.board.Withdraw(ref, Reconciled)
		return
	}
	cond.Message = strings.Join(lines, "; ")
	c.board.Set(ref, cond)
}

var _ Source = (*store.Store)(nil)
