package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

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
