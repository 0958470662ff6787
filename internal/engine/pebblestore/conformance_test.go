package pebblestore

import (
	"context"
	"log/slog"
	"testing"

	"stoa/internal/ground/journal"
	"stoa/internal/ground/journal/journaltest"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// failTest is the Fatal of tests in which the disk is well.
func failTest(t testing.TB) func(error) {
	return func(reason error) { t.Errorf("the store failed: %v", reason) }
}

func TestConformanceInMemory(t *testing.T) {
	disks := map[journal.Store]*Disk{}
	open := func(t testing.TB, d *Disk) journal.Store {
		s, err := d.Open(context.Background(), Options{Fatal: failTest(t), Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		disks[s] = d
		return s
	}
	journaltest.Run(t, journaltest.Promises{
		Fresh: true, Certain: true,
		Reopen: func(t testing.TB, s journal.Store) journal.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, disks[s])
		},
	}, func(t testing.TB) journal.Store { return open(t, NewDisk()) })
}

func TestConformanceOnDisk(t *testing.T) {
	dirs := map[journal.Store]string{}
	open := func(t testing.TB, dir string) journal.Store {
		s, err := Open(context.Background(), Options{Dir: dir, Fatal: failTest(t), Log: quiet(), Ballast: 1 << 20, CutStep: 1})
		if err != nil {
			t.Fatal(err)
		}
		dirs[s] = dir
		return s
	}
	journaltest.Run(t, journaltest.Promises{
		Fresh: true, Certain: true,
		Reopen: func(t testing.TB, s journal.Store) journal.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, dirs[s])
		},
	}, func(t testing.TB) journal.Store { return open(t, t.TempDir()) })
}
