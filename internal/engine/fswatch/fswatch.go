// Package fswatch tells when files below some folders have changed.
//
// It is the only importer of fsnotify. Changes are gathered: a save in an editor is
// several events, a checkout thousands. What is told is the set of paths that changed
// since the last telling, after a moment of quiet; what became of them is to be looked
// up, because it may have changed again.
//
//	Follow(roots) ─▶ Run: watch ── events ──▶ gather ── quiet ──▶ Change
//	                  ▲     │
//	                  └─────┴─ an error, or a root that is gone: said, and tried again
//
// A watch heals: what keeps it from watching is said once, tried again until it can, and
// then everything is said to have changed, because nobody saw what did meanwhile.
package fswatch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Bounds of a watch.
const (
	Quiet    = 120 * time.Millisecond // without an event before changes are told
	Patience = time.Second            // the longest that changes wait for quiet
	maxPaths = 4096                   // that are told one by one; more are told as Everything
	MaxDirs  = 20_000                 // that are watched

	retryFirst = time.Second      // before a watch that failed is tried again; doubled each time
	retryMost  = 30 * time.Second // the longest of these waits
)

// A Change is what changed since the last one.
type Change struct {
	Paths      []string // absolute, sorted
	Everything bool     // too much changed, or events were lost: look at all
}

// Roots are the folders that are watched, by their absolute paths.
type Roots struct {
	Trees []string // with all below them
	Flat  []string // without what is below them
	// Since is when what lies in them was read: of roots that are new, files that were
	// written later are told as changed; zero: all are.
	Since time.Time
}

// tick is by how much the time of a file may lag behind the clock: file systems take the
// time of the kernel's last tick.
const tick = 20 * time.Millisecond

func (r Roots) equal(o Roots) bool {
	return slices.Equal(r.Trees, o.Trees) && slices.Equal(r.Flat, o.Flat)
}

// Options say what a Watcher leaves out, and to whom it tells. The functions are called
// by the goroutine of Run; while one runs, further changes are gathered.
type Options struct {
	Skip func(path string) bool // whether a path is left out, with all below it; nil for none
	Tell func(Change)
	// Trouble is told why files are not watched, each reason once, and nil when they are
	// again. It may be nil.
	Trouble func(error)
}

// A Watcher watches folders, which may become others while it runs.
type Watcher struct {
	o     Options
	roots chan Roots // the latest that was asked for and is not taken up yet; capacity 1
	open  func() (*fsnotify.Watcher, error)
}

// New returns a watcher of nothing. It opens nothing: Run does.
func New(o Options) *Watcher {
	if o.Trouble == nil {
		o.Trouble = func(error) {}
	}
	return &Watcher{o: o, roots: make(chan Roots, 1), open: fsnotify.NewWatcher}
}

// Follow has these folders watched, in place of those before. It does not block, and is
// called by one goroutine at a time.
func (w *Watcher) Follow(r Roots) {
	r.Trees, r.Flat = slices.Clone(r.Trees), slices.Clone(r.Flat)
	select {
	case <-w.roots: // nobody has taken it up: the new one counts
	default:
	}
	w.roots <- r
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	var roots Roots
	select {
	case roots = <-w.roots:
	case <-ctx.Done():
		return
	}
	wait, said := retryFirst, ""
	for blind := false; ; blind = true {
		var err error
		roots, err = w.watch(ctx, roots, blind, func() {
			if said != "" {
				w.o.Trouble(nil)
			}
			wait, said = retryFirst, ""
		})
		if ctx.Err() != nil {
			return
		}
		if err.Error() != said {
			said = err.Error()
			w.o.Trouble(err)
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, retryMost)
		case roots = <-w.roots: // others, which may do
		case <-ctx.Done():
			return
		}
	}
}

// watch watches until ctx ends or something fails. It gives the roots that are asked for
// by then. blind says that changes may have gone unseen before it.
func (w *Watcher) watch(ctx context.Context, roots Roots, blind bool, well func()) (Roots, error) {
	n, err := w.open()
	if err != nil {
		return roots, limit(err)
	}
	defer n.Close()
	g := newGathering()
	defer g.quiet.Stop()
	t := tree{w: n, skip: w.o.Skip, found: g.add}
	follow := func(since time.Time) error {
		t.since = since
		defer func() { t.since = time.Time{} }()
		return t.follow(roots)
	}
	if err := follow(roots.Since.Add(-tick)); err != nil {
		return roots, err
	}
	well()
	if blind {
		g.all()
	}
	gone := time.NewTimer(time.Hour) // runs while a root is not there
	defer gone.Stop()
	look := func() {
		if t.absent() {
			gone.Reset(retryFirst)
		}
	}
	look()
	for {
		select {
		case <-ctx.Done():
			return roots, nil
		case next := <-w.roots:
			if next.equal(roots) {
				continue
			}
			roots = next
			if err := follow(roots.Since.Add(-tick)); err != nil {
				return roots, err
			}
			look()
		case ev, ok := <-n.Events:
			if !ok {
				return roots, errClosed
			}
			if ev.Op == fsnotify.Chmod || t.skipped(ev.Name) || t.elsewhere(ev.Name) {
				continue
			}
			if ev.Has(fsnotify.Create) {
				// What was written into a folder before it was watched must be told too. Not as
				// Everything: a build that makes a folder would have all built again.
				if err := t.enter(ev.Name); err != nil {
					return roots, err
				}
			}
			g.heard(ev)
			if ev.Has(fsnotify.Remove) || ev.Has(fsnotify.Rename) {
				look()
			}
		case err, ok := <-n.Errors:
			if !ok {
				return roots, errClosed
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return roots, limit(err)
			}
			g.all()
		case <-gone.C:
			if err := follow(time.Time{}); err != nil { // what came is told by its files
				return roots, err
			}
			look()
		case <-g.quiet.C:
			if c := g.take(); len(c.Paths) > 0 || c.Everything {
				w.o.Tell(c)
			}
		}
	}
}

var errClosed = errors.New("the kernel's watch was closed")

// A gathering is what changed and was not told yet.
type gathering struct {
	paths      map[string]bool
	came       map[string]bool // those of which the first that was heard is that they were made
	everything bool
	first      time.Time // zero while nothing changed
	quiet      *time.Timer
}

func newGathering() *gathering {
	return &gathering{paths: map[string]bool{}, came: map[string]bool{}, quiet: time.NewTimer(time.Hour)}
}

func (g *gathering) heard(ev fsnotify.Event) {
	if ev.Has(fsnotify.Create) && !g.paths[ev.Name] {
		g.came[ev.Name] = true
	}
	g.add(ev.Name)
}

func (g *gathering) add(path string) {
	if g.paths[path] = true; len(g.paths) > maxPaths {
		clear(g.paths)
		clear(g.came)
		g.everything = true
	}
	g.touch()
}

func (g *gathering) all() {
	g.everything = true
	g.touch()
}

func (g *gathering) touch() {
	if g.first.IsZero() {
		g.first = time.Now()
	}
	g.quiet.Reset(max(0, min(Quiet, time.Until(g.first.Add(Patience)))))
}

// take gives what changed. A file that came and went is none of it: editors write so.
func (g *gathering) take() Change {
	c := Change{Everything: g.everything}
	for p := range g.paths {
		if g.came[p] {
			if _, err := os.Lstat(p); errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		c.Paths = append(c.Paths, p)
	}
	slices.Sort(c.Paths)
	clear(g.paths)
	clear(g.came)
	g.everything, g.first = false, time.Time{}
	return c
}
