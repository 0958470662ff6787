package artefact

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"stoa/api/fault"
)

// PutTree stores a copy of the folder dir. skip says of a path inside it, relative and
// with slashes, whether it is left out, with all below it. Links are kept if they stay
// inside the folder and refused otherwise; sockets, pipes and devices are left out.
func (s *Store) PutTree(dir string, skip func(rel string, isDir bool) bool) (digest string, err error) {
	return s.putTree(dir, skip, "")
}

// putTree is PutTree that stores nothing if want is given and the tree has another digest.
func (s *Store) putTree(dir string, skip func(rel string, isDir bool) bool, want string) (digest string, err error) {
	tmp, err := os.MkdirTemp(s.tmp(), "tree-")
	if err != nil {
		return "", fmt.Errorf("artefact: %w", err)
	}
	defer func() { err = errors.Join(err, removeTree(tmp)) }() // a no-op once it was moved
	var entries []entry
	left := int64(MaxBytes)
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || rel == "." {
			return err
		}
		rel = filepath.ToSlash(rel)
		if skip != nil && skip(rel, d.IsDir()) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if len(entries) >= MaxFiles {
			return fault.New(fault.Exhausted, dir, "holds more than %d files", MaxFiles).WithHint("Name what does not belong to the service under ignore: in its stoa.yaml.")
		}
		dst := filepath.Join(tmp, filepath.FromSlash(rel))
		switch {
		case d.IsDir():
			return os.MkdirAll(dst, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			e, err := putLink(p, rel, dst)
			if err == nil {
				entries = append(entries, e)
			}
			return err
		case d.Type().IsRegular():
			e, n, err := putCopy(p, rel, dst, left)
			left -= n
			if err == nil {
				entries = append(entries, e)
			}
			return err
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("artefact of %s: %w", dir, err)
	}
	if err := checkLinks(tmp, entries); err != nil {
		return "", fmt.Errorf("artefact of %s: %w", dir, err)
	}
	digest = manifest(entries)
	if want != "" && digest != want {
		return "", fault.New(fault.Invalid, want, "the content that arrived has the digest %s", digest)
	}
	return digest, s.settleTree(tmp, digest)
}

func putCopy(from, rel, dst string, left int64) (entry, int64, error) {
	src, err := os.Open(from)
	if err != nil {
		return entry{}, 0, err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return entry{}, 0, err
	}
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return entry{}, 0, err
	}
	defer out.Close()
	sum := sha256.New()
	n, err := copyBounded(io.MultiWriter(out, sum), src, left)
	if err != nil {
		return entry{}, n, err
	}
	e := entry{path: rel, exec: info.Mode()&0o100 != 0}
	sum.Sum(e.sum[:0])
	return e, n, errors.Join(out.Chmod(fileMode(info.Mode())), out.Sync(), out.Close())
}

func putLink(from, rel, dst string) (entry, error) {
	target, err := os.Readlink(from)
	if err != nil {
		return entry{}, err
	}
	if !linkStaysInside(rel, target) {
		return entry{}, leadsOut(rel, target)
	}
	return entry{path: rel, link: target}, os.Symlink(target, dst)
}

// linkStaysInside says whether a link at rel to target resolves inside the tree, by its text.
func linkStaysInside(rel, target string) bool {
	if path.IsAbs(target) || target == "" {
		return false
	}
	to := path.Join(path.Dir(rel), target)
	return to != ".." && !strings.HasPrefix(to, "../")
}

func leadsOut(rel, target string) error {
	return fault.New(fault.Invalid, rel, "the link leads out of the folder, to %s", target).WithHint("Copy what it leads to, or name it under ignore: in stoa.yaml.")
}

// checkLinks refuses a tree of which a link leads out by way of another: a -> b/.., where
// b is a link to the tree itself. One that leads nowhere, or in a circle, does no harm.
func checkLinks(dir string, entries []entry) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, e := range entries {
		if e.link == "" {
			continue
		}
		_, err := root.Stat(filepath.FromSlash(e.path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ELOOP) && !errors.Is(err, syscall.ENOTDIR) {
			return leadsOut(e.path, e.link)
		}
	}
	return nil
}

func (s *Store) settleTree(tmp, digest string) error {
	err := filepath.WalkDir(tmp, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && p != tmp { // the top must stay writable to be renamed
			return os.Chmod(p, 0o555)
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.settle(tmp, digest)
}

// Pack writes the artefact as a tar stream, which Unpack reads.
func (s *Store) Pack(digest string, w io.Writer) error {
	root, err := s.Path(digest)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || (d.IsDir() && p == root) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		var link string
		if d.Type()&fs.ModeSymlink != 0 {
			if link, err = os.Readlink(p); err != nil {
				return err
			}
		}
		h, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		h.Name = filepath.ToSlash(rel) // "." for an artefact that is a file
		if err := tw.WriteHeader(h); err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(tw, f)
		return err
	})
	return errors.Join(err, tw.Close())
}

// Unpack stores what Pack wrote. A stream whose content has not the digest is refused
// and leaves nothing, as is one that holds a path or link out of the tree, or more than
// MaxFiles or MaxBytes in all. While it is read, it takes its size on disk twice.
func (s *Store) Unpack(digest string, r io.Reader) (err error) {
	if _, err := s.place(digest); err != nil {
		return err
	}
	if s.Has(digest) {
		_, err := io.Copy(io.Discard, io.LimitReader(r, MaxBytes))
		return err
	}
	tmp, err := os.MkdirTemp(s.tmp(), "in-")
	if err != nil {
		return fmt.Errorf("artefact: %w", err)
	}
	defer func() { err = errors.Join(err, removeTree(tmp)) }()
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return fmt.Errorf("artefact: %w", err)
	}
	defer root.Close()
	left := int64(MaxBytes)
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fault.New(fault.Invalid, digest, "not a tar stream: %v", err)
		}
		if n >= 2*MaxFiles { // with its folders
			return fault.New(fault.Exhausted, digest, "holds more than %d files", MaxFiles)
		}
		if h.Name != "." && !filepath.IsLocal(filepath.FromSlash(h.Name)) {
			return fault.New(fault.Invalid, digest, "holds the path %q, which leads out of the tree", h.Name)
		}
		if h.Size > left {
			return fault.New(fault.Exhausted, digest, "holds more than %d bytes", int64(MaxBytes))
		}
		size, err := unpackOne(root, h, tr, left)
		if left -= size; err != nil {
			return fmt.Errorf("artefact %s: %w", digest, err)
		}
	}
	return s.adopt(tmp, digest)
}

// unpackOne writes one entry below root, which nothing leaves, and gives how many bytes
// of left it took.
func unpackOne(root *os.Root, h *tar.Header, r io.Reader, left int64) (int64, error) {
	name := h.Name
	if name == "." {
		name = "file"
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return 0, root.MkdirAll(name, 0o755)
	case tar.TypeSymlink:
		if !linkStaysInside(h.Name, h.Linkname) {
			return 0, leadsOut(h.Name, h.Linkname)
		}
		return 0, root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return 0, fault.New(fault.Invalid, h.Name, "cannot be written: %w", err)
		}
		defer f.Close()
		n, err := copyBounded(f, r, left)
		return n, errors.Join(err, f.Chmod(fileMode(h.FileInfo().Mode())), f.Close())
	}
	return 0, fault.New(fault.Invalid, h.Name, "neither file, folder nor link")
}

// adopt stores what was unpacked at tmp if it is what digest says.
func (s *Store) adopt(tmp, digest string) error {
	file := filepath.Join(tmp, "file")
	if sum, err := fileDigest(file); err == nil && sum == digest {
		_, err := s.PutFile(file)
		return err
	}
	_, err := s.putTree(tmp, nil, digest)
	return err
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return fmt.Sprintf("%s%x", prefix, sum.Sum(nil)), err
}
