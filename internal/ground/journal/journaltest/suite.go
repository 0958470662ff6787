// Package journaltest is the contract of the journal as a suite. Every store passes
// it: Pebble on a disk and in memory, a replicated one in a cluster.
//
// It assumes nothing of a store but the port and its Promises. Where a store may be
// behind, the suite waits; where an outcome may be unknown, it settles. It never
// sleeps for a time that a slow machine could make too short.
package journaltest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"stoa/internal/ground/journal"
)

// Promises says what a store gives beyond the port.
type Promises struct {
	// Fresh: what was acknowledged is seen by the next Read, Get and Bounds. A
	// cluster that reads from any replica does not promise that.
	Fresh bool

	// Certain: an append that meets no fault is never unknown, and stale is never
	// the echo of an append that then fails.
	Certain bool

	// Reopen closes s and opens what it kept. Nil if the suite shall not try.
	Reopen func(t testing.TB, s journal.Store) journal.Store
}

// patience bounds every wait of the suite.
const patience = 30 * time.Second

// Run runs the suite. Open gives an empty store; the suite closes it.
func Run(t *testing.T, p Promises, open func(t testing.TB) journal.Store) {
	cases := []struct {
		name string
		run  func(*bench)
	}{
		{"a new log is empty", newLog},
		{"entries come back as they were appended", roundTrip},
		{"only the last entry can be appended to", staleAppend},
		{"one of many rivals wins each place", rivals},
		{"limits are kept", limits},
		{"names and keys are checked", keys},
		{"a cut leaves no gap unsaid", cuts},
		{"a cut log goes on", cutAll},
		{"wait wakes for what can be read", waits},
		{"readers see whole entries in order while others append and cut", readers},
		{"a name is one log", sameLog},
		{"an ended context stops every call", ended},
		{"a table is compare and swap", swap},
		{"a deleted key can be made again under a new revision", deleted},
		{"a table is linear per key", linear},
		{"scan gives what begins with the prefix, in order", scans},
		{"watch gives the state, then what changes", watches},
		{"watch keeps up with many writers", watchMany},
		{"a closed store says so", closed},
		{"closing ends who waits", closesWaiters},
		{"what was kept is there again", reopened},
		{"settle finds its own entry and another's", settles},
		{"a committer gathers who waits", commits},
		{"a committer that lost its log says so", lost},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			b := &bench{T: t, Promises: p, ctx: ctx}
			b.store = open(t)
			defer func() {
				if err := b.store.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			c.run(b)
		})
	}
}

// bench is what a case works at.
type bench struct {
	*testing.T
	Promises
	ctx   context.Context
	store journal.Store
}

func (b *bench) log(name string) journal.Log {
	b.Helper()
	l, err := b.store.Log(b.ctx, name)
	b.ok("open log "+name, err)
	return l
}

func (b *bench) table(name string) journal.Table {
	b.Helper()
	t, err := b.store.Table(b.ctx, name)
	b.ok("open table "+name, err)
	return t
}

func (b *bench) ok(what string, err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

func (b *bench) wantErr(what string, err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Fatalf("%s: got %v, want %v", what, err, want)
	}
}

// append appends to l and settles what is unknown.
func (b *bench) append(l journal.Log, after journal.Seq, items ...string) journal.Seq {
	b.Helper()
	seq, err := l.Append(b.ctx, after, bytesOf(items)...)
	if errors.Is(err, journal.ErrUnknown) && !b.Certain {
		b.eventually("the unknown append to show", func() error { return b.hasEntry(l, after+1) })
		return after + 1
	}
	b.ok(fmt.Sprintf("append after %d", after), err)
	if seq != after+1 {
		b.Fatalf("append after %d: got entry %d, want %d", after, seq, after+1)
	}
	return seq
}

func (b *bench) fill(l journal.Log, from, to journal.Seq) {
	b.Helper()
	for seq := from; seq <= to; seq++ {
		b.append(l, seq-1, itemOf(seq))
	}
}

func itemOf(seq journal.Seq) string { return fmt.Sprintf("entry %d", seq) }

func (b *bench) hasEntry(l journal.Log, seq journal.Seq) error {
	for e, err := range l.Read(b.ctx, seq-1) {
		if err != nil {
			return err
		}
		if e.Seq != seq {
			return fmt.Errorf("read after %d gave entry %d", seq-1, e.Seq)
		}
		return nil
	}
	return fmt.Errorf("entry %d cannot be read", seq)
}

// eventually waits for f to give nil; a store that is Fresh must give it at once.
func (b *bench) eventually(what string, f func() error) {
	b.Helper()
	err := f()
	for deadline := time.Now().Add(patience); err != nil; err = f() {
		if b.Fresh || time.Now().After(deadline) {
			b.Fatalf("%s: %v", what, err)
		}
		<-time.After(5 * time.Millisecond) // between two looks at a store that may be behind
	}
}

// read gives the entries after after as strings, or the error they end with.
func (b *bench) read(l journal.Log, after journal.Seq) (got []journal.Entry, err error) {
	for e, err := range l.Read(b.ctx, after) {
		if err != nil {
			return got, err
		}
		got = append(got, e)
	}
	return got, nil
}

func (b *bench) wantBounds(l journal.Log, first, last journal.Seq) {
	b.Helper()
	b.eventually("bounds", func() error {
		f, e, err := l.Bounds(b.ctx)
		if err != nil || f != first || e != last {
			return fmt.Errorf("got %d, %d (%v), want %d, %d", f, e, err, first, last)
		}
		return nil
	})
}

// wantEntries wants itemOf entries from first to last after after.
func (b *bench) wantEntries(l journal.Log, after, last journal.Seq) {
	b.Helper()
	b.eventually("read", func() error {
		got, err := b.read(l, after)
		if err != nil {
			return err
		}
		if len(got) != int(last-after) {
			return fmt.Errorf("read after %d gave %d entries, want %d", after, len(got), last-after)
		}
		for i, e := range got {
			want := after + 1 + journal.Seq(i)
			if e.Seq != want || len(e.Items) != 1 || string(e.Items[0]) != itemOf(want) {
				return fmt.Errorf("got entry %d with %q, want %d with %q", e.Seq, e.Items, want, itemOf(want))
			}
		}
		return nil
	})
}

func bytesOf(items []string) [][]byte {
	bs := make([][]byte, len(items))
	for i, it := range items {
		bs[i] = []byte(it)
	}
	return bs
}
