package store

import (
	"context"
	"errors"
	"fmt"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/platform"
	"stoa/internal/ground/journal"
)

// History gives the kept revisions, newest first, at most limit of them; 0 means all.
func (s *Store) History(limit int) []platform.Revision {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.infos)
	if limit > 0 {
		n = min(n, limit)
	}
	out := make([]platform.Revision, n)
	for i := range out {
		out[i] = s.infos[len(s.infos)-1-i].Revision
	}
	return out
}

// At gives the documents as they were at an earlier revision. It reads the log from the
// checkpoint before it. NotFound: the revision never was, or is no longer kept.
func (s *Store) At(ctx context.Context, revision uint64) (View, error) {
	if err := s.isOpen(); err != nil {
		return View{}, err
	}
	if v := s.View(); v.Revision == revision {
		return v, nil
	}
	from, ok := s.pointBefore(revision)
	if !ok || revision > s.State().Revision {
		return View{}, s.notKept(revision)
	}
	r := replayer{view: emptyView(), framer: framer{tail: from}}
	for e, err := range s.log.Read(ctx, from) {
		if errors.Is(err, journal.ErrCut) {
			return View{}, s.notKept(revision)
		}
		if err != nil {
			return View{}, failed("store.at", err)
		}
		rec, err := r.feed(e)
		if err != nil {
			return View{}, err
		}
		if rec != nil && r.view.Revision == revision {
			return *r.view, nil
		}
	}
	return View{}, failed("store.at", fmt.Errorf("revision %d is not in the log", revision))
}

func (s *Store) notKept(revision uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := fault.New(fault.NotFound, fmt.Sprintf("revision %d", revision), "there is no revision yet")
	if n := len(s.infos); n > 0 {
		e = fault.New(fault.NotFound, fmt.Sprintf("revision %d", revision), "it is not among those kept, %d to %d", s.infos[0].Revision.Revision, s.infos[n-1].Revision.Revision)
	}
	return e.WithHint("List them: stoa history.")
}

// pointBefore gives the entry after which to read for the state at revision.
func (s *Store) pointBefore(revision uint64) (journal.Seq, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.points) - 1; i >= 0; i-- {
		if s.points[i].revision <= revision {
			return s.points[i].before, true
		}
	}
	if len(s.infos) > 0 && s.infos[0].Revision.Revision == 1 {
		return s.infos[0].before, revision > 0
	}
	return 0, false
}

const (
	// checkpointEvery is after how many revisions a checkpoint is written. Reading an
	// earlier state replays up to that many records.
	checkpointEvery = 100

	// checkpointBytes is after how many bytes of records one is written even so, unless
	// the state itself is so large that it would be written all the time.
	checkpointBytes = 8 << 20
)

// retain writes a checkpoint and cuts the log when it is time for it. A failure is no
// failure of the commit before it: the next commit tries again. Whoever calls holds turn.
func (s *Store) retain(ctx context.Context) {
	if s.replay.recs < checkpointEvery && s.replay.since < max(checkpointBytes, 4*s.replay.size) {
		return
	}
	v := s.view.Load()
	rec, err := s.append(ctx, header{Kind: kindCheckpoint, Revision: v.Revision, At: core.At(s.o.Now())}, checkpointItems(v))
	if err != nil {
		s.o.Log.Warn("no checkpoint was written; the next apply tries again", "revision", v.Revision, "err", err)
		return
	}
	s.remember(rec)
	before, ok := s.cuttable()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	if err := s.log.Cut(ctx, before+1); err != nil {
		s.o.Log.Warn("the log was not cut; the next checkpoint tries again", "entry", before+1, "err", err)
		return
	}
	s.forget(before)
}

// cuttable gives the entry up to which the log need not be kept: before the last
// checkpoint that leaves the record and the state of every revision to be kept.
func (s *Store) cuttable() (before journal.Seq, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.infos)
	drop := max(0, n-s.o.Revisions)
	young := core.At(s.o.Now().Add(-s.o.Age))
	for drop < n-s.o.Least && s.infos[drop].At.Before(young.Time) {
		drop++
	}
	if drop == 0 || drop == n {
		return 0, false
	}
	oldest := s.infos[drop].Revision.Revision // to be kept, with its state
	for i := len(s.points) - 1; i >= 0; i-- {
		if s.points[i].revision < oldest {
			return s.points[i].before, s.points[i].before > s.infos[0].before
		}
	}
	return 0, false
}

// forget drops what is known of the entries up to before.
func (s *Store) forget(before journal.Seq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.points) > 0 && s.points[0].before < before {
		s.points = s.points[1:]
	}
	for len(s.infos) > 0 && s.infos[0].before < before {
		s.infos = s.infos[1:]
	}
	for ref, last := range s.deleted {
		if len(s.infos) > 0 && last.Revision < s.infos[0].Revision.Revision {
			delete(s.deleted, ref)
		}
	}
}
