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

// Restore makes a data folder of a backup. It refuses a folder that exists and is not empty,
// and a backup of which a byte has changed, before it writes anything.
func Restore(ctx context.Context, from, data string) (revision uint64, err error) {
	if entries, err := os.ReadDir(data); err == nil && len(entries) > 0 {
		return 0, fault.New(fault.Conflict, data, "is not empty").WithHint("Name a folder that does not exist, or move this one away.")
	}
	if _, err := os.Stat(filepath.Join(from, "FORMAT")); err != nil {
		return 0, fault.New(fault.NotFound, from, "is no backup: it has no FORMAT").WithHint("Name the folder that stoa backup has written.")
	}
	if _, err := openFolder(from); err != nil { // a newer format is refused
		return 0, err
	}
	if err := checkSums(ctx, from); err != nil {
		return 0, err
	}
	f := folder{root: data}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return 0, fmt.Errorf("restore: %w", err)
	}
	if _, err := pebblestore.Restore(ctx, folder{root: from}.journal(), f.journal()); err != nil {
		return 0, err
	}
	if _, _, err := copyTree(ctx, folder{root: from}.artefacts(), f.artefacts()); err != nil {
		return 0, err
	}
	// A new node id: the backup may run beside the original.
	if _, err := openFolder(data); err != nil {
		return 0, err
	}
	return verify(ctx, f.journal())
}

// copyTree copies a folder of files, folders and links, with their modes.
func copyTree(ctx context.Context, from, to string) (entries int, bytes int64, err error) {
	var dirs []string
	err = filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			if filepath.Dir(rel) == "sha256" {
				entries++
			}
			dirs = append(dirs, rel)
			return os.MkdirAll(dst, 0o700)
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(p)
			if err != nil {
				return err
			}
			return os.Symlink(link, dst)
		}
		if filepath.Dir(rel) == "sha256" {
			entries++
		}
		n, err := copyFile(p, dst)
		bytes += n
		return err
	})
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- { // last, or nothing could be written below
		var info fs.FileInfo
		if info, err = os.Stat(filepath.Join(from, dirs[i])); err == nil {
			err = os.Chmod(filepath.Join(to, dirs[i]), info.Mode().Perm())
		}
	}
	if err != nil {
		err = fmt.Errorf("copy %s: %w", from, err)
	}
	return entries, bytes, err
}

func copyFile(from, to string) (n int64, err error) {
	src, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return 0, err
	}
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(dst, src)
	return n, errors.Join(err, dst.Sync(), dst.Close())
}

func printBackup(w printer, out admin.BackupOut) {
	fmt.Fprintf(w, "%s holds revision %d and %d artefacts (%d bytes), and was opened and read.\n", out.Dir, out.Revision, out.Artefacts, out.Bytes)
	fmt.Fprintln(w, "Databases of services are not in it. To restore: stoa restore "+out.Dir+" --data DIR")
}
