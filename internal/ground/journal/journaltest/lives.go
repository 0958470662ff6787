package journaltest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"stoa/internal/ground/journal"
)

func closed(b *bench) {
	l, t := b.log("a"), b.table("t")
	b.fill(l, 1, 2)
	b.ok("close", b.store.Close())
	b.ok("close again", b.store.Close())
	_, err := l.Append(b.ctx, 2, []byte("no"))
	b.wantErr("append", err, journal.ErrClosed)
	b.wantErr("cut", l.Cut(b.ctx, 1), journal.ErrClosed)
	b.wantErr("wait", l.Wait(b.ctx, 2), journal.ErrClosed)
	_, _, err = l.Bounds(b.ctx)
	b.wantErr("bounds", err, journal.ErrClosed)
	_, err = b.read(l, 0)
	b.wantErr("read", err, journal.ErrClosed)
	_, err = t.Put(b.ctx, "k", nil, 0)
	b.wantErr("put", err, journal.ErrClosed)
	_, _, err = t.Get(b.ctx, "k")
	b.wantErr("get", err, journal.ErrClosed)
	_, err = b.store.Log(b.ctx, "a")
	b.wantErr("log", err, journal.ErrClosed)
	_, err = b.store.Table(b.ctx, "new")
	b.wantErr("table", err, journal.ErrClosed)
}

// Waiters, watchers, a reader in the middle and a crowd of writers: Close returns, and
// so does each of them, with the truth.
func closesWaiters(b *bench) {
	l, t := b.log("a"), b.table("t")
	b.fill(l, 1, 3)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.Wait(b.ctx, 3); !errors.Is(err, journal.ErrClosed) && err != nil {
			b.Errorf("wait: %v", err)
		}
	})
	m, watched := follow(b.ctx, t, "")
	b.wantMirror(m, nil)
	appended := make(chan journal.Seq, 1)
	wg.Go(func() {
		last := journal.Seq(3)
		defer func() { appended <- last }()
		for {
			seq, err := l.Append(b.ctx, last, []byte(itemOf(last+1)))
			if errors.Is(err, journal.ErrClosed) || errors.Is(err, journal.ErrUnknown) {
				return
			}
			if err != nil {
				b.Errorf("append: %v", err)
				return
			}
			last = seq
		}
	})
	for range l.Read(b.ctx, 0) { // a slow reader, that does not hold up the end
		b.ok("close", b.store.Close())
		break
	}
	wg.Wait()
	<-watched
	if !errors.Is(m.err, journal.ErrClosed) {
		b.Errorf("watch: got %v, want %v", m.err, journal.ErrClosed)
	}
	last := <-appended
	if b.Reopen == nil {
		return
	}
	b.store = b.Reopen(b, b.store)
	_, end, err := b.log("a").Bounds(b.ctx)
	if err != nil || end < last || end > last+1 {
		b.Errorf("after reopening the log ends at %d (%v), acknowledged were %d", end, err, last)
	}
}

func reopened(b *bench) {
	if b.Reopen == nil {
		return
	}
	for i := range 5 {
		b.fill(b.log(fmt.Sprintf("log%d", i)), 1, journal.Seq(i*10))
	}
	t := b.table("t")
	r1 := b.put(t, "k1", "one", 0)
	r2 := b.put(t, "k2", "two", 0)
	b.ok("delete", t.Delete(b.ctx, "k1", r1))
	b.ok("cut", b.log("log3").Cut(b.ctx, 12))
	for range 2 {
		b.store = b.Reopen(b, b.store)
		for _, i := range []int{0, 1, 2, 4} {
			b.wantEntries(b.log(fmt.Sprintf("log%d", i)), 0, journal.Seq(i*10))
		}
		b.wantBounds(b.log("log3"), 12, 30)
		b.wantEntries(b.log("log3"), 11, 30)
		t = b.table("t")
		b.wantValue(t, "k1", "", 0)
		b.wantValue(t, "k2", "two", r2)
	}
	b.fill(b.log("log2"), 21, 25)
	if r3 := b.put(t, "k3", "three", 0); r3 <= r2 {
		b.Fatalf("revision %d after %d", r3, r2)
	}
}

func settles(b *bench) {
	l := b.log("a")
	mine, other := journal.Mark([16]byte{1}, 1), journal.Mark([16]byte{2}, 1)
	// It had not happened: settling brings it about.
	seq, err := journal.Settle(b.ctx, l, 0, mine, []byte("x"))
	if err != nil || seq != 1 {
		b.Fatalf("settle of what had not happened: got %d, %v", seq, err)
	}
	// It had: settling finds it, once.
	seq, err = journal.Settle(b.ctx, l, 0, mine, []byte("x"))
	if err != nil || seq != 1 {
		b.Fatalf("settle of what had happened: got %d, %v", seq, err)
	}
	// Another has the place, with the same bytes.
	_, err = journal.Settle(b.ctx, l, 0, other, []byte("x"))
	b.wantErr("settle where another was", err, journal.ErrStale)
	b.wantBounds(l, 1, 1)
}

func commits(b *bench) {
	l := b.log("a")
	entries := 0
	c := journal.NewCommitter(l, 0, journal.CommitterOptions{Gathered: func(int, int) { entries++ }})
	ctx, stop := context.WithCancel(b.ctx)
	var run, wg sync.WaitGroup
	run.Go(func() {
		if err := c.Run(ctx); err != nil {
			b.Errorf("run: %v", err)
		}
	})
	const waiters, each = 32, 15
	var mu sync.Mutex
	places := map[journal.Place]string{}
	for w := range waiters {
		wg.Go(func() {
			for n := range each {
				one, two := fmt.Sprintf("%d/%d/1", w, n), fmt.Sprintf("%d/%d/2", w, n)
				p, err := c.Append(b.ctx, []byte(one), []byte(two))
				if err != nil {
					b.Errorf("append: %v", err)
					return
				}
				mu.Lock()
				places[p], places[journal.Place{Seq: p.Seq, Item: p.Item + 1}] = one, two
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	stop()
	run.Wait()
	if _, err := c.Append(b.ctx, []byte("late")); !errors.Is(err, journal.ErrClosed) {
		b.Errorf("append to a committer that was stopped: got %v, want %v", err, journal.ErrClosed)
	}
	if len(places) != 2*waiters*each {
		b.Fatalf("%d places for %d items", len(places), 2*waiters*each)
	}
	b.eventually("every item at its place", func() error {
		got, err := b.read(l, 0)
		if err != nil {
			return err
		}
		found := 0
		for _, e := range got {
			for i, it := range journal.Body(e) {
				if want := places[journal.Place{Seq: e.Seq, Item: i}]; want != string(it) {
					b.Fatalf("entry %d, item %d is %q, want %q", e.Seq, i, it, want)
				}
				found++
			}
		}
		if found != len(places) {
			return fmt.Errorf("%d of %d items can be read", found, len(places))
		}
		return nil
	})
	b.Logf("%d appends in %d entries", waiters*each, entries)
}

func lost(b *bench) {
	l := b.log("a")
	c := journal.NewCommitter(l, 0, journal.CommitterOptions{})
	ctx, stop := context.WithCancel(b.ctx)
	var run sync.WaitGroup
	run.Go(func() { _ = c.Run(ctx) })
	defer run.Wait()
	defer stop()
	if _, err := c.Append(b.ctx, []byte("mine")); err != nil {
		b.Fatal(err)
	}
	b.append(l, 1, "another owner's")
	for range 2 {
		_, err := c.Append(b.ctx, []byte("mine"))
		b.wantErr("append after another owner", err, journal.ErrStale)
	}
	b.wantBounds(l, 1, 2)
}
