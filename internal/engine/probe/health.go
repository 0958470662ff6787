package probe

import "time"

// Plan is how often and how long to ask.
type Plan struct {
	StartEvery time.Duration // between questions until the first good answer
	StartFor   time.Duration // how long the first good answer may take
	Every      time.Duration // between questions after it
	Timeout    time.Duration // of one question
	Fail       int           // bad answers in a row that change a well instance's phase
	OK         int           // good answers in a row that change it back
	Live       bool          // whether there is a live probe beside the ready probe
}

// DefaultPlan gives the plan of those who declare none. Kubernetes asks every 10 s,
// which is slow where an instance starts in 50 ms.
func DefaultPlan() Plan {
	return Plan{StartEvery: 500 * time.Millisecond, StartFor: time.Minute, Every: 5 * time.Second, Timeout: time.Second, Fail: 3, OK: 1}
}

// Which is one of an instance's two questions.
type Which string

// The questions. Ready also decides the start; live is asked only after it.
const (
	Ready Which = "ready" // should it get calls?
	Live  Which = "live"  // should it be replaced?
)

// Phase is what the answers amount to.
type Phase string

// The phases. From Late and Dead there is no way back but a new instance.
const (
	Starting Phase = "starting" // no good answer yet
	Well     Phase = "ready"    // gets calls
	Unready  Phase = "unready"  // gets no calls until it is well again
	Late     Phase = "late"     // no good answer within StartFor: replace it
	Dead     Phase = "dead"     // does not live: replace it
)

// Final says whether no answer can change the phase any more.
func (p Phase) Final() bool { return p == Late || p == Dead }

// Health is what is known of one instance's health. It is a value: After gives a new one.
type Health struct {
	Phase  Phase
	Since  time.Time // of Phase
	Began  time.Time // when the instance started
	Reason string    // of the last bad answer; empty while all are good
	Of     Which     // the question that Reason answers

	ready, live streak
}

// streak is the answers to one question: of good and bad ones, one number is 0.
type streak struct {
	good, bad int
	next      time.Time // when to ask again
	reason    string    // of the last answer; empty for a good one
}

// Begin gives the health of an instance that starts now.
func Begin(now time.Time) Health {
	return Health{Phase: Starting, Since: now, Began: now, ready: streak{next: now}}
}

// After gives the health after an answer. An empty reason is a good answer.
func (h Health) After(p Plan, which Which, reason string, now time.Time) Health {
	if h.Phase.Final() {
		return h
	}
	s := &h.ready
	if which == Live {
		if h.Phase == Starting || !p.Live {
			return h // nobody asked
		}
		s = &h.live
	}
	every := p.Every
	if reason == "" {
		s.good, s.bad = s.good+1, 0
	} else {
		s.good, s.bad = 0, s.bad+1
	}
	s.reason = reason

	was := h.Phase
	switch {
	case h.Phase == Starting && s.good >= p.OK:
		h.Phase = Well
		h.live.next = now.Add(p.Every)
	case h.Phase == Starting && !now.Before(h.Began.Add(p.StartFor)):
		h.Phase = Late
	case h.Phase == Starting:
		every = p.StartEvery
	case which == Live && s.bad >= p.Fail:
		h.Phase = Dead
	case which == Ready && h.Phase == Well && s.bad >= p.Fail:
		h.Phase = Unready
	case which == Ready && h.Phase == Unready && s.good >= p.OK:
		h.Phase = Well
	}
	if h.Phase != was {
		h.Since = now
	}
	s.next = now.Add(every)
	h.Reason, h.Of = h.ready.reason, Ready
	if h.live.reason != "" && (h.Phase == Dead || h.Reason == "") {
		h.Reason, h.Of = h.live.reason, Live
	}
	if h.Reason == "" {
		h.Of = ""
	}
	return h
}

// Due says which question to ask next, and when. In a final phase there is none, and
// which is empty.
func (h Health) Due(p Plan) (which Which, at time.Time) {
	switch {
	case h.Phase.Final():
		return "", time.Time{}
	case p.Live && h.Phase != Starting && h.live.next.Before(h.ready.next):
		return Live, h.live.next
	}
	return Ready, h.ready.next
}

// WellFor gives how long the instance has been well without a break, 0 if it is not.
func (h Health) WellFor(now time.Time) time.Duration {
	if h.Phase != Well {
		return 0
	}
	return now.Sub(h.Since)
}
