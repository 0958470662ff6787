package node

import (
	"context"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
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
	last    map[core.Ref]core.Condition
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

func (w *world) Observe(ref core.Ref, c core.Condition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ref.Kind == core.KindSystem {
		w.seen = append(w.seen, c)
	}
	if w.last == nil {
		w.last = map[core.Ref]core.Condition{}
	}
	w.last[ref] = c
}

func (w *world) of(kind, name string) core.Condition {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[core.Ref{Kind: kind, Name: name}]
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
	var reasons []string // as they turned
	for _, c := range w.seen {
		if n := len(reasons); n == 0 || reasons[n-1] != c.Reason {
			reasons = append(reasons, c.Reason)
		}
	}
	if !slices.Equal(reasons, []string{"Routed", "Refused", "Routed"}) {
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

// A gateway that cannot be opened shows at the System and at the services behind it, with
// who has its port; it is opened when the port is free, and that shows, too.
func TestTakenGateway(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.77:0") // an address at which nobody else takes a port once it is free
	if err != nil {
		t.Fatal(err)
	}
	addr := taken.Addr().String()
	w := newWorld()
	web := core.Document{Kind: core.KindService, Name: "web"}
	w.state.Docs[web.Ref()] = web
	px := proxy.New(proxy.Options{})
	fragment := func(core.State) snapshot.Fragment {
		return snapshot.Fragment{From: "test",
			Listeners: map[string]snapshot.Listener{
				"gateway": {Protocol: snapshot.HTTP, Address: addr, Routes: []route.Rule{{Name: "r", Path: "/", Upstream: "web/http"}}},
				"a>inner": {Caller: "a", Protocol: snapshot.HTTP, Routes: []route.Rule{{Name: "r", Path: "/", Upstream: "inner"}}},
			},
			Upstreams: map[string]snapshot.Upstream{"web/http": {Service: "web", Protocol: snapshot.HTTP1}, "inner": {Protocol: snapshot.HTTP1}},
		}
	}
	m := New(Ports{State: w.State, Watch: w.Watch, Observe: w.Observe, Fragments: []func(core.State) snapshot.Fragment{fragment}}, px, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.run(ctx, func() {}) }()
	until := func(what string, cond func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !cond(); <-time.After(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never: %s; observed %v", what, w.seen)
			}
		}
	}
	me := fmt.Sprintf("(process %d)", os.Getpid())
	until("it is told", func() bool { return w.of(core.KindService, "web").Reason == "GatewayClosed" })
	for _, c := range []core.Condition{w.of(core.KindSystem, "shop"), w.of(core.KindService, "web")} {
		if c.Type != "Routed" || c.Status != core.False || !strings.Contains(c.Message, addr) || !strings.Contains(c.Message, me) || c.Hint == "" {
			t.Errorf("%+v", c)
		}
	}
	if at, _, err := m.Gateway("gateway"); at != "" || !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), me) {
		t.Errorf("open at %q, %v", at, err)
	}
	if _, _, err := m.Gateway("other"); !fault.Is(err, fault.NotFound) {
		t.Errorf("one that is not declared: %v", err)
	}
	taken.Close()
	until("it is open", func() bool {
		return w.of(core.KindService, "web").Status == core.True && w.of(core.KindSystem, "shop").Status == core.True
	})
	if at, root, err := m.Gateway("gateway"); at != "http://"+addr || root != "" || err != nil {
		t.Errorf("open at %q, %v", at, err)
	}
	if c := w.of(core.KindService, "inner"); c.Type != "" {
		t.Errorf("a service that no gateway leads to: %+v", c)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
