package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"stoa/api/admin"
	"stoa/api/fault"
	"stoa/internal/engine/pebblestore"
	"stoa/internal/kernel/store"
)

type printer = io.Writer

// backup writes the journal and the artefacts beside each other, as restore reads
// them, and opens what it has written: a backup that was never read is none.
//
// What belongs to services, their databases, is theirs to back up.
func (h house) backup(ctx context.Context, in admin.BackupIn) (out admin.BackupOut, err error) {
	o := h.p.opened.Load()
	if !filepath.IsAbs(in.Dir) {
		return out, fault.New(fault.Invalid, in.Dir, "want an absolute folder: the platform writes it, and works elsewhere than you").WithHint("stoa backup \"$PWD/%s\"", in.Dir)
	}
	if inside(o.folder.root, in.Dir) {
		return out, fault.New(fault.Invalid, in.Dir, "lies in the data folder, which it is a backup of").WithHint("Name a folder outside of %s, best on another disk.", o.folder.root)
	}
	if err := os.Mkdir(in.Dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return out, fault.New(fault.Conflict, in.Dir, "exists already").WithHint("Name a folder that does not exist yet.")
		}
		return out, fault.New(fault.NotFound, in.Dir, "cannot be made: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(in.Dir)) // half a backup is worse than none
		}
	}()
	f := folder{root: in.Dir}
	// The journal first: an artefact that it names was stored before it was named.
	logs, err := o.journal.Backup(ctx, f.journal())
	if err != nil {
		return out, err
	}
	out.Logs = len(logs)
	if out.Artefacts, out.Bytes, err = copyTree(ctx, o.folder.artefacts(), f.artefacts()); err != nil {
		return out, err
	}
	for name, text := range map[string]string{"FORMAT": strconv.Itoa(folderFormat), "node": o.folder.node} {
		if _, err := keep(filepath.Join(in.Dir, name), text); err != nil {
			return out, err
		}
	}
	out.Dir = in.Dir
	if out.Revision, err = verify(ctx, f.journal()); err != nil {
		return out, err
	}
	return out, writeSums(ctx, in.Dir)
}

// inside says whether dir, which need not be there, lies in root, whatever links lead to either.
func inside(root, dir string) bool {
	real := func(p string) string {
		if to, err := filepath.EvalSymlinks(p); err == nil {
			return to
		}
		return p
	}
	rel, err := filepath.Rel(real(root), filepath.Join(real(filepath.Dir(filepath.Clean(dir))), filepath.Base(dir)))
	return err == nil && filepath.IsLocal(rel)
}

// verify opens the journal in dir as a platform would and gives its revision.
func verify(ctx context.Context, dir string) (revision uint64, err error) {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".verify-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(tmp)
	if _, err := pebblestore.Restore(ctx, dir, filepath.Join(tmp, "journal")); err != nil {
		return 0, err
	}
	j, err := pebblestore.Open(ctx, pebblestore.Options{Dir: filepath.Join(tmp, "journal"), Ballast: -1})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	log, err := j.Log(ctx, "resources")
	if err != nil {
		return 0, err
	}
	s, err := store.Open(ctx, log, store.Options{})
	if err != nil {
		return 0, err
	}
	return s.State().Revision, nil
}

func printBackup(w printer, out admin.BackupOut) {
	fmt.Fprintf(w, "%s holds revision %d and %d artefacts (%d bytes), and was opened and read.\n", out.Dir, out.Revision, out.Artefacts, out.Bytes)
	fmt.Fprintln(w, "Databases of services are not in it. To restore: stoa restore "+out.Dir+" --data DIR")
}
