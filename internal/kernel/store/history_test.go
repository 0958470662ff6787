package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/platform"
	"stoa/internal/kernel/store"
)

// The last revisions can be read as they were; older ones are cut, and say so; a
// restart changes neither.
func TestHistoryIsCut(t *testing.T) {
	l := memory(t)
	o := store.Options{Revisions: 150}
	s := open(t, l, o)
	states, lasts := map[uint64]core.State{}, map[uint64]platform.Last{}
	for i := range 520 {
		c := store.Change{Puts: []core.Document{doc(fmt.Sprintf("d%d", i%7), fmt.Sprint(i))}}
		if i%5 == 4 {
			c = store.Change{Deletes: []core.Ref{ref(fmt.Sprintf("d%d", (i-1)%7))}}
		}
		rev := commit(t, s, c)
		states[rev], lasts[rev] = s.State(), s.View().Last[ref("d0")]
	}
	if first, _, _ := l.Bounds(context.Background()); first < 200 {
		t.Fatalf("the log still begins at %d", first)
	}
	last := s.State().Revision
	for name, s := range map[string]*store.Store{"live": s, "reopened": open(t, l, o)} {
		same(t, name, s.State(), states[last])
		h := s.History(0)
		if len(h) < 150 || len(h) > 260 {
			t.Fatalf("%s: %d revisions kept, want 150 and up to a checkpoint more", name, len(h))
		}
		for i, r := range h {
			if r.Revision != last-uint64(i) {
				t.Fatalf("%s: history has %d at %d", name, r.Revision, i)
			}
			if i%10 == 0 || i == len(h)-1 {
				got, err := s.At(context.Background(), r.Revision)
				if err != nil {
					t.Fatalf("%s: at %d: %v", name, r.Revision, err)
				}
				same(t, fmt.Sprintf("%s at %d", name, r.Revision), got.State, states[r.Revision])
				if got.Last[ref("d0")] != lasts[r.Revision] {
					t.Fatalf("%s at %d: d0 last changed %v, want %v", name, r.Revision, got.Last[ref("d0")], lasts[r.Revision])
				}
			}
		}
		for _, rev := range []uint64{0, 1, last + 1} {
			if _, err := s.At(context.Background(), rev); !fault.Is(err, fault.NotFound) || fault.HintOf(err) == "" {
				t.Fatalf("%s: at %d: %v, want not found", name, rev, err)
			}
		}
	}
}

// History that is too old goes too, but never the last ten revisions.
func TestHistoryAges(t *testing.T) {
	l := memory(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := open(t, l, store.Options{Now: func() time.Time { return now }})
	for i := range 195 {
		commit(t, s, store.Change{Puts: []core.Document{doc("a", fmt.Sprint(i))}})
	}
	now = now.Add(31 * 24 * time.Hour)
	for i := range 5 {
		commit(t, s, store.Change{Puts: []core.Document{doc("a", fmt.Sprint("new", i))}})
	}
	// The checkpoint at 200 lets everything before the one at 100 go; 101..190 are old,
	// but 191..195 are not cut apart from them.
	if n := len(s.History(0)); n != 100 {
		t.Fatalf("%d revisions kept, want 100", n)
	}
	for i := range 99 {
		commit(t, s, store.Change{Puts: []core.Document{doc("a", fmt.Sprint("later", i))}})
	}
	commit(t, s, store.Change{Puts: []core.Document{doc("a", "last")}})
	h := s.History(0)
	if oldest := h[len(h)-1].Revision; oldest != 101 {
		t.Fatalf("oldest revision is %d, want 101: 196 is young, and the checkpoint before it is at 100", oldest)
	}
}

// follow collects n events.
func follow(t *testing.T, s *store.Store, from uint64, n int) []store.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var got []store.Event
	for e, err := range s.Watch(ctx, from) {
		if err != nil {
			t.Fatalf("watch from %d after %d events: %v", from, len(got), err)
		}
		if got = append(got, e); len(got) == n {
			break
		}
	}
	return got
}

// A watch replays what followed a revision and goes on with what comes, without a gap.
func TestWatch(t *testing.T) {
	s := open(t, memory(t), store.Options{})
	const n = 60 // more than is kept in memory
	for i := range n {
		commit(t, s, store.Change{Puts: []core.Document{doc("a", fmt.Sprint(i))}})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range n {
			commit(t, s, store.Change{Puts: []core.Document{doc("b", fmt.Sprint(i))}})
		}
	}()
	for i, e := range follow(t, s, 0, 2*n) {
		if e.Reset || e.Revision.Revision != uint64(i+1) || len(e.Changes) != 1 {
			t.Fatalf("event %d is %+v", i, e)
		}
	}
	<-ended
	commit(t, s, store.Change{Deletes: []core.Ref{ref("a")}})
	e := follow(t, s, 2*n, 1)[0]
	if c := e.Changes[0]; c.Ref != ref("a") || c.Doc != nil || c.Was != n || e.Who.Name != "anna" {
		t.Fatalf("got %+v", e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range s.Watch(ctx, 2*n+1) {
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("watch with an ended context: %v", err)
		}
	}
}

// Whoever sees an event sees its state.
func TestWatchIsNeverAheadOfState(t *testing.T) {
	s := open(t, memory(t), store.Options{})
	const n = 300
	go func() {
		for i := range n {
			commit(t, s, store.Change{Puts: []core.Document{doc("a", fmt.Sprint(i))}})
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for e, err := range s.Watch(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if got := s.State().Revision; got < e.Revision.Revision {
			t.Fatalf("event %d while the state is at %d", e.Revision.Revision, got)
		}
		if e.Revision.Revision == n {
			return
		}
	}
}

// A watcher whose place was cut, or never was, hears so and goes on from the present.
func TestWatchReset(t *testing.T) {
	s := open(t, memory(t), store.Options{Revisions: 20})
	for i := range 250 {
		commit(t, s, store.Change{Puts: []core.Document{doc("a", fmt.Sprint(i))}})
	}
	for _, from := range []uint64{0, 3, 9999} {
		e := follow(t, s, from, 1)[0]
		if !e.Reset || e.Revision.Revision != 250 {
			t.Fatalf("from %d: %+v, want a reset at 250", from, e)
		}
	}
}
