package certs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"stoa/api/fault"
)

// maxFile bounds a file that is read: a chain is some 5 KB, a bundle of all the world's roots 250.
const maxFile = 1 << 20

// readFile reads a file of at most maxFile bytes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("more than %d bytes", maxFile)
	}
	return b, err
}

// writeFile writes b to path, whole or not at all: a temporary file beside it is written,
// synced and renamed, and the folder synced. The folder is made if it is missing, for its
// owner alone.
func writeFile(path string, b []byte, mode os.FileMode) (err error) {
	fail := func(err error) error {
		return &fault.Error{Op: "certs.write", Subject: path, Kind: fault.Unavailable, Err: err,
			Hint: "Check space and permissions of the data folder."}
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp") // 0600
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	for _, step := range []func() error{
		func() error { _, err := f.Write(b); return err },
		func() error { return f.Chmod(mode) },
		f.Sync,
		f.Close,
		func() error { return os.Rename(f.Name(), path) },
	} {
		if err := step(); err != nil {
			return fail(err)
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		return fail(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fail(err)
	}
	return nil
}

// secret reads a private key of ours, which no one but the owner may be able to read.
func secret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return nil, &fault.Error{Op: "certs.open", Subject: path, Kind: fault.Denied,
			Err:  fmt.Errorf("others may read this private key (mode %04o)", info.Mode().Perm()),
			Hint: "Remove it, and a new one is made; or chmod 600 it if nobody has read it."}
	}
	return readFile(path)
}
