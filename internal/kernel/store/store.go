// Package store keeps the declared documents: every revision of them, on a log.
//
// One Commit is one revision, one record of the log, all or none. What a reader gets
// is the immutable state at the last durable revision, through one atomic pointer:
//
//	Commit --(what was read unchanged?)--> Log.Append --> replay --> view --> State, View
//	                                                        |
//	                                        Watch <- events +  (position, no queue)
//
// A commit becomes visible only by replaying the entry that was written, with the same
// code that reads the log after a restart: what is served live is what comes back.
//
// The store is its log's one writer, but it does not believe so: every append names
// the entry before it. Should another have written, the store reads it, looks again at
// what the change rests on, and only then goes on. An append whose outcome is unknown
// is settled (journal.Settle) before the caller is answered; if even that does not end
// in time the caller is told Unknown, and the next commit reads first.
//
// Every checkpointEvery revisions the whole state is written as a checkpoint, so that
// the log can be cut at the front: see Options for how much history is kept.
//
// The bytes are drawn in docs/formats/resources.md. Limits: a document of MaxDocument
// bytes, a record of MaxParts entries. All documents are in memory. What another owner
// writes, and an outcome that stayed unknown, is seen at the next commit and not before:
// a cluster will need a part that follows the log.
package store

import (
	"context"
	"crypto/rand"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/platform"
	"stoa/internal/ground/journal"
	"stoa/internal/ground/life"
)

// Options tune a Store. The zero value is a good default.
//
// A revision can be read and rolled back to while it is among the last Revisions and
// younger than Age; the last Least are kept however old they are.
type Options struct {
	Revisions int              // 0 means 1,000
	Age       time.Duration    // 0 means 30 days
	Least     int              // 0 means 10
	Now       func() time.Time // nil means time.Now
	Log       *slog.Logger     // nil means slog.Default()

	// entry is the most bytes of one entry: journal.MaxEntry. Only a test of this package
	// makes it less, so that records of several entries are small.
	entry int
}

// A View is the state at one revision and what each document's last change was. It is
// immutable and may be shared.
type View struct {
	core.State
	Last map[core.Ref]platform.Last // one for each document of State
}

// A Store keeps revisioned documents. All its methods may be called concurrently.
// Until it is opened it is empty, and Commit, At and Watch are refused as unavailable.
type Store struct {
	o     Options
	owner [16]byte // marks our appends; never changes

	view atomic.Pointer[View] // written by whoever holds turn

	// turn is held by whoever commits or opens. A channel, because a mutex knows no context.
	turn   chan struct{}
	log    journal.Log
	n      uint64   // marks used; guarded by turn
	replay replayer // guarded by turn
	behind bool     // the log may hold more than was replayed; guarded by turn
	broken error    // the log holds what we cannot read, so nothing may follow; guarded by turn

	mu      sync.Mutex
	open    bool                       // guarded by mu
	infos   []info                     // kept revisions, consecutive, oldest first; guarded by mu
	points  []point                    // checkpoints in the log, oldest first; guarded by mu
	deleted map[core.Ref]platform.Last // documents deleted in the kept revisions; guarded by mu
	recent  []Event                    // of the last revisions, at most keepRecent; guarded by mu
	changed chan struct{}              // closed and replaced at each revision; guarded by mu
}

// info is one kept revision and where its record is.
type info struct {
	platform.Revision
	before journal.Seq // entry before its first
}

// point is one checkpoint: the state at revision, in the entries after before.
type point struct {
	revision uint64
	before   journal.Seq
}

// keepRecent is how many revisions a watcher may be behind before it has to read the
// log: enough for one that is busy for a second, little enough to be no memory's concern.
const keepRecent = 16

// New returns a store that is not open yet.
func New(o Options) *Store {
	if o.Revisions == 0 {
		o.Revisions = 1000
	}
	if o.Age == 0 {
		o.Age = 30 * 24 * time.Hour
	}
	if o.Least == 0 {
		o.Least = 10
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.entry == 0 {
		o.entry = journal.MaxEntry
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = o.Log.With("part", "store")
	s := &Store{o: o, turn: make(chan struct{}, 1), changed: make(chan struct{}), deleted: map[core.Ref]platform.Last{}}
	_, _ = rand.Read(s.owner[:]) // never fails, says its documentation
	s.view.Store(emptyView())
	return s
}

func emptyView() *View {
	return &View{State: core.State{Docs: map[core.Ref]core.Document{}}, Last: map[core.Ref]platform.Last{}}
}

// Open returns a store that has read log. It refuses a log that a newer Stoa wrote, and
// one that does not add up, naming the entry.
func Open(ctx context.Context, log journal.Log, o Options) (*Store, error) {
	s := New(o)
	return s, s.attach(ctx, log)
}

// Part opens the store on the log that open gives. It is ready when everything is read.
func (s *Store) Part(open func(context.Context) (journal.Log, error)) life.Part {
	return life.Part{Name: "store", Run: func(ctx context.Context, ready func()) error {
		log, err := open(ctx)
		if err != nil {
			return err
		}
		if err := s.attach(ctx, log); err != nil {
			return err
		}
		ready()
		<-ctx.Done()
		return nil
	}}
}

// attach reads the whole log.
func (s *Store) attach(ctx context.Context, log journal.Log) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	if s.log != nil {
		panic("store: opened twice")
	}
	s.log = log
	if err := s.load(ctx); err != nil {
		s.log = nil
		return err
	}
	s.mu.Lock()
	s.open = true
	s.mu.Unlock()
	return nil
}

// load reads the log from its first entry and shows what it holds. Whoever calls holds turn.
func (s *Store) load(ctx context.Context) error {
	first, _, err := s.log.Bounds(ctx)
	if err != nil {
		return failed("store.open", err)
	}
	s.mu.Lock()
	s.infos, s.points, s.recent = nil, nil, nil
	clear(s.deleted)
	s.mu.Unlock()
	s.replay = replayer{view: emptyView(), framer: framer{tail: first - 1}}
	var recs []*record // the last checkpoint and what follows it: bounded, see retain
	for e, err := range s.log.Read(ctx, s.replay.tail) {
		if err != nil {
			return failed("store.open", err)
		}
		rec, err := s.replay.framer.feed(e)
		if err != nil {
			return err
		}
		if rec == nil {
			continue
		}
		if err := s.replay.chain.next(rec); err != nil {
			return err
		}
		s.remember(rec)
		if rec.Kind == kindCheckpoint {
			recs = recs[:0]
		}
		recs = append(recs, rec)
	}
	for _, rec := range recs {
		if err := s.replay.apply(rec); err != nil {
			return err
		}
		s.bury(rec)
	}
	s.publish(nil)
	return nil
}

// lock waits for the turn.
func (s *Store) lock(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) unlock() { <-s.turn }

func (s *Store) isOpen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return fault.New(fault.Unavailable, "resource store", "it is not open yet").WithHint("Wait until the platform is up: stoa status.")
	}
	return nil
}

// State gives all documents at the last durable revision.
func (s *Store) State() core.State { return s.view.Load().State }

// View gives the state with the last change of each document.
func (s *Store) View() View { return *s.view.Load() }

// remember keeps where rec is and what the history tells of it. Whoever holds turn calls it.
func (s *Store) remember(rec *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec.Kind == kindCheckpoint {
		s.points = append(s.points, point{rec.Revision, rec.before})
		return
	}
	s.infos = append(s.infos, info{rec.info(), rec.before})
}

// bury keeps who deleted a document, for the text of a conflict. What was deleted before
// the last checkpoint before a restart is not known.
func (s *Store) bury(rec *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec.Kind != kindApply {
		return
	}
	for _, it := range rec.items {
		if it.Document == nil {
			s.deleted[it.Ref] = rec.last()
		} else {
			delete(s.deleted, it.Ref)
		}
	}
}

// publish makes what was replayed the view, and wakes watchers. rec is nil after a load.
func (s *Store) publish(rec *record) {
	v := s.replay.view
	s.view.Store(v)
	// From here on v is shared: the next record is replayed into copies.
	s.replay.view = &View{
		State: core.State{Revision: v.Revision, Docs: maps.Clone(v.Docs)},
		Last:  maps.Clone(v.Last),
	}
	if rec != nil && rec.Kind == kindCheckpoint {
		return
	}
	if rec != nil {
		s.bury(rec)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec != nil {
		s.recent = append(s.recent, rec.event())
	}
	if n := len(s.recent) - keepRecent; n > 0 {
		s.recent = append([]Event(nil), s.recent[n:]...)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// failed says which of the store's acts an error of the journal ended.
func failed(op string, err error) error {
	return &fault.Error{Op: op, Subject: "resource store", Kind: fault.KindOf(err), Err: err}
}
