package node

import (
	"context"
	"iter"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
	"stoa/internal/kernel/store"
)

// A world is a state that changes, as the node sees it.
type world struct {
	mu      sync.Mutex
	state   core.State
	changed chan struct{}
	seen    []core.Condition
}

func newWorld() *world {
	sys := core.Document{Kind: core.KindSystem, Name: "shop"}
	return &world{state: core.State{Revision: 1, Docs: map[core.Ref]core.Document{sys.Ref(): sys}}, changed: make(chan struct{})}
}

func (w *world) State() core.State { w.mu.Lock(); defer w.mu.Unlock(); return w.state }

// commit makes the next revision.
func (w *world) commit() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.Revision++
	close(w.changed)
	w.changed = make(chan struct{})
	return w.state.Revision
}

func (w *world) Watch(ctx context.Context, from uint64) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		for {
			w.mu.Lock()
			at, changed := w.state.Revision, w.changed
			w.mu.Unlock()
			if at > from {
				from = at
				var e store.Event
				e.Revision.Revision = at
				if !yield(e, nil) {
					return
				}
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(store.Event{}, ctx.Err())
				return
			}
		}
	}
}

func (w *world) Observe(_ core.Ref, c core.Condition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, c)
}

// Each revision is carried out; one that cannot be routed leaves the snapshot before it
// in force and says so; the last good one is on disk.
func TestRevisionsAreCarriedOut(t *testing.T) {
	w := newWorld()
	dir := t.TempDir()
	px := proxy.New(proxy.Options{})
	fragment := func(s core.State) snapshot.Fragment {
		f := snapshot.Fragment{From: "test", Listeners: map[string]snapshot.Listener{
			"a>b": {Caller: "a", Protocol: snapshot.HTTP, Routes: []route.Rule{{Name: "r", Path: "/", Upstream: "b"}}},
		}}
		if s.Revision != 3 { // the third leads nowhere
			f.Upstreams = map[string]snapshot.Upstream{"b": {Protocol: snapshot.HTTP1}}
		}
		return f
	}
	m := New(Ports{State: w.State, Watch: w.Watch, Observe: w.Observe, Fragments: []func(core.State) snapshot.Fragment{fragment}}, px, Options{Dir: dir})
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- m.run(ctx, func() { close(ready) }) }()
	<-ready
	waiting, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for want := uint64(2); want <= 4; want++ {
		w.commit()
		if err := m.Applied(waiting, want); err != nil {
			t.Fatalf("revision %d: %v", want, err)
		}
		in := px.Version().Revision
		if want == 3 && in != 2 || want != 3 && in != want {
			t.Errorf("after revision %d the proxy follows %d", want, in)
		}
	}
	saved, err := snapshot.Load(filepath.Join(dir, "snapshot"))
	if err != nil || saved.Snapshot.Version.Revision != 4 {
		t.Errorf("on disk: %+v, %v", saved.Snapshot, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, c := range w.seen {
		reasons = append(reasons, c.Reason)
	}
	if !slices.Equal(reasons, []string{"Routed", "Routed", "Refused", "Routed"}) {
		t.Errorf("conditions %v", reasons)
	}
}

// Who waits for a revision that never comes is let go when its context ends.
func TestAppliedEndsWithItsContext(t *testing.T) {
	m := New(Ports{}, proxy.New(proxy.Options{}), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Applied(ctx, 1); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}
