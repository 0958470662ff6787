// Package board shows what was observed of each declared thing: its conditions, and
// the last changes of them.
//
// Modules Set what they observe; status, describe and why read it; watchers follow.
// It is memory: a condition never makes a revision and never waits for the disk, and
// after a restart it is observed anew.
//
//	module -- Set, Clear --> conditions by ref and type -- Of, All --> status, get
//	                               | each change
//	                               +--> the last MaxTransitions of the ref -- Why --> why
//
// Bounds: MaxTransitions a ref, core.MaxEvidence lines a condition. How many refs there
// are is for those who Set; whoever sees a document go Clears it.
package board

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"stoa/api/core"
)

// MaxTransitions is how many changes a ref remembers: enough for a crash loop to show
// what was before it.
const MaxTransitions = 32

// maxCleared bounds the refs kept only to tell watchers that they are gone. A watcher
// so slow that more were cleared since its last look does not hear of them.
const maxCleared = 4096

// A Transition is one change of a condition, with what it rested on.
type Transition struct {
	At   core.Time      // when it was told
	From core.Condition // before; the zero Condition if the type was new
	To   core.Condition // after; the zero Condition if it was withdrawn
}

// Observed is the state of one ref, as Watch gives it.
type Observed struct {
	Ref        core.Ref
	Conditions []core.Condition // ordered by type; none: cleared
}

// A Board holds conditions. The zero Board is not usable: New. All methods may be
// called concurrently and none blocks.
type Board struct {
	now func() time.Time

	mu      sync.Mutex
	refs    map[core.Ref]*entry // guarded by mu
	cleared map[core.Ref]uint64 // version at which a ref was cleared, while someone watches; guarded by mu
	version uint64              // counts every change; guarded by mu
	watched int                 // watchers; guarded by mu
	changed chan struct{}       // closed and replaced at each change, while someone watches; guarded by mu
}

type entry struct {
	version    uint64 // of the last change
	conditions map[string]core.Condition
	ring       []Transition // oldest first, at most MaxTransitions
}

// New returns an empty board. now may be nil, meaning time.Now.
func New(now func() time.Time) *Board {
	if now == nil {
		now = time.Now
	}
	return &Board{now: now, refs: map[core.Ref]*entry{}, cleared: map[core.Ref]uint64{}, changed: make(chan struct{})}
}

// Set states c of ref, in place of what was stated of c.Type. Since is kept while
// status and reason stay, and is now when they change, unless c brings its own.
// Evidence that is too long is cut from the front.
func (b *Board) Set(ref core.Ref, c core.Condition) {
	now := core.At(b.now())
	if n := len(c.Evidence) - core.MaxEvidence; n > 0 {
		c.Evidence = c.Evidence[n:]
	}
	c.Evidence = slices.Clone(c.Evidence)
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.refs[ref]
	if e == nil {
		e = &entry{conditions: map[string]core.Condition{}}
		b.refs[ref] = e
		delete(b.cleared, ref)
	}
	old, was := e.conditions[c.Type]
	turned := !was || old.Status != c.Status || old.Reason != c.Reason
	switch {
	case !turned:
		c.Since = old.Since
	case c.Since.IsZero():
		c.Since = now
	}
	if was && old.Same(c) && slices.Equal(old.Evidence, c.Evidence) && old.Hint == c.Hint {
		return
	}
	e.conditions[c.Type] = c
	if turned {
		e.remember(Transition{At: now, From: old, To: c})
	} else if n := len(e.ring); n > 0 && e.ring[n-1].To.Type == c.Type {
		e.ring[n-1].To = c // the same state, told better: the latest evidence counts
	}
	b.touch(e)
}

// Withdraw takes back the condition of one type.
func (b *Board) Withdraw(ref core.Ref, typ string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.refs[ref]
	if e == nil {
		return
	}
	old, was := e.conditions[typ]
	if !was {
		return
	}
	delete(e.conditions, typ)
	e.remember(Transition{At: core.At(b.now()), From: old})
	b.touch(e)
}

// Clear forgets all that is known of ref, its transitions too.
func (b *Board) Clear(ref core.Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.refs[ref]
	if e == nil {
		return
	}
	delete(b.refs, ref)
	b.touch(e)
	if b.watched > 0 {
		if len(b.cleared) == maxCleared {
			clear(b.cleared)
		}
		b.cleared[ref] = b.version
	}
}

func (e *entry) remember(t Transition) {
	if len(e.ring) == MaxTransitions {
		e.ring = append(e.ring[:0], e.ring[1:]...)
	}
	e.ring = append(e.ring, t)
}

// touch counts a change of e and wakes watchers. mu is held.
func (b *Board) touch(e *entry) {
	b.version++
	e.version = b.version
	if b.watched > 0 {
		close(b.changed)
		b.changed = make(chan struct{})
	}
}

func (e *entry) list() []core.Condition {
	return slices.SortedFunc(maps.Values(e.conditions), func(x, y core.Condition) int { return strings.Compare(x.Type, y.Type) })
}

// Of gives the conditions of ref, ordered by type.
func (b *Board) Of(ref core.Ref) []core.Condition {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.refs[ref]; e != nil {
		return e.list()
	}
	return nil
}

// One gives the condition of ref that has the type typ; ok is false if there is none.
func (b *Board) One(ref core.Ref, typ string) (c core.Condition, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.refs[ref]; e != nil {
		c, ok = e.conditions[typ]
	}
	return c, ok
}

// All gives every ref's conditions, ordered by type.
func (b *Board) All() map[core.Ref][]core.Condition {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[core.Ref][]core.Condition, len(b.refs))
	for ref, e := range b.refs {
		all[ref] = e.list()
	}
	return all
}

// Why gives the last transitions of ref, oldest first, each with its evidence.
func (b *Board) Why(ref core.Ref) []Transition {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.refs[ref]; e != nil {
		return slices.Clone(e.ring)
	}
	return nil
}

// Watch gives what is known of every ref, then each ref's new state after it changed,
// until ctx ends. It gives states: a slow watcher skips what was soon replaced. It has
// no queue and never holds up a Set.
func (b *Board) Watch(ctx context.Context) iter.Seq[Observed] {
	return func(yield func(Observed) bool) {
		b.mu.Lock()
		b.watched++
		b.mu.Unlock()
		defer func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.watched--; b.watched == 0 {
				clear(b.cleared)
			}
		}()
		var seen uint64
		for ctx.Err() == nil {
			news, now, changed := b.since(seen)
			seen = now
			for _, o := range news {
				if !yield(o) {
					return
				}
			}
			if len(news) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

// since gives the refs that changed after version seen, oldest change first, the
// present version, and what is closed at the next change.
func (b *Board) since(seen uint64) (news []Observed, now uint64, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if seen == b.version {
		return nil, seen, b.changed
	}
	versions := map[core.Ref]uint64{}
	for ref, e := range b.refs {
		if e.version > seen {
			news, versions[ref] = append(news, Observed{Ref: ref, Conditions: e.list()}), e.version
		}
	}
	for ref, v := range b.cleared {
		if v > seen {
			news, versions[ref] = append(news, Observed{Ref: ref}), v
		}
	}
	slices.SortFunc(news, func(x, y Observed) int { return cmp.Compare(versions[x.Ref], versions[y.Ref]) })
	return news, b.version, b.changed
}
