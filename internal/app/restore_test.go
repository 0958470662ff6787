package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/internal/engine/pebblestore"
	"stoa/internal/kernel/store"
	"stoa/internal/module/inject"
)

// backedUp gives a backup of a journal with one revision, a job that has run, a service
// that is stopped, and an artefact.
func backedUp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	live, root := filepath.Join(dir, "live"), filepath.Join(dir, "backup")
	f := folder{root: root}
	if err := os.MkdirAll(filepath.Join(f.artefacts(), "sha256", "ab", "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	j, err := pebblestore.Open(t.Context(), pebblestore.Options{Dir: live, Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	log, err := j.Log(t.Context(), "resources")
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), log, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(t.Context(), func(store.View) (store.Change, error) {
		return store.Change{Puts: []core.Document{{Kind: core.KindSystem, Name: "sys", Source: "/sys"}}, Source: "/sys"}, nil
	}); err != nil {
		t.Fatal(err)
	}
	marks, err := j.Table(t.Context(), marksTable)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{jobMarks + "migrate", "workload/stopped/web", inject.Mark} {
		if _, err := marks.Put(t.Context(), key, []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.Backup(t.Context(), f.journal()); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"FORMAT": "1\n", "node": "the-original\n", "artefacts/sha256/ab/deep/page": "a page"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(f.artefacts(), "sha256", "ab", "deep"), 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = removeAll(root) })
	if err := writeSums(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	return root
}

// listing gives everything below root: names, modes, sizes and times of change.
func listing(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out = append(out, p+" "+info.Mode().String()+" "+info.ModTime().String())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A restore reads the backup and changes nothing of it, whether it can be written or
// not; the data folder has an identity of its own, and knows of no job that has run.
func TestRestore(t *testing.T) {
	for name, there := range map[string]bool{"beside": false, "into a folder that is there": true} {
		t.Run(name, func(t *testing.T) {
			from := backedUp(t)
			err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				return os.Chmod(p, 0o400)
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, dir := range []string{"artefacts/sha256/ab", "artefacts/sha256", "artefacts", "journal", "."} {
				if err := os.Chmod(filepath.Join(from, dir), 0o500); err != nil {
					t.Fatal(err)
				}
			}
			before := listing(t, from)
			data := filepath.Join(t.TempDir(), "new", "data")
			if there {
				if err := os.MkdirAll(data, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			t.Cleanup(func() { _ = removeAll(data) })
			out, err := Restore(t.Context(), from, data)
			if err != nil {
				t.Fatal(err)
			}
			if out != (Restored{Revision: 1, Jobs: 1}) {
				t.Errorf("it holds %+v, want revision 1 and one job to run again", out)
			}
			if after := listing(t, from); !slices.Equal(before, after) {
				t.Errorf("the backup was changed:\n%s\nwas\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
			}
			var names []string
			for _, dir := range []string{data, filepath.Dir(data)} {
				entries, err := os.ReadDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if e.Name() != "journal.acked" { // the journal's own, beside it
						names = append(names, e.Name())
					}
				}
			}
			if want := []string{"FORMAT", "artefacts", "journal", "node", "stores", "work", "data"}; !slices.Equal(names, want) {
				t.Errorf("the data folder and the one above hold %v, want %v", names, want)
			}
			f, err := openFolder(data)
			if err != nil || f.node == "the-original" {
				t.Errorf("node %q, %v; want a new one", f.node, err)
			}
			j, err := pebblestore.Open(t.Context(), pebblestore.Options{Dir: f.journal(), Ballast: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			marks, err := j.Table(t.Context(), marksTable)
			if err != nil {
				t.Fatal(err)
			}
			for key, want := range map[string]string{jobMarks + "migrate": "", "workload/stopped/web": "x", inject.Mark: ""} {
				if v, _, err := marks.Get(t.Context(), key); string(v) != want || err != nil {
					t.Errorf("%s is %q (%v), want %q", key, v, err, want)
				}
			}
			page := filepath.Join(f.artefacts(), "sha256/ab/deep/page")
			if b, err := os.ReadFile(page); string(b) != "a page" || err != nil {
				t.Errorf("the artefact is %q, %v", b, err)
			}
			if err := os.Mkdir(filepath.Join(f.artefacts(), "tmp"), 0o700); err != nil {
				t.Errorf("the folder of artefacts cannot be written: %v", err)
			}
		})
	}
}

// A restore that fails leaves the world as it was: no folder where there was none, an
// empty one where that was.
func TestRestoreThatFailsLeavesNothing(t *testing.T) {
	noJournal := func(t *testing.T, from string) {
		if err := os.RemoveAll(filepath.Join(from, "journal")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(from, "journal"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(from, "journal/note"), []byte("no journal"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(from, sumsName)); err != nil {
			t.Fatal(err)
		}
		if err := writeSums(t.Context(), from); err != nil {
			t.Fatal(err)
		}
	}
	newer := func(t *testing.T, from string) {
		if err := os.WriteFile(filepath.Join(from, "FORMAT"), []byte("99\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, damage := range map[string]func(*testing.T, string){"no journal in it": noJournal, "a newer format": newer} {
		for _, there := range []bool{false, true} {
			from := backedUp(t)
			damage(t, from)
			above := t.TempDir()
			data := filepath.Join(above, "data")
			if there {
				if err := os.Mkdir(data, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			before := len(listing(t, above))
			if _, err := Restore(t.Context(), from, data); err == nil {
				t.Errorf("%s: it was restored", name)
			}
			if after := listing(t, above); len(after) != before {
				t.Errorf("%s, folder there: %v: it left %s", name, there, strings.Join(after, "\n"))
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	above := t.TempDir()
	if _, err := Restore(ctx, backedUp(t), filepath.Join(above, "data")); !errors.Is(err, context.Canceled) || len(listing(t, above)) != 1 {
		t.Errorf("an interrupted restore gave %v and left %v", err, listing(t, above))
	}
}

// A data folder into which a restore was cut short by a kill is refused, not begun anew.
func TestHalfRestoredFolderIsRefused(t *testing.T) {
	data := t.TempDir()
	if err := os.Chmod(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(data, restoring), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := openFolder(data); !fault.Is(err, fault.Conflict) || !strings.Contains(fault.HintOf(err), "restore again") {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
}
