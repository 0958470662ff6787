package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/op"
	"stoa/api/platform"
	"stoa/internal/ground/journal"
)

// A Change is what a Commit does, and what it rests on.
type Change struct {
	// Reads are the documents that the change was decided on, each with the revision of
	// its last change (View.Last), or 0 for one that was not there. If any has changed
	// since, the commit is refused. What is not named may have changed.
	Reads map[core.Ref]uint64

	Puts     []core.Document // created or replaced, whole; one equal to what is there is no change
	Deletes  []core.Ref      // removed; one that is not there is no change
	Source   string          // whose apply it is; for the history only
	Message  string          // why; for the history only
	Restores uint64          // the revision that a rollback brings back, or 0
}

const (
	// commitTries is how often a commit begins anew because another owner wrote first.
	// One machine has one owner, so a second try is rare and an eighth is a fault.
	commitTries = 8

	// settleWithin bounds an append, with its settling: a disk answers in milliseconds,
	// a cluster that elects a leader in some ten seconds.
	settleWithin = 15 * time.Second
)

// errMoved: the state is no longer the one that Update's plan was made on.
var errMoved = errors.New("the state has moved on")

// Commit makes c the next revision and gives its number, when it is durable. A change
// that changes nothing makes none: the present revision is given. Who asks is taken
// from ctx (op.CallerOf).
//
// Errors: Conflict, naming what has changed and by whom, when a read is out of date;
// Invalid for what cannot be kept; Unknown when it may yet have happened; Exhausted and
// Unavailable as the journal says. In all but Unknown nothing was changed.
func (s *Store) Commit(ctx context.Context, c Change) (uint64, error) {
	return s.commit(ctx, c, nil)
}

// Update commits what plan makes of the present state. If that state moves on before
// the commit, however little, plan is asked again: so a plan may look at everything,
// as validation does, without naming it in Reads. plan is called up to 8 times, by the
// calling goroutine and without a lock; its error is given back as it is.
func (s *Store) Update(ctx context.Context, plan func(View) (Change, error)) (uint64, error) {
	for range commitTries {
		v := s.View()
		c, err := plan(v)
		if err != nil {
			return 0, err
		}
		rev, err := s.commit(ctx, c, &v.Revision)
		if !errors.Is(err, errMoved) {
			return rev, err
		}
	}
	return 0, fault.New(fault.Unavailable, "apply", "others applied %d times meanwhile", commitTries).WithHint("Try again when they have ended: stoa history.")
}

// commit is Commit, refused with errMoved unless the state is at revision at.
func (s *Store) commit(ctx context.Context, c Change, at *uint64) (uint64, error) {
	if err := s.isOpen(); err != nil {
		return 0, err
	}
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.unlock()
	for range commitTries {
		if err := s.catchUp(ctx); err != nil {
			return 0, err
		}
		v := s.view.Load()
		if at != nil && *at != v.Revision {
			return 0, errMoved
		}
		if err := s.outdated(v, c.Reads); err != nil {
			return 0, err
		}
		items, err := difference(v, c)
		if err != nil || len(items) == 0 {
			return v.Revision, err
		}
		who := platform.WhoOf(op.CallerOf(ctx))
		h := header{
			Kind: kindApply, Revision: v.Revision + 1, At: core.At(s.o.Now()),
			Who: &who, Source: c.Source, Message: c.Message, Restores: c.Restores,
		}
		h.count(items)
		rec, err := s.append(ctx, h, items)
		if errors.Is(err, journal.ErrStale) {
			continue // another wrote: look at it, then again
		}
		if err != nil {
			return 0, err
		}
		s.remember(rec)
		s.publish(rec)
		s.retain(ctx)
		return rec.Revision, nil
	}
	return 0, fault.New(fault.Unavailable, "resource store", "another owner keeps writing to its log").WithHint("Let one Stoa use this data: stoa status.")
}

// Unchanged says whether a commit with these reads would be refused now: nil, or the
// Conflict it would give.
func (s *Store) Unchanged(reads map[core.Ref]uint64) error { return s.outdated(s.view.Load(), reads) }

// outdated gives a Conflict that names the reads which have changed, or nil.
func (s *Store) outdated(v *View, reads map[core.Ref]uint64) error {
	var refs []core.Ref
	for ref, rev := range reads {
		if v.Last[ref].Revision != rev {
			refs = append(refs, ref)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	slices.SortFunc(refs, core.Ref.Compare)
	const shown = 5
	var lines []string
	for i, ref := range refs {
		if i == shown {
			lines = append(lines, fmt.Sprintf("and %d more", len(refs)-shown))
			break
		}
		verb, last := "changed", v.Last[ref]
		if last.Revision == 0 {
			s.mu.Lock()
			verb, last = "deleted", s.deleted[ref]
			s.mu.Unlock()
		}
		switch {
		case last.Revision == 0: // before the kept history
			lines = append(lines, fmt.Sprintf("%s was deleted", ref))
		default:
			lines = append(lines, fmt.Sprintf("%s was %s at revision %d by %s", ref, verb, last.Revision, last.Who))
		}
	}
	return &fault.Error{
		Op: "store.commit", Subject: "apply", Kind: fault.Conflict,
		Err:  fmt.Errorf("what the plan rests on has changed since: %s", strings.Join(lines, ", ")),
		Hint: "Look at the change (stoa history), then plan and apply again.",
	}
}

// difference gives what c really changes in v, deletes and puts in the order of their refs.
func difference(v *View, c Change) ([]item, error) {
	seen := map[core.Ref]bool{}
	var items []item
	for _, d := range c.Puts {
		ref := d.Ref()
		if seen[ref] {
			return nil, fault.New(fault.Invalid, ref.String(), "it is in the change twice")
		}
		seen[ref] = true
		if back, err := core.ParseRef(ref.String()); err != nil || back != ref {
			return nil, fault.New(fault.Invalid, ref.String(), "%q and %q are no kind and name", d.Kind, d.Name)
		}
		b, err := json.Marshal(d) // as Canonical does, but this may come from outside
		if err != nil {
			return nil, fault.New(fault.Invalid, ref.String(), "it is no JSON: %w", err)
		}
		old, ok := v.Docs[ref]
		if ok && bytes.Equal(old.Canonical(), b) {
			continue
		}
		items = append(items, item{Ref: ref, Was: v.Last[ref].Revision, Document: &d})
	}
	for _, ref := range c.Deletes {
		if seen[ref] {
			return nil, fault.New(fault.Invalid, ref.String(), "it is in the change twice")
		}
		seen[ref] = true
		if _, ok := v.Docs[ref]; ok {
			items = append(items, item{Ref: ref, Was: v.Last[ref].Revision})
		}
	}
	slices.SortFunc(items, func(a, b item) int { return a.Ref.Compare(b.Ref) })
	return items, nil
}

// append writes one record and replays it. Whoever calls holds turn. The error is
// ErrStale when another wrote first; the record is then not in the log.
func (s *Store) append(ctx context.Context, h header, items []item) (*record, error) {
	entries, err := encode(h, items, s.o.entry)
	if err != nil {
		return nil, err
	}
	// What was begun must become known, even if whoever asked has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	var rec *record
	for _, e := range entries {
		s.n++
		e = slices.Insert(e, 0, journal.Mark(s.owner, s.n))
		seq, err := s.log.Append(ctx, s.replay.tail, e...)
		if first := err; errors.Is(first, journal.ErrUnknown) || errors.Is(first, journal.ErrStale) {
			seq, err = journal.Settle(ctx, s.log, s.replay.tail, e...)
			if errors.Is(err, journal.ErrCut) && errors.Is(first, journal.ErrStale) {
				err = journal.ErrStale // what took our place has been cut already
			}
		}
		if errors.Is(err, journal.ErrStale) {
			s.behind = true
			return nil, err
		}
		if err != nil {
			s.behind = errors.Is(err, journal.ErrUnknown)
			return nil, failedAppend(err)
		}
		if rec, err = s.replay.feed(journal.Entry{Seq: seq, Items: e}); err != nil {
			panic(fmt.Sprintf("store: cannot read what it has just written: %v", err))
		}
	}
	return rec, nil
}

// failedAppend tells the user what an error of the journal means for a change.
func failedAppend(err error) error {
	e := &fault.Error{Op: "store.commit", Subject: "resource store", Kind: fault.KindOf(err), Err: err}
	switch e.Kind {
	case fault.Unknown:
		e.Hint = "Look whether it happened, then apply again if not: stoa history."
	case fault.Exhausted:
		e.Hint = "Free space on the disk of the data folder; nothing was changed."
	case fault.Unavailable:
		e.Hint = "Nothing was changed; apply again when the journal answers: stoa status."
	}
	return e
}

// catchUp replays what another owner, or an earlier append of unknown outcome, has
// written. Whoever calls holds turn.
func (s *Store) catchUp(ctx context.Context) error {
	if s.broken != nil {
		return s.broken
	}
	if !s.behind {
		return nil
	}
	for e, err := range s.log.Read(ctx, s.replay.tail) {
		if errors.Is(err, journal.ErrCut) { // by another owner, who has gone far ahead
			if err := s.load(ctx); err != nil {
				return err
			}
			break
		}
		if err != nil {
			return failed("store.commit", err)
		}
		rec, err := s.replay.feed(e)
		if err != nil {
			s.broken = err
			return err
		}
		if rec != nil {
			s.remember(rec)
			s.publish(rec)
		}
	}
	s.behind = false
	return nil
}
