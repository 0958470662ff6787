package limit

// The overload controller's figures.
const (
	period     = 100e6 // nanoseconds between decisions, at least
	leastSeen  = 10    // requests that a period sees, unless it lasts longPeriod
	longPeriod = 1e9
	target     = 0.5   // share of requests that may find the limit reached
	gain       = 0.6   // of the level, per second and unit of error
	even       = 0.577 // from this level on, steps are such that the share of ranks, not the level, moves evenly
)

// overload decides which ranks are shed: owned by whoever holds Limiter.mu.
//
// The level, 0 to 1, integrates how many of the requests that it lets pass find the limit
// reached: above half of them it rises, below it falls, by 0.3 a second at most (above
// 0.58 by less, so that the ranks move evenly). So it comes to rest where what passes is
// about what the service can take, whatever the classes are mixed of, and goes from 1 to 0
// within 5 s after the load is gone. Tried and dropped: equal steps of the level, with
// which twice as many cohorts were served half.
//
// What is shed is the cube of the level, of all ranks from the last: a third into overload
// 4 % of the ranks (some of the bulk), at 0.8 half of them (all bulk and low).
type overload struct {
	level   float64
	last    int64  // when it decided
	entries uint32 // of the state word, then
	queued  int    // since then: passed, and found the limit reached
	lost    int    // since then: critical ones that the queue refused
	dire    bool   // there were some in the last period: critical ranks may be shed, too
}

// below gives the first rank that is shed.
func (o *overload) below() int32 {
	n := ranks - int32(ranks*o.level*o.level*o.level)
	if !o.dire {
		n = max(n, cohorts)
	}
	return n
}

// decide moves the level if a period has passed; entries counts all that went straight in.
func (o *overload) decide(now int64, entries uint32) {
	dt := now - o.last
	straight := int((entries - o.entries) & entryMask)
	seen := straight + o.queued
	if dt < period || seen < leastSeen && dt < longPeriod {
		return
	}
	share := 0.0
	if seen > 0 {
		share = float64(o.queued) / float64(seen)
	}
	e := share - target
	if e > 0 {
		dt = min(dt, longPeriod/4) // a long period with few requests is no long overload
	}
	step := gain * e * float64(dt) / 1e9
	if o.level > even {
		step *= even * even / (o.level * o.level)
	}
	o.level = min(max(o.level+step, 0), 1)
	o.dire = o.lost > 0
	o.last, o.entries, o.queued, o.lost = now, entries, 0, 0
}
