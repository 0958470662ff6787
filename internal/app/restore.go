package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"stoa/api/fault"
	"stoa/internal/engine/pebblestore"
	"stoa/internal/kernel/store"
	"stoa/internal/module/inject"
)

// jobMarks begin the keys by which it is known which jobs have run, and before which release.
const jobMarks = "workload/job/"

// Restored says what a data folder that was made of a backup holds.
type Restored struct {
	Revision uint64
	Jobs     int // that had run before a release, and will run again
}

// Restore makes a data folder of a backup, which it only reads: it may lie on a medium
// that cannot be written. It refuses a folder that exists and is not empty, and a backup
// of which a byte has changed, before it writes anything; after any other failure
// everything it wrote is gone.
//
//	DATA.restoring-*   where it is made, beside DATA, which is taken in one step; or
//	DATA/.restoring    where it is made if DATA is there already: it may be a volume, and
//	                   the folder above another user's. A platform refuses DATA while it is there.
//
// The databases of services are not in a backup, so what jobs did to them is not either:
// that they have run is forgotten, and those that come before a release run again.
func Restore(ctx context.Context, from, data string) (out Restored, err error) {
	entries, err := os.ReadDir(data)
	there := err == nil
	if len(entries) > 0 {
		return out, fault.New(fault.Conflict, data, "is not empty").WithHint("Name a folder that does not exist, or move this one away.")
	}
	if err := checkFormat(from); err != nil {
		return out, err
	}
	if err := checkSums(ctx, from); err != nil {
		return out, err
	}
	stage := filepath.Join(data, restoring)
	if there {
		err = os.Mkdir(stage, 0o700)
	} else if err = os.MkdirAll(filepath.Dir(data), 0o755); err == nil {
		stage, err = os.MkdirTemp(filepath.Dir(data), filepath.Base(data)+restoring+"-")
	}
	if err != nil {
		return out, fault.New(fault.Denied, data, "cannot be written: %w", err).WithHint("Make an empty folder that you may write to, and name it with --data.")
	}
	if out, err = fill(ctx, from, stage); err == nil {
		if there {
			err = moveInto(stage, data)
		} else {
			err = os.Rename(stage, data)
		}
	}
	if err != nil {
		return Restored{}, errors.Join(fmt.Errorf("restore: %w", err), removeAll(stage))
	}
	return out, syncFolder(filepath.Dir(data))
}

// checkFormat refuses a folder that is no backup, or one of a newer Stoa.
func checkFormat(from string) error {
	text, err := os.ReadFile(filepath.Join(from, "FORMAT"))
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, from, "is no backup: it has no FORMAT").WithHint("Name the folder that stoa backup has written.")
	}
	if err != nil {
		return fault.New(fault.Denied, from, "cannot be read: %w", err).WithHint("Run it as a user who may read the backup.")
	}
	return knownFormat(from, strings.TrimSpace(string(text)))
}

// fill makes a data folder of a backup at root, which is there and empty.
func fill(ctx context.Context, from, root string) (out Restored, err error) {
	f, src := folder{root: root}, folder{root: from}
	// The journal is opened where it may be written: an open one holds a lock.
	copied := filepath.Join(root, "journal.copy")
	if _, _, err := copyTree(ctx, src.journal(), copied); err != nil {
		return out, err
	}
	if _, err := pebblestore.Restore(ctx, copied, f.journal()); err != nil {
		return out, err
	}
	if err := os.RemoveAll(copied); err != nil {
		return out, err
	}
	if _, _, err := copyTree(ctx, src.artefacts(), f.artefacts()); err != nil {
		return out, err
	}
	for _, dir := range []string{f.artefacts(), filepath.Join(f.artefacts(), "sha256")} { // a backup may be read-only throughout
		if err := os.Chmod(dir, 0o700); err != nil {
			return out, err
		}
	}
	// A new node id: the backup may run beside the original.
	if _, err := openFolder(root); err != nil {
		return out, err
	}
	if out, err = settleJournal(ctx, f.journal()); err != nil {
		return out, err
	}
	return out, syncFolder(root)
}

// settleJournal opens a restored journal as a platform would, and takes out of it what
// is true no more.
func settleJournal(ctx context.Context, dir string) (out Restored, err error) {
	j, err := pebblestore.Open(ctx, pebblestore.Options{Dir: dir, Ballast: -1})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	log, err := j.Log(ctx, "resources")
	if err != nil {
		return out, err
	}
	s, err := store.Open(ctx, log, store.Options{})
	if err != nil {
		return out, err
	}
	out.Revision = s.State().Revision
	marks, err := j.Table(ctx, marksTable)
	if err != nil {
		return out, err
	}
	for kv, err := range marks.Scan(ctx, jobMarks) {
		if err == nil {
			err = marks.Delete(ctx, kv.Key, kv.Rev)
		}
		if err != nil {
			return out, err
		}
		out.Jobs++
	}
	for kv, err := range marks.Scan(ctx, inject.Mark) { // what was tried out then is not to be tried now
		if err == nil {
			err = marks.Delete(ctx, kv.Key, kv.Rev)
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// moveInto moves what is in stage to data, above it. FORMAT goes last, and stage after it.
func moveInto(stage, data string) (err error) {
	entries, err := os.ReadDir(stage)
	if err != nil {
		return err
	}
	var moved []string
	defer func() {
		if err != nil {
			for _, name := range moved {
				err = errors.Join(err, removeAll(filepath.Join(data, name)))
			}
		}
	}()
	move := func(name string) error {
		moved = append(moved, name)
		return os.Rename(filepath.Join(stage, name), filepath.Join(data, name))
	}
	for _, e := range entries {
		if e.Name() == "FORMAT" {
			continue
		}
		if err := move(e.Name()); err != nil {
			return err
		}
	}
	if err := move("FORMAT"); err != nil {
		return err
	}
	if err := os.Remove(stage); err != nil {
		return err
	}
	return syncFolder(data)
}

// removeAll removes a tree, parts of which may be read-only, as artefacts are.
func removeAll(root string) error {
	_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(p, 0o700) // RemoveAll says if it did not help
		}
		return nil
	})
	return os.RemoveAll(root)
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
