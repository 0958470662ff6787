package pebblestore

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	apifault "stoa/api/fault"
	"stoa/internal/ground/journal"
)

func openAt(t testing.TB, dir string) *Store {
	s, err := Open(context.Background(), Options{Dir: dir, Fatal: failTest(t), Log: quiet(), Ballast: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustLog(t testing.TB, s *Store, name string) journal.Log {
	l, err := s.Log(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func fillLog(t testing.TB, l journal.Log, from, to journal.Seq) {
	for seq := from; seq <= to; seq++ {
		if _, err := l.Append(context.Background(), seq-1, fmt.Appendf(nil, "entry %d", seq)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestABackupIsMadeVerifiedAndRestored(t *testing.T) {
	dir := t.TempDir()
	data, copied := filepath.Join(dir, "journal"), filepath.Join(dir, "backup")
	s := openAt(t, data)
	a, b := mustLog(t, s, "a"), mustLog(t, s, "b")
	mustLog(t, s, "empty")
	fillLog(t, a, 1, 300)
	fillLog(t, b, 1, 20)
	if err := b.Cut(t.Context(), 12); err != nil {
		t.Fatal(err)
	}
	tb, err := s.Table(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tb.Put(t.Context(), "k", []byte("v"), 0); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // the journal goes on meanwhile
		defer close(stopped)
		for seq := journal.Seq(301); ; seq++ {
			select {
			case <-stop:
				return
			default:
				if _, err := a.Append(context.Background(), seq-1, []byte("meanwhile")); err != nil {
					t.Errorf("append during a backup: %v", err)
					return
				}
			}
		}
	}()
	got, err := s.Backup(t.Context(), copied)
	close(stop)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	if got["a"].First != 1 || got["a"].Last < 300 || got["b"] != (Bounds{12, 20}) || got["empty"] != (Bounds{1, 0}) {
		t.Errorf("the backup holds %v", got)
	}
	if _, err := s.Backup(t.Context(), copied); apifault.KindOf(err) != apifault.Conflict || apifault.HintOf(err) == "" {
		t.Errorf("a backup over a backup: got %v, want a conflict with a hint", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	if _, err := Restore(t.Context(), copied, data); apifault.KindOf(err) != apifault.Conflict {
		t.Errorf("restore over a journal: got %v, want a conflict", err)
	}
	if _, err := Restore(t.Context(), dir, filepath.Join(dir, "other")); apifault.KindOf(err) != apifault.Invalid {
		t.Errorf("restore of what is no backup: got %v, want invalid", err)
	}
	fresh := filepath.Join(dir, "fresh")
	if err := os.Mkdir(fresh, 0o700); err != nil { // empty is fine
		t.Fatal(err)
	}
	restored, err := Restore(t.Context(), copied, fresh)
	if err != nil || fmt.Sprint(restored) != fmt.Sprint(got) {
		t.Fatalf("restored %v (%v), want %v", restored, err, got)
	}
	s = openAt(t, fresh)
	defer s.Close()
	if first, last, err := mustLog(t, s, "b").Bounds(t.Context()); err != nil || first != 12 || last != 20 {
		t.Errorf("log b after restoring: %d to %d (%v)", first, last, err)
	}
	fillLog(t, mustLog(t, s, "a"), got["a"].Last+1, got["a"].Last+3)
	if tb, err = s.Table(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if v, _, err := tb.Get(t.Context(), "k"); err != nil || string(v) != "v" {
		t.Errorf("key after restoring: %q (%v)", v, err)
	}
}

// Every byte of a backup is checked when it is restored.
func TestADamagedBackupIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open(t.Context(), Options{FS: fs, Dir: "/journal", Fatal: failTest(t), Log: quiet(), Reserve: -1, Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	fillLog(t, mustLog(t, s, "a"), 1, 500)
	if err := s.Close(); err != nil { // and open again: from the WAL into a table
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), s.o); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(t.Context(), "/backup"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, fs, "/backup", ".sst")
	_, err = restore(t.Context(), Options{FS: fs, Log: quiet()}, "/backup", "/new")
	if apifault.KindOf(err) != apifault.Invalid || !strings.Contains(err.Error(), ".sst") {
		t.Errorf("restore of a damaged backup: got %v, want invalid, with the file named", err)
	}
	if _, err := fs.Stat("/new"); err == nil {
		t.Errorf("something was left in the target")
	}
}

// damage flips bits in the middle of every file of dir whose name contains part.
func damage(t testing.TB, fs vfs.FS, dir, part string) {
	t.Helper()
	named := func(name string) bool { return strings.Contains(name, part) && !strings.HasPrefix(name, "marker") }
	if edit(t, fs, dir, named, func(b []byte) []byte {
		for i := len(b) / 4; i < len(b)/4+64 && i < len(b); i++ {
			b[i] ^= 0x5a
		}
		return b
	}) == 0 {
		t.Fatalf("no %s in %s", part, dir)
	}
}

// Damage is found when the journal is opened or the damaged part is read; either way
// the file is named, and nothing is passed over.
func TestADamagedJournalIsNamed(t *testing.T) {
	for _, part := range []string{".sst", "MANIFEST"} {
		t.Run(part, func(t *testing.T) {
			fs := vfs.NewMem()
			o := Options{FS: fs, Dir: "/journal", Fatal: failTest(t), Log: quiet(), Reserve: -1, Ballast: -1}
			for range 2 {
				s, err := Open(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				l := mustLog(t, s, "a")
				_, last, _ := l.Bounds(t.Context())
				fillLog(t, l, last+1, last+500)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			damage(t, fs, "/journal", part)
			var reason error
			o.Fatal = func(err error) { reason = err }
			s, err := Open(t.Context(), o)
			if err == nil {
				var l journal.Log
				if l, err = s.Log(t.Context(), "a"); err == nil {
					for _, err = range l.Read(t.Context(), 0) {
						if err != nil {
							break
						}
					}
				}
				if err == nil || reason == nil || !strings.Contains(reason.Error(), part) {
					t.Errorf("reading gave %v, the process ended over %v, want the file named", err, reason)
				}
				_ = s.Close()
				return
			}
			if apifault.HintOf(err) == "" || !strings.Contains(err.Error(), part) {
				t.Errorf("open: got %v (%s), want the file named, and a hint", err, apifault.KindOf(err))
			}
		})
	}
}

func TestOneFolderOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	if os.Getenv("STOA_LOCKED") != "" {
		dir = os.Getenv("STOA_LOCKED")
	}
	s, err := Open(t.Context(), Options{Dir: dir, Fatal: failTest(t), Log: quiet(), Ballast: -1})
	if os.Getenv("STOA_LOCKED") != "" { // the second process
		if apifault.KindOf(err) != apifault.Conflict || !strings.Contains(err.Error(), dir) || apifault.HintOf(err) == "" {
			t.Fatalf("opening a folder that another process has: got %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := Open(t.Context(), Options{Dir: dir, Log: quiet()}); apifault.KindOf(err) != apifault.Conflict {
		t.Errorf("opening it twice in one process: got %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestOneFolderOneProcess$")
	cmd.Env = append(os.Environ(), "STOA_LOCKED="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the second process: %v\n%s", err, out)
	}
}

func TestANewerFormatIsRefused(t *testing.T) {
	d := NewDisk()
	s, err := d.Open(t.Context(), Options{Log: quiet(), Fatal: failTest(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Set([]byte{kindFormat}, []byte{formatVersion + 1}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open(t.Context(), Options{Log: quiet(), Fatal: failTest(t)}); apifault.KindOf(err) != apifault.Invalid || apifault.HintOf(err) == "" {
		t.Errorf("a journal of a newer stoa: got %v", err)
	}
}
