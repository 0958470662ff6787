package pebblestore

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"stoa/internal/ground/journal"
)

// log is one log: a key range, a front and two ends.
type log struct {
	s    *Store
	name string
	id   uint32

	// Of the writer alone.
	last journal.Seq // of what was applied, durable or not
	sum  uint64      // encoded bytes of all entries up to last
	cut  front       // as applied

	mu    sync.Mutex
	first journal.Seq   // guarded by mu; moves when a cut is applied
	end   journal.Seq   // the last durable entry; guarded by mu, moved by the syncer
	grew  chan struct{} // closed and replaced when end moves; guarded by mu
}

// Log gives the log of that name and makes it if there is none.
func (s *Store) Log(ctx context.Context, name string) (journal.Log, error) {
	id, err := s.id(ctx, 'l', name)
	if err != nil {
		return nil, err
	}
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	s.mu.Lock()
	defer s.mu.Unlock() // also over the reads: a log must not be opened twice, and it is done once
	if l := s.logs[name]; l != nil {
		return l, nil
	}
	l, err := s.openLog(name, id)
	if err == nil {
		s.logs[name] = l
	}
	return l, err
}

// openLog finds front and end of a log on the disk. What is there at this point is
// durable: nothing has been appended to this log since the store was opened.
func (s *Store) openLog(name string, id uint32) (*log, error) {
	l := &log{s: s, name: name, id: id, cut: front{first: 1, old: 1}, grew: make(chan struct{})}
	v, err := s.get(idKey(kindFront, id))
	if err != nil {
		return nil, err
	}
	if v != nil {
		if l.cut, err = decodeFront(v); err != nil {
			return nil, s.damaged("log "+name, err)
		}
	}
	l.last, l.sum = l.cut.first-1, l.cut.sum
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: idKey(kindEntry, id), UpperBound: idKey(kindEntry, id+1)})
	if err != nil {
		return nil, s.readErr(err)
	}
	if it.Last() {
		if seq := entrySeq(it.Key()); seq > l.last { // the front may be beyond entries not yet deleted
			l.last = seq
			if l.sum, err = entrySum(it.Value()); err != nil {
				err = s.damaged(fmt.Sprintf("log %s, entry %d", name, seq), err)
			}
		}
	}
	if cerr := it.Close(); cerr != nil {
		err = s.readErr(cerr)
	}
	l.first, l.end = l.cut.first, l.last
	return l, err
}

// damaged ends the process over what cannot be read in the right way.
func (s *Store) damaged(what string, err error) error {
	err = fmt.Errorf("%s in %s is %w: %w", what, s.o.Dir, ErrDamaged, err)
	s.fail(err)
	return fmt.Errorf("%w: %w", journal.ErrDown, err)
}

func (l *log) Append(ctx context.Context, after journal.Seq, items ...[]byte) (journal.Seq, error) {
	if err := journal.CheckEntry(items...); err != nil {
		return 0, err
	}
	o := &appendOp{l: l, after: after, entry: encodeEntry(items)}
	if err := l.s.do(ctx, o, len(o.entry), false); err != nil {
		return 0, err
	}
	return after + 1, nil
}

type appendOp struct {
	l     *log
	after journal.Seq
	entry []byte
}

func (o *appendOp) prepare(b *pebble.Batch) error {
	l := o.l
	if o.after != l.last {
		return journal.ErrStale
	}
	l.last, l.sum = l.last+1, l.sum+uint64(len(o.entry))
	sealEntry(o.entry, l.s.o.Now(), l.sum)
	return b.Set(entryKey(l.id, l.last), o.entry, nil)
}

func (o *appendOp) durable() {
	l := o.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = o.after + 1
	close(l.grew)
	l.grew = make(chan struct{})
}

// Cut moves the front at once and deletes from the old front in steps: a range
// deletion for each few entries would cost 1.6 times the writing and more disk.
func (l *log) Cut(ctx context.Context, before journal.Seq) error {
	return l.s.do(ctx, &cutOp{l: l, before: before}, 64, true)
}

type cutOp struct {
	l      *log
	before journal.Seq
}

func (o *cutOp) prepare(b *pebble.Batch) error {
	l := o.l
	before := min(o.before, l.last+1)
	if before <= l.cut.first {
		return nil // an empty change, still answered in its turn
	}
	f := l.cut
	f.first, f.sum = before, l.sum
	if before <= l.last {
		// before-1 may be an entry of this very batch, the entry before it cannot tell.
		v, err := readThrough(b, l.s, entryKey(l.id, before-1))
		if err != nil {
			return err
		}
		if f.sum, err = entrySum(v); err != nil {
			return l.s.damaged(fmt.Sprintf("log %s, entry %d", l.name, before-1), err)
		}
	}
	if f.sum-f.freed >= uint64(l.s.o.CutStep) {
		if err := b.DeleteRange(entryKey(l.id, f.old), entryKey(l.id, before), nil); err != nil {
			return err
		}
		f.old, f.freed = before, f.sum
	}
	if err := b.Set(idKey(kindFront, l.id), f.encode(), nil); err != nil {
		return err
	}
	l.cut = f
	// Before the batch is applied: whoever finds an entry missing sees why.
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first = before
	return nil
}

func (o *cutOp) durable() {}

func (l *log) Bounds(ctx context.Context) (first, last journal.Seq, err error) {
	if err := errorOf(ctx, l.s); err != nil {
		return 0, 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return min(l.first, l.end+1), l.end, nil // a cut may be ahead of the sync of what it cut
}

func (l *log) Wait(ctx context.Context, after journal.Seq) error {
	for {
		if err := errorOf(ctx, l.s); err != nil {
			return err
		}
		l.mu.Lock()
		end, grew := l.end, l.grew
		l.mu.Unlock()
		if end > after {
			return nil
		}
		select {
		case <-grew:
		case <-ctx.Done():
		case <-l.s.closing:
		case <-l.s.dead:
		}
	}
}

func errorOf(ctx context.Context, s *Store) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.usable()
}

// A chunk is read with an iterator of its own, so that a slow reader holds neither
// files nor the store's end.
const (
	chunkEntries = 256
	chunkBytes   = 1 << 20
)

func (l *log) Read(ctx context.Context, after journal.Seq) iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		for {
			chunk, err := l.chunk(ctx, after)
			for _, e := range chunk {
				if !yield(e, nil) {
					return
				}
				after = e.Seq
			}
			if err != nil {
				yield(journal.Entry{}, err)
				return
			}
			if len(chunk) == 0 {
				return
			}
		}
	}
}

// chunk gives some durable entries after after, none if there are no more.
func (l *log) chunk(ctx context.Context, after journal.Seq) (chunk []journal.Entry, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	leave, err := l.s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	l.mu.Lock()
	first, end := l.first, l.end
	l.mu.Unlock()
	if after >= end {
		return nil, nil
	}
	if after+1 < first {
		return nil, journal.ErrCut
	}
	it, err := l.s.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(l.id, after+1), UpperBound: entryKey(l.id, end+1)})
	if err != nil {
		return nil, l.s.readErr(err)
	}
	defer func() {
		if cerr := it.Close(); cerr != nil && err == nil {
			err = l.s.readErr(cerr)
		}
	}()
	bytes := 0
	for ok := it.First(); ok && len(chunk) < chunkEntries && bytes < chunkBytes; ok = it.Next() {
		seq := entrySeq(it.Key())
		if seq != after+1 {
			break
		}
		e, err := decodeEntry(seq, append([]byte(nil), it.Value()...))
		if err != nil {
			return chunk, l.s.damaged("log "+l.name, err)
		}
		chunk, bytes, after = append(chunk, e), bytes+len(it.Value()), seq
	}
	if err := it.Error(); err != nil {
		return chunk, l.s.readErr(err)
	}
	if len(chunk) > 0 {
		return chunk, nil
	}
	l.mu.Lock()
	first = l.first
	l.mu.Unlock()
	if after+1 < first {
		return nil, journal.ErrCut // by a cut since we looked
	}
	return nil, l.s.damaged("log "+l.name, fmt.Errorf("entry %d of %d to %d is missing", after+1, first, end))
}

// readThrough reads a key as it will be once b is applied.
func readThrough(b *pebble.Batch, s *Store, key []byte) ([]byte, error) {
	r := b.Reader()
	var found []byte
	for {
		kind, k, v, ok, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", journal.ErrDown, err)
		}
		if !ok {
			break
		}
		if kind == pebble.InternalKeyKindSet && string(k) == string(key) {
			found = v
		}
	}
	if found != nil {
		return found, nil
	}
	return s.get(key)
}
