package pebblestore

import (
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	apifault "stoa/api/fault"
)

const lossEntries = 40

// killed gives the disk as it is after kill -9 of a process whose journal holds as many
// entries, half of them in tables and half in the WAL.
func killed(t *testing.T) (*vfs.MemFS, Options) {
	mem := vfs.NewCrashableMem()
	o := Options{FS: mem, Dir: "/data/journal", Fatal: failTest(t), Log: quiet(), Reserve: -1, Ballast: -1}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	fillLog(t, mustLog(t, s, "a"), 1, lossEntries/2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), o); err != nil { // from the WAL into a table
		t.Fatal(err)
	}
	fillLog(t, mustLog(t, s, "a"), lossEntries/2+1, lossEntries)
	clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.FS = clone
	return clone, o
}

// edit changes the content of every file of a folder that is so named, or removes it where
// change gives nil, and says how many these were.
func edit(t testing.TB, fs vfs.FS, dir string, named func(string) bool, change func(b []byte) []byte) (n int) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !named(name) {
			continue
		}
		n++
		path := fs.PathJoin(dir, name)
		f, err := fs.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		b = change(b)
		if err := errors.Join(f.Close(), fs.Remove(path)); err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		w, err := fs.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Sync(), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func remove([]byte) []byte { return nil }

// with gives whether a name contains part.
func with(part string) func(string) bool {
	return func(name string) bool { return strings.Contains(name, part) }
}

func TestAnAcknowledgedChangeThatIsMissingIsNoticed(t *testing.T) {
	flip := func(part, of int) func([]byte) []byte {
		return func(b []byte) []byte {
			end := len(b)
			for end > 0 && b[end-1] == 0 { // space that was set aside
				end--
			}
			b[end*part/of] ^= 0x40
			return b
		}
	}
	for _, c := range []struct {
		name, dir, part string
		change          func([]byte) []byte
	}{
		{"a bit of the WAL is flipped, early", "/data/journal", ".log", flip(1, 10)},
		{"a bit of the WAL is flipped, in the middle", "/data/journal", ".log", flip(5, 10)},
		{"a bit of the WAL is flipped, late", "/data/journal", ".log", flip(9, 10)},
		{"the WAL is cut short", "/data/journal", ".log", func(b []byte) []byte { return b[:len(b)/3] }},
		{"the WAL is gone", "/data/journal", ".log", remove},
		{"the marker is gone", "/data/journal", "marker.manifest", remove},
		{"all is gone", "/data/journal", "", remove},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs, o := killed(t)
			if edit(t, fs, c.dir, with(c.part), c.change) == 0 {
				t.Fatalf("no %s in %s", c.part, c.dir)
			}
			tables, kept := count(t, fs, ".sst"), -1
			for try := range 8 { // trying again makes nothing right, or worse
				s, err := Open(t.Context(), o)
				if err == nil {
					_ = s.Close()
					t.Fatalf("try %d: the journal was opened", try)
				}
				if !errors.Is(err, errLost) || apifault.KindOf(err) != apifault.Internal || !strings.Contains(err.Error(), "/data/journal") {
					t.Errorf("got %v (%s), want it internal, with the folder named", err, apifault.KindOf(err))
				}
				if hint := apifault.HintOf(err); !strings.Contains(hint, "restore") || !strings.Contains(hint, "/data/journal.acked") {
					t.Errorf("the hint is %q, want both ways out", hint)
				}
				aside, _ := fs.List("/data/journal.recovered") // none where there is nothing to recover from
				if kept >= 0 && len(aside) != kept {
					t.Errorf("try %d: %d WALs are kept, there were %d", try, len(aside), kept)
				}
				kept = len(aside)
				if n := count(t, fs, ".sst"); n < tables {
					t.Errorf("%d tables of %d are left", n, tables)
				}
			}
		})
	}
}

func count(t *testing.T, fs vfs.FS, part string) (n int) {
	t.Helper()
	names, err := fs.List("/data/journal")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.Contains(name, part) {
			n++
		}
	}
	return n
}

// What a WAL held stays to be looked at, and who has decided so goes on with the rest.
func TestWhatIsLeftOfADamagedJournalCanBeUsed(t *testing.T) {
	fs, o := killed(t)
	edit(t, fs, "/data/journal", with(".log"), func(b []byte) []byte { b[len(b)/2] ^= 0x40; return b[:len(b)*2/3] })
	if _, err := Open(t.Context(), o); !errors.Is(err, errLost) {
		t.Fatalf("got %v, want it refused", err)
	}
	if kept, err := fs.List("/data/journal.recovered"); err != nil || len(kept) == 0 {
		t.Errorf("nothing is kept of the WAL: %q, %v", kept, err)
	}
	if err := fs.Remove("/data/journal.acked"); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, last, err := mustLog(t, s, "a").Bounds(t.Context()); err != nil || last < lossEntries/2 || last >= lossEntries {
		t.Errorf("the log ends at %d (%v), want some of the entries", last, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Nothing was lost: it is opened, and what was put aside is gone.
func TestAWholeJournalIsBelieved(t *testing.T) {
	fs, o := killed(t)
	for range 2 {
		s, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, last, err := mustLog(t, s, "a").Bounds(t.Context()); err != nil || last != lossEntries {
			t.Errorf("the log ends at %d (%v), want %d", last, err, lossEntries)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fs.Stat("/data/journal.recovered"); err == nil {
		t.Error("WALs that were recovered from are kept")
	}
}

func TestAWitnessThatCannotBeReadSaysNothing(t *testing.T) {
	for _, damaged := range [][]byte{nil, {1}, make([]byte, witnessSize), {1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}} {
		fs, o := killed(t)
		if edit(t, fs, "/data", with("journal.acked"), func([]byte) []byte { return append([]byte{}, damaged...) }) != 1 {
			t.Fatal("there is no witness")
		}
		s, err := Open(t.Context(), o)
		if err != nil {
			t.Fatalf("with a witness of %x: %v", damaged, err)
		}
		fillLog(t, mustLog(t, s, "a"), lossEntries+1, lossEntries+1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
