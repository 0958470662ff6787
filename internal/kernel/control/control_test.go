package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/platform"
	"stoa/internal/kernel/board"
	"stoa/internal/kernel/host"
	"stoa/internal/kernel/store"
)

// fakeSource is a store in memory with the promises of store.Watch that matter here.
type fakeSource struct {
	mu     sync.Mutex
	state  core.State
	events []store.Event
	cut    uint64 // events up to this revision are gone
	broken error  // what the next Watch gives
	wake   chan struct{}
}

func newSource(names ...string) *fakeSource {
	f := &fakeSource{wake: make(chan struct{}), state: core.State{Docs: map[core.Ref]core.Document{}}}
	for _, n := range names {
		f.put(n)
	}
	return f
}

func (f *fakeSource) change(ref core.Ref, doc *core.Document) {
	f.mu.Lock()
	defer f.mu.Unlock()
	docs := maps.Clone(f.state.Docs)
	if doc == nil {
		delete(docs, ref)
	} else {
		docs[ref] = *doc
	}
	f.state = core.State{Revision: f.state.Revision + 1, Docs: docs}
	f.events = append(f.events, store.Event{Revision: platform.Revision{Revision: f.state.Revision}, Changes: []store.Changed{{Ref: ref, Doc: doc}}})
	close(f.wake)
	f.wake = make(chan struct{})
}

func svc(name string) core.Ref { return core.Ref{Kind: core.KindService, Name: name} }

func (f *fakeSource) put(name string) {
	f.change(svc(name), &core.Document{Kind: core.KindService, Name: name})
}
func (f *fakeSource) delete(name string) { f.change(svc(name), nil) }

func (f *fakeSource) State() core.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

func (f *fakeSource) Watch(ctx context.Context, from uint64) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		for {
			f.mu.Lock()
			wake, broken := f.wake, f.broken
			f.broken = nil
			var e *store.Event
			if from < f.cut {
				e = &store.Event{Revision: platform.Revision{Revision: f.state.Revision}, Reset: true}
			} else if from < f.state.Revision {
				e = &f.events[from]
			}
			f.mu.Unlock()
			switch {
			case ctx.Err() != nil:
				yield(store.Event{}, ctx.Err())
				return
			case broken != nil:
				yield(store.Event{}, broken)
				return
			case e != nil:
				from = e.Revision.Revision
				if !yield(*e, nil) {
					return
				}
			default:
				select {
				case <-wake:
				case <-ctx.Done():
				}
			}
		}
	}
}

// journal notes calls with the time since the test began, in milliseconds.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

// take gives and forgets what was noted.
func (j *journal) take() string {
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	s := strings.Join(j.lines, " ")
	j.lines = nil
	return s
}

type module struct {
	name    string
	do      func(context.Context, core.Ref) (time.Duration, error)
	watches []string
}

func (m module) Name() string            { return m.name }
func (m module) Declare(c *host.Catalog) { c.Reconcile(m.name, m.do, m.watches...) }

// start runs controllers for the modules until the test ends.
func start(t *testing.T, src Source, b *board.Board, o Options, modules ...host.Module) *Controllers {
	t.Helper()
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	c := New(host.Build(modules...), src, b, o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	ready := make(chan struct{})
	go func() { ended <- c.Part().Run(ctx, func() { close(ready) }) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

// At start every document is reconciled, then whatever changes, deletes included, and
// only by those who watch its kind.
func TestFollowsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource("a", "b")
		var j journal
		do := func(name string) func(context.Context, core.Ref) (time.Duration, error) {
			return func(_ context.Context, ref core.Ref) (time.Duration, error) {
				_, there := src.State().Docs[ref]
				j.note("%s:%s:%v", name, ref.Name, there)
				return 0, nil
			}
		}
		start(t, src, nil, Options{Workers: 1}, module{"services", do("s"), []string{core.KindService}}, module{"jobs", do("j"), []string{core.KindJob}})
		if got, want := j.take(), "s:a:true s:b:true"; got != want {
			t.Fatalf("at start %s, want %s", got, want)
		}
		src.put("c")
		src.change(core.Ref{Kind: core.KindJob, Name: "m"}, &core.Document{Kind: core.KindJob, Name: "m"})
		if got, want := j.take(), "s:c:true j:m:true"; got != want && got != "j:m:true s:c:true" {
			t.Fatalf("created: %s, want %s", got, want)
		}
		src.delete("a")
		if got, want := j.take(), "s:a:false"; got != want {
			t.Fatalf("deleted: %s, want %s", got, want)
		}
	})
}

// One reference is never worked on twice at once; what changes meanwhile is one more call.
func TestSerialAndDeduplicated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource("a", "b")
		var mu sync.Mutex
		calls, at, most := map[string]int{}, map[string]int{}, 0
		c := start(t, src, nil, Options{}, module{"m", func(_ context.Context, ref core.Ref) (time.Duration, error) {
			mu.Lock()
			calls[ref.Name]++
			at[ref.Name]++
			most = max(most, at[ref.Name])
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			at[ref.Name]--
			mu.Unlock()
			return 0, nil
		}, []string{core.KindService}})
		time.Sleep(500 * time.Millisecond)
		for range 100 {
			src.put("a")
			c.Kick("m", svc("a"))
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if most != 1 || calls["a"] != 2 || calls["b"] != 1 {
			t.Fatalf("at most %d at once, calls %v; want 1, a 2, b 1", most, calls)
		}
	})
}

// No more workers than there are, and a slow reference does not hold up the others.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 20 {
			names = append(names, fmt.Sprintf("s%02d", i))
		}
		began := time.Now()
		var mu sync.Mutex
		now, most := 0, 0
		var last time.Duration
		start(t, newSource(names...), nil, Options{Workers: 3}, module{"m", func(ctx context.Context, ref core.Ref) (time.Duration, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			if ref.Name == "s00" {
				<-ctx.Done()
			} else {
				time.Sleep(time.Second)
			}
			mu.Lock()
			now--
			if ref.Name != "s00" {
				last = time.Since(began)
			}
			mu.Unlock()
			return 0, nil
		}, []string{core.KindService}})
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if most != 3 || last != 10*time.Second {
			t.Fatalf("at most %d at once, the last after %v; want 3 and 10s (19 references, two workers left)", most, last)
		}
	})
}

// again is a wish for a later call; a change comes before it, and the wish is renewed.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource("a")
		began := time.Now()
		var j journal
		start(t, src, nil, Options{}, module{"m", func(context.Context, core.Ref) (time.Duration, error) {
			j.note("%v", time.Since(began))
			return 5 * time.Second, nil
		}, []string{core.KindService}})
		time.Sleep(7 * time.Second)
		src.put("a")
		time.Sleep(6 * time.Second)
		if got, want := j.take(), "0s 5s 7s 12s"; got != want {
			t.Fatalf("called at %s, want %s", got, want)
		}
	})
}

// Failures back off from 100 ms to 30 s with jitter, and start anew after a success. A
// change ends the pause; a kick does not make it spin.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource("a")
		b := board.New(nil)
		var mu sync.Mutex
		var times []time.Time
		fail := true
		c := start(t, src, b, Options{}, module{"m", func(context.Context, core.Ref) (time.Duration, error) {
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Now())
			if fail {
				return 0, fault.New(fault.Unavailable, "disk", "is full").WithHint("Free some.")
			}
			return 0, nil
		}, []string{core.KindService}})
		time.Sleep(5 * time.Minute)
		mu.Lock()
		for i := 1; i < len(times); i++ {
			want := min(100*time.Millisecond<<(i-1), 30*time.Second)
			if d := times[i].Sub(times[i-1]); d < want*8/10 || d > want*12/10 {
				t.Errorf("pause %d was %v, want %v and a fifth", i, d, want)
			}
		}
		if n := len(times); n < 15 || n > 22 {
			t.Errorf("%d calls in 5 minutes", n)
		}
		times = nil
		mu.Unlock()
		if cond, ok := b.One(svc("a"), Reconciled); !ok || cond.Status != core.False || cond.Message != "m: disk: is full" || cond.Hint != "Free some." {
			t.Errorf("condition %+v", cond)
		}

		for range 50 { // a kick from within every call would look like this
			c.Kick("m", svc("a"))
			time.Sleep(10 * time.Millisecond)
		}
		mu.Lock()
		if n := len(times); n < 4 || n > 7 {
			t.Errorf("%d calls in 500 ms of kicks, want one each 100 ms", n)
		}
		fail = false
		mu.Unlock()
		src.put("a")
		synctest.Wait()
		if conds := b.Of(svc("a")); len(conds) != 0 {
			t.Errorf("it works again, and yet %v", conds)
		}
		mu.Lock()
		n := len(times)
		mu.Unlock()
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if len(times) != n {
			t.Errorf("%d calls of what has nothing to do", len(times)-n)
		}
	})
}

// One failure alone is not shown, and two reconcilers that fail are shown together.
func TestCondition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource("a")
		b := board.New(nil)
		var calls int
		start(t, src, b, Options{},
			module{"once", func(context.Context, core.Ref) (time.Duration, error) {
				if calls++; calls == 1 {
					return 0, errors.New("a race")
				}
				return 0, nil
			}, []string{core.KindService}},
			module{"y", func(context.Context, core.Ref) (time.Duration, error) { return 0, errors.New("no") }, []string{core.KindService}},
			module{"x", func(context.Context, core.Ref) (time.Duration, error) { return 0, errors.New("never") }, []string{core.KindService}})
		time.Sleep(time.Minute)
		if conds := b.Of(svc("a")); len(conds) != 1 || conds[0].Message != "x: never; y: no" {
			t.Fatalf("conditions %+v", conds)
		}
		for _, tr := range b.Why(svc("a")) {
			if strings.Contains(tr.To.Message, "race") {
				t.Fatalf("one failure alone was shown: %+v", tr)
			}
		}
	})
}

// A deleted document leaves the board when its reconcilers are done, not before.
func TestDeletedLeavesTheBoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource("a")
		b := board.New(nil)
		stopping := true
		start(t, src, b, Options{}, module{"m", func(_ context.Context, ref core.Ref) (time.Duration, error) {
			b.Set(ref, core.Condition{Type: "Ready", Status: core.True, Reason: "Ready"})
			if _, ok := src.State().Docs[ref]; !ok && stopping {
				stopping = false
				return time.Second, nil
			}
			return 0, nil
		}, []string{core.KindService}})
		synctest.Wait()
		src.delete("a")
		synctest.Wait()
		if len(b.All()) != 1 {
			t.Fatal("it left the board while it was stopping")
		}
		time.Sleep(2 * time.Second)
		if all := b.All(); len(all) != 0 {
			t.Fatalf("still on the board: %v", all)
		}
	})
}

// After a reset, and after the store failed, every document is looked at again, and
// those that went meanwhile too.
func TestResetAndFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource("a", "b")
		var j journal
		start(t, src, nil, Options{Workers: 1}, module{"m", func(_ context.Context, ref core.Ref) (time.Duration, error) {
			j.note("%s", ref.Name)
			return 0, nil
		}, []string{core.KindService}})
		j.take()
		src.mu.Lock()
		docs := maps.Clone(src.state.Docs)
		delete(docs, svc("a"))
		src.state = core.State{Revision: 9, Docs: docs}
		src.cut = 9
		src.events = make([]store.Event, 9)
		close(src.wake)
		src.wake = make(chan struct{})
		src.mu.Unlock()
		if got, want := j.take(), "a b"; got != want {
			t.Fatalf("after a reset %q, want %q", got, want)
		}
		src.mu.Lock()
		src.broken = errors.New("the disk is gone")
		close(src.wake)
		src.wake = make(chan struct{})
		src.mu.Unlock()
		time.Sleep(2 * time.Second)
		if got, want := j.take(), "b"; got != want {
			t.Fatalf("after a failure %q, want %q", got, want)
		}
		src.put("c")
		if got, want := j.take(), "c"; got != want {
			t.Fatalf("after all that %q, want %q", got, want)
		}
	})
}

// A kick before the part runs is not lost; one for a name that is not there is a defect.
func TestKick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		cat := host.Build(module{"m", func(_ context.Context, ref core.Ref) (time.Duration, error) {
			j.note("%s", ref)
			return 0, nil
		}, nil})
		c := New(cat, newSource("a"), nil, Options{})
		c.Kick("m", core.Ref{Kind: "Node", Name: "n"})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Part().Run(ctx, func() {}) }()
		if got, want := j.take(), "node/n"; got != want {
			t.Fatalf("%q, want %q", got, want)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		defer func() {
			if recover() == nil {
				t.Error("a kick of nobody did not panic")
			}
		}()
		c.Kick("nobody", svc("a"))
	})
}
