package retry

import "time"

// HedgeAfter says when a second request is to be sent if the first has no answer by then,
// counted from the first: after the declared time, or after p95, what the caller knows of
// its route (0: not yet). It says false when none is to be sent: not declared, not a safe
// method, not known, or too late to be of use.
func (p *Policy) HedgeAfter(safe bool, p95, left time.Duration) (time.Duration, bool) {
	after := p.hedge
	if after < 0 {
		if p95 <= 0 {
			return 0, false
		}
		after = max(p95, minHedge)
	}
	return after, after > 0 && safe && p.attempts > 1 && after < left-leastLeft
}

// Hedge says, when that time has come, whether the second request is sent, and notes it in
// r. It takes from the same budget as repeats, and not from one of which less than half is
// left: in overload all requests are slow, and hedges would double the load. The caller
// sends it to another endpoint, takes the first answer that is none to repeat, and cancels
// the other.
func (p *Policy) Hedge(r *Run, left time.Duration, now int64, b *Budget) Verdict {
	switch {
	case r.Hedged || r.Repeats+1 >= p.attempts:
		return Verdict{Why: Attempts}
	case left <= leastLeft:
		return Verdict{Why: Deadline}
	case !b.withdraw(now, true):
		return Verdict{Why: OverBudget}
	}
	r.Repeats++
	r.Hedged = true
	return Verdict{Again: true}
}
