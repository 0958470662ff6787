package probe

import (
	"slices"
	"time"
)

// How restarts are spaced: Docker's curve with Nomad's cap.
const (
	FirstWait = 100 * time.Millisecond // before the first restart; each next one doubles it
	LongWait  = 30 * time.Second       // the longest wait
	Jitter    = 0.2                    // the part of a wait that chance may take off, so that many do not start at once
	WellAgain = 10 * time.Second       // in health, after which all is forgiven
	LoopCount = 5                      // deaths
	LoopSpan  = 2 * time.Minute        // within which they are a crash loop
)

// Restarts is the history of one instance slot that decides when to start it again. The
// zero value has no history. It is a value: Died and Settled give a new one.
type Restarts struct {
	Wait    time.Duration // the last wait before chance took its part; 0 for none
	Deaths  []time.Time   // the latest, at most LoopCount; never changed in place
	Looping bool          // in a crash loop: it is restarted, but someone should look
}

// Died gives the history after a death, and how long to wait before the next start.
// wellFor is how long the instance had been well when it died, chance a random number
// in [0, 1).
//
// The verdict of a crash loop stays until an instance has been well for WellAgain: with
// waits of half a minute, deaths soon are too rare to count, and nothing is better.
func (r Restarts) Died(now time.Time, wellFor time.Duration, chance float64) (Restarts, time.Duration) {
	r = r.Settled(wellFor)
	r.Wait = min(max(2*r.Wait, FirstWait), LongWait)
	r.Deaths = append(slices.Clone(r.Deaths), now)
	if extra := len(r.Deaths) - LoopCount; extra > 0 {
		r.Deaths = r.Deaths[extra:]
	}
	if len(r.Deaths) == LoopCount && now.Sub(r.Deaths[0]) <= LoopSpan {
		r.Looping = true
	}
	return r, r.Wait - time.Duration(chance*Jitter*float64(r.Wait))
}

// Settled gives the history once an instance has been well for so long. From WellAgain
// on waits begin anew, and a crash loop is over and its deaths forgotten; deaths that
// made no loop still count, or a program that dies every 20 s would never be noticed.
func (r Restarts) Settled(wellFor time.Duration) Restarts {
	if wellFor < WellAgain {
		return r
	}
	r.Wait = 0
	if r.Looping {
		r.Looping, r.Deaths = false, nil
	}
	return r
}
