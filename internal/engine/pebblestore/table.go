package pebblestore

import (
	"cmp"
	"context"
	"encoding/binary"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"stoa/internal/ground/journal"
)

// table is one table: a key range and, for the keys in flight, what they were before.
type table struct {
	s    *Store
	name string
	id   uint32

	rev journal.Rev // the last one given; of the writer alone

	mu       sync.Mutex
	flying   map[string]version // keys with a change that is not durable, as they are on the disk; guarded by mu
	watchers map[*watcher]bool  // guarded by mu
}

// version is a key as it was; rev 0 is absent.
type version struct {
	value []byte
	rev   journal.Rev
}

// Table gives the table of that name and makes it if there is none.
func (s *Store) Table(ctx context.Context, name string) (journal.Table, error) {
	id, err := s.id(ctx, 't', name)
	if err != nil {
		return nil, err
	}
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[name]; t != nil {
		return t, nil
	}
	t := &table{s: s, name: name, id: id, flying: map[string]version{}, watchers: map[*watcher]bool{}}
	v, err := s.get(idKey(kindRev, id))
	if err != nil {
		return nil, err
	}
	if v != nil {
		if len(v) != 8 {
			return nil, s.damaged("table "+name, errFormat)
		}
		t.rev = journal.Rev(binary.BigEndian.Uint64(v))
	}
	s.tables[name] = t
	return t, nil
}

// load reads a key as it is in Pebble, perhaps ahead of the disk.
func (t *table) load(key string) (version, error) {
	b, err := t.s.get(valueKey(t.id, key))
	if err != nil || b == nil {
		return version{}, err
	}
	rev, v, err := decodeValue(b)
	if err != nil {
		return version{}, t.s.damaged("table "+t.name+", key "+key, err)
	}
	return version{v, rev}, nil
}

// Get reads first and asks then what is in flight. In that order, a value that is not
// in flight any more has become durable meanwhile, or was so all along.
func (t *table) Get(ctx context.Context, key string) ([]byte, journal.Rev, error) {
	if err := journal.CheckKey(key); err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	leave, err := t.s.enter()
	if err != nil {
		return nil, 0, err
	}
	defer leave()
	v, err := t.load(key)
	if err != nil {
		return nil, 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.flying[key]; ok {
		v = version{slices.Clone(old.value), old.rev}
	}
	return v.value, v.rev, nil
}

func (t *table) Put(ctx context.Context, key string, v []byte, at journal.Rev) (journal.Rev, error) {
	if err := cmp.Or(journal.CheckKey(key), journal.CheckValue(v)); err != nil {
		return 0, err
	}
	o := &putOp{t: t, key: key, value: slices.Clone(v), at: at}
	if err := t.s.do(ctx, o, len(key)+len(v)+64, false); err != nil {
		return 0, err
	}
	return o.rev, nil
}

// Delete passes the gate of a full disk: it is how one makes room.
func (t *table) Delete(ctx context.Context, key string, at journal.Rev) error {
	if err := journal.CheckKey(key); err != nil {
		return err
	}
	return t.s.do(ctx, &putOp{t: t, key: key, at: at, remove: true}, len(key)+64, true)
}

// putOp is a Put or a Delete.
type putOp struct {
	t      *table
	key    string
	value  []byte
	at     journal.Rev
	remove bool
	rev    journal.Rev // given by prepare
}

func (o *putOp) prepare(b *pebble.Batch) error {
	t := o.t
	t.mu.Lock()
	_, flying := t.flying[o.key]
	t.mu.Unlock()
	if flying {
		return journal.ErrStale // at cannot be the revision in flight, which no one has been told
	}
	old, err := t.load(o.key) // nothing in flight, so this is what the disk has
	if err != nil {
		return err
	}
	if old.rev != o.at || o.remove && o.at == 0 {
		return journal.ErrStale
	}
	o.rev = t.rev + 1
	if o.remove {
		err = b.Delete(valueKey(t.id, o.key), nil)
	} else {
		err = b.Set(valueKey(t.id, o.key), encodeValue(o.rev, o.value), nil)
	}
	if err == nil {
		// Kept apart from the values, so that no revision is used again after a Delete.
		err = b.Set(idKey(kindRev, t.id), binary.BigEndian.AppendUint64(nil, uint64(o.rev)), nil)
	}
	if err != nil {
		return err
	}
	t.rev = o.rev
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flying[o.key] = old
	return nil
}

func (o *putOp) durable() {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	delete(o.t.flying, o.key)
	for w := range o.t.watchers {
		w.note(o.key, o.rev)
	}
}

func (t *table) Scan(ctx context.Context, prefix string) iter.Seq2[journal.KV, error] {
	return func(yield func(journal.KV, error) bool) {
		if err := journal.CheckPrefix(prefix); err != nil {
			yield(journal.KV{}, err)
			return
		}
		for from, more := prefix, true; more; {
			var chunk []journal.KV
			var err error
			if chunk, from, more, err = t.chunk(ctx, prefix, from); err != nil {
				yield(journal.KV{}, err)
				return
			}
			for _, kv := range chunk {
				if !yield(kv, nil) {
					return
				}
			}
		}
	}
}

// chunk gives some keys under prefix that are not below from, and where to go on.
func (t *table) chunk(ctx context.Context, prefix, from string) (chunk []journal.KV, next string, more bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", false, err
	}
	leave, err := t.s.enter()
	if err != nil {
		return nil, "", false, err
	}
	defer leave()
	it, err := t.s.db.NewIter(&pebble.IterOptions{LowerBound: valueKey(t.id, from), UpperBound: afterPrefix(valueKey(t.id, prefix))})
	if err != nil {
		return nil, "", false, t.s.readErr(err)
	}
	defer func() {
		if cerr := it.Close(); cerr != nil && err == nil {
			err = t.s.readErr(cerr)
		}
	}()
	bytes := 0
	for ok := it.First(); ok; ok = it.Next() {
		key := string(it.Key()[5:])
		if len(chunk) >= chunkEntries || bytes >= chunkBytes {
			next, more = key, true
			break
		}
		rev, v, err := decodeValue(it.Value())
		if err != nil {
			return nil, "", false, t.s.damaged("table "+t.name+", key "+key, err)
		}
		chunk, bytes = append(chunk, journal.KV{Key: key, Value: slices.Clone(v), Rev: rev}), bytes+len(v)
	}
	if err := it.Error(); err != nil {
		return nil, "", false, t.s.readErr(err)
	}
	return t.grounded(chunk, prefix, from, next, more), next, more, nil
}

// grounded replaces what is in flight by what is on the disk, in the keys from from on
// and, if there are more, below next.
func (t *table) grounded(chunk []journal.KV, prefix, from, next string, more bool) []journal.KV {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.flying) == 0 {
		return chunk
	}
	chunk = slices.DeleteFunc(chunk, func(kv journal.KV) bool { _, ok := t.flying[kv.Key]; return ok })
	for key, old := range t.flying {
		if old.rev != 0 && strings.HasPrefix(key, prefix) && key >= from && (!more || key < next) {
			chunk = append(chunk, journal.KV{Key: key, Value: slices.Clone(old.value), Rev: old.rev})
		}
	}
	slices.SortFunc(chunk, func(a, b journal.KV) int { return cmp.Compare(a.Key, b.Key) })
	return chunk
}

// afterPrefix is the first key that does not begin with p; p is never all 0xff.
func afterPrefix(p []byte) []byte {
	for i := len(p) - 1; ; i-- {
		if p[i] < 0xff {
			q := slices.Clone(p[:i+1])
			q[i]++
			return q
		}
	}
}
