package meter

import (
	"sync"
	"sync/atomic"
)

// Shard says in which of its cells a series counts. It is a hint: any is right, and those
// that run on one core at one time do best with the same.
type Shard uint32

// Here gives the shard of the core that runs this. Who counts in several series at once asks
// once.
//
// A pool keeps what was put into it by core, which is the only way to learn of cores that the
// runtime offers. Tried: a random shard for each count, 28 ns for a counter and a histogram on
// one core, but 140 ns on each of two, as they fetch each other's cache lines; the pool costs
// 28 and 53. A shard per connection is no better than chance, as connections change cores.
func Here() Shard {
	s := here.Get().(*Shard)
	v := *s
	here.Put(s)
	return v
}

// here hands out the shards in turn. It forgets them now and then, and to hand out others
// costs no memory.
var (
	ordinals = [...]Shard{0, 1, 2, 3, 4, 5, 6, 7}
	handed   atomic.Uint32
	here     = sync.Pool{New: func() any { return &ordinals[handed.Add(1)%uint32(len(ordinals))] }}
)
