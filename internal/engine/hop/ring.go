package hop

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// ringShards is how many rings share the load, so that writers on different cores
// seldom meet on one lock. The lock is held for one copy of a record.
const ringShards = 4

// Ring is a bounded buffer of records between the hot path and one reader. A writer
// never waits: when the ring is full the new record is dropped and counted.
type Ring struct {
	shards  [ringShards]ringShard
	wake    chan struct{} // capacity 1: a token says that something may be there
	dropped atomic.Uint64
}

type ringShard struct {
	mu    sync.Mutex
	slots []slot // fixed length; guarded by mu
	head  int    // index of the oldest; guarded by mu
	n     int    // how many; guarded by mu
	_     [64]byte
}

// slot keeps a record and the bytes of those of its strings that belong to the request.
type slot struct {
	rec  Record
	text []byte // Method, Host, Path and Error one after the other; used again
	ends [4]int
}

// maxText bounds what a slot keeps of one string; what is longer is cut.
const maxText = 2048

// NewRing returns a ring for at least n records (0 means 4,096, about 2 MB).
func NewRing(n int) *Ring {
	if n <= 0 {
		n = 4096
	}
	r := &Ring{wake: make(chan struct{}, 1)}
	for i := range r.shards {
		r.shards[i].slots = make([]slot, (n+ringShards-1)/ringShards)
	}
	return r
}

// Hop keeps a copy of rec and of its strings, or drops it when the ring is full. It
// allocates only while the slots grow to the size of what passes.
func (r *Ring) Hop(rec *Record) {
	first := rand.IntN(ringShards)
	for i := range ringShards { // another shard may have room
		if r.shards[(first+i)%ringShards].put(rec) {
			select {
			case r.wake <- struct{}{}:
			default:
			}
			return
		}
	}
	r.dropped.Add(1)
}

func (s *ringShard) put(rec *Record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == len(s.slots) {
		return false
	}
	to := &s.slots[(s.head+s.n)%len(s.slots)]
	to.rec = *rec
	to.text = to.text[:0]
	for i, p := range to.rec.own() {
		v := *p
		to.text = append(to.text, v[:min(len(v), maxText)]...)
		to.ends[i] = len(to.text)
		*p = ""
	}
	s.n++
	return true
}

// take gives the record with strings of its own, and empties the slot.
func (s *slot) take() Record {
	rec := s.rec
	text, from := string(s.text), 0
	for i, p := range rec.own() {
		*p = text[from:s.ends[i]]
		from = s.ends[i]
	}
	s.rec = Record{} // let go of the strings
	return rec
}

// Dropped counts the records that found the ring full.
func (r *Ring) Dropped() uint64 { return r.dropped.Load() }

// Read waits until there are records, moves as many as fit into buf and says how many;
// or returns ctx's error. Records of different shards are not in order: sort by Start
// if it matters. One reader at a time.
func (r *Ring) Read(ctx context.Context, buf []Record) (int, error) {
	for {
		if n := r.take(buf); n > 0 {
			if n == len(buf) { // there may be more: do not sleep on it
				select {
				case r.wake <- struct{}{}:
				default:
				}
			}
			return n, nil
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (r *Ring) take(buf []Record) int {
	n := 0
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for s.n > 0 && n < len(buf) {
			buf[n] = s.slots[s.head].take()
			s.head = (s.head + 1) % len(s.slots)
			s.n--
			n++
		}
		s.mu.Unlock()
	}
	return n
}
