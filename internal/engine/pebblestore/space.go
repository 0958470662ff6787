package pebblestore

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// space keeps the disk from filling up: an append that would leave less than reserve
// free is refused at once, with the figures, long before Pebble meets ENOSPC (which it
// does not survive on its WAL or MANIFEST).
//
// It looks at the volume at most every lookAgain, and in between counts what was
// admitted. While it is shut it looks at every append, so it opens by itself. The
// ballast is for what the gate cannot see coming, another program that fills the disk
// within a moment: giving it up lets the write in hand succeed.
type space struct {
	fs      vfs.FS // the real one, under the hooks that notice ENOSPC
	dir     string
	want    int64 // Options.Reserve
	ballast int64
	log     *slog.Logger

	mu     sync.Mutex
	looked time.Time // guarded by mu, as all below
	left   int64     // bytes that may be admitted before looking again
	free   int64     // when looked
	floor  int64     // what must stay free
	shut   bool
	blind  bool // the file system does not say how full it is

	held atomic.Bool // the ballast file is there, or could not be made
}

const (
	lookAgain  = 250 * time.Millisecond
	minReserve = 64 << 20  // four memtables, their flushes, WALs and a compaction's scratch
	maxReserve = 512 << 20 // 5 % of a large volume would be absurd
	writeCost  = 4         // bytes of disk an appended byte may cost for a while: WAL, flush, compaction
)

const ballastName = "BALLAST"

// Space is how much room the journal's volume has, in bytes.
type Space struct {
	Free    int64 // available when last looked at
	Reserve int64 // what appends must leave
	Open    bool  // whether appends are admitted
}

func (g *space) now() Space {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.look()
	return Space{Free: g.free, Reserve: g.floor, Open: !g.shut}
}

// take admits n bytes or gives ErrFull.
func (g *space) take(n int) error {
	if g.want < 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left -= int64(n) * writeCost
	if g.shut || g.left <= 0 || time.Since(g.looked) > lookAgain {
		g.look()
		g.left -= int64(n) * writeCost
	}
	if g.left <= 0 && !g.blind {
		g.setShut(true)
		return fullErr("%d MiB free in %s, %d MiB are kept", g.free>>20, g.dir, g.floor>>20)
	}
	g.setShut(false)
	return nil
}

func (g *space) setShut(shut bool) {
	if shut == g.shut {
		return
	}
	if g.shut = shut; shut {
		g.log.Warn("appends stop: the disk is nearly full", "dir", g.dir, "freeMiB", g.free>>20, "keptMiB", g.floor>>20)
		return
	}
	g.log.Info("appends go on: the disk has room again", "dir", g.dir, "freeMiB", g.free>>20)
}

// look asks the volume. Callers hold mu.
func (g *space) look() {
	if g.want < 0 {
		return
	}
	u, err := g.fs.GetDiskUsage(g.dir)
	if g.looked = time.Now(); err != nil {
		g.blind = true
		return
	}
	g.blind = false
	g.free, g.floor = int64(u.AvailBytes), g.want
	if g.floor == 0 {
		g.floor = min(max(int64(u.TotalBytes/20), minReserve), maxReserve)
	}
	g.left = g.free - g.floor
	if !g.held.Load() && g.left > 2*g.ballast {
		if err := g.takeBallast(); err != nil {
			g.log.Warn("no ballast", "dir", g.dir, "err", err)
		}
	}
}

// takeBallast writes the ballast file: zeros, since only some file systems can set
// space aside without writing. It is not synced: it is worth nothing after a crash
// that loses it, and open makes it again. Callers hold mu.
func (g *space) takeBallast() error {
	g.held.Store(true) // also when it fails: not again at every look
	if g.ballast <= 0 {
		return nil
	}
	name := g.fs.PathJoin(g.dir, ballastName)
	if st, err := g.fs.Stat(name); err == nil && st.Size() == g.ballast {
		return nil
	}
	f, err := g.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for n := g.ballast; n > 0 && err == nil; n -= int64(len(zeros)) {
		_, err = f.Write(zeros[:min(n, int64(len(zeros)))])
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = g.fs.Remove(name)
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// dropBallast is called when a write met ENOSPC; the write is repeated after it. All
// other writes wait meanwhile, so it only removes the file. It takes no lock: it may
// be called below one who holds it.
func (g *space) dropBallast() {
	_ = g.fs.Remove(g.fs.PathJoin(g.dir, ballastName)) // nothing to be done about it
	g.held.Store(false)
	g.log.Warn("disk is full: the ballast was given up", "dir", g.dir)
}
