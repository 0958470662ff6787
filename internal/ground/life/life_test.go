package life_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stoa/internal/ground/life"
)

// A trail notes what parts do, in order.
type trail struct {
	mu    sync.Mutex
	steps []string // guarded by mu
}

func (t *trail) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps = append(t.steps, fmt.Sprintf(format, args...))
}

func (t *trail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.steps, " ")
}

// part takes boot to become ready, and ends with end when it is stopped.
func (t *trail) part(name string, boot time.Duration, end error) life.Part {
	return life.Part{Name: name, Run: func(ctx context.Context, ready func()) error {
		select {
		case <-time.After(boot):
		case <-ctx.Done():
			t.note("%s:stopped-early", name)
			return end
		}
		t.note("%s:up", name)
		ready()
		<-ctx.Done()
		t.note("%s:down", name)
		return end
	}}
}

// Parts start one after the other and stop in the reverse order, however long each takes to boot.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trail
		ctx, cancel := context.WithCancel(t.Context())
		err := life.Run(ctx, []life.Part{tr.part("store", 3*time.Second, nil), tr.part("proxy", 0, nil), tr.part("door", time.Second, nil)},
			func() { tr.note("all"); cancel() }, life.Options{})
		if want := "store:up proxy:up door:up all door:down proxy:down store:down"; err != nil || tr.String() != want {
			t.Errorf("got %q, %v; want %q", tr.String(), err, want)
		}
	})
}

// A part that fails to start, or ends by itself, takes the others with it and is named.
func TestFailureStopsAll(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, bad := range map[string]life.Part{
		"at its start": {Name: "bad", Run: func(context.Context, func()) error { return broken }},
		"later":        {Name: "bad", Run: func(_ context.Context, ready func()) error { ready(); time.Sleep(time.Minute); return broken }},
	} {
		synctest.Test(t, func(t *testing.T) {
			var tr trail
			err := life.Run(t.Context(), []life.Part{tr.part("store", 0, nil), bad, tr.part("door", 0, nil)}, nil, life.Options{})
			if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "bad: ") {
				t.Errorf("%s: got %v", name, err)
			}
			if !strings.HasSuffix(tr.String(), "store:down") {
				t.Errorf("%s: the others went on: %q", name, tr.String())
			}
		})
	}
}

// A stop while parts are starting stops those that were started and starts no other.
func TestStopDuringStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trail
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := life.Run(ctx, []life.Part{tr.part("store", 0, nil), tr.part("slow", time.Hour, nil), tr.part("door", 0, nil)}, func() { tr.note("all") }, life.Options{})
		if want := "store:up slow:stopped-early store:down"; err != nil || tr.String() != want {
			t.Errorf("got %q, %v; want %q", tr.String(), err, want)
		}
	})
}

// A part that does not stop is named and left, and the others stop all the same.
func TestPartThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trail
		release := make(chan struct{})
		hangs := life.Part{Name: "hangs", Run: func(_ context.Context, ready func()) error { ready(); <-release; return nil }}
		ctx, cancel := context.WithCancel(t.Context())
		err := life.Run(ctx, []life.Part{tr.part("store", 0, nil), hangs}, cancel, life.Options{StopTimeout: time.Second})
		if err == nil || !strings.Contains(err.Error(), "hangs did not stop within 1s") || !strings.HasSuffix(tr.String(), "store:down") {
			t.Errorf("got %v, %q", err, tr.String())
		}
		close(release)
	})
}

// An error at the stop is the error of all, and the first one counts.
func TestErrorAtStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trail
		ctx, cancel := context.WithCancel(t.Context())
		var names []string
		err := life.Run(ctx, []life.Part{tr.part("a", 0, errors.New("late")), tr.part("b", 0, nil)}, cancel,
			life.Options{Ready: func(name string, _ time.Duration) { names = append(names, name) }})
		if err == nil || err.Error() != "a: late" || !slices.Equal(names, []string{"a", "b"}) {
			t.Errorf("got %v; told ready: %v", err, names)
		}
	})
}
