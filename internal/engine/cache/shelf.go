package cache

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	shards      = 16
	maxVariants = 32  // of one key; the oldest goes when one more comes
	marks       = 256 // of invalidations, per shard
)

// How far in the future what was seen before may lie: an invalidation, for a body that was
// long on its way; an answer that overtook another. Further on, the clock was set back,
// and no order can be read from it.
const (
	setBack   = int64(time.Hour)
	overtaken = int64(time.Minute)
)

// A shelf holds entries under their keys within a bound of bytes. Safe for concurrent use.
type shelf struct {
	entry, total int64
	seed         maphash.Seed
	used         atomic.Int64
	shard        [shards]shard
}

// shard is a share of the keys behind a lock that is held for a map access or an eviction
// only, never across another lock.
type shard struct {
	mu       sync.Mutex
	families map[Key][]*node // variants of a key, the newest first; guarded by mu, as all here
	head     *node           // the newest
	tail     *node
	hand     *node        // where the next eviction looks; nil: at the tail
	marks    [marks]int64 // when a key of this hash was last invalidated, ns
	_        [64]byte
}

// node is an entry's place in a shelf.
type node struct {
	e          *Entry
	size       int64
	newer      *node // towards head
	older      *node // towards tail
	used, gone bool
}

func newShelf(b Bounds, total int64) *shelf {
	s := &shelf{entry: orElse(b.Entry, DefaultEntry), total: orElse(b.Total, total), seed: maphash.MakeSeed()}
	for i := range s.shard {
		s.shard[i].families = map[Key][]*node{}
	}
	return s
}

func (s *shelf) hash(k Key) uint64 {
	return maphash.String(s.seed, k.Target) ^ maphash.String(s.seed, k.Host)*0x9e3779b97f4a7c15
}

func (s *shelf) of(k Key) (*shard, uint64) {
	h := s.hash(k)
	return &s.shard[h%shards], h / shards % marks
}

// find gives the newest entry that fits r, and whether there is any under the key.
func (s *shelf) find(r *Request, q *asked) (*Entry, bool) {
	sh, _ := s.of(r.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	fam := sh.families[r.Key]
	for _, n := range fam {
		if n.e.fits(r, q) {
			n.used = true
			return n.e, true
		}
	}
	return nil, len(fam) > 0
}

// put shelves e in the place of what it replaces. It is OK, TooBig or Outdated.
func (s *shelf) put(e *Entry) Why {
	n := &node{e: e, size: e.size()}
	if n.size > s.entry || n.size > s.total {
		s.drop(e) // what it replaces is older than this answer
		return TooBig
	}
	sh, mark := s.of(e.key)
	sh.mu.Lock()
	if d := sh.marks[mark] - e.asked; d >= 0 && d < setBack {
		sh.mu.Unlock()
		return Outdated
	}
	fam := sh.families[e.key]
	for i := 0; i < len(fam); i++ {
		if old := fam[i]; old.e.replaces(e) {
			// A newer answer may have overtaken this one.
			if d := old.e.came - e.came; d > 0 && d < overtaken {
				sh.mu.Unlock()
				return Outdated
			}
			n.used = old.used
			s.unlink(sh, old)
			fam = slices.Delete(fam, i, i+1)
			i--
		}
	}
	if len(fam) == maxVariants {
		s.unlink(sh, fam[maxVariants-1])
		fam = fam[:maxVariants-1]
	}
	sh.families[e.key] = slices.Insert(fam, 0, n)
	if n.older = sh.head; n.older != nil {
		n.older.newer = n
	}
	sh.head = n
	if sh.tail == nil {
		sh.tail = n
	}
	s.used.Add(n.size)
	for s.used.Load() > s.total && s.evict(sh) {
	}
	sh.mu.Unlock()
	for i := 0; i < shards && s.used.Load() > s.total; i++ {
		o := &s.shard[i]
		o.mu.Lock()
		for s.used.Load() > s.total && s.evict(o) {
		}
		o.mu.Unlock()
	}
	return OK
}

// replaces says whether e and o answer the same requests, so that the older has to go.
func (e *Entry) replaces(o *Entry) bool { return e.class == o.class && slices.Equal(e.vary, o.vary) }

// evict takes away one entry: the first from the hand on that was not used since the hand
// last passed. It is false if there is none.
func (s *shelf) evict(sh *shard) bool {
	n := sh.hand
	if n == nil {
		n = sh.tail
	}
	for n != nil && n.used {
		n.used = false
		if n = n.newer; n == nil {
			n = sh.tail
		}
	}
	if n == nil {
		return false
	}
	sh.hand = n.newer
	fam := sh.families[n.e.key]
	if i := slices.Index(fam, n); i >= 0 {
		fam = slices.Delete(fam, i, i+1)
	}
	s.unlink(sh, n)
	if len(fam) == 0 {
		delete(sh.families, n.e.key)
	} else {
		sh.families[n.e.key] = fam
	}
	return true
}

// unlink takes n out of the list and gives its bytes back; the family is the caller's.
func (s *shelf) unlink(sh *shard, n *node) {
	if n.gone {
		panic("cache: an entry of " + n.e.key.Target + " is taken away twice")
	}
	n.gone = true
	if sh.hand == n {
		sh.hand = n.newer
	}
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		sh.head = n.older
	}
	if n.older != nil {
		n.older.newer = n.newer
	} else {
		sh.tail = n.newer
	}
	n.newer, n.older = nil, nil
	s.used.Add(-n.size)
}

// drop takes away e and what would be replaced by it.
func (s *shelf) drop(e *Entry) {
	sh, _ := s.of(e.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	fam := slices.DeleteFunc(sh.families[e.key], func(n *node) bool {
		if n.e != e && !n.e.replaces(e) {
			return false
		}
		s.unlink(sh, n)
		return true
	})
	if len(fam) == 0 {
		delete(sh.families, e.key)
	} else {
		sh.families[e.key] = fam
	}
}

// invalidate takes away all that is known under k and refuses what was asked for until now.
func (s *shelf) invalidate(k Key, now int64) {
	sh, mark := s.of(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.marks[mark] = max(sh.marks[mark], now)
	for _, n := range sh.families[k] {
		s.unlink(sh, n)
	}
	delete(sh.families, k)
}

// count gives entries and bytes.
func (s *shelf) count() (entries int, bytes int64) {
	for i := range s.shard {
		sh := &s.shard[i]
		sh.mu.Lock()
		for _, fam := range sh.families {
			entries += len(fam)
		}
		sh.mu.Unlock()
	}
	return entries, s.used.Load()
}
