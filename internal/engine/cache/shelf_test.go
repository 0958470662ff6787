package cache

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).UnixNano()

// entryOf makes a finished entry with n bytes of body.
func entryOf(target string, n int, fields ...Field) (*Request, *Entry) {
	r := &Request{Method: "GET", Key: Key{"h", target}, Fields: fields}
	e := NewEntry(r, &Answer{Status: 200, Fields: Fields{{"Cache-Control", "max-age=60"}, {"Vary", "X-V"}}, Asked: noon, Came: noon})
	rec := NewRoom(Bounds{Entry: 1 << 24, Total: 1 << 24}).Record(e)
	rec.Write(make([]byte, n))
	return r, rec.Finish()
}

// audit fails if list, map and bytes do not agree.
func (s *shelf) audit(t *testing.T) (entries int) {
	t.Helper()
	var bytes int64
	for i := range s.shard {
		sh := &s.shard[i]
		sh.mu.Lock()
		listed := 0
		hand := sh.hand == nil
		for n := sh.head; n != nil; n = n.older {
			listed++
			bytes += n.size
			hand = hand || n == sh.hand
			if n.gone || n.older != nil && n.older.newer != n || n.older == nil && sh.tail != n {
				t.Fatalf("shard %d: broken list at %q", i, n.e.key.Target)
			}
		}
		if !hand {
			t.Fatalf("shard %d: the hand is not on the list", i)
		}
		mapped := 0
		for k, fam := range sh.families {
			if len(fam) == 0 || len(fam) > maxVariants {
				t.Fatalf("%d variants of %q", len(fam), k.Target)
			}
			mapped += len(fam)
		}
		if listed != mapped {
			t.Fatalf("shard %d: %d listed, %d mapped", i, listed, mapped)
		}
		entries += listed
		sh.mu.Unlock()
	}
	if used := s.used.Load(); used != bytes || used > s.total {
		t.Fatalf("%d bytes used, %d listed, of %d", used, bytes, s.total)
	}
	return entries
}

// Bytes stay within the bound whatever comes.
func TestShelfIsBounded(t *testing.T) {
	s := newShelf(Bounds{Entry: 20_000, Total: 200_000}, 0)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		r, e := entryOf(fmt.Sprint("/", rnd.IntN(300)), rnd.IntN(25_000), Field{"X-V", fmt.Sprint(rnd.IntN(50))})
		why := s.put(e)
		if big := e.size() > 20_000; big != (why == TooBig) {
			t.Fatalf("%d bytes: %v", e.size(), why)
		}
		q := r.read()
		switch rnd.IntN(20) {
		case 0:
			s.invalidate(r.Key, noon-1)
		case 1:
			s.drop(e)
		case 2, 3, 4:
			s.find(r, &q)
		}
		if i%100 == 0 {
			s.audit(t)
		}
	}
	if n := s.audit(t); n < 5 {
		t.Errorf("%d entries of up to 20,000 bytes in 200,000", n)
	}
	for i := range 300 {
		s.invalidate(Key{"h", fmt.Sprint("/", i)}, noon-1)
	}
	if n := s.audit(t); n != 0 || s.used.Load() != 0 {
		t.Errorf("%d entries of %d bytes after all were invalidated", n, s.used.Load())
	}
}

// Addresses asked for once do not drive out those in use.
func TestScanResistance(t *testing.T) {
	s := newShelf(Bounds{Total: 200 * 2000}, 0)
	for i := range 50 {
		_, e := entryOf(fmt.Sprint("/hot/", i), 1000)
		s.put(e)
	}
	hits := 0
	for i := range 10_000 {
		_, e := entryOf(fmt.Sprint("/?invented=", i), 1000)
		s.put(e)
		r, hot := entryOf(fmt.Sprint("/hot/", i%50), 1000)
		q := r.read()
		if got, _ := s.find(r, &q); got != nil {
			hits++
		} else {
			s.put(hot)
		}
	}
	s.audit(t)
	if hits < 9_900 {
		t.Errorf("%d of 10,000 look-ups of what is in use found it", hits)
	}
}

// One that came later is not replaced by one that came earlier, unless the clock was set back.
func TestOvertaken(t *testing.T) {
	s := newShelf(Bounds{}, DefaultTotal)
	_, late := entryOf("/", 1)
	late.came += int64(time.Second)
	_, early := entryOf("/", 2)
	if s.put(late) != OK || s.put(early) != Outdated {
		t.Error("the earlier took the place of the later")
	}
	_, e := entryOf("/", 3)
	e.came -= 2 * overtaken
	if got := s.put(e); got != OK {
		t.Errorf("after the clock was set back: %v", got)
	}
	if n := s.audit(t); n != 1 {
		t.Errorf("%d entries", n)
	}
}

// What is too big to replace an older answer takes it away all the same.
func TestTooBigReplaces(t *testing.T) {
	s := newShelf(Bounds{Entry: 5000}, DefaultTotal)
	_, small := entryOf("/", 1)
	_, big := entryOf("/", 6000)
	if s.put(small) != OK || s.put(big) != TooBig || s.audit(t) != 0 {
		t.Error("the old answer is still there")
	}
}

// A recording is as long as declared, within the bounds, and leaves nothing behind.
func TestRecording(t *testing.T) {
	for _, c := range []struct {
		name     string
		declared string
		writes   []int
		wrote    bool
		done     bool
	}{
		{"declared", "10", []int{4, 6}, true, true},
		{"too short", "10", []int{4}, true, false},
		{"too long", "10", []int{4, 7}, false, false},
		{"empty", "0", nil, true, true},
		{"chunked", "", []int{1, 3000, 3000, 1}, true, true},
		{"chunked, empty", "", nil, true, true},
		{"chunked to the bound", "", []int{10_000}, true, true},
		{"chunked over the bound", "", []int{9_999, 2}, false, false},
		{"declared over the bound", "10001", nil, false, false},
		{"declared oddly", "x", []int{3}, true, true},
	} {
		m := NewRoom(Bounds{Entry: 10_000, Total: 15_000})
		a := &Answer{Status: 200, Came: noon, Asked: noon}
		if c.declared != "" {
			a.Fields = Fields{{"Content-Length", c.declared}}
		}
		rec := m.Record(NewEntry(&Request{Method: "GET"}, a))
		wrote, total := rec != nil, 0
		for _, n := range c.writes {
			wrote = rec.Write(make([]byte, n))
			total += n
		}
		if wrote != c.wrote {
			t.Errorf("%s: written %v, want %v", c.name, wrote, c.wrote)
		}
		if wrote && len(rec.Bytes()) != total {
			t.Errorf("%s: %d bytes so far, want %d", c.name, len(rec.Bytes()), total)
		}
		e := rec.Finish()
		if (e != nil) != c.done || e != nil && (len(e.body) != total || cap(e.body) > total*9/8+16) {
			t.Errorf("%s: finished %v, want %v", c.name, e != nil, c.done)
		}
		if rec.Write([]byte("x")) || rec.Finish() != nil {
			t.Errorf("%s: goes on after the end", c.name)
		}
		rec.Drop()
		if m.Used() != 0 {
			t.Errorf("%s: %d bytes left in the room", c.name, m.Used())
		}
	}
	// The room is for all together.
	m := NewRoom(Bounds{Entry: 10_000, Total: 15_000})
	long := func() *Recording {
		return m.Record(NewEntry(&Request{}, &Answer{Status: 200, Fields: Fields{{"Content-Length", "9000"}}}))
	}
	first, second := long(), long()
	if first == nil || second != nil {
		t.Error("two bodies of 9,000 bytes in a room of 15,000")
	}
	grow := m.Record(NewEntry(&Request{}, &Answer{Status: 200}))
	if grow == nil || !grow.Write(make([]byte, 4096)) || grow.Write(make([]byte, 4096)) {
		t.Error("a growing body should end where the room does")
	}
	first.Drop()
	if m.Used() != 0 {
		t.Errorf("%d bytes left", m.Used())
	}
}

// All of it at once, for the race detector.
func TestStoreConcurrently(t *testing.T) {
	s, room := New(Bounds{Entry: 4000, Total: 60_000}), NewRoom(Bounds{})
	c := &Config{StaleWhileRevalidate: time.Minute}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range 2000 {
				now := noon + int64(i)*int64(time.Second)/4
				r := &Request{Method: "GET", Key: Key{"h", fmt.Sprint("/", rnd.IntN(40))}, Fields: Fields{{"X-V", fmt.Sprint(rnd.IntN(3))}}}
				l := s.Look(c, r, now)
				if l.Use == Serve && !l.Refresh {
					if _, _, body := l.Entry.Answer(nil, r, now); string(body) != r.Key.Target+r.Fields[0].Value {
						t.Errorf("%s got %q", r.Key.Target, body)
					}
					continue
				}
				a := &Answer{Status: 200, Asked: now, Came: now, Fields: Fields{{"Cache-Control", "max-age=30"}, {"ETag", `"a"`}, {"Vary", "X-V"}}}
				if rnd.IntN(3) == 0 && l.Entry != nil {
					a.Status = 304
				}
				if taken := s.Take(c, r, &l, a); taken.Do == Record {
					rec := room.Record(NewEntry(r, a))
					rec.Write([]byte(r.Key.Target + r.Fields[0].Value))
					s.Put(rec.Finish())
				}
				if rnd.IntN(50) == 0 {
					s.Invalidate(&Request{Method: "PUT", Key: r.Key}, &Answer{Status: 204}, now, nil)
				}
			}
		})
	}
	wg.Wait()
	s.shelf.audit(t)
	if room.Used() != 0 {
		t.Errorf("%d bytes left in the room", room.Used())
	}
}
