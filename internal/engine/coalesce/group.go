package coalesce

import (
	"cmp"
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// alone is how long callers of a key go alone after its answer was declined.
const alone = 10 * time.Second

// marks is how many such keys a group can remember; two that fall together count as one.
const marks = 1024

// A Group joins callers by keys K, which name all that an answer depends on but what it
// varies on: the address and who may share it. V is what is shared, read by many at once.
// The zero Group is not ready: see New.
type Group[K comparable, V any] struct {
	seed  maphash.Seed
	start time.Time // marks count from here

	mu      sync.Mutex
	flights map[K]*Flight[K, V]  // those that can be joined; guarded by mu
	marks   [marks]time.Duration // until when keys of this hash go alone; guarded by mu
}

// New returns a group without flights.
func New[K comparable, V any]() *Group[K, V] {
	return &Group[K, V]{seed: maphash.MakeSeed(), start: time.Now(), flights: map[K]*Flight[K, V]{}}
}

// A Role is what a caller has to do.
type Role uint8

// The roles; see the package comment.
const (
	Alone Role = iota
	Lead
	Shared
)

// Turn is a caller's part.
type Turn[K comparable, V any] struct {
	Role   Role
	Flight *Flight[K, V] // to Lead; must be ended
	Value  V             // Shared
	Late   bool          // Alone: another's answer was waited for in vain, as long as Wait says
}

// Enter takes part in what is asked for under key. It blocks while another leads, at most
// c.Wait or until ctx is done, whose error it then returns; there is no other error. fits
// says whether what was shared is for this caller too; nil means it always is.
func (g *Group[K, V]) Enter(ctx context.Context, c Config, key K, fits func(V) bool) (Turn[K, V], error) {
	var over <-chan time.Time
	for {
		f, role := g.join(ctx, c, key)
		if role != Shared {
			return Turn[K, V]{Role: role, Flight: f}, nil
		}
		if over == nil {
			t := time.NewTimer(cmp.Or(c.Wait, DefaultWait))
			defer t.Stop()
			over = t.C
		}
		select {
		case <-f.over:
			switch { // the outcome is written before over is closed
			case f.outcome == shared && (fits == nil || fits(f.value)):
				return Turn[K, V]{Role: Shared, Value: f.value}, nil
			case f.outcome == failed && ctx.Err() == nil:
				select {
				case <-over:
					return Turn[K, V]{Late: true}, nil
				default:
					continue
				}
			}
			return Turn[K, V]{}, ctx.Err()
		case <-ctx.Done():
			f.leave()
			return Turn[K, V]{}, ctx.Err()
		case <-over:
			f.leave()
			return Turn[K, V]{Late: true}, nil
		}
	}
}

// join gives a flight to wait for (Shared), a new one to lead, or none.
func (g *Group[K, V]) join(ctx context.Context, c Config, key K) (*Flight[K, V], Role) {
	mark := maphash.Comparable(g.seed, key) % marks
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.marks[mark] > time.Since(g.start) {
		return nil, Alone
	}
	if f := g.flights[key]; f != nil {
		if f.wanted > cmp.Or(c.Waiters, DefaultWaiters) {
			return nil, Alone
		}
		f.wanted++
		return f, Shared
	}
	f := &Flight[K, V]{g: g, key: key, mark: mark, over: make(chan struct{}), wanted: 1}
	f.ctx, f.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	f.deadline = time.AfterFunc(cmp.Or(c.Deadline, DefaultDeadline), func() { f.cancel(context.DeadlineExceeded) })
	f.stop = context.AfterFunc(ctx, func() { f.callerLeft(context.Cause(ctx)) })
	g.flights[key] = f
	return f, Lead
}

// Forget keeps those who come from now on from joining what is under way for key: it was
// changed. Who waits already goes on doing so.
func (g *Group[K, V]) Forget(key K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.flights, key)
}

// Flights is how many can be joined, for meters.
func (g *Group[K, V]) Flights() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.flights)
}
