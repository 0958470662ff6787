package breaker

import (
	"time"

	"stoa/internal/ground/window"
)

// State is a breaker as people and metrics see it.
type State struct {
	Phase Phase
	Since int64         // when the phase began, in the caller's nanoseconds
	Retry time.Duration // open: until the first trial; else 0

	Calls, Failed int64 // of the window; 0 <= Failed <= Calls. Kept while it is open, 0 once closed again
	Round         int   // half-open: 1, 2, 3; else 0
	Trials        int   // half-open: trials that are out
	Allowed       int   // half-open: trials that may be out together

	Opened  uint64 // times it has opened, ever
	Refused uint64 // calls it has refused, ever
}

// State tells how b stands at now. An open breaker whose time is over is half-open here: the
// next call is a trial.
func (b *Breaker) State(now int64) State {
	tick := window.Tick(now, b.rules.Load().window)
	b.mu.Lock()
	defer b.mu.Unlock()
	s := State{Phase: b.phase(), Since: b.since, Opened: b.opened.Load(), Refused: b.refused.Load()}
	s.Failed = b.failed.Sum(tick)
	s.Calls = max(b.calls.Sum(tick), s.Failed)
	switch s.Phase {
	case Open:
		until := b.until.Load()
		if s.Retry = time.Duration(max(0, until-now)); s.Retry == 0 {
			s.Phase, s.Since, s.Round, s.Allowed = HalfOpen, until, 1, rounds[0]
		}
	case HalfOpen:
		s.Round, s.Allowed = b.round+1, rounds[b.round]
		for _, t := range b.out {
			if t.number != 0 && t.until > now {
				s.Trials++
			}
		}
	}
	return s
}
