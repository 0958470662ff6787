package command

import (
	"time"

	"stoa/api/workload"
	"stoa/internal/app/develop"
)

// A settling follows what is under way, to say once when all is ready. What it is told
// decides, and the time that it is given: it reads no clock. The zero settling has
// nothing under way.
//
//	start, a build, an apply, a service that is not ready ──▶ under way
//	under way, nothing is built or broken, every service ready with the last revision ──▶ ready, once
type settling struct {
	began    time.Time       // of what is under way; zero: nothing is
	working  bool            // the loop builds and applies
	broken   map[string]bool // documents that do not build, and "" for a blueprint that was refused
	revision uint64          // the last that came into force; 0 for none
}

// event takes an event of the loop into account.
func (s *settling) event(e develop.Event, now time.Time) {
	if s.broken == nil {
		s.broken = map[string]bool{}
	}
	switch e.Kind {
	case develop.Built, develop.Gone:
		delete(s.broken, e.Document)
	case develop.BuildFailed:
		s.broken[e.Document] = true
	case develop.Refused:
		s.broken[""] = true
	case develop.Mended, develop.Applied:
		delete(s.broken, "")
		s.revision = max(s.revision, e.Revision)
	case develop.Settled:
		s.working = false
		return
	case develop.Unwatched, develop.Watched:
		return
	}
	s.working = true
	s.begin(now)
}

// begin notes that something is under way.
func (s *settling) begin(now time.Time) {
	if s.began.IsZero() {
		s.began = now
	}
}

// status takes a status into account. It says whether all has become ready, and since
// when that was under way.
func (s *settling) status(st workload.Status, now time.Time) (took time.Duration, ready bool) {
	behind := lags(st, s.revision)
	if len(behind) > 0 {
		s.begin(now)
	}
	if s.began.IsZero() || s.revision == 0 || s.working || len(s.broken) > 0 || len(behind) > 0 || len(st.Services) == 0 {
		return 0, false
	}
	took = now.Sub(s.began)
	s.began = time.Time{}
	return took, true
}
