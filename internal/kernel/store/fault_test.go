package store_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/internal/ground/journal"
	"stoa/internal/kernel/store"
)

// faulty is a log in memory of which each append can go wrong in every way the port allows.
type faulty struct {
	mu      sync.Mutex
	first   journal.Seq
	entries []journal.Entry
	onto    func(n int) mishap // asked for the n-th append, 1, 2, ...; nil: all is well
	n       int
	late    []func() // appends whose outcome is open: called, they happen if they still can
}

// A mishap is how one append goes wrong.
type mishap int

const (
	well    mishap = iota
	down           // refused, nothing written
	full           // the disk is full
	lostAck        // written, and the answer lost
	lost           // not written, and the answer lost
	later          // the answer lost, and written when late is called, if then still possible
	stale          // refused as stale though nothing is there: it rests on what is in flight
)

func newFaulty() *faulty { return &faulty{first: 1} }

func (f *faulty) last() journal.Seq { return f.first + journal.Seq(len(f.entries)) - 1 }

func (f *faulty) write(after journal.Seq, items [][]byte) bool {
	if after != f.last() {
		return false
	}
	own := make([][]byte, len(items))
	for i := range items {
		own[i] = slices.Clone(items[i])
	}
	f.entries = append(f.entries, journal.Entry{Seq: after + 1, Items: own})
	return true
}

func (f *faulty) Append(ctx context.Context, after journal.Seq, items ...[]byte) (journal.Seq, error) {
	if err := journal.CheckEntry(items...); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	m := well
	if f.onto != nil {
		m = f.onto(f.n)
	}
	switch m {
	case down:
		return 0, journal.ErrDown
	case full:
		return 0, journal.ErrFull
	case stale:
		return 0, journal.ErrStale
	case lost:
		return 0, journal.ErrUnknown
	case later:
		f.late = append(f.late, func() { f.write(after, items) })
		return 0, journal.ErrUnknown
	}
	if !f.write(after, items) {
		return 0, journal.ErrStale
	}
	if m == lostAck {
		return 0, journal.ErrUnknown
	}
	return after + 1, nil
}

// settle lets what is late happen.
func (f *faulty) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.late {
		l()
	}
	f.late = nil
}

func (f *faulty) Read(_ context.Context, after journal.Seq) iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		for {
			f.mu.Lock()
			if after+1 < f.first {
				f.mu.Unlock()
				yield(journal.Entry{}, journal.ErrCut)
				return
			}
			if after >= f.last() {
				f.mu.Unlock()
				return
			}
			e := f.entries[after+1-f.first]
			f.mu.Unlock()
			after = e.Seq
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (f *faulty) Wait(context.Context, journal.Seq) error { return errors.New("not used") }

func (f *faulty) Cut(_ context.Context, before journal.Seq) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := int(before) - int(f.first); n > 0 {
		f.entries, f.first = f.entries[n:], before
	}
	return nil
}

func (f *faulty) Bounds(context.Context) (first, last journal.Seq, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first, f.last(), nil
}

// once gives mishap m for append n, and well for all others.
func once(n int, m mishap) func(int) mishap {
	return func(i int) mishap {
		if i == n {
			return m
		}
		return well
	}
}

// What goes wrong with one append ends in success, or in an error after which nothing
// has changed; a store opened afterwards sees the same; and the next commit works.
func TestOneMishap(t *testing.T) {
	big := func(rev string) store.Change { // two entries
		c := store.Change{}
		for i := range 4 {
			c.Puts = append(c.Puts, doc(fmt.Sprintf("big%d", i), strings.Repeat(rev, 1200)))
		}
		return c
	}
	for _, tt := range []struct {
		name string
		m    mishap
		want fault.Kind // of the commit; "" for success
	}{
		{"down", down, fault.Unavailable},
		{"full", full, fault.Exhausted},
		{"answer lost", lostAck, ""},
		{"lost", lost, ""},
		{"late", later, ""},
		{"stale without reason", stale, ""},
	} {
		for part := 1; part <= 2; part++ {
			t.Run(fmt.Sprintf("%s, part %d", tt.name, part), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFaulty()
					s := open(t, f, store.SmallEntries(store.Options{}))
					commit(t, s, store.Change{Puts: []core.Document{doc("a", "1")}})
					f.onto = once(1+part, tt.m)
					_, err := s.Commit(anna(), big("x"))
					if tt.want == "" && err != nil || tt.want != "" && !fault.Is(err, tt.want) {
						t.Fatalf("commit: %v, want %q", err, tt.want)
					}
					if err != nil && fault.HintOf(err) == "" {
						t.Fatalf("%v has no hint", err)
					}
					f.settle() // what was late comes too late
					want := uint64(2)
					if err != nil {
						want = 1
					}
					if got := s.State(); got.Revision != want || (len(got.Docs) == 5) != (want == 2) {
						t.Fatalf("revision %d with %d documents, want revision %d", got.Revision, len(got.Docs), want)
					}
					same(t, "reopened", open(t, f, store.Options{}).State(), s.State())
					if rev := commit(t, s, big("y")); rev != want+1 {
						t.Fatalf("next revision %d, want %d", rev, want+1)
					}
					same(t, "reopened later", open(t, f, store.Options{}).State(), s.State())
				})
			})
		}
	}
}

// An outcome that cannot be settled in time is told as unknown; the next commit sees
// what became of it before it decides.
func TestUnknown(t *testing.T) {
	for _, happens := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFaulty()
			s := open(t, f, store.Options{})
			commit(t, s, store.Change{Puts: []core.Document{doc("a", "1")}})
			f.onto = func(n int) mishap {
				if n == 2 {
					return later
				}
				return down
			}
			began := time.Now()
			_, err := s.Commit(anna(), store.Change{Puts: []core.Document{doc("a", "2")}})
			if !fault.Is(err, fault.Unknown) || fault.HintOf(err) == "" {
				t.Fatalf("got %v", err)
			}
			if took := time.Since(began); took > time.Minute {
				t.Fatalf("it took %v to say so", took)
			}
			f.onto = nil
			if happens {
				f.settle()
			}
			_, err = s.Commit(anna(), store.Change{Reads: map[core.Ref]uint64{ref("a"): 1}, Puts: []core.Document{doc("a", "3")}})
			switch {
			case happens && (!fault.Is(err, fault.Conflict) || s.State().Revision != 2):
				t.Fatalf("it happened; got %v at revision %d", err, s.State().Revision)
			case !happens && (err != nil || s.State().Revision != 2):
				t.Fatalf("it never happened; got %v at revision %d", err, s.State().Revision)
			}
			f.settle()
			same(t, "reopened", open(t, f, store.Options{}).State(), s.State())
		})
	}
}

// A caller who goes away does not leave an append unsettled.
func TestCallerGoesAway(t *testing.T) {
	f := newFaulty()
	s := open(t, f, store.Options{})
	ctx, cancel := context.WithCancel(anna())
	f.onto = func(n int) mishap {
		cancel()
		return once(1, lost)(n)
	}
	if rev, err := s.Commit(ctx, store.Change{Puts: []core.Document{doc("a", "1")}}); err != nil || rev != 1 {
		t.Fatalf("got %d, %v", rev, err)
	}
	if _, err := s.Commit(ctx, store.Change{Puts: []core.Document{doc("a", "2")}}); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// A checkpoint that fails is no failure of the commit, and is made up for.
func TestCheckpointFails(t *testing.T) {
	f := newFaulty()
	f.onto = once(101, full) // 100 applies, then the checkpoint
	s := open(t, f, store.Options{Revisions: 20, Least: 5})
	for i := range 205 {
		commit(t, s, store.Change{Puts: []core.Document{doc("a", fmt.Sprint(i))}})
	}
	first, _, _ := f.Bounds(context.Background())
	if first < 100 {
		t.Fatalf("the log begins at %d: nothing was cut", first)
	}
	same(t, "reopened", open(t, f, store.Options{}).State(), s.State())
}

// An owner who slept while another wrote and cut the log begins anew from what is there.
func TestOwnerLeftFarBehind(t *testing.T) {
	f := newFaulty()
	o := store.Options{Revisions: 20, Least: 5}
	a, b := open(t, f, o), open(t, f, o)
	commit(t, a, store.Change{Puts: []core.Document{doc("a", "1")}})
	for i := range 250 {
		commit(t, b, store.Change{Puts: []core.Document{doc("b", fmt.Sprint(i))}})
	}
	if rev := commit(t, a, store.Change{Puts: []core.Document{doc("a", "2")}}); rev != 252 {
		t.Fatalf("revision %d, want 252", rev)
	}
	same(t, "reopened", open(t, f, o).State(), a.State())
	if e := follow(t, a, 1, 1)[0]; !e.Reset {
		t.Fatalf("a watcher from before heard %+v", e)
	}
}

// Two owners on one log, with all mishaps at random: what was acknowledged is there once
// and for ever, in the order of the revisions; both come to the same state.
func TestRivals(t *testing.T) {
	seeds := uint64(4)
	if os.Getenv("STOA_LONG") != "" {
		seeds = 100
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			f := newFaulty()
			a, b := open(t, f, store.Options{Revisions: 30, Least: 5}), open(t, f, store.Options{Revisions: 30, Least: 5})
			f.onto = func(int) mishap {
				if rng.IntN(4) > 0 {
					return well
				}
				return mishap(rng.IntN(int(stale) + 1))
			}
			acked := map[uint64]string{} // revision: value of a
			for i := range 300 {
				s := a
				if rng.IntN(2) == 0 {
					s = b
				}
				value := fmt.Sprintf("%d", i)
				rev, err := s.Commit(anna(), store.Change{Puts: []core.Document{doc("a", value), doc(fmt.Sprintf("d%d", i%9), value)}})
				switch {
				case err == nil && acked[rev] != "":
					t.Fatalf("seed %d: revision %d is acknowledged for %s and for %s", seed, rev, acked[rev], value)
				case err == nil:
					acked[rev] = value
				case fault.Is(err, fault.Internal), fault.Is(err, fault.Invalid):
					t.Fatalf("seed %d: commit %d: %v", seed, i, err)
				}
				if rng.IntN(3) == 0 {
					f.settle()
				}
			}
			f.settle()
			f.onto = nil
			commit(t, a, store.Change{Puts: []core.Document{doc("end", "a")}})
			commit(t, b, store.Change{Puts: []core.Document{doc("end", "b")}})
			commit(t, a, store.Change{Puts: []core.Document{doc("end", "c")}})
			commit(t, b, store.Change{Puts: []core.Document{doc("end", "d")}})
			commit(t, a, store.Change{Puts: []core.Document{doc("end", "e")}})
			fresh := open(t, f, store.Options{})
			same(t, "reopened", fresh.State(), a.State())
			if len(acked) < 100 {
				t.Fatalf("seed %d: only %d of 300 commits succeeded", seed, len(acked))
			}
			kept := 0
			for _, r := range fresh.History(0) {
				want, ok := acked[r.Revision]
				if !ok {
					continue
				}
				kept++
				v, err := fresh.At(context.Background(), r.Revision)
				if err != nil {
					t.Fatal(err)
				}
				if got := string(v.Docs[ref("a")].Sections["env"]); got != fmt.Sprintf(`{"V":%q}`, want) {
					t.Fatalf("seed %d: revision %d holds %s, acknowledged was %s", seed, r.Revision, got, want)
				}
			}
			if kept < 10 {
				t.Fatalf("seed %d: only %d acknowledged revisions could be looked at", seed, kept)
			}
		})
	}
}

// Whatever bytes the log holds, opening it gives a state or an error, never a panic.
func FuzzOpen(f *testing.F) {
	l := newFaulty()
	s, err := store.Open(context.Background(), l, store.Options{Log: quiet})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := s.Commit(anna(), store.Change{Puts: []core.Document{doc("a", "1")}, Message: "m"}); err != nil {
		f.Fatal(err)
	}
	f.Add(l.entries[0].Items[0], l.entries[0].Items[1], l.entries[0].Items[2])
	f.Add(l.entries[0].Items[0], []byte(`{"version":1,"kind":"checkpoint","part":1,"parts":1,"revision":9}`), []byte(`{"ref":"service/a","changed":{"revision":3},"document":{"kind":"Service","name":"a"}}`))
	f.Fuzz(func(t *testing.T, mark, header, item []byte) {
		l := newFaulty()
		l.entries = []journal.Entry{{Seq: 1, Items: [][]byte{mark, header, item}}}
		s, err := store.Open(context.Background(), l, store.Options{Log: quiet})
		if err != nil {
			return
		}
		for _, ref := range s.State().Refs() {
			s.State().Docs[ref].Canonical()
		}
		for _, r := range s.History(0) {
			_, _ = s.At(context.Background(), r.Revision)
		}
	})
}
