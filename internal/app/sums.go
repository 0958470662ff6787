package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"stoa/api/fault"
)

// sumsName is the file of a backup that tells the SHA-256 of every other, a line each:
//
//	<hex> "<path below the backup>"
//
// It is written last, so that half a backup has none. The journal cannot tell a cut tail
// of its own from the end of what was written: it takes both for a power cut, and goes on
// with what is before. In a backup nothing is cut, so there it is damage.
const sumsName = "SUMS"

// sums gives the digest of every file of a backup by its path. That of a link is of where it leads.
func sums(ctx context.Context, root string) (map[string]string, error) {
	out := map[string]string{}
	for _, part := range []string{"FORMAT", "node", "journal", "artefacts"} {
		err := filepath.WalkDir(filepath.Join(root, part), func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && p == filepath.Join(root, part) {
				return nil // a part that is missing is missed by whoever compares
			}
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			rel, err := filepath.Rel(root, p)
			if err != nil || d.IsDir() || rel == filepath.Join("journal", "LOCK") { // which holds nothing and is not restored
				return err
			}
			out[filepath.ToSlash(rel)], err = sum(p, d)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", root, err)
		}
	}
	return out, nil
}

func sum(path string, d fs.DirEntry) (string, error) {
	h := sha256.New()
	if d.Type()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "link to %q", to)
		return hex.EncodeToString(h.Sum(nil)), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeSums completes a backup.
func writeSums(ctx context.Context, root string) error {
	all, err := sums(ctx, root)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, p := range sorted(all) {
		fmt.Fprintf(&b, "%s %q\n", all[p], p)
	}
	_, err = keep(filepath.Join(root, sumsName), strings.TrimSuffix(b.String(), "\n"))
	return err
}

// checkSums refuses a backup that is not, file for file, what was written.
func checkSums(ctx context.Context, root string) error {
	text, err := os.ReadFile(filepath.Join(root, sumsName))
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, root, "is no whole backup: it has no %s", sumsName).WithHint("Name the folder that stoa backup has written, with all that is in it.")
	}
	if err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	bad := func(path, how string) error {
		return fault.New(fault.Invalid, filepath.Join(root, path), "%s", how).WithHint("Choose another backup, or another copy of this one.")
	}
	want := map[string]string{}
	for line := range strings.Lines(string(text)) {
		digest, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		path, err := strconv.Unquote(quoted)
		if err != nil {
			return bad(sumsName, "is damaged")
		}
		want[path] = digest
	}
	got, err := sums(ctx, root)
	if err != nil {
		return err
	}
	for _, p := range sorted(want) {
		if got[p] == "" {
			return bad(p, "is missing from the backup")
		}
		if got[p] != want[p] {
			return bad(p, "is not what it was when the backup was written")
		}
	}
	for _, p := range sorted(got) {
		if want[p] == "" {
			return bad(p, "was added to the backup, or its line cut from "+sumsName)
		}
	}
	return nil
}

func sorted(m map[string]string) []string {
	var out []string
	for p := range m {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}
