// Package window counts events of the last moments, for many callers at once.
//
// A Count is a ring of slots. A slot is one word: the tick it belongs to in the upper
// half, the events of that tick in the lower. The caller cuts time into ticks (Tick), so
// that several counts share one division, and reads no clock here.
//
//	window of 15 ticks:  | 7 | 8 | 9 | ... | 21 | 22 <- now, partly gone |
//
// Invariants: an event is counted for at least Ticks whole ticks after its own, and for
// less than Slots ticks; Undo takes back only what was added to the same tick. A count
// never goes below zero.
//
// Limits: 4,294,967,295 events a tick. A caller whose now is a whole window behind the
// others' is not counted. Ticks are numbered modulo 2^32: a slot that has rested for just
// that long (years) is taken for a new one. When the length of a window changes, what was
// counted before is forgotten, or kept for a moment more.
package window

import "sync/atomic"

// Slots is the length of the ring, Ticks how many whole ticks it remembers: the slot of
// the tick that runs is the one that is left.
const (
	Slots = 16
	Ticks = Slots - 1
)

// late is how many ticks a caller may be behind and still be told from one whose ticks
// are numbered anew (a window of another length, numbers that have wrapped around).
const late = 4 * Slots

// Tick gives the number of the tick in which now falls, when nanos is the length of the
// window that a Count should remember. It panics unless nanos is at least Ticks.
func Tick(now, nanos int64) uint32 { return uint32(now / (nanos / Ticks)) }

// Count counts events by tick. The zero value counts nothing yet. All methods may be
// called concurrently, wait for nothing and allocate nothing. It must not be copied.
type Count struct {
	slots [Slots]atomic.Uint64 // tick << 32 | events
}

// Add counts n events in tick.
func (c *Count) Add(tick uint32, n uint32) {
	s := &c.slots[tick%Slots]
	for {
		old := s.Load()
		behind := int32(tick - uint32(old>>32))
		switch {
		case behind == 0:
			// The slot may be given to a later tick before Add: that takes a whole window, and
			// then the events are counted there.
			s.Add(uint64(n))
			return
		case behind < 0 && behind > -late && uint32(old) != 0:
			return // the caller's now is older than the window
		case s.CompareAndSwap(old, uint64(tick)<<32|uint64(n)):
			return
		}
	}
}

// Undo takes back n events that the caller has added in tick, if they are still counted.
func (c *Count) Undo(tick uint32, n uint32) {
	s := &c.slots[tick%Slots]
	for {
		old := s.Load()
		if uint32(old>>32) != tick || uint32(old) < n || s.CompareAndSwap(old, old-uint64(n)) {
			return
		}
	}
}

// Sum gives the events of tick and of the Ticks before it.
func (c *Count) Sum(tick uint32) int64 {
	var sum int64
	for i := range c.slots {
		w := c.slots[i].Load()
		if behind := int32(tick - uint32(w>>32)); behind > -Slots && behind < Slots {
			sum += int64(uint32(w))
		}
	}
	return sum
}

// Reset forgets all. What is added meanwhile may be forgotten or not.
func (c *Count) Reset() {
	for i := range c.slots {
		c.slots[i].Store(0)
	}
}
