package pebblestore

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// compactions says when Pebble may compact: as many at a time as the database itself
// allows. It is what Pebble's own scheduler does, which however wakes ten times a second
// for as long as the process lives; this one wakes while a compaction waits. With two
// databases in a process that is a fifth of a percent of a core, idle.
//
// Its lock comes after those of the database: it is never held while the database is
// called, but for GetAllowedWithoutPermission, which takes none.
type compactions struct {
	db   pebble.DBForCompaction
	poke chan struct{} // 1: something may have changed
	stop chan struct{}
	over sync.WaitGroup // of grant

	mu      sync.Mutex
	running int  // guarded by mu
	waits   bool // guarded by mu: one was refused, and the database has not said since that none waits
	closed  bool // guarded by mu
}

// compactAgain is how soon a compaction that waits is looked at again, should nothing
// else give reason to. The database may allow more as its backlog grows, and tells so
// only after a flush.
const compactAgain = 100 * time.Millisecond

func newCompactions() *compactions {
	return &compactions{poke: make(chan struct{}, 1), stop: make(chan struct{})}
}

func (c *compactions) Register(_ int, db pebble.DBForCompaction) {
	c.db = db
	c.over.Go(c.grant)
}

// Unregister returns when the database will not be called again.
func (c *compactions) Unregister() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	close(c.stop)
	c.over.Wait()
}

func (c *compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if c.take() {
		return true, leave{c}
	}
	c.look()
	return false, nil
}

func (c *compactions) UpdateGetAllowedWithoutPermission() { c.look() }

// take counts one more as running if it may run, and remembers that one waits if not.
func (c *compactions) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if c.db.GetAllowedWithoutPermission() <= c.running {
		c.waits = true
		return false
	}
	c.running++
	return true
}

// untake gives back what was taken, when there is nothing to run after all.
func (c *compactions) untake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.waits = false
}

func (c *compactions) done() {
	c.mu.Lock()
	c.running--
	c.mu.Unlock()
	c.look()
}

// look has grant look, soon.
func (c *compactions) look() {
	select {
	case c.poke <- struct{}{}:
	default: // it is going to
	}
}

// grant runs what waits, as it may, until stop.
func (c *compactions) grant() {
	again := time.NewTimer(compactAgain)
	defer again.Stop()
	for {
		select {
		case <-c.poke:
		case <-again.C:
		case <-c.stop:
			return
		}
		for c.runOne() {
		}
		c.mu.Lock()
		waits := c.waits
		c.mu.Unlock()
		if again.Stop(); waits {
			again.Reset(compactAgain)
		}
	}
}

// runOne has the database run a compaction that waits, if there is one and it may.
func (c *compactions) runOne() bool {
	if !c.take() {
		return false
	}
	if waiting, _ := c.db.GetWaitingCompaction(); waiting && c.db.Schedule(leave{c}) {
		return true
	}
	c.untake()
	return false
}

// leave is the permission to run one compaction.
type leave struct{ c *compactions }

func (leave) Started()                                          {}
func (leave) MeasureCPU(pebble.CompactionGoroutineKind)         {}
func (leave) CumulativeStats(pebble.CompactionGrantHandleStats) {}
func (l leave) Done()                                           { l.c.done() }
