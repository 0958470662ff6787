// Package artefact keeps what releases are made of, by digest.
//
// An artefact is a file (a program) or a tree of files (a folder). It is named by the
// SHA-256 of its content, so that a document that names it says exactly what will run,
// and an earlier revision brings back the earlier bytes, not a rebuild.
//
//	<root>/sha256/<64 hex>        a file, or a folder; read-only
//	<root>/tmp/                   what is being written; emptied at Open
//
// Whatever is found under its digest is whole: it is written beside, synced and
// renamed. The digest of a file is that of its bytes; that of a tree is of its
// manifest (see manifest). Writers of the same artefact may run at once.
package artefact

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stoa/api/fault"
)

// Bounds of one artefact: those of all its files together. A larger one is refused as exhausted.
const (
	MaxFiles = 50_000
	MaxBytes = 2 << 30
)

const prefix = "sha256:"

// Store is a folder of artefacts. It may be used concurrently, and by several processes.
type Store struct{ root string }

// Open returns the store in the folder root, which is made if need be.
func Open(root string) (*Store, error) {
	s := &Store{root: root}
	if err := os.RemoveAll(s.tmp()); err != nil {
		return nil, fmt.Errorf("artefacts: %w", err)
	}
	for _, dir := range []string{s.tmp(), filepath.Join(root, "sha256")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("artefacts: %w", err)
		}
	}
	return s, nil
}

func (s *Store) tmp() string { return filepath.Join(s.root, "tmp") }

// Path gives where the artefact lies. It is to be read, never written.
func (s *Store) Path(digest string) (string, error) {
	p, err := s.place(digest)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(p); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fault.New(fault.NotFound, digest, "the artefact is not in this data folder").WithHint("Apply the blueprint again: stoa apply DIR builds and stores it.")
		}
		return "", fmt.Errorf("artefact %s: %w", digest, err)
	}
	return p, nil
}

// Has says whether the artefact is there.
func (s *Store) Has(digest string) bool {
	_, err := s.Path(digest)
	return err == nil
}

// Size gives how many bytes the files of the artefact have together.
func (s *Store) Size(digest string) (int64, error) {
	p, err := s.Path(digest)
	if err != nil {
		return 0, err
	}
	var n int64
	err = filepath.WalkDir(p, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("artefact %s: %w", digest, err)
	}
	return n, nil
}

func (s *Store) place(digest string) (string, error) {
	h, ok := strings.CutPrefix(digest, prefix)
	if b, err := hex.DecodeString(h); !ok || err != nil || len(b) != sha256.Size || strings.ToLower(h) != h {
		return "", fault.New(fault.Invalid, digest, "want sha256: and 64 lower-case hex digits")
	}
	return filepath.Join(s.root, "sha256", h), nil
}

// PutFile stores a copy of the file at path, executable if it is.
func (s *Store) PutFile(path string) (digest string, err error) {
	src, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("artefact: %w", err)
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return "", fmt.Errorf("artefact: %w", err)
	}
	tmp, err := os.CreateTemp(s.tmp(), "file-")
	if err != nil {
		return "", fmt.Errorf("artefact: %w", err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	sum := sha256.New()
	if _, err := copyBounded(io.MultiWriter(tmp, sum), src, MaxBytes); err != nil {
		return "", fmt.Errorf("artefact of %s: %w", path, err)
	}
	if err := errors.Join(tmp.Chmod(fileMode(info.Mode())), tmp.Sync(), tmp.Close()); err != nil {
		return "", fmt.Errorf("artefact of %s: %w", path, err)
	}
	digest = prefix + hex.EncodeToString(sum.Sum(nil))
	return digest, s.settle(tmp.Name(), digest)
}

// fileMode keeps of a mode only whether it can be executed.
func fileMode(m fs.FileMode) fs.FileMode {
	if m&0o100 != 0 {
		return 0o555
	}
	return 0o444
}

// settle moves what lies at tmp to the place of digest, unless it is there already.
func (s *Store) settle(tmp, digest string) error {
	dst, err := s.place(digest)
	if err != nil {
		return err
	}
	now := time.Now()
	if _, err := os.Lstat(dst); err == nil {
		return os.Chtimes(dst, now, now) // it is young again: see Keep
	}
	if err := os.Chtimes(tmp, now, now); err != nil {
		return fmt.Errorf("artefact %s: %w", digest, err)
	}
	if err := os.Rename(tmp, dst); err != nil {
		if _, there := os.Lstat(dst); there == nil { // another writer was first
			return nil
		}
		return fmt.Errorf("artefact %s: %w", digest, err)
	}
	dir, err := os.Open(filepath.Dir(dst))
	if err != nil {
		return fmt.Errorf("artefact %s: %w", digest, err)
	}
	defer dir.Close()
	return dir.Sync()
}

// Keep removes every artefact that was stored, or stored again, before the given time and that keep does not
// hold. What runs from a removed one goes on.
func (s *Store) Keep(before time.Time, keep func(digest string) bool) (removed int, err error) {
	entries, err := os.ReadDir(filepath.Join(s.root, "sha256"))
	if err != nil {
		return 0, fmt.Errorf("artefacts: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.ModTime().After(before) || keep(prefix+e.Name()) {
			continue // gone, young, or wanted
		}
		if err := removeTree(filepath.Join(s.root, "sha256", e.Name())); err != nil {
			return removed, fmt.Errorf("artefacts: %w", err)
		}
		removed++
	}
	return removed, nil
}

// removeTree removes a read-only tree, if it is there.
func removeTree(root string) error {
	if _, err := os.Lstat(root); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(root))
}

func copyBounded(dst io.Writer, src io.Reader, most int64) (int64, error) {
	n, err := io.Copy(dst, io.LimitReader(src, most+1))
	if err == nil && n > most {
		err = fault.New(fault.Exhausted, "", "larger than %d bytes", most)
	}
	return n, err
}

// An entry is one line of a tree's manifest.
type entry struct {
	path string // slash-separated, relative
	exec bool
	sum  [sha256.Size]byte
	link string // target of a symbolic link inside the tree, or ""
}

// manifest gives the digest of a tree: SHA-256 over one line a file, sorted by path:
// "f" or "x" (can be executed) or "l" (link), the hex SHA-256 of content or target, the path.
func manifest(entries []entry) string {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	h := sha256.New()
	for _, e := range entries {
		form, sum := "f", e.sum
		if e.exec {
			form = "x"
		}
		if e.link != "" {
			form, sum = "l", sha256.Sum256([]byte(e.link))
		}
		fmt.Fprintf(h, "%s %x %q\n", form, sum, e.path)
	}
	return prefix + hex.EncodeToString(h.Sum(nil))
}
