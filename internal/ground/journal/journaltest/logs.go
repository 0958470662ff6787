package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"stoa/internal/ground/journal"
)

func newLog(b *bench) {
	l := b.log("sales.orders")
	b.wantBounds(l, 1, 0)
	b.wantEntries(l, 0, 0)
	b.wantEntries(l, 7, 7) // beyond the end there is nothing, and no error
	b.ok("cut of nothing", l.Cut(b.ctx, 5))
	b.wantBounds(l, 1, 0)
	b.append(l, 0, "x")
	b.wantBounds(l, 1, 1)
}

func roundTrip(b *bench) {
	l := b.log("a")
	big := strings.Repeat("x", 300_000)
	want := [][]string{{"one"}, {"two", "", "three"}, {}, {""}, {big, "y", big}, {strings.Repeat("z", 127), strings.Repeat("z", 128)}}
	began := time.Now().Add(-time.Second)
	for i, items := range want {
		b.append(l, journal.Seq(i), items...)
	}
	b.eventually("read all", func() error {
		got, err := b.read(l, 0)
		if err != nil || len(got) != len(want) {
			return fmt.Errorf("got %d entries (%v), want %d", len(got), err, len(want))
		}
		for i, e := range got {
			if e.Seq != journal.Seq(i+1) || len(e.Items) != len(want[i]) {
				return fmt.Errorf("got entry %d with %d items, want %d with %d", e.Seq, len(e.Items), i+1, len(want[i]))
			}
			for j, it := range e.Items {
				if it == nil || string(it) != want[i][j] {
					return fmt.Errorf("entry %d, item %d: got %d bytes (nil: %v), want %d", i+1, j, len(it), it == nil, len(want[i][j]))
				}
			}
			if e.At.Before(began) || e.At.After(time.Now().Add(time.Minute)) || e.At.Location() != time.UTC {
				return fmt.Errorf("entry %d: taken at %v, which is not now in UTC", e.Seq, e.At)
			}
		}
		return nil
	})
	// The reader owns what it got, the caller what it gave.
	got, err := b.read(l, 0)
	b.ok("read", err)
	got[0].Items[0][0] = '#'
	mine := []byte("mine")
	if _, err := l.Append(b.ctx, 6, mine); err != nil {
		b.ok("append", err)
	}
	copy(mine, "####")
	again, err := b.read(l, 0)
	b.ok("read again", err)
	if string(again[0].Items[0]) != "one" || b.Fresh && string(again[6].Items[0]) != "mine" {
		b.Fatalf("the store shares memory with its callers: %q", again[0].Items)
	}
}

func staleAppend(b *bench) {
	l := b.log("a")
	b.fill(l, 1, 3)
	for _, after := range []journal.Seq{0, 1, 2, 4, 1 << 40} {
		seq, err := l.Append(b.ctx, after, []byte("no"))
		b.wantErr(fmt.Sprintf("append after %d to a log that ends at 3 (got %d)", after, seq), err, journal.ErrStale)
	}
	b.wantEntries(l, 0, 3)
	b.fill(l, 4, 4)
	b.wantEntries(l, 2, 4)
}

// Many owners at once: each place in the log goes to one, and who was told so is right.
func rivals(b *bench) {
	l := b.log("contested")
	const owners, each = 8, 20
	var mu sync.Mutex
	won := map[journal.Seq]string{}
	var wg sync.WaitGroup
	for o := range owners {
		wg.Go(func() {
			for n := 0; n < each; {
				_, last, err := l.Bounds(b.ctx)
				if err != nil {
					b.Errorf("bounds: %v", err)
					return
				}
				me := fmt.Sprintf("%d/%d", o, n)
				seq, err := l.Append(b.ctx, last, []byte(me))
				switch {
				case err == nil:
					mu.Lock()
					if was, taken := won[seq]; taken {
						b.Errorf("entry %d was given to %s and to %s", seq, was, me)
					}
					won[seq] = me
					mu.Unlock()
					n++
				case errors.Is(err, journal.ErrUnknown) && !b.Certain:
					n++ // it may be there or not; the next name is another
				case !errors.Is(err, journal.ErrStale):
					b.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.eventually("every acknowledged entry to be read", func() error {
		got, err := b.read(l, 0)
		if err != nil {
			return err
		}
		found := 0
		for i, e := range got {
			if e.Seq != journal.Seq(i+1) {
				b.Fatalf("entry %d at place %d", e.Seq, i+1)
			}
			if me, ok := won[e.Seq]; ok {
				if found++; string(e.Items[0]) != me {
					b.Fatalf("entry %d is %q, but %q was told it has it", e.Seq, e.Items[0], me)
				}
			}
		}
		if found != len(won) {
			return fmt.Errorf("%d of %d acknowledged entries can be read", found, len(won))
		}
		return nil
	})
}

func limits(b *bench) {
	l := b.log("a")
	full := make([]byte, journal.MaxEntry-journal.ItemOverhead)
	full[len(full)-1] = 7
	_, err := l.Append(b.ctx, 0, full, []byte("x"))
	b.wantErr("append over the limit", err, journal.ErrTooBig)
	b.append(l, 0, string(full))
	b.eventually("the largest entry to be read", func() error {
		got, err := b.read(l, 0)
		if err != nil || len(got) != 1 || !bytes.Equal(got[0].Items[0], full) {
			return fmt.Errorf("got %d entries (%v)", len(got), err)
		}
		return nil
	})
	many := make([]string, journal.MaxEntry/journal.ItemOverhead)
	b.append(l, 1, many...)
	t := b.table("t")
	_, err = t.Put(b.ctx, "k", make([]byte, journal.MaxValue+1), 0)
	b.wantErr("put over the limit", err, journal.ErrTooBig)
	_, err = t.Put(b.ctx, "k", make([]byte, journal.MaxValue), 0)
	b.ok("put of the largest value", err)
}

func keys(b *bench) {
	bad := []string{"", ".", ".a", "a.", "a..b", "a b", "a*", "a>", "ä", "a\x00", strings.Repeat("k", journal.MaxKey+1)}
	good := []string{"a", "-", "/", "_", "=", "a.b/c_d=e-F9", strings.Repeat("k", journal.MaxKey)}
	t := b.table("t")
	for _, k := range bad {
		_, err := b.store.Log(b.ctx, k)
		b.wantErr(fmt.Sprintf("log %q", k), err, journal.ErrKey)
		_, err = b.store.Table(b.ctx, k)
		b.wantErr(fmt.Sprintf("table %q", k), err, journal.ErrKey)
		_, err = t.Put(b.ctx, k, nil, 0)
		b.wantErr(fmt.Sprintf("put %q", k), err, journal.ErrKey)
		_, _, err = t.Get(b.ctx, k)
		b.wantErr(fmt.Sprintf("get %q", k), err, journal.ErrKey)
		b.wantErr(fmt.Sprintf("delete %q", k), t.Delete(b.ctx, k, 1), journal.ErrKey)
	}
	for _, k := range good {
		_, err := t.Put(b.ctx, k, []byte(k), 0)
		b.ok("put "+k, err)
		b.append(b.log(k), 0, k)
	}
	for _, k := range good {
		b.eventually("get "+k, func() error {
			v, _, err := t.Get(b.ctx, k)
			if err != nil || string(v) != k {
				return fmt.Errorf("got %q (%v)", v, err)
			}
			return nil
		})
	}
}

func cuts(b *bench) {
	l := b.log("a")
	b.fill(l, 1, 20)
	b.ok("cut", l.Cut(b.ctx, 8))
	b.wantBounds(l, 8, 20)
	b.wantEntries(l, 7, 20)
	b.wantEntries(l, 15, 20)
	for _, after := range []journal.Seq{0, 3, 6} {
		got, err := b.read(l, after)
		b.wantErr(fmt.Sprintf("read after %d of a log that begins at 8", after), err, journal.ErrCut)
		if len(got) > 0 {
			b.Fatalf("read after %d gave entry %d before the gap", after, got[0].Seq)
		}
	}
	b.ok("cut before the first", l.Cut(b.ctx, 3))
	b.wantBounds(l, 8, 20)
	b.ok("cut the same again", l.Cut(b.ctx, 8))
	b.wantBounds(l, 8, 20)
	b.fill(l, 21, 22)
	b.wantEntries(l, 19, 22)
	// A reader that had begun before the cut gets all there is, or an error: no gap.
	next := journal.Seq(8)
	for e, err := range l.Read(b.ctx, 7) {
		if err != nil {
			b.wantErr("a reader overtaken by a cut", err, journal.ErrCut)
			break
		}
		if e.Seq != next {
			b.Fatalf("a reader overtaken by a cut: got entry %d, want %d", e.Seq, next)
		}
		if next++; e.Seq == 9 {
			b.ok("cut", l.Cut(b.ctx, 21))
		}
	}
}

func cutAll(b *bench) {
	l := b.log("a")
	b.fill(l, 1, 5)
	b.ok("cut beyond the end", l.Cut(b.ctx, 99))
	b.wantBounds(l, 6, 5)
	b.wantEntries(l, 5, 5)
	_, err := b.read(l, 2)
	b.wantErr("read what was cut", err, journal.ErrCut)
	b.ok("wait for what was cut", l.Wait(b.ctx, 2))
	_, err = l.Append(b.ctx, 0, []byte("no"))
	b.wantErr("append after 0 to a cut log", err, journal.ErrStale)
	b.fill(l, 6, 7)
	b.wantBounds(l, 6, 7)
	b.wantEntries(l, 5, 7)
	b.ok("cut all again", l.Cut(b.ctx, 8))
	b.wantBounds(l, 8, 7)
	if b.Reopen == nil {
		return
	}
	b.store = b.Reopen(b, b.store)
	l = b.log("a")
	b.wantBounds(l, 8, 7)
	b.fill(l, 8, 9)
	b.wantEntries(l, 7, 9)
}

func waits(b *bench) {
	l := b.log("a")
	b.fill(l, 1, 2)
	b.ok("wait for what is there", l.Wait(b.ctx, 0))
	woken := make(chan error, 3)
	for _, after := range []journal.Seq{2, 2, 3} {
		go func() {
			err := l.Wait(b.ctx, after)
			if err == nil {
				err = b.hasEntry(l, after+1)
			}
			woken <- err
		}()
	}
	short, cancel := context.WithTimeout(b.ctx, 20*time.Millisecond)
	defer cancel()
	b.wantErr("wait at the end", l.Wait(short, 2), context.DeadlineExceeded)
	b.fill(l, 3, 4)
	for range 3 {
		b.ok("a waiter", <-woken)
	}
}

// One owner appends, another cuts, four read: no reader sees a gap, a torn entry or
// one that is not there any more later.
func readers(b *bench) {
	l := b.log("busy")
	const entries = 400
	var wg sync.WaitGroup
	wg.Go(func() {
		for seq := journal.Seq(1); seq <= entries; seq++ {
			item := []byte(itemOf(seq))
			if _, err := l.Append(b.ctx, seq-1, item, item, item); err != nil {
				b.Errorf("append %d: %v", seq, err)
				return
			}
			if seq%50 == 0 {
				if err := l.Cut(b.ctx, seq-30); err != nil {
					b.Errorf("cut: %v", err)
				}
			}
		}
	})
	for range 4 {
		wg.Go(func() {
			for at := journal.Seq(0); at < entries; {
				if err := l.Wait(b.ctx, at); err != nil {
					b.Errorf("wait after %d: %v", at, err)
					return
				}
				for e, err := range l.Read(b.ctx, at) {
					if errors.Is(err, journal.ErrCut) {
						first, _, err := l.Bounds(b.ctx)
						if err != nil {
							b.Errorf("bounds: %v", err)
							return
						}
						at = max(at, first-1)
						break
					}
					if err != nil {
						b.Errorf("read after %d: %v", at, err)
						return
					}
					want := itemOf(at + 1)
					if e.Seq != at+1 || len(e.Items) != 3 || string(e.Items[0]) != want || string(e.Items[2]) != want {
						b.Errorf("after %d: got entry %d with %q", at, e.Seq, e.Items)
						return
					}
					at = e.Seq
				}
			}
		})
	}
	wg.Wait()
}

func sameLog(b *bench) {
	l1, l2 := b.log("a"), b.log("a")
	b.append(l1, 0, itemOf(1))
	b.wantEntries(l2, 0, 1)
	b.append(l2, 1, itemOf(2))
	b.wantEntries(l1, 0, 2)
	other := b.log("a.b")
	b.wantBounds(other, 1, 0)
	if _, _, err := b.table("a").Get(b.ctx, "k"); err != nil { // a table may bear the name of a log
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 { // and many may open a new one at once
		wg.Go(func() {
			l, err := b.store.Log(b.ctx, "new")
			if err != nil {
				b.Errorf("open: %v", err)
				return
			}
			if _, err := l.Append(b.ctx, 0, []byte("first")); err != nil && !errors.Is(err, journal.ErrStale) && !(errors.Is(err, journal.ErrUnknown) && !b.Certain) {
				b.Errorf("append: %v", err)
			}
		})
	}
	wg.Wait()
	b.wantBounds(b.log("new"), 1, 1)
	if b.Reopen != nil {
		b.store = b.Reopen(b, b.store)
		b.wantBounds(b.log("new"), 1, 1)
	}
}

func ended(b *bench) {
	l, t := b.log("a"), b.table("t")
	b.fill(l, 1, 1)
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	plain := func(what string, err error) {
		b.Helper()
		if !errors.Is(err, context.Canceled) || errors.Is(err, journal.ErrUnknown) {
			b.Errorf("%s with an ended context: got %v, want the plain context error", what, err)
		}
	}
	_, err := l.Append(ctx, 1, []byte("no"))
	plain("append", err)
	plain("cut", l.Cut(ctx, 2))
	plain("wait", l.Wait(ctx, 1))
	_, _, err = l.Bounds(ctx)
	plain("bounds", err)
	for _, err := range l.Read(ctx, 0) {
		plain("read", err)
	}
	_, err = t.Put(ctx, "k", nil, 0)
	plain("put", err)
	plain("delete", t.Delete(ctx, "k", 1))
	_, _, err = t.Get(ctx, "k")
	plain("get", err)
	for _, err := range t.Scan(ctx, "") {
		plain("scan", err)
	}
	for _, err := range t.Watch(ctx, "") {
		plain("watch", err)
	}
	_, err = b.store.Log(ctx, "new")
	plain("log", err)
	b.wantBounds(l, 1, 1)
}
