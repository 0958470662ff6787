package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A witness remembers, beside the journal's folder, how far the journal was acknowledged:
// how many batches of changes it had when the last of them was on the disk. Pebble takes a damaged record of the WAL for a torn tail and drops it with all that follows,
// and makes a new database where its marker is missing; so a journal that ends before
// what its witness has seen is refused.
//
// It is written after each sync and is never synced itself, so it costs a write of
// sixteen bytes into the page cache, and after a power cut it may be behind, never ahead. A
// witness that cannot be read or written says nothing.
type witness struct {
	name string   // of the file
	wals string   // of the folder for what was recovered from, until that was verified
	seen uint64   // when opened; 0: nothing
	file vfs.File // nil: it cannot be written. Of the syncer alone, once the store is open

	failed atomic.Bool // a write failed, which was said
}

// errLost: something acknowledged is missing.
var errLost = errors.New("something that was acknowledged is missing")

const witnessSize = 16 // version, count, sum of both

func beside(dir, what string) string {
	return strings.TrimSuffix(dir, string(filepath.Separator)) + what
}

func openWitness(o Options) *witness {
	w := &witness{name: beside(o.Dir, ".acked"), wals: beside(o.Dir, ".recovered")}
	f, err := o.FS.OpenReadWrite(w.name, vfs.WriteCategoryUnspecified)
	if err != nil {
		o.Log.Warn("no witness of the journal", "file", w.name, "err", err)
		return w
	}
	w.file = f
	var b [witnessSize]byte
	if _, err := f.ReadAt(b[:], 0); err == nil || errors.Is(err, io.EOF) {
		w.seen = decodeWitness(b)
	}
	return w
}

func encodeWitness(count uint64) (b [witnessSize]byte) {
	b[0] = 1
	binary.BigEndian.PutUint64(b[4:], count)
	binary.BigEndian.PutUint32(b[12:], crc32.ChecksumIEEE(b[:12]))
	return b
}

// decodeWitness gives 0 for what is none.
func decodeWitness(b [witnessSize]byte) uint64 {
	if b[0] != 1 || binary.BigEndian.Uint32(b[12:]) != crc32.ChecksumIEEE(b[:12]) {
		return 0
	}
	return binary.BigEndian.Uint64(b[4:])
}

// before prepares the opening: it refuses a folder that has lost what makes it a
// database, and puts the WALs aside, since Pebble removes what it has recovered from.
func (w *witness) before(o Options, p *pebble.Options) error {
	names, err := o.FS.List(o.Dir)
	if err != nil {
		return err
	}
	var marker, tables bool
	for _, n := range names {
		marker = marker || strings.HasPrefix(n, "marker.manifest.")
		tables = tables || strings.HasSuffix(n, ".sst")
	}
	if !marker && (tables || w.seen > 0) {
		return fmt.Errorf("%w: %s has no marker.manifest file, without which the rest of it cannot be read", errLost, o.Dir)
	}
	if w.seen == 0 {
		return nil
	}
	p.ErrorIfNotExists = true
	if _, err := o.FS.Stat(w.wals); err == nil {
		return nil // of an earlier attempt, which met the damage: later ones find only what that left
	}
	if err := o.FS.MkdirAll(w.wals, 0o700); err != nil {
		return nil // then they are not kept; on a full disk there are more urgent things
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".log") {
			_ = o.FS.Link(o.FS.PathJoin(o.Dir, n), o.FS.PathJoin(w.wals, n)) // likewise
		}
	}
	return nil
}

// check holds what was recovered, count changes, to what was seen. It changes nothing when
// it refuses: the next start finds what this one found.
func (w *witness) check(o Options, count uint64) error {
	if count < w.seen {
		return fmt.Errorf("%w: %s was acknowledged up to change %d, and ends at %d: its WAL is damaged or gone; what there was of it is in %s",
			errLost, o.Dir, w.seen, count, w.wals)
	}
	_ = o.FS.RemoveAll(w.wals) // what is left of it does no harm
	return nil
}

// saw tells that the store is on the disk up to a change. Only the syncer calls it.
func (w *witness) saw(count uint64, o Options) {
	if w.file == nil {
		return
	}
	text := encodeWitness(count)
	if _, err := w.file.WriteAt(text[:], 0); err != nil && !w.failed.Swap(true) {
		o.Log.Warn("the witness of the journal cannot be written", "file", w.name, "err", err)
	}
}

func (w *witness) close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

// dropWitness forgets what was seen of a journal in dir: another takes its place.
func dropWitness(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(beside(dir, ".acked")); err != nil {
		return nil // there is none
	}
	return fs.Remove(beside(dir, ".acked"))
}
