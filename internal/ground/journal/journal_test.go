package journal_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stoa/api/fault"
	"stoa/internal/ground/journal"
)

// script is a log in memory that answers as it is told, then as a log does.
type script struct {
	mu      sync.Mutex
	entries []journal.Entry // guarded by mu
	moods   []mood          // of the next appends; guarded by mu
	appends int             // guarded by mu
}

// A mood says how one append goes wrong.
type mood struct {
	err   error
	keeps bool          // although it gives err, it writes
	lands time.Duration // and if so, that much later
	takes time.Duration // before it answers
	other bool          // another owner writes first
}

func (l *script) Append(ctx context.Context, after journal.Seq, items ...[]byte) (journal.Seq, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appends++
	var m mood
	if len(l.moods) > 0 {
		m, l.moods = l.moods[0], l.moods[1:]
	}
	if m.takes > 0 {
		l.mu.Unlock()
		time.Sleep(m.takes) // in a synctest bubble
		l.mu.Lock()
		if ctx.Err() != nil {
			return 0, journal.ErrUnknown // it ended in the middle
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if m.other {
		l.put(after, [][]byte{journal.Mark([16]byte{99}, 1)})
	}
	switch {
	case m.err != nil && m.keeps:
		time.AfterFunc(m.lands, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.put(after, items)
		})
		return 0, m.err
	case m.err != nil:
		return 0, m.err
	case !l.put(after, items):
		return 0, journal.ErrStale
	}
	return after + 1, nil
}

func (l *script) put(after journal.Seq, items [][]byte) bool {
	if int(after) != len(l.entries) {
		return false
	}
	l.entries = append(l.entries, journal.Entry{Seq: after + 1, Items: items})
	return true
}

func (l *script) Read(ctx context.Context, after journal.Seq) iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		l.mu.Lock()
		entries := l.entries[min(int(after), len(l.entries)):]
		l.mu.Unlock()
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (l *script) Wait(context.Context, journal.Seq) error { return nil }
func (l *script) Cut(context.Context, journal.Seq) error  { return nil }
func (l *script) Bounds(context.Context) (journal.Seq, journal.Seq, error) {
	return 1, journal.Seq(len(l.entries)), nil
}

func TestSettle(t *testing.T) {
	unknown, stale, down := journal.ErrUnknown, journal.ErrStale, journal.ErrDown
	for _, c := range []struct {
		name  string
		moods []mood
		want  error
	}{
		{"it had not happened", nil, nil},
		{"unknown again, then it works", []mood{{err: unknown}, {err: unknown}}, nil},
		{"unknown again, but it was written", []mood{{err: unknown, keeps: true}}, nil},
		{"stale rests on our own entry in flight", []mood{{err: stale, keeps: true, lands: 900 * time.Millisecond}, {err: stale}, {err: stale}, {err: stale}}, nil},
		{"stale rests on nothing that stays", []mood{{err: stale}, {err: stale}, {err: stale}}, nil},
		{"another owner was first", []mood{{other: true}}, stale},
		{"the store is down for a while", []mood{{err: down}, {err: down}, {err: journal.ErrFull}}, nil},
		{"the store is closed", []mood{{err: journal.ErrClosed}}, unknown},
		{"it never could have been written", []mood{{err: journal.ErrTooBig}}, journal.ErrTooBig},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &script{moods: c.moods}
				mine := journal.Mark([16]byte{1}, 5)
				seq, err := journal.Settle(t.Context(), l, 0, mine, []byte("x"))
				if !errors.Is(err, c.want) || c.want == nil && (err != nil || seq != 1) {
					t.Fatalf("got %d, %v, want %v", seq, err, c.want)
				}
				if c.want == nil && (len(l.entries) != 1 || string(l.entries[0].Items[0]) != string(mine)) {
					t.Fatalf("the log holds %v", l.entries)
				}
			})
		})
	}
}

// Settle gives up with its context, says that it does not know, and backs off till then.
func TestSettleIsBoundedByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &script{}
		for range 10_000 {
			l.moods = append(l.moods, mood{err: journal.ErrStale})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := journal.Settle(ctx, l, 0, journal.Mark([16]byte{1}, 1))
		if !errors.Is(err, journal.ErrUnknown) || fault.KindOf(err) != fault.Unknown {
			t.Errorf("got %v (%s), want unknown", err, fault.KindOf(err))
		}
		if l.appends > 80 {
			t.Errorf("%d tries in a minute: it does not back off", l.appends)
		}
	})
}

func committer(t *testing.T, l journal.Log, o journal.CommitterOptions) (c *journal.Committer, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	c = journal.NewCommitter(l, 0, o)
	var run sync.WaitGroup
	run.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return c, func() { cancel(); run.Wait() }
}

func TestCommitterContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &script{moods: []mood{{takes: 10 * time.Second}}}
		c, stop := committer(t, l, journal.CommitterOptions{})
		inFlight := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := c.Append(ctx, []byte("in flight"))
			inFlight <- err
		}()
		synctest.Wait() // taken, and on its way
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := c.Append(ctx, []byte("withdrawn"))
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, journal.ErrUnknown) {
			t.Errorf("a context that ended before the write began: got %v, want the plain context error", err)
		}
		if err := <-inFlight; !errors.Is(err, journal.ErrUnknown) {
			t.Errorf("a context that ended in the middle: got %v, want ErrUnknown", err)
		}
		p, err := c.Append(t.Context(), []byte("next"))
		if err != nil || p.Seq != 2 {
			t.Errorf("got %+v, %v, want entry 2: the first was written all the same", p, err)
		}
		for _, e := range l.entries {
			if len(journal.Body(e)) != 1 || string(journal.Body(e)[0]) == "withdrawn" {
				t.Errorf("entry %d holds %q", e.Seq, journal.Body(e))
			}
		}
		stop()
	})
}

// While one entry is in flight all who come go into the next one, up to its limit.
func TestCommitterGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &script{moods: []mood{{takes: time.Second}, {takes: time.Second}, {takes: time.Second}}}
		var groups []string
		c, stop := committer(t, l, journal.CommitterOptions{Gathered: func(n, bytes int) { groups = append(groups, fmt.Sprint(n)) }})
		var wg sync.WaitGroup
		add := func(n, size int) {
			for range n {
				wg.Go(func() {
					if _, err := c.Append(t.Context(), make([]byte, size)); err != nil {
						t.Errorf("append: %v", err)
					}
				})
			}
			synctest.Wait()
		}
		add(1, 10)
		add(100, 10)
		wg.Wait()
		add(1, 10)
		add(5, 300<<10) // two fit into an entry
		wg.Wait()
		stop()
		if got, want := strings.Join(groups, " "), "1 100 1 2 2 1"; got != want {
			t.Errorf("groups of %s, want %s", got, want)
		}
		if _, err := c.Append(t.Context(), make([]byte, journal.MaxEntry)); !errors.Is(err, journal.ErrTooBig) {
			t.Errorf("an item over the limit: got %v", err)
		}
	})
}

func TestCommitterSettlesAndRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &script{moods: []mood{{err: journal.ErrUnknown, keeps: true, lands: time.Second}, {}, {err: journal.ErrFull}, {}, {other: true}}}
		settled := 0
		c, stop := committer(t, l, journal.CommitterOptions{Settled: func(journal.Seq, error) { settled++ }})
		if p, err := c.Append(t.Context(), []byte("unknown at first")); err != nil || p.Seq != 1 || settled != 1 {
			t.Errorf("got %+v, %v, %d settled", p, err, settled)
		}
		if _, err := c.Append(t.Context(), []byte("full")); !errors.Is(err, journal.ErrFull) {
			t.Errorf("got %v, want ErrFull", err)
		}
		if p, err := c.Append(t.Context(), []byte("room again")); err != nil || p.Seq != 2 {
			t.Errorf("got %+v, %v, want entry 2", p, err)
		}
		for range 2 {
			if _, err := c.Append(t.Context(), []byte("lost")); !errors.Is(err, journal.ErrStale) {
				t.Errorf("after another owner: got %v, want ErrStale", err)
			}
		}
		stop()
		if _, err := c.Append(t.Context(), []byte("late")); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("after the end: got %v, want ErrClosed", err)
		}
	})
}

// A committer that is told to stop while a write hangs ends all the same.
func TestCommitterStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &script{moods: []mood{{takes: 30 * time.Second}}}
		c, stop := committer(t, l, journal.CommitterOptions{Queue: 1})
		errs := make(chan error, 4)
		for range 4 { // one in flight, one queued, two that wait to be
			go func() { _, err := c.Append(t.Context(), []byte("x")); errs <- err }()
			synctest.Wait()
		}
		stop()
		unknown, closed := 0, 0
		for range 4 {
			switch err := <-errs; {
			case errors.Is(err, journal.ErrUnknown):
				unknown++
			case errors.Is(err, journal.ErrClosed):
				closed++
			default:
				t.Errorf("got %v", err)
			}
		}
		if unknown != 1 || closed != 3 {
			t.Errorf("%d unknown and %d closed, want 1 and 3", unknown, closed)
		}
	})
}

func TestMetered(t *testing.T) {
	var calls []string
	l := &script{}
	s := journal.Metered(oneLog{l}, func(c journal.Call) {
		calls = append(calls, fmt.Sprintf("%s %s %d %d %v", c.Op, c.Name, c.Items, c.Bytes, c.Err))
	})
	got, err := s.Log(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = got.Append(t.Context(), 0, []byte("12345"), []byte("67890"))
	_, _ = got.Append(t.Context(), 0, []byte("stale"))
	for range got.Read(t.Context(), 0) {
	}
	want := "append a 2 20 <nil>; append a 1 10 decided on a state that has changed; read a 1 20 <nil>"
	if s := strings.Join(calls, "; "); s != want {
		t.Errorf("told %s, want %s", s, want)
	}
}

type oneLog struct{ l journal.Log }

func (s oneLog) Log(context.Context, string) (journal.Log, error)     { return s.l, nil }
func (s oneLog) Table(context.Context, string) (journal.Table, error) { return nil, journal.ErrDown }
func (s oneLog) Close() error                                         { return nil }

// Each error has the kind by which callers decide, and keeps it when wrapped.
func TestErrorKinds(t *testing.T) {
	for err, want := range map[error]fault.Kind{
		journal.ErrStale: fault.Conflict, journal.ErrUnknown: fault.Unknown, journal.ErrTooBig: fault.Invalid, journal.ErrFull: fault.Exhausted,
		journal.ErrCut: fault.NotFound, journal.ErrDown: fault.Unavailable, journal.ErrClosed: fault.Unavailable, journal.ErrKey: fault.Invalid,
	} {
		if got := fault.KindOf(fmt.Errorf("appending: %w", err)); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, s := range []string{"a", "a.b", "..", "a/b=c_d-e", "", "ä"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		ok := journal.CheckKey(key) == nil
		want := key != "" && len(key) <= journal.MaxKey && !strings.HasPrefix(key, ".") && !strings.HasSuffix(key, ".") &&
			!strings.Contains(key, "..") && strings.Trim(key, "-/_=.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
		if ok != want {
			t.Errorf("CheckKey(%q) says %v", key, ok)
		}
	})
}
