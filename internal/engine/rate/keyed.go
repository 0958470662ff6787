package rate

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Bounds of a Keyed.
const (
	// MaxKeys is how many keys a Keyed remembers, at 16 bytes each.
	MaxKeys = shards * maxSets * ways

	// MaxKeysPerPrefix is how many of them may be addresses of one IPv6 /48: who owns such a
	// network has 65,536 clients (/64) to invent, and pushes out none but its own and those
	// of the few networks that share these places.
	MaxKeysPerPrefix = spread * ways

	shards  = 1 << shardBits
	maxSets = 1 << setBits    // per shard
	ways    = 8               // keys of a set
	spread  = 1 << spreadBits // sets that the addresses of one /48 share
)

// Keyed is what was spent of many quotas of one Limit, by key. The zero value is empty, and
// grows as keys are in debt, up to MaxKeys (1 MiB). It never shrinks: drop it with its route.
//
// It keeps no key, only a hash with a seed of the process: keys of any length cost the same,
// none can be read from memory, and whoever chooses keys cannot aim at a place. A key is
// taken for another with a chance of one in 10^14: 51 bits tell the keys of a set apart.
//
// A key whose spending has come back is as good as unknown, so its place is free. When there
// is no free place, the key of the place's set with the least debt is forgotten. An attacker
// who invents keys therefore pushes out his own first (each owes for one request), and a
// client near its limit last. Weighed and dropped: a clock hand, which knows who was seen
// lately, not who owes.
type Keyed struct {
	shards [shards]shard
}

// shard is a part of the sets, under a lock of its own.
type shard struct {
	mu   sync.Mutex
	sets []set    // guarded by mu; a power of two
	_    [32]byte // 64 bytes in all: two locks never share a cache line
}

// set is where a key may be.
type set struct {
	tags [ways]uint64 // 0: free
	back [ways]int64  // as in Cell
}

// seed makes the places of keys unpredictable from outside.
var seed = maphash.MakeSeed()

// Tag stands for a key in this process. It is made once for all that is asked about a request.
type Tag uint64

// TagOf is the tag of a key.
func TagOf(key string) Tag { return Tag(maphash.String(seed, key)) }

// TagOfAddr is the tag of a client's address, see TakeAddr.
func TagOfAddr(a netip.Addr) Tag { return Tag(addrTag(a)) }

// TakeTag is Take by the tag of the key.
func (k *Keyed) TakeTag(l *Limit, t Tag, now int64) Verdict { return k.take(l, uint64(t), now) }

// Peek is what TakeTag would answer, and takes nothing; of a key that is not known it
// remembers nothing.
func (k *Keyed) Peek(l *Limit, t Tag, now int64) Verdict {
	back := int64(0)
	k.find(uint64(t), func(b *int64) { back = *b })
	_, v := l.take(back, now)
	return v
}

// Return gives back what a TakeTag took that answered v, which was OK, as Limit.Return does. If
// the key has been forgotten since, so has what it spent.
func (k *Keyed) Return(l *Limit, t Tag, v Verdict, since time.Duration) {
	k.find(uint64(t), func(b *int64) { *b -= l.due(v, since) })
}

// find calls do, which does not block, with where a key is kept, if it is.
func (k *Keyed) find(tag uint64, do func(back *int64)) {
	tag = marked(tag)
	s := &k.shards[tag%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sets) == 0 {
		return
	}
	at := &s.sets[tag>>shardBits&uint64(len(s.sets)-1)]
	for i, t := range at.tags {
		if t == tag {
			do(&at.back[i])
			return
		}
	}
}

// marked gives a tag that is not taken for that of a free way, 0.
func marked(tag uint64) uint64 {
	if tag>>placeBits == 0 {
		tag |= 1 << placeBits
	}
	return tag
}

// Take is Limit.Take for the quota of key.
func (k *Keyed) Take(l *Limit, key string, now int64) Verdict {
	return k.take(l, maphash.String(seed, key), now)
}

// TakeBytes is Take for a key in bytes. It keeps none of them.
func (k *Keyed) TakeBytes(l *Limit, key []byte, now int64) Verdict {
	return k.take(l, maphash.Bytes(seed, key), now)
}

// TakeAddr is Take for a client's address: each IPv4 address, and each IPv6 /64, is a client.
func (k *Keyed) TakeAddr(l *Limit, a netip.Addr, now int64) Verdict {
	return k.take(l, addrTag(a), now)
}

// A tag is a hash of a key. Its lowest bits are the place: which shard, then which set.
const (
	shardBits  = 6
	setBits    = 7
	placeBits  = shardBits + setBits
	spreadBits = 4
)

// addrTag is the tag of an address. Its place is one of a few that its whole /48 shares.
func addrTag(a netip.Addr) uint64 {
	a = a.Unmap()
	b := a.As16()
	if a.Is4() {
		return maphash.Bytes(seed, b[:])
	}
	client := maphash.Bytes(seed, b[:8])
	network := maphash.Bytes(seed, b[:6])
	return client&^(1<<placeBits-1) | (network+client>>(64-spreadBits))&(1<<placeBits-1)
}

func (k *Keyed) take(l *Limit, tag uint64, now int64) Verdict {
	tag = marked(tag)
	s := &k.shards[tag%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if len(s.sets) == 0 {
			s.sets = make([]set, 1)
		}
		at := &s.sets[tag>>shardBits&uint64(len(s.sets)-1)]
		least := 0
		for i, t := range at.tags {
			if t == tag {
				next, v := l.take(at.back[i], now)
				at.back[i] = next
				return v
			}
			if at.back[i] < at.back[least] {
				least = i
			}
		}
		if at.back[least] > now && len(s.sets) < maxSets {
			s.grow()
			continue
		}
		next, v := l.take(0, now)
		at.tags[least], at.back[least] = tag, next
		return v
	}
}

// grow doubles the sets. A key stays in the way it has.
func (s *shard) grow() {
	n := len(s.sets)
	sets := make([]set, 2*n)
	for i := range s.sets {
		for w, t := range s.sets[i].tags {
			to := &sets[t>>shardBits&uint64(2*n-1)]
			if t != 0 {
				to.tags[w], to.back[w] = t, s.sets[i].back[w]
			}
		}
	}
	s.sets = sets
}

// Len counts the keys that still owe something at now.
func (k *Keyed) Len(now int64) (n int) {
	for i := range k.shards {
		s := &k.shards[i]
		s.mu.Lock()
		for j := range s.sets {
			for w := range s.sets[j].tags {
				if s.sets[j].back[w] > now {
					n++
				}
			}
		}
		s.mu.Unlock()
	}
	return n
}
