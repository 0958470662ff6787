package inject

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// Set is faults ready to be asked. nil is the empty one.
type Set struct{ faults []compiled }

type compiled struct {
	Fault
	below uint64 // a draw below it meets the fault, if not always
	all   bool
	hits  *tally // of the fault, in this set and those after it
}

// Hits is what a fault has done so far, in attempts: a call that is repeated may meet it again.
type Hits struct {
	Matched uint64 `json:"matched"` // its selectors chose, also where the share did not
	Delayed uint64 `json:"delayed"` // it made wait; of several faults the one that delays longest does
	Aborted uint64 `json:"aborted"` // it answered; of several faults the first does
}

// tally counts hits. Faults are for tests and game days: one word for all cores will do.
type tally struct{ matched, delayed, aborted atomic.Uint64 }

// Follow lets s go on counting where before stopped, for faults that are the same in both. It
// is called before s is asked.
func (s *Set) Follow(before *Set) {
	if s == nil || before == nil {
		return
	}
	for i := range s.faults {
		for j := range before.faults {
			if s.faults[i].Fault == before.faults[j].Fault {
				s.faults[i].hits = before.faults[j].hits
			}
		}
	}
}

// Hits gives what each fault has done, by its id.
func (s *Set) Hits() map[string]Hits {
	all := map[string]Hits{}
	if s == nil {
		return all
	}
	for _, f := range s.faults {
		all[f.ID] = Hits{f.hits.matched.Load(), f.hits.delayed.Load(), f.hits.aborted.Load()}
	}
	return all
}

// Compile makes a set of the faults that are not over at now. One that Check would refuse is
// left out: what a node finds on its disk must not harm more than it may. Only an end too
// far ahead is brought nearer, for the clocks of two nodes differ.
func Compile(faults []Fault, now int64) *Set {
	var s Set
	for _, f := range faults {
		wrong := false
		f.Until = min(f.Until, now+int64(MaxAhead))
		f.Check(now, func(string, string, string) { wrong = true })
		if wrong || f.Percent == 0 || len(s.faults) == MaxFaults {
			continue
		}
		c := compiled{Fault: f, hits: &tally{}}
		if share := f.Percent / 100; share < 1 {
			c.below = uint64(math.Ldexp(share, 64))
		} else {
			c.all = true
		}
		s.faults = append(s.faults, c)
	}
	if len(s.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(s.faults, func(a, b compiled) int { return cmp.Compare(a.ID, b.ID) })
	return &s
}

// Rules are the faults that calls of one callee may meet.
type Rules struct{ faults []compiled }

// Of gives the rules of a callee, nil if there are none: resolve it when routes are
// compiled, so that a call without faults costs one comparison with nil.
func (s *Set) Of(callee string) *Rules {
	if s == nil {
		return nil
	}
	var r Rules
	for _, f := range s.faults {
		if f.Callee == "" || f.Callee == callee {
			r.faults = append(r.faults, f)
		}
	}
	if len(r.faults) == 0 {
		return nil
	}
	return &r
}

// Verdict is what a call meets. The zero Verdict is nothing.
type Verdict struct {
	Delay time.Duration // wait this long first, but not past the deadline
	Abort int           // then answer with this status instead of sending; 0: send
	ID    string        // of the fault that aborts, or else of the one that delays
}

// Injected says whether the call meets anything.
func (v Verdict) Injected() bool { return v.ID != "" }

// Decide says what an attempt meets at now (ns since 1970). header gives the value of a
// request's header and whether it is there; it is called only if a fault asks for one, and
// may be nil if there are none. rnd is 64 random bits, new for each attempt. r may be nil.
func (r *Rules) Decide(now int64, caller, route string, header func(name string) (string, bool), rnd uint64) Verdict {
	var v Verdict
	if r == nil {
		return v
	}
	var slow, fails *compiled
	for i := range r.faults {
		f := &r.faults[i]
		rnd += 0x9e3779b97f4a7c15
		if now >= f.Until || f.Caller != "" && f.Caller != caller || f.Route != "" && f.Route != route {
			continue
		}
		if f.Header.Name != "" {
			if header == nil {
				continue
			}
			got, there := header(f.Header.Name)
			if !there || f.Header.Value != "" && got != f.Header.Value {
				continue
			}
		}
		f.hits.matched.Add(1)
		draw := mix(rnd)
		if !f.all && draw >= f.below {
			continue
		}
		d := f.Delay
		if f.Jitter > 0 {
			d += time.Duration(float64(f.Jitter) * (float64(mix(draw)>>11) / (1 << 53)))
		}
		if d > v.Delay || slow == nil && d > 0 {
			v.Delay, slow = d, f
		}
		if v.Abort == 0 && f.Abort != 0 {
			v.Abort, fails = f.Abort, f
		}
	}
	if slow != nil {
		slow.hits.delayed.Add(1)
		v.ID = slow.ID
	}
	if fails != nil {
		fails.hits.aborted.Add(1)
		v.ID = fails.ID
	}
	return v
}

// mix makes independent draws of one: the finalizer of splitmix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// GRPC is the grpc-status that stands for an abort with an HTTP status in a gRPC call: the
// code whose HTTP mapping it is (google.rpc.Code), so that abort: 503 is UNAVAILABLE to either kind of client.
func GRPC(status int) int {
	switch status {
	case 400:
		return 3 // INVALID_ARGUMENT
	case 401:
		return 16 // UNAUTHENTICATED
	case 403:
		return 7 // PERMISSION_DENIED
	case 404:
		return 5 // NOT_FOUND
	case 409:
		return 10 // ABORTED
	case 412:
		return 9 // FAILED_PRECONDITION
	case 429:
		return 8 // RESOURCE_EXHAUSTED
	case 499:
		return 1 // CANCELLED
	case 500:
		return 13 // INTERNAL
	case 501:
		return 12 // UNIMPLEMENTED
	case 502, 503:
		return 14 // UNAVAILABLE
	case 504:
		return 4 // DEADLINE_EXCEEDED
	}
	return 2 // UNKNOWN
}
