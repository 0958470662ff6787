package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/internal/engine/pebblestore"
	"stoa/internal/ground/journal"
	"stoa/internal/kernel/store"
)

// script is a workload in which every revision is known beforehand: small changes,
// deletes, and now and then one of several entries.
type script struct{ states []core.State }

// change gives what makes revision rev out of the one before it.
func (s *script) change(rev uint64) store.Change {
	rng := rand.New(rand.NewPCG(rev, 7))
	c := store.Change{Source: "/shop", Puts: []core.Document{doc("count", fmt.Sprint(rev))}}
	for i := range 6 {
		switch name := fmt.Sprintf("d%d", i); rng.IntN(4) {
		case 0:
			c.Puts = append(c.Puts, doc(name, fmt.Sprint(rng.Uint64())))
		case 1:
			c.Deletes = append(c.Deletes, ref(name))
		}
	}
	switch rev % bigEvery {
	case 0:
		for i := range 3 {
			c.Puts = append(c.Puts, doc(fmt.Sprintf("big%d", i), strings.Repeat(fmt.Sprint(rev%10), 1500)))
		}
	case 4: // the checkpoints at 100, 300, ... are of several entries too
		for i := range 3 {
			c.Deletes = append(c.Deletes, ref(fmt.Sprintf("big%d", i)))
		}
	}
	return c
}

// bigEvery is after how many revisions one takes two entries.
const bigEvery = 49

// at gives the documents of revision rev.
func (s *script) at(rev uint64) core.State {
	if s.states == nil {
		s.states = []core.State{{Docs: map[core.Ref]core.Document{}}}
	}
	for n := uint64(len(s.states)); n <= rev; n++ {
		docs := map[core.Ref]core.Document{}
		for r, d := range s.states[n-1].Docs {
			docs[r] = d
		}
		c := s.change(n)
		for _, r := range c.Deletes {
			delete(docs, r)
		}
		for _, d := range c.Puts {
			docs[d.Ref()] = d
		}
		s.states = append(s.states, core.State{Revision: n, Docs: docs})
	}
	return s.states[rev]
}

// early is the control: a log that acknowledges before it has written, as a store that
// forgets to sync would.
type early struct {
	journal.Log
	wait sync.WaitGroup
	todo chan func()
	last journal.Seq
}

func newEarly(l journal.Log) *early {
	e := &early{Log: l, todo: make(chan func(), 64)}
	_, e.last, _ = l.Bounds(context.Background())
	e.wait.Go(func() {
		for f := range e.todo {
			f()
		}
	})
	return e
}

func (e *early) Append(ctx context.Context, after journal.Seq, items ...[]byte) (journal.Seq, error) {
	if after != e.last {
		return 0, journal.ErrStale
	}
	e.last++
	own := make([][]byte, len(items))
	for i := range items {
		own[i] = slices.Clone(items[i])
	}
	e.todo <- func() { _, _ = e.Log.Append(ctx, after, own...) }
	return e.last, nil
}

// cuts runs the script and cuts the power again and again, at random moments, each time
// going on from what the disk then holds. It gives how many cuts lost an acknowledged
// revision; everything else that is wrong fails the test.
func cuts(t *testing.T, n int, wrap func(journal.Log) (journal.Log, func())) (lost int) {
	var sc script
	rng := rand.New(rand.NewPCG(1, 2))
	o := pebblestore.Options{Log: quiet}
	disk := pebblestore.NewDisk()
	most := uint64(0)
	for i := range n {
		db, err := disk.Open(context.Background(), o)
		if err != nil {
			t.Fatalf("cut %d: open the journal: %v", i, err)
		}
		l, err := db.Log(context.Background(), "resources")
		if err != nil {
			t.Fatal(err)
		}
		l, stop := wrap(l)
		s := open(t, l, store.SmallEntries(store.Options{Revisions: 40, Least: 5}))
		got := s.State()
		same(t, fmt.Sprintf("after cut %d", i), got, sc.at(got.Revision))
		if h := s.History(0); got.Revision > 0 && len(h) > 0 {
			oldest := h[len(h)-1].Revision
			old, err := s.At(context.Background(), oldest)
			if err != nil {
				t.Fatalf("after cut %d: at %d: %v", i, oldest, err)
			}
			same(t, fmt.Sprintf("after cut %d, the oldest kept", i), old.State, sc.at(oldest))
		}

		// Commit until told to stop; the power goes off in between.
		var acked atomic.Uint64
		acked.Store(got.Revision)
		stopped := make(chan struct{})
		enough := got.Revision + uint64(rng.IntN(25)) + 1
		if big := (got.Revision/bigEvery + 1) * bigEvery; i%3 == 0 && big > got.Revision+1 {
			enough = big - 1 // so that the cut falls into the one of two entries
		}
		reached := make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() {
			for rev := got.Revision + 1; ; rev++ {
				select {
				case <-stopped:
					return
				default:
				}
				sc := script{}
				r, err := s.Commit(anna(), sc.change(rev))
				if err != nil || r != rev {
					t.Errorf("commit of %d: %d, %v", rev, r, err)
					close(reached)
					return
				}
				acked.Store(rev)
				if rev == enough {
					close(reached)
				}
			}
		})
		select {
		case <-reached:
		case <-time.After(time.Minute):
			t.Fatal("no progress")
		}
		for range rng.IntN(2000) { // somewhere inside the commit that follows
			rng.Uint64()
		}
		sure := acked.Load()
		next := disk.PowerCut(rng.Uint64())
		close(stopped)
		writer.Wait()
		stop()
		_ = db.Close()
		if t.Failed() {
			return lost
		}

		disk = next
		check, err := disk.PowerCut(0).Open(context.Background(), o) // a look that changes nothing
		if err != nil {
			t.Fatalf("cut %d: %v", i, err)
		}
		cl, err := check.Log(context.Background(), "resources")
		if err != nil {
			t.Fatal(err)
		}
		if rev := open(t, cl, store.Options{}).State().Revision; rev < sure {
			lost++
		}
		_ = check.Close()
		most = max(most, sure)
	}
	t.Logf("%d revisions, %d of %d cuts lost an acknowledged one", most, lost, n)
	return lost
}

// Whenever the power goes off, no acknowledged revision is lost, none is there by half,
// and the history that is kept can be read.
func TestPowerCuts(t *testing.T) {
	n := 80
	if os.Getenv("STOA_LONG") != "" {
		n = 1000
	}
	if lost := cuts(t, n, func(l journal.Log) (journal.Log, func()) { return l, func() {} }); lost > 0 {
		t.Fatalf("%d of %d cuts lost an acknowledged revision", lost, n)
	}
}

// The control: acknowledging before the sync must be caught by the same test.
func TestPowerCutsCatchEarlyAcknowledgement(t *testing.T) {
	lost := cuts(t, 30, func(l journal.Log) (journal.Log, func()) {
		e := newEarly(l)
		return e, func() { close(e.todo); e.wait.Wait() }
	})
	if lost == 0 {
		t.Fatal("30 cuts of a store that acknowledges early lost nothing: the test is blind")
	}
}
