package coalesce_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stoa/internal/engine/coalesce"
)

type group = coalesce.Group[string, string]

// caller is one who asks, and what became of it.
type caller struct {
	cancel context.CancelFunc
	turn   coalesce.Turn[string, string]
	err    error
	done   atomic.Bool
	took   time.Duration
}

func enter(g *group, c coalesce.Config, key string, fits func(string) bool) *caller {
	ctx, cancel := context.WithCancel(context.Background())
	k := &caller{cancel: cancel}
	go func() {
		began := time.Now()
		k.turn, k.err = g.Enter(ctx, c, key, fits)
		k.took = time.Since(began)
		k.done.Store(true)
	}()
	synctest.Wait()
	return k
}

func (k *caller) want(t *testing.T, name string, role coalesce.Role, value string, took time.Duration) {
	t.Helper()
	synctest.Wait()
	if !k.done.Load() {
		t.Errorf("%s waits still", name)
		return
	}
	if k.err != nil || k.turn.Role != role || k.turn.Value != value || k.took != took {
		t.Errorf("%s: role %d with %q, %v after %s; want role %d with %q after %s", name, k.turn.Role, k.turn.Value, k.err, k.took, role, value, took)
	}
	k.cancel()
}

func (k *caller) waits(t *testing.T, name string) {
	t.Helper()
	synctest.Wait()
	if k.done.Load() {
		t.Errorf("%s does not wait: role %d, %v", name, k.turn.Role, k.err)
	}
}

// A success is everybody's, whom it fits.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.New[string, string]()
		lead := enter(g, coalesce.Config{}, "a", nil)
		b := enter(g, coalesce.Config{}, "a", nil)
		c := enter(g, coalesce.Config{}, "a", func(v string) bool { return v == "other" })
		other := enter(g, coalesce.Config{}, "b", nil)
		b.waits(t, "the second")
		if n := lead.turn.Flight.Waiting(); n != 2 {
			t.Errorf("%d wait, want 2", n)
		}
		<-time.After(300 * time.Millisecond)
		lead.turn.Flight.Share("one")
		lead.turn.Flight.End()
		b.want(t, "the second", coalesce.Shared, "one", 300*time.Millisecond)
		c.want(t, "whom it does not fit", coalesce.Alone, "", 300*time.Millisecond)
		lead.want(t, "the first", coalesce.Lead, "", 0)
		other.turn.Flight.End()
		other.want(t, "of another key", coalesce.Lead, "", 0)
		later := enter(g, coalesce.Config{}, "a", nil)
		later.turn.Flight.End()
		later.want(t, "a later one", coalesce.Lead, "", 0)
		if n := g.Flights(); n != 0 {
			t.Errorf("%d flights are left", n)
		}
	})
}

// A failure is the leader's own: one of the others leads, the rest wait on.
func TestFailurePassesTheLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.New[string, string]()
		lead := enter(g, coalesce.Config{}, "a", nil)
		b, c := enter(g, coalesce.Config{}, "a", nil), enter(g, coalesce.Config{}, "a", nil)
		<-time.After(400 * time.Millisecond)
		lead.turn.Flight.End() // without a word: it has failed
		synctest.Wait()
		if c.done.Load() {
			b, c = c, b
		}
		b.want(t, "the next leader", coalesce.Lead, "", 400*time.Millisecond)
		c.waits(t, "the third")
		<-time.After(500 * time.Millisecond)
		b.turn.Flight.Share("two")
		b.turn.Flight.End()
		c.want(t, "the third", coalesce.Shared, "two", 900*time.Millisecond)
		lead.cancel()
	})
}

// Nobody waits longer than Wait altogether, whoever leads.
func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.New[string, string]()
		short := coalesce.Config{Wait: 500 * time.Millisecond}
		lead := enter(g, coalesce.Config{}, "a", nil)
		c, b := enter(g, short, "a", nil), enter(g, coalesce.Config{}, "a", nil)
		<-time.After(450 * time.Millisecond)
		lead.turn.Flight.Fail()
		synctest.Wait()
		if c.done.Load() { // it leads instead: fail once more
			c.turn.Flight.End()
			b.want(t, "the last leader", coalesce.Lead, "", 450*time.Millisecond)
			b.turn.Flight.End()
		} else {
			<-time.After(time.Minute)
			c.want(t, "who waits short", coalesce.Alone, "", 500*time.Millisecond)
			b.turn.Flight.End()
			b.want(t, "the last leader", coalesce.Lead, "", 450*time.Millisecond)
		}
		lead.turn.Flight.End()
		lead.cancel()
		c.cancel()

		lead = enter(g, coalesce.Config{}, "a", nil)
		b = enter(g, coalesce.Config{}, "a", nil)
		<-time.After(time.Minute)
		b.want(t, "by default", coalesce.Alone, "", coalesce.DefaultWait)
		lead.turn.Flight.End()
		lead.cancel()
	})
}

// What is not to be shared is nobody else's, and for a while nobody waits to learn that.
func TestDecline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.New[string, string]()
		lead := enter(g, coalesce.Config{}, "a", nil)
		b := enter(g, coalesce.Config{}, "a", nil)
		<-time.After(100 * time.Millisecond)
		lead.turn.Flight.Decline()
		lead.turn.Flight.Share("too late")
		b.want(t, "who waited", coalesce.Alone, "", 100*time.Millisecond)
		enter(g, coalesce.Config{}, "a", nil).want(t, "who comes later", coalesce.Alone, "", 0)

		// The leader streams on: neither the deadline nor those who left end that.
		<-time.After(time.Hour)
		if err := lead.turn.Flight.Context().Err(); err != nil {
			t.Errorf("the leader's request was ended: %v", err)
		}
		again := enter(g, coalesce.Config{}, "a", nil)
		again.turn.Flight.End()
		again.want(t, "after the while", coalesce.Lead, "", 0)
		lead.cancel()
		synctest.Wait()
		if err := lead.turn.Flight.Context().Err(); err == nil {
			t.Error("the leader's caller left and its request goes on")
		}
		lead.turn.Flight.End()
	})
}

// Who hangs up fails nobody else; the last to leave ends the request.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.New[string, string]()
		lead := enter(g, coalesce.Config{}, "a", nil)
		b, c := enter(g, coalesce.Config{}, "a", nil), enter(g, coalesce.Config{}, "a", nil)
		f := lead.turn.Flight
		lead.cancel()
		b.cancel()
		synctest.Wait()
		if !b.done.Load() || !errors.Is(b.err, context.Canceled) {
			t.Errorf("who left: %v", b.err)
		}
		if err := f.Context().Err(); err != nil || f.Waiting() != 1 {
			t.Errorf("with one left of three: %v, %d wait", err, f.Waiting())
		}
		late := enter(g, coalesce.Config{}, "a", nil)
		late.cancel()
		c.cancel()
		synctest.Wait()
		if got := context.Cause(f.Context()); got != coalesce.ErrUnwanted {
			t.Errorf("the last has left: cause %v", got)
		}
		fresh := enter(g, coalesce.Config{}, "a", nil)
		fresh.turn.Flight.End()
		fresh.want(t, "who comes then", coalesce.Lead, "", 0)
		f.End()

		// The leader's answer reaches those who stayed, although its own caller left.
		lead = enter(g, coalesce.Config{}, "a", nil)
		b = enter(g, coalesce.Config{}, "a", nil)
		lead.cancel()
		synctest.Wait()
		lead.turn.Flight.Share("one")
		lead.turn.Flight.End()
		b.want(t, "who stayed", coalesce.Shared, "one", 0)

		// Alone with its caller, a leader has the caller's end and its reason.
		ctx, cancel := context.WithCancelCause(context.Background())
		turn, err := g.Enter(ctx, coalesce.Config{}, "a", nil)
		if err != nil || turn.Role != coalesce.Lead {
			t.Fatal(turn.Role, err)
		}
		why := errors.New("hung up")
		cancel(why)
		synctest.Wait()
		if got := context.Cause(turn.Flight.Context()); got != why {
			t.Errorf("cause %v, want %v", got, why)
		}
		turn.Flight.End()
	})
}

// A flight has a deadline of its own, and the values of its leader's context but not the end.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.New[string, string]()
		type trace struct{}
		ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), trace{}, "t"), time.Second)
		defer cancel()
		turn, err := g.Enter(ctx, coalesce.Config{Deadline: 5 * time.Second}, "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		b := enter(g, coalesce.Config{Wait: time.Minute}, "a", nil)
		<-time.After(4 * time.Second)
		synctest.Wait()
		f := turn.Flight
		if f.Context().Value(trace{}) != "t" || f.Context().Err() != nil {
			t.Errorf("value %v, %v", f.Context().Value(trace{}), f.Context().Err())
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if got := context.Cause(f.Context()); got != context.DeadlineExceeded {
			t.Errorf("after its deadline: %v", got)
		}
		f.End()
		b.want(t, "who waited", coalesce.Lead, "", 6*time.Second)
		b.turn.Flight.End()
	})
}

// Who comes after a change does not get what was asked for before it.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.New[string, string]()
		old := enter(g, coalesce.Config{}, "a", nil)
		b := enter(g, coalesce.Config{}, "a", nil)
		g.Forget("a")
		g.Forget("never known")
		lead := enter(g, coalesce.Config{}, "a", nil)
		c := enter(g, coalesce.Config{}, "a", nil)
		old.turn.Flight.Share("old")
		old.turn.Flight.End()
		b.want(t, "who came before", coalesce.Shared, "old", 0)
		c.waits(t, "who came after")
		lead.turn.Flight.Share("new")
		lead.turn.Flight.End()
		c.want(t, "who came after", coalesce.Shared, "new", 0)
		old.cancel()
		lead.cancel()
	})
}

// Those over the bound go alone, at once.
func TestWaitersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.New[string, string]()
		c := coalesce.Config{Waiters: 2}
		lead := enter(g, c, "a", nil)
		a, b := enter(g, c, "a", nil), enter(g, c, "a", nil)
		enter(g, c, "a", nil).want(t, "the third to wait", coalesce.Alone, "", 0)
		a.cancel()
		synctest.Wait()
		d := enter(g, c, "a", nil)
		d.waits(t, "who takes the place of one who left")
		lead.turn.Flight.Share("x")
		lead.turn.Flight.End()
		b.want(t, "who waited", coalesce.Shared, "x", 0)
		d.want(t, "who took a place", coalesce.Shared, "x", 0)
		lead.cancel()
	})
}

func TestCheckNamesTheField(t *testing.T) {
	var got []string
	bad := func(path, text, hint string) { got = append(got, path) }
	coalesce.Config{}.Check(bad)
	coalesce.Config{Wait: coalesce.MaxWait, Deadline: coalesce.MaxDeadline, Waiters: coalesce.MaxWaiters}.Check(bad)
	if len(got) != 0 {
		t.Errorf("good ones: %q", got)
	}
	coalesce.Config{Wait: -1, Deadline: coalesce.MaxDeadline + 1, Waiters: -1}.Check(bad)
	if s := strings.Join(got, " "); s != "wait deadline waiters" {
		t.Errorf("reported %q", s)
	}
}

// In a storm of callers that come, go, fail and decline, every flight ends and every value is its key's.
func TestStorm(t *testing.T) {
	g := coalesce.New[string, string]()
	var wg sync.WaitGroup
	var led, shared atomic.Int64
	for i := range 64 {
		wg.Go(func() {
			for n := range 200 {
				key := string(rune('a' + (i+n)%3))
				ctx, cancel := context.WithCancel(context.Background())
				if n%7 == 0 {
					cancel()
				}
				turn, err := g.Enter(ctx, coalesce.Config{Wait: 30 * time.Second}, key, nil)
				switch {
				case err != nil && ctx.Err() == nil:
					t.Errorf("%v without a reason", err)
				case turn.Role == coalesce.Lead:
					led.Add(1)
					switch {
					case n%11 == 1:
						turn.Flight.Fail()
					case turn.Flight.Context().Err() == nil:
						turn.Flight.Share(key)
					}
					turn.Flight.End()
				case turn.Role == coalesce.Shared:
					shared.Add(1)
					if turn.Value != key {
						t.Errorf("%q was given to who asked for %q", turn.Value, key)
					}
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if n := g.Flights(); n != 0 {
		t.Errorf("%d flights are left", n)
	}
	t.Logf("%d led, %d shared", led.Load(), shared.Load())
}

func BenchmarkLead(b *testing.B) {
	g := coalesce.New[string, string]()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		turn, _ := g.Enter(ctx, coalesce.Config{}, "a", nil)
		turn.Flight.Share("x")
		turn.Flight.End()
	}
}
