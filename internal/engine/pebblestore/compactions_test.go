package pebblestore

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// backlog is a database with compactions to run.
type backlog struct {
	mu      sync.Mutex
	allowed int
	waiting int
	running []pebble.CompactionGrantHandle
	asked   int // how often it was asked what waits
}

func (b *backlog) GetAllowedWithoutPermission() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.allowed
}

func (b *backlog) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	return b.waiting > 0, pebble.WaitingCompaction{}
}

func (b *backlog) Schedule(g pebble.CompactionGrantHandle) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == 0 {
		return false
	}
	b.waiting--
	b.running = append(b.running, g)
	return true
}

// finish ends the compaction that runs longest.
func (b *backlog) finish() {
	b.mu.Lock()
	g := b.running[0]
	b.running = b.running[1:]
	b.mu.Unlock()
	g.Done()
}

func (b *backlog) askings() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

func (b *backlog) counts() (waiting, running int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting, len(b.running)
}

// want runs one more compaction, or leaves it waiting, as Pebble does.
func (b *backlog) want(c *compactions) {
	ok, g := c.TrySchedule()
	b.mu.Lock()
	defer b.mu.Unlock()
	if ok {
		b.running = append(b.running, g)
	} else {
		b.waiting++
	}
}

func TestCompactionsRunAsManyAsMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := &backlog{allowed: 1}, newCompactions()
		c.Register(2, b)
		for range 3 {
			b.want(c)
		}
		for i, want := range [][2]int{{2, 1}, {1, 1}, {0, 1}} {
			synctest.Wait()
			if w, r := b.counts(); w != want[0] || r != want[1] {
				t.Fatalf("after %d ended: %d wait and %d run, want %d and %d", i, w, r, want[0], want[1])
			}
			b.finish()
		}
		c.Unregister()
	})
}

// A database allows more as its backlog grows, and says nothing.
func TestCompactionsThatWaitAreLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := &backlog{allowed: 1}, newCompactions()
		c.Register(2, b)
		b.want(c)
		b.want(c)
		b.mu.Lock()
		b.allowed = 2
		b.mu.Unlock()
		<-time.After(2 * compactAgain)
		if w, r := b.counts(); w != 0 || r != 2 {
			t.Errorf("%d wait and %d run, want 0 and 2", w, r)
		}
		b.finish()
		b.finish()
		c.Unregister()
	})
}

func TestCompactionsSleepWhileNoneWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := &backlog{allowed: 1}, newCompactions()
		c.Register(2, b)
		b.want(c)
		b.want(c)
		synctest.Wait()
		b.finish()
		synctest.Wait()
		b.finish()
		<-time.After(time.Second)
		asked := b.askings()
		<-time.After(time.Hour)
		if more := b.askings() - asked; more != 0 {
			t.Errorf("an idle database was asked %d times in an hour", more)
		}
		c.Unregister()
		if ok, _ := c.TrySchedule(); ok {
			t.Error("a compaction may begin on a database that is being closed")
		}
	})
}
