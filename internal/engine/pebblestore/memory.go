package pebblestore

import (
	"context"
	"log/slog"
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A Disk is a disk in memory, for tests: the same store on it is the in-memory twin.
type Disk struct{ fs *vfs.MemFS }

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{vfs.NewCrashableMem()} }

// Open opens the journal of this disk. It sets Dir and FS, and no gate and no ballast,
// since a disk in memory has no end.
func (d *Disk) Open(ctx context.Context, o Options) (*Store, error) {
	o.FS, o.Dir, o.Reserve, o.Ballast = d.fs, "/journal", -1, -1
	return Open(ctx, o)
}

// PowerCut gives the disk as it could be found if the power went off now: all that was
// synced is there, and of the rest each block with even odds, the same for the same
// seed. d goes on as if nothing had happened.
func (d *Disk) PowerCut(seed uint64) *Disk {
	rng := rand.New(rand.NewPCG(seed, seed))
	return &Disk{d.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})}
}

// Memory returns a store on a disk of its own in memory. It logs nothing.
func Memory() *Store {
	s, err := NewDisk().Open(context.Background(), Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err) // an empty disk that never fails
	}
	return s
}
