package artefact

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stoa/api/fault"
)

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tree(t *testing.T) string {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "server.js"), "listen()", 0o644)
	write(t, filepath.Join(dir, "bin/run"), "#!/bin/sh", 0o755)
	write(t, filepath.Join(dir, ".git/HEAD"), "ref", 0o644)
	if err := os.Symlink("bin/run", filepath.Join(dir, "start")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What Pack writes, Unpack stores under the same digest: a file and a tree.
func TestPackUnpackKeepsTheDigest(t *testing.T) {
	a, b := open(t), open(t)
	src := tree(t)
	program := filepath.Join(src, "bin/run")
	file, err := a.PutFile(program)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := a.PutTree(src, func(rel string, dir bool) bool { return rel == ".git" })
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{file, folder} {
		var buf bytes.Buffer
		if err := a.Pack(d, &buf); err != nil {
			t.Fatal(err)
		}
		if err := b.Unpack(d, &buf); err != nil {
			t.Fatalf("unpack %s: %v", d, err)
		}
		if !b.Has(d) {
			t.Errorf("%s is not there after Unpack", d)
		}
	}
	p, err := b.Path(folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(p, ".git")); err == nil {
		t.Error("a skipped folder was stored")
	}
	if info, err := os.Stat(filepath.Join(p, "start")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("the link to a program does not lead to one: %v %v", info, err)
	}
}

// The same content is the same artefact; one byte, one name or one mode more is another.
func TestDigestIsOfContent(t *testing.T) {
	s := open(t)
	src := tree(t)
	first, err := s.PutTree(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.PutTree(src, nil); err != nil || again != first {
		t.Errorf("the same tree gave %s, then %s (%v)", first, again, err)
	}
	if err := os.Chmod(filepath.Join(src, "server.js"), 0o755); err != nil {
		t.Fatal(err)
	}
	if other, err := s.PutTree(src, nil); err != nil || other == first {
		t.Errorf("a file that became a program did not change the digest (%v)", err)
	}
}

// Content that has not the digest it claims is refused and leaves nothing.
func TestUnpackRefusesWhatIsNotWhatItClaims(t *testing.T) {
	a, b := open(t), open(t)
	src := tree(t)
	real, err := a.PutTree(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := a.Pack(real, &buf); err != nil {
		t.Fatal(err)
	}
	claimed := "sha256:" + strings.Repeat("0", 64)
	if err := b.Unpack(claimed, &buf); !fault.Is(err, fault.Invalid) {
		t.Errorf("a false digest gave %v, want an invalid fault", err)
	}
	if b.Has(real) || b.Has(claimed) {
		t.Error("a refused artefact was stored")
	}
}

// A stream cannot write outside the tree, by path or by link.
func TestUnpackRefusesPathsOutOfTheTree(t *testing.T) {
	for name, h := range map[string]*tar.Header{
		"parent": {Name: "../evil", Typeflag: tar.TypeReg, Mode: 0o644},
		"abs":    {Name: "/evil", Typeflag: tar.TypeReg, Mode: 0o644},
		"link":   {Name: "a", Linkname: "../../evil", Typeflag: tar.TypeSymlink},
		"device": {Name: "a", Typeflag: tar.TypeChar},
	} {
		var buf bytes.Buffer
		tw := tar.NewWriter(&buf)
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		tw.Close()
		s := open(t)
		if err := s.Unpack("sha256:"+strings.Repeat("0", 64), &buf); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an invalid fault", name, err)
		}
	}
}

// pack gives a tar stream of headers; a file holds as many zeros as its header says, up to most.
func pack(t *testing.T, most int64, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, h := range headers {
		h.Mode = 0o755
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(make([]byte, min(h.Size, most))); err != nil {
			t.Fatal(err)
		}
	}
	_ = tw.Close() // it misses what was cut
	return &buf
}

// A stream whose files are larger in all than an artefact may be is refused when its
// headers say so, before it is written.
func TestUnpackBoundsTheWhole(t *testing.T) {
	s := open(t)
	buf := pack(t, 0, tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: MaxBytes + 1})
	if err := s.Unpack("sha256:"+strings.Repeat("0", 64), buf); !fault.Is(err, fault.Exhausted) {
		t.Errorf("one file too large: got %v, want an exhausted fault", err)
	}
	// What was taken by one file is not there for the next.
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	left := int64(10)
	for i, want := range []struct {
		size int64
		kind fault.Kind
	}{{6, ""}, {5, fault.Exhausted}} {
		h := &tar.Header{Name: string(rune('a' + i)), Typeflag: tar.TypeReg, Size: want.size, Mode: 0o644}
		n, err := unpackOne(root, h, bytes.NewReader(make([]byte, want.size)), left)
		left -= n
		if want.kind == "" && err != nil || want.kind != "" && !fault.Is(err, want.kind) {
			t.Errorf("file %d of %d bytes: got %v, want %q", i, want.size, err, want.kind)
		}
	}
	if entries, err := os.ReadDir(s.tmp()); err != nil || len(entries) > 0 {
		t.Errorf("a refused stream left %v (%v)", entries, err)
	}
}

// Two links, each inside by its text, lead out together: they are refused, in a stream
// and in a folder. What leads nowhere or in a circle stays what it is.
func TestLinksByWayOfLinks(t *testing.T) {
	zero := "sha256:" + strings.Repeat("0", 64)
	dir := tar.Header{Name: "p", Typeflag: tar.TypeDir}
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
	}
	for name, headers := range map[string][]tar.Header{
		"parent of the top":   {dir, link("p/top", ".."), link("out", "p/top/..")},
		"the other way round": {dir, link("out", "p/top/.."), link("p/top", "..")},
		"over three":          {dir, link("p/top", ".."), link("p/again", "top/p/top"), link("out", "p/again/../etc")},
	} {
		s := open(t)
		if err := s.Unpack(zero, pack(t, 0, headers...)); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "leads out") {
			t.Errorf("%s: got %v, want that a link leads out", name, err)
		}
		if entries, err := os.ReadDir(s.tmp()); err != nil || len(entries) > 0 {
			t.Errorf("%s: a refused stream left %v (%v)", name, entries, err)
		}
	}
	// A file is not written through a link either.
	s := open(t)
	err := s.Unpack(zero, pack(t, 1, dir, link("p/top", ".."), link("out", "p/top/.."), tar.Header{Name: "out/evil", Typeflag: tar.TypeReg, Size: 1}))
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("a file through a link: got %v, want an invalid fault", err)
	}
	if _, err := os.Stat(filepath.Join(s.tmp(), "evil")); err == nil {
		t.Error("a file was written out of the tree")
	}

	src := tree(t)
	for name, to := range map[string]string{"bin/top": "..", "nowhere": "missing/file", "circle": "circle", "through": "server.js/x"} {
		if err := os.Symlink(to, filepath.Join(src, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.PutTree(src, nil); err != nil {
		t.Errorf("links that stay inside: %v", err)
	}
	if err := os.Symlink("bin/top/..", filepath.Join(src, "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutTree(src, nil); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "out") {
		t.Errorf("a folder with two links that lead out together gave %v", err)
	}
}

// A link out of the folder is refused with its name; Keep removes what is not kept.
func TestPutTreeRefusesLinksOutAndKeepRemoves(t *testing.T) {
	s := open(t)
	src := tree(t)
	good, err := s.PutTree(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(src, "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutTree(src, nil); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "out") {
		t.Errorf("a link out of the folder gave %v", err)
	}
	none := func(string) bool { return false }
	if n, err := s.Keep(time.Now().Add(-time.Hour), none); n != 0 || err != nil || !s.Has(good) {
		t.Errorf("Keep removed %d young ones (%v)", n, err)
	}
	if n, err := s.Keep(time.Now().Add(time.Hour), none); n != 1 || err != nil || s.Has(good) {
		t.Errorf("Keep removed %d (%v), still there: %v", n, err, s.Has(good))
	}
}
