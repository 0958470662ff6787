package pebblestore

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"stoa/internal/ground/index"
	"stoa/internal/ground/index/indextest"
	"stoa/internal/ground/journal"
)

func openTestIndexes(t testing.TB, fs vfs.FS, memtable uint64) *Indexes {
	s, err := OpenIndexes(context.Background(), Options{
		FS: fs, Dir: "/index", Fatal: failTest(t), Log: quiet(), Reserve: -1, Ballast: -1,
		tune: func(p *pebble.Options) { p.MemTableSize = memtable },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestIndexConformance(t *testing.T) {
	open := func(t testing.TB, fs vfs.FS) index.Index {
		s := openTestIndexes(t, fs, 4<<20)
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		for _, other := range []string{"before", "x", "y"} { // neighbours, which must not be touched
			x, err := s.Index(context.Background(), other)
			if err != nil {
				t.Fatal(err)
			}
			if at, err := x.Position(context.Background(), "n"); err != nil || at == 1 || other == "x" {
				continue
			}
			if err := x.Apply(context.Background(), index.Batch{From: "n", At: 1, Writes: []index.Write{{Key: []byte("k"), Value: []byte("neighbour")}}}); err != nil {
				t.Fatal(err)
			}
		}
		x, err := s.Index(context.Background(), "x")
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	indextest.Run(t, func(t testing.TB) index.Index { return open(t, vfs.NewMem()) }, func(t testing.TB, x index.Index) index.Index {
		s := x.(*projection).s
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return open(t, s.o.FS)
	})
}

// A power cut leaves an index behind its log, perhaps, and consistent, always: each
// batch is there in whole or not at all, and all before it are. Batch n adds n to one
// of seven sums, sets the count to n and adds or removes a key, so any mixture shows.
func TestAnIndexIsAlwaysBehindAndAlwaysConsistent(t *testing.T) {
	seed, workloads := crashSeed(t), 12
	if long() {
		workloads *= 20
	}
	cuts, behind := 0, 0
	for w := range workloads {
		rng := rand.New(rand.NewPCG(seed, uint64(w)))
		mem := vfs.NewCrashableMem()
		s := openTestIndexes(t, mem, 32<<10<<rng.IntN(4))
		x, err := s.Index(t.Context(), "sums")
		if err != nil {
			t.Fatal(err)
		}
		m := &indexModel{}
		for cut := 0; cut < 9; {
			for range 1 + rng.IntN(60) {
				if err := x.Apply(t.Context(), m.next(rng)); err != nil {
					t.Fatal(err)
				}
			}
			if rng.IntN(20) == 0 {
				if err := x.Reset(t.Context()); err != nil {
					t.Fatal(err)
				}
				m = &indexModel{}
			}
			cut++
			cuts++
			clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 30, 60, 90}[rng.IntN(4)], RNG: rng})
			if checkIndex(t, clone, seed) < m.n {
				behind++
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d power cuts, %d left the index behind", cuts, behind)
	if behind == 0 {
		t.Errorf("no cut left the index behind: the test proves nothing")
	}
}

// indexModel is what the index must be after n batches.
type indexModel struct {
	n    journal.Seq
	sums [7]uint64
}

func (m *indexModel) next(rng *rand.Rand) index.Batch {
	m.n++
	k := int(m.n) % len(m.sums)
	m.sums[k] += uint64(m.n)
	b := index.Batch{From: "log", At: m.n, Writes: []index.Write{
		{Key: []byte{'s', byte(k)}, Value: binary.BigEndian.AppendUint64(nil, m.sums[k])},
		{Key: []byte("count"), Value: binary.BigEndian.AppendUint64(nil, uint64(m.n))},
		{Key: fmt.Appendf(nil, "item%d", m.n), Value: make([]byte, rng.IntN(900))},
	}}
	if m.n > 10 {
		b.Writes = append(b.Writes, index.Write{Key: fmt.Appendf(nil, "item%d", m.n-10), Remove: true})
	}
	return b
}

// checkIndex gives the position of the index and holds its content to it.
func checkIndex(t *testing.T, fs vfs.FS, seed uint64) journal.Seq {
	s := openTestIndexes(t, fs, 4<<20)
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	x, err := s.Index(t.Context(), "sums")
	if err != nil {
		t.Fatal(err)
	}
	at, err := x.Position(t.Context(), "log")
	if err != nil {
		t.Fatal(err)
	}
	m, rng, want := &indexModel{}, rand.New(rand.NewPCG(0, 0)), map[string]uint64{}
	for m.n < at {
		for _, w := range m.next(rng).Writes {
			switch {
			case w.Remove:
				delete(want, string(w.Key))
			case len(w.Value) == 8 && w.Key[0] != 'i':
				want[string(w.Key)] = binary.BigEndian.Uint64(w.Value)
			default:
				want[string(w.Key)] = 0
			}
		}
	}
	got := 0
	for kv, err := range x.Scan(t.Context(), nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		v, ok := want[string(kv.Key)]
		if !ok || kv.Key[0] != 'i' && v != binary.BigEndian.Uint64(kv.Value) {
			t.Errorf("seed %d: at %d the index has %q = %x", seed, at, kv.Key, kv.Value)
		}
		got++
	}
	if got != len(want) {
		t.Errorf("seed %d: at %d the index has %d keys, want %d", seed, at, got, len(want))
	}
	return at
}

// A damaged index folder is no reason not to start.
func TestADamagedIndexIsBuiltAgain(t *testing.T) {
	fs := vfs.NewMem()
	s := openTestIndexes(t, fs, 4<<20)
	x, err := s.Index(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Apply(t.Context(), index.Batch{From: "log", At: 1, Writes: []index.Write{{Key: []byte("k")}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, fs, "/index", "MANIFEST")
	s = openTestIndexes(t, fs, 4<<20)
	defer s.Close()
	if x, err = s.Index(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if at, err := x.Position(t.Context(), "log"); err != nil || at != 0 {
		t.Errorf("position %d (%v), want 0: an empty index", at, err)
	}
}
