package pebblestore

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"stoa/internal/ground/journal"
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

// recoverable says whether there is room to recover: what is in the WALs is written to
// tables, and a new WAL and MANIFEST are begun. Pebble would not refuse without it but
// try for ever. The ballast is given up for it.
func (g *space) recoverable() error {
	names, err := g.fs.List(g.dir)
	if err != nil {
		return err
	}
	need := int64(recoverRoom)
	for _, n := range names {
		if st, err := g.fs.Stat(g.fs.PathJoin(g.dir, n)); err == nil && strings.HasSuffix(n, ".log") {
			need += st.Size()
		}
	}
	for range 2 {
		u, err := g.fs.GetDiskUsage(g.dir)
		if err != nil || int64(u.AvailBytes) >= need {
			return nil // it can, or no one knows
		}
		g.free = int64(u.AvailBytes)
		g.dropBallast()
	}
	return fmt.Errorf("%w: recovering takes up to %d MiB, %d MiB are free: %w", journal.ErrFull, (need+1<<20-1)>>20, g.free>>20, syscall.ENOSPC)
}

const recoverRoom = 4 << 20 // for a WAL, a MANIFEST and what else is begun anew

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
	name := g.fs.PathJoin(g.dir, ballastName)
	if _, err := g.fs.Stat(name); err != nil {
		return
	}
	_ = g.fs.Remove(name) // nothing to be done about it
	g.held.Store(false)
	g.log.Warn("disk is full: the ballast was given up", "dir", g.dir)
}
