package balance

import (
	"math"
	"sync/atomic"
	"time"
)

// How latency is remembered.
const (
	tau      = 10 * time.Second // time in which an old latency loses 63 % of its weight
	tickBits = 20               // a tick is 2^20 ns, 1.05 ms: the unit in which the time of a sample is kept

	failFactor = 10                    // a failure counts as this many times what the endpoint took before,
	minPenalty = 10 * time.Millisecond // at least this,
	maxPenalty = time.Second           // and at most this
)

// Back-off of an endpoint that refuses connections, so that others are tried first.
const (
	suspectMin = 20 * time.Millisecond
	suspectMax = 500 * time.Millisecond
)

// Member is one endpoint over its whole life, across sets. Make it with NewMember; the
// zero value is one that was always there. All methods may be called concurrently.
type Member struct {
	inflight atomic.Int64
	ewma     atomic.Uint64 // see pack; 0 means that nothing is known
	ejected  atomic.Int64  // until then; also in the past
	suspect  atomic.Int64  // until then it is passed over, since it refused
	added    int64         // when; never changes
	refusals atomic.Int32  // in a row
	_        [20]byte      // a cache line for each
}

// NewMember returns the member of an endpoint that is added at now.
func NewMember(now int64) *Member { return &Member{added: now} }

// Begin takes a place for a request and gives how many it holds with it.
func (m *Member) Begin() int64 { return m.inflight.Add(1) }

// Done gives a place back and says how many are left.
func (m *Member) Done() int64 { return m.inflight.Add(-1) }

// End is Observe and Done, for an attempt whose answer ends when it is observed.
func (m *Member) End(now int64, took time.Duration, failed bool) {
	m.Observe(now, took, failed)
	m.Done()
}

// Inflight is how many requests and connections it holds.
func (m *Member) Inflight() int64 { return m.inflight.Load() }

// Observe adds the time an attempt took until the head of its answer. With w =
// e^(-dt/tau), dt since the last sample, the remembered latency becomes took if that is
// more, else what it was x w + took x (1-w).
//
// A failure must not make an endpoint look fast. It counts as ten times what the endpoint
// took before, within 10 ms and 1 s, or as what it took if that is more: a single one costs
// the endpoint most of its share for some 20 s (tau x ln 10), several in a row bring it to
// a second. Were each a second, a service of 1 ms would go without requests for 70 s (tau x
// ln 1000) after one failure, and its peers would have them all.
func (m *Member) Observe(now int64, took time.Duration, failed bool) {
	r := max(float64(took), 1)
	for {
		old := m.ewma.Load()
		next := r
		if before, last := unpack(old); old != 0 {
			if failed {
				next = max(r, min(max(before*failFactor, float64(minPenalty)), float64(maxPenalty)))
			}
			if next < before {
				w := decay(since(now, last))
				next = before*w + next*(1-w)
			}
		} else if failed {
			next = max(r, float64(maxPenalty))
		}
		if m.ewma.CompareAndSwap(old, pack(next, now)) {
			return
		}
	}
}

// pack puts a latency (as a float32, in nanoseconds) and the tick of its sample into one
// word, so that both change at once. Ticks wrap after 52 days: an endpoint that was not
// asked for 26 may seem heard of just now, until it is.
func pack(latency float64, now int64) uint64 {
	return uint64(math.Float32bits(float32(latency)))<<32 | uint64(uint32(now>>tickBits))
}

func unpack(v uint64) (latency float64, tick uint32) {
	return float64(math.Float32frombits(uint32(v >> 32))), uint32(v)
}

// since gives the nanoseconds from tick to now, 0 if that is in the future.
func since(now int64, tick uint32) float64 {
	return float64(max(int32(uint32(now>>tickBits)-tick), 0)) * (1 << tickBits)
}

// decay is e^(-dt/tau), to one part in a million.
func decay(dt float64) float64 {
	x := dt / float64(tau)
	if x < 1.0/16 { // where many requests come
		return 1 - x*(1-x/2*(1-x/3))
	}
	return math.Exp(-x)
}

// latency gives what is remembered, in nanoseconds, as it has decayed; fresh if a sample
// came within tau.
func (m *Member) latency(now int64) (ns float64, fresh bool) {
	v := m.ewma.Load()
	if v == 0 {
		return 0, false
	}
	ns, last := unpack(v)
	dt := since(now, last)
	if dt == 0 {
		return ns, true
	}
	return ns * decay(dt), dt < float64(tau)
}

// Latency is the peak EWMA of what it takes, decayed to now; 0 if nothing is known.
func (m *Member) Latency(now int64) time.Duration {
	ns, _ := m.latency(now)
	return time.Duration(ns)
}

// Cost is Latency in nanoseconds x (what it holds + 1), 0 if nothing is known. Pick
// compares this, with the pool's median in place of what is not known or is older than tau.
func (m *Member) Cost(now int64) float64 {
	ns, _ := m.latency(now)
	return ns * float64(m.inflight.Load()+1)
}

// Eject keeps requests from it until then; a time that is past lets it back.
func (m *Member) Eject(until int64) { m.ejected.Store(until) }

// EjectedUntil gives when an ejection ends, 0 if it is not ejected.
func (m *Member) EjectedUntil(now int64) int64 {
	if t := m.ejected.Load(); t > now {
		return t
	}
	return 0
}

// Suspect passes it over until then, since it refuses connections.
func (m *Member) Suspect(until int64) { m.suspect.Store(until) }

// SuspectUntil gives until when it is passed over, 0 if it is not.
func (m *Member) SuspectUntil(now int64) int64 {
	if t := m.suspect.Load(); t > now {
		return t
	}
	return 0
}

// Refused says that it refused a connection: it is suspect for 20 ms, doubled for each
// refusal in a row up to 500 ms.
func (m *Member) Refused(now int64) {
	n := min(m.refusals.Add(1), 6)
	m.suspect.Store(now + int64(min(suspectMin<<(n-1), suspectMax)))
}

// Connected says that it accepted a connection.
func (m *Member) Connected() {
	if m.refusals.Load() != 0 {
		m.refusals.Store(0)
		m.suspect.Store(0)
	}
}

// Usable says that it is neither ejected nor suspect.
func (m *Member) Usable(now int64) bool {
	return m.suspect.Load() <= now && m.ejected.Load() <= now
}
