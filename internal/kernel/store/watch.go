package store

import (
	"context"
	"errors"
	"iter"

	"stoa/api/core"
	"stoa/api/platform"
	"stoa/internal/ground/journal"
)

// An Event is one revision, as a watcher sees it. It is shared: do not change it.
type Event struct {
	platform.Revision // of what was committed; after a Reset, only its number
	Changes           []Changed

	// Reset says that revisions between the last event and this one are no longer (or
	// never were) in the log. Forget what you know and read State anew, which is at this
	// Revision or a later one.
	Reset bool
}

// Changed is one document of an event.
type Changed struct {
	Ref core.Ref
	Was uint64         // revision of its last change before; 0: it was not there
	Doc *core.Document // as it is now; nil: deleted
}

// Watch gives the revisions after from, in order and without gaps, then goes on with
// each one that is committed. It ends with ctx's error, or with an error of the journal.
//
// A watcher has no queue, it has a position: one that is slow reads the log where it
// left off, and hears Reset if that was cut meanwhile. So it never holds up a commit.
func (s *Store) Watch(ctx context.Context, from uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := s.isOpen(); err != nil {
			yield(Event{}, err)
			return
		}
		at := from
		for {
			if err := ctx.Err(); err != nil {
				yield(Event{}, err)
				return
			}
			events, changed := s.after(at)
			if events == nil && changed == nil { // not in memory
				var err error
				if events, err = s.readAfter(ctx, at); err != nil {
					yield(Event{}, err)
					return
				}
			}
			for _, e := range events {
				at = e.Revision.Revision
				if !yield(e, nil) {
					return
				}
			}
			if len(events) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

// after gives the events after revision at from memory; if there are none, what is
// closed when there are; or neither, if the log has to be read.
func (s *Store) after(at uint64) ([]Event, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.view.Load().Revision
	if at == current {
		return nil, s.changed
	}
	for i, e := range s.recent {
		if at < current && e.Revision.Revision == at+1 {
			return append([]Event(nil), s.recent[i:]...), s.changed
		}
	}
	return nil, nil
}

// readBatch bounds what a watcher that reads the log holds at once.
const readBatch = 16

// readAfter gives events after revision at from the log, at least one, at most
// readBatch, none of a revision that State does not show yet.
func (s *Store) readAfter(ctx context.Context, at uint64) ([]Event, error) {
	reset := func() []Event {
		return []Event{{Revision: platform.Revision{Revision: s.State().Revision}, Reset: true}}
	}
	current := s.State().Revision
	before, ok := s.before(at + 1)
	if !ok {
		return reset(), nil
	}
	var events []Event
	f := framer{tail: before}
	for e, err := range s.log.Read(ctx, before) {
		if errors.Is(err, journal.ErrCut) {
			return reset(), nil
		}
		if err != nil {
			return nil, failed("store.watch", err)
		}
		rec, err := f.feed(e)
		if err != nil {
			return nil, err
		}
		if rec == nil || rec.Kind != kindApply {
			continue
		}
		if rec.Revision > current { // durable, but State does not show it yet
			break
		}
		if err := rec.decode(); err != nil {
			return nil, err
		}
		if events = append(events, rec.event()); len(events) == readBatch {
			break
		}
	}
	if events == nil {
		return nil, failed("store.watch", errors.New("a revision that was committed is not in the log"))
	}
	return events, nil
}

// before gives the entry before the record of revision; false if it is not kept.
func (s *Store) before(revision uint64) (journal.Seq, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.infos) == 0 || revision < s.infos[0].Revision.Revision {
		return 0, false
	}
	i := revision - s.infos[0].Revision.Revision
	if i >= uint64(len(s.infos)) {
		return 0, false
	}
	return s.infos[i].before, true
}
