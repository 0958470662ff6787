package cache

import (
	"slices"
	"strconv"
	"sync/atomic"
)

// A Room bounds what all bodies take that are on their way to become entries, or to be
// shared. Safe for concurrent use.
type Room struct {
	entry, total int64
	used         atomic.Int64
}

// NewRoom returns a room in which one body may have b.Entry bytes and all b.Total, here 16 MiB by default.
func NewRoom(b Bounds) *Room {
	return &Room{entry: orElse(b.Entry, DefaultEntry), total: orElse(b.Total, 16<<20)}
}

func (m *Room) take(n int64) bool {
	if m.used.Add(n) > m.total {
		m.used.Add(-n)
		return false
	}
	return true
}

// Used is how many bytes are being recorded.
func (m *Room) Used() int64 { return m.used.Load() }

// A Recording collects the body of one answer while it passes. It belongs to one
// goroutine, and must end with Finish or Drop. All methods may be called on nil.
type Recording struct {
	room  *Room
	e     *Entry
	buf   []byte
	taken int64
}

// firstBuffer is what a body of unknown length begins with.
const firstBuffer = 4 << 10

// Record begins to collect e's body. It is nil if the body is known to be too big, or there
// is no room at present.
func (m *Room) Record(e *Entry) *Recording {
	n := e.declared
	if n < 0 {
		n = firstBuffer
	}
	if n > m.entry || !m.take(n) {
		return nil
	}
	return &Recording{room: m, e: e, buf: make([]byte, 0, n), taken: n}
}

// Write copies p. Once it has returned false, the recording is given up: the body is over a
// bound, or longer than declared.
func (r *Recording) Write(p []byte) bool {
	if r == nil || r.room == nil {
		return false
	}
	need := int64(len(r.buf)) + int64(len(p))
	if need > r.room.entry || r.e.declared >= 0 && need > r.e.declared {
		r.Drop()
		return false
	}
	if need > r.taken {
		n := min(max(need, 2*r.taken), r.room.entry)
		if !r.room.take(n - r.taken) {
			r.Drop()
			return false
		}
		r.taken = n
		r.buf = append(make([]byte, 0, n), r.buf...)
	}
	r.buf = append(r.buf, p...)
	return true
}

// Bytes is what was collected so far. Not to be written to.
func (r *Recording) Bytes() []byte {
	if r == nil {
		return nil
	}
	return r.buf
}

// Finish gives the entry whole, or nil if the recording was given up or the body is not as
// long as declared. Call it only when the answer ended as its framing says, without trailers.
func (r *Recording) Finish() *Entry {
	if r == nil || r.room == nil {
		return nil
	}
	e := r.e
	if e.declared >= 0 && int64(len(r.buf)) != e.declared {
		r.Drop()
		return nil
	}
	e.body = r.buf
	if cap(e.body) > len(e.body)*9/8 {
		e.body = slices.Clip(slices.Clone(e.body)) // what is kept long is kept tight
	}
	if e.status != 204 {
		e.fields = append(e.fields, Field{"Content-Length", strconv.Itoa(len(e.body))})
	}
	r.Drop()
	return e
}

// Drop gives the recording up. It may be called again, and after Finish.
func (r *Recording) Drop() {
	if r == nil || r.room == nil {
		return
	}
	r.room.used.Add(-r.taken)
	r.room, r.e, r.buf = nil, nil, nil
}
