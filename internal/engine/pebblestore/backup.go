package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"stoa/api/fault"
	"stoa/internal/ground/journal"
)

// Bounds are the first and last entry of a log.
type Bounds struct{ First, Last journal.Seq }

// Backup writes a copy of the journal to dest while it goes on, and verifies it: it
// opens the copy for reading and holds every log to what was acknowledged before. It
// gives what the copy holds, by the names of the logs.
//
// On the same volume the copy is made of hard links and costs little at first; a
// backup worth the name is on another. dest must not exist. After an error nothing is
// left there. ctx is looked at between the steps.
func (s *Store) Backup(ctx context.Context, dest string) (map[string]Bounds, error) {
	fail := func(kind fault.Kind, err error, hint string) error {
		return &fault.Error{Op: "journal.backup", Subject: dest, Kind: kind, Err: err, Hint: hint}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if _, err := s.o.FS.Stat(dest); err == nil {
		return nil, fail(fault.Conflict, errors.New("it is already there"), "Name a folder that does not exist yet.")
	}
	known := s.acknowledged()
	if err := s.db.Checkpoint(dest, pebble.WithFlushedWAL()); err != nil {
		return nil, fail(fault.Unavailable, err, "Check that the folder above exists, can be written and has room.")
	}
	got, err := inspect(ctx, s.o, dest)
	for name, last := range known {
		if err == nil && got[name].Last < last {
			err = fmt.Errorf("log %s ends at %d in the copy, acknowledged were %d", name, got[name].Last, last)
		}
	}
	if err != nil {
		return nil, errors.Join(fail(fault.Internal, fmt.Errorf("the copy is no good: %w", err), "Try again, on another disk."), s.o.FS.RemoveAll(dest))
	}
	return got, nil
}

// acknowledged gives the end of every log that is open.
func (s *Store) acknowledged() map[string]journal.Seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[string]journal.Seq{}
	for name, l := range s.logs {
		l.mu.Lock()
		known[name] = l.end
		l.mu.Unlock()
	}
	return known
}

// inspect opens a journal for reading, reads it once through, so that every checksum
// is compared, and gives the bounds of its logs.
func inspect(ctx context.Context, o Options, dir string) (bounds map[string]Bounds, err error) {
	p := o.pebbleOptions()
	p.ReadOnly, p.ErrorIfNotExists = true, true
	damaged := newFailure(func(error) {}) // a damaged copy is an error here, not our end
	damaged.hooks(p, o.Log)
	db, err := tryOpen(dir, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close(), damaged.err()) }()
	v, err := get(db, []byte{kindFormat})
	switch {
	case err != nil:
		return nil, err
	case len(v) != 1:
		return nil, fmt.Errorf("no journal: %w", errFormat)
	case v[0] > formatVersion:
		return nil, fmt.Errorf("%w: format %d, this one knows %d", errNewer, v[0], formatVersion)
	}
	it, err := db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	names, byID := map[uint32]string{}, map[uint32]Bounds{}
	for ok, n := it.First(), 0; ok; ok, n = it.Next(), n+1 {
		if n%1000 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		switch k := it.Key(); k[0] {
		case kindName:
			if k[1] == 'l' {
				id := binary.BigEndian.Uint32(it.Value())
				names[id], byID[id] = string(k[2:]), Bounds{1, 0}
			}
		case kindFront: // before the entries in the order of keys
			f, err := decodeFront(it.Value())
			if err != nil {
				return nil, err
			}
			byID[binary.BigEndian.Uint32(k[1:])] = Bounds{f.first, f.first - 1}
		case kindEntry:
			id, seq := binary.BigEndian.Uint32(k[1:]), entrySeq(k)
			b := byID[id]
			if seq < b.First {
				continue // cut, not yet deleted
			}
			if seq != b.Last+1 {
				return nil, fmt.Errorf("log %s: entry %d follows %d", names[id], seq, b.Last)
			}
			if _, err := decodeEntry(seq, it.Value()); err != nil {
				return nil, fmt.Errorf("log %s: %w", names[id], err)
			}
			b.Last = seq
			byID[id] = b
		}
	}
	bounds = map[string]Bounds{}
	for id, name := range names {
		bounds[name] = byID[id]
	}
	return bounds, nil
}

// Restore copies a backup to dir, which must not exist or be empty, and gives what it
// holds. The copy is verified before it takes dir's place, in one step: after a crash
// dir is as it was or restored.
func Restore(ctx context.Context, backup, dir string) (map[string]Bounds, error) {
	return restore(ctx, Options{FS: vfs.Default}, backup, dir)
}

func restore(ctx context.Context, o Options, backup, dir string) (map[string]Bounds, error) {
	o = o.withDefaults()
	fail := func(kind fault.Kind, err error, hint string) error {
		return &fault.Error{Op: "journal.restore", Subject: dir, Kind: kind, Err: err, Hint: hint}
	}
	if there, err := o.FS.List(dir); err == nil && len(there) > 0 {
		return nil, fail(fault.Conflict, fmt.Errorf("it is not empty (%s, ...)", there[0]), "Restore to a folder that is empty or not there, or move this one away first.")
	}
	if _, err := inspect(ctx, o, backup); err != nil {
		return nil, fail(fault.Invalid, fmt.Errorf("%s is no good backup: %w", backup, err), "Choose another backup.")
	}
	half := strings.TrimSuffix(dir, string(filepath.Separator)) + ".restoring"
	if err := o.FS.RemoveAll(half); err != nil {
		return nil, fail(fault.Unavailable, err, "")
	}
	bounds, err := copyJournal(ctx, o, backup, half)
	if err == nil {
		if err = errors.Join(o.FS.RemoveAll(dir), dropWitness(o.FS, dir)); err == nil { // dir is empty, as was seen
			err = o.FS.Rename(half, dir)
		}
		if err == nil {
			err = syncDir(o.FS, o.FS.PathDir(dir))
		}
	}
	if err != nil {
		return nil, errors.Join(fail(fault.Unavailable, err, "Check that the volume has room and can be written."), o.FS.RemoveAll(half))
	}
	return bounds, nil
}

// copyJournal copies the files of from into to, synced, and inspects what it wrote.
func copyJournal(ctx context.Context, o Options, from, to string) (map[string]Bounds, error) {
	if err := makeDir(o.FS, to); err != nil {
		return nil, err
	}
	names, err := o.FS.List(from)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if n == "LOCK" || n == ballastName {
			continue
		}
		if err := vfs.Copy(o.FS, o.FS.PathJoin(from, n), o.FS.PathJoin(to, n)); err != nil { // syncs
			return nil, err
		}
	}
	if err := syncDir(o.FS, to); err != nil {
		return nil, err
	}
	return inspect(ctx, o, to)
}
