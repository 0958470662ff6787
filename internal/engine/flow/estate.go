package flow

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"stoa/internal/engine/deadline"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/limit"
)

// estate is what calls inherit: by trace and service, the deadlines and priorities of the exchanges
// that are at the service now. It is spread over shards, each with a lock that is held for one access
// to a map. What ended is used again, so that steady state allocates nothing. Exchanges with neither
// deadline nor priority do not touch it, and while it is empty a call reads one atomic.
type estate struct {
	n      atomic.Int64 // wills in all shards
	shards [estateShards]estateShard
}

// The bound of an estate: 65,536 exchanges. The oldest makes room, and its calls inherit nothing then.
const (
	estateShards = 64
	estateRoom   = 1024 // wills of a shard, and as many that are kept to be used again
)

type estateShard struct {
	mu    sync.Mutex
	by    map[heirs]*will // the newest of each; guarded by mu, as all below
	ends  will            // of a ring by age: after it the oldest, before it the newest
	free  *will           // by below
	n     int             // in the ring
	freed int             // in free
	_     [64]byte
}

// heirs are those who inherit: the calls that a service makes in a trace.
type heirs struct {
	trace   hop.TraceID
	service string
}

// will is what one exchange leaves to its heirs. It belongs to the exchange until disown, also when it
// was driven out. All of it is guarded by its shard.
type will struct {
	heirs
	span     hop.SpanID // of the exchange: the parent of a call that passes traceparent on as it came
	deadline int64
	priority limit.Priority
	in       bool  // in the shard
	below    *will // an older one of the same heirs

	older, newer *will
}

func (e *estate) shard(t hop.TraceID) *estateShard {
	return &e.shards[binary.BigEndian.Uint16(t[14:])%estateShards]
}

// add takes in what w's exchange leaves.
func (e *estate) add(of heirs, span hop.SpanID, until int64, p limit.Priority) *will {
	s := e.shard(of.trace)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = make(map[heirs]*will)
		s.ends.older, s.ends.newer = &s.ends, &s.ends
	}
	if s.n >= estateRoom {
		e.remove(s, s.ends.newer)
	}
	w := s.free
	if w == nil {
		w = &will{}
	} else {
		s.free, s.freed = w.below, s.freed-1
	}
	*w = will{heirs: of, span: span, deadline: until, priority: p, in: true, below: s.by[of]}
	s.by[of] = w
	w.older, w.newer = s.ends.older, &s.ends
	w.older.newer, s.ends.older = w, w
	s.n++
	e.n.Add(1)
	return w
}

// end lets go of w, for good.
func (e *estate) end(w *will) {
	s := e.shard(w.trace)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.in {
		e.remove(s, w)
	}
	if s.freed < estateRoom {
		*w = will{below: s.free}
		s.free, s.freed = w, s.freed+1
	}
}

// remove takes w out of s. Its lock is held.
func (e *estate) remove(s *estateShard, w *will) {
	w.older.newer, w.newer.older = w.newer, w.older
	switch first := s.by[w.heirs]; {
	case first != w:
		for first.below != w {
			first = first.below
		}
		first.below = w.below
	case w.below == nil:
		delete(s.by, w.heirs)
	default:
		s.by[w.heirs] = w.below
	}
	w.in = false
	s.n--
	e.n.Add(-1)
}

// find gives what a call inherits whose parent is span: of the exchange of that span alone, if there is
// one, else the tightest deadline that has not passed and the highest priority of all.
func (e *estate) find(of heirs, span hop.SpanID, now int64) (until int64, p limit.Priority) {
	until, p = deadline.Never, limit.Normal
	s := e.shard(of.trace)
	s.mu.Lock()
	defer s.mu.Unlock()
	for w, first := s.by[of], true; w != nil; w, first = w.below, false {
		if w.span == span {
			if w.deadline <= now { // what goes on after its time outlives it
				return deadline.Never, w.priority
			}
			return w.deadline, w.priority
		}
		if w.deadline > now {
			until = min(until, w.deadline)
		}
		if first || w.priority < p {
			p = w.priority
		}
	}
	return until, p
}

// bequeath remembers what the calls of the callee in the trace inherit, if it makes any.
func (x *Exchange) bequeath() {
	if !x.Up.calls {
		return
	}
	bound := x.deadline != deadline.Never && (x.bounded || x.told)
	if !bound && x.priority == limit.Normal || x.will != nil {
		return
	}
	until := deadline.Never
	if bound {
		until = x.deadline
	}
	x.will = x.P.estate.add(heirs{x.Rec.Trace, x.Up.Service}, x.Rec.Span, until, x.priority)
}

// unbind takes the deadline away from what is inherited: x is a stream from now on.
func (x *Exchange) unbind() {
	if x.will == nil {
		return
	}
	s := x.P.estate.shard(x.Rec.Trace)
	s.mu.Lock()
	x.will.deadline = deadline.Never
	s.mu.Unlock()
}

// disown ends what x leaves.
func (x *Exchange) disown() {
	if x.will != nil {
		x.P.estate.end(x.will)
		x.will = nil
	}
}

// inherit gives the time and the priority that x has of the exchange on whose behalf its caller, a
// service, makes it: none and normal where there is none.
func (x *Exchange) inherit() (time.Duration, limit.Priority) {
	if !x.continued || x.Rec.Caller == "" || x.P.estate.n.Load() == 0 {
		return none, limit.Normal
	}
	until, p := x.P.estate.find(heirs{x.Rec.Trace, x.Rec.Caller}, x.Rec.Parent, x.now)
	if until == deadline.Never {
		return none, p
	}
	return time.Duration(max(until-x.now, 0)), p
}
