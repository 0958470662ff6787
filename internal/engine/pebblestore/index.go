package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"stoa/internal/ground/index"
	"stoa/internal/ground/journal"
)

// Indexes keeps indexes in a folder of its own, apart from the journal's, so that it
// can be removed at any time. Nothing waits for its disk: after a power cut an index is
// what a prefix of its batches gives, since Pebble replays its WAL up to the first
// torn record. An index folder that is damaged or of another format is emptied.
type Indexes struct {
	o     Options
	db    *pebble.DB
	lock  *pebble.Lock
	space *space
	*failure

	use    sync.RWMutex // read-held around every access to db
	closed sync.Once
	ending chan struct{} // closed by Close

	mu   sync.Mutex
	open map[string]*projection // guarded by mu
	next uint32                 // guarded by mu
}

// The key space of an index folder: 'v' format, 'c' name -> id, 'p' id log -> position,
// 'x' id key -> value.
const (
	kindPosition = 'p'
	kindIndexed  = 'x'
)

// OpenIndexes opens the indexes in o.Dir, or empty ones if there are none, or if what
// is there cannot be read. It refuses a folder in use (Conflict) and a full disk.
func OpenIndexes(ctx context.Context, o Options) (*Indexes, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	s, err := openIndexes(o)
	if err != nil && (pebble.IsCorruptionError(err) || errors.Is(err, errFormat)) {
		o.Log.Warn("an index folder cannot be read and is emptied; its indexes are built again", "dir", o.Dir, "err", err)
		if err := o.FS.RemoveAll(o.Dir); err != nil {
			return nil, openErr(o.Dir, err)
		}
		s, err = openIndexes(o)
	}
	if err != nil {
		return nil, openErr(o.Dir, err)
	}
	return s, nil
}

func openIndexes(o Options) (*Indexes, error) {
	s := &Indexes{o: o, failure: newFailure(o.Fatal), ending: make(chan struct{}), open: map[string]*projection{}}
	var err error
	if s.lock, err = lockDir(o); err != nil {
		return nil, err
	}
	whatever := func(Options, *pebble.Options) error { return nil } // what cannot be read is built again
	if s.db, s.space, err = openPebble(o, s.failure, s.lock, whatever); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.db.Close(), s.lock.Close())
	}
	return s, nil
}

func (s *Indexes) load() error {
	v, err := get(s.db, []byte{kindFormat})
	switch {
	case err != nil:
		return err
	case v == nil:
		return s.db.Set([]byte{kindFormat}, []byte{formatVersion}, pebble.NoSync)
	case len(v) != 1 || v[0] != formatVersion:
		return fmt.Errorf("index format: %w", errFormat)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kindName}, UpperBound: []byte{kindName + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Value()) != 4 {
			return errors.Join(fmt.Errorf("name of an index: %w", errFormat), it.Close())
		}
		id := binary.BigEndian.Uint32(it.Value())
		name := string(it.Key()[2:])
		s.open[name] = &projection{s: s, name: name, id: id}
		s.next = max(s.next, id+1)
	}
	return it.Close()
}

// Index gives the index of that name and makes it if there is none.
func (s *Indexes) Index(ctx context.Context, name string) (index.Index, error) {
	if err := journal.CheckKey(name); err != nil {
		return nil, err
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.open[name]; p != nil {
		return p, nil
	}
	p := &projection{s: s, name: name, id: s.next}
	if err := s.apply(func(b *pebble.Batch) error {
		return b.Set(nameKey('x', name), binary.BigEndian.AppendUint32(nil, p.id), nil)
	}); err != nil {
		return nil, err
	}
	s.next++
	s.open[name] = p
	return p, nil
}

// enter lets the caller use db until leave.
func (s *Indexes) enter(ctx context.Context) (leave func(), err error) {
	usable := func() error {
		select {
		case <-s.ending:
			return journal.ErrClosed
		default:
			return s.err()
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := usable(); err != nil { // before the lock, which Close may hold for long
		return nil, err
	}
	s.use.RLock()
	if err := usable(); err != nil {
		s.use.RUnlock()
		return nil, err
	}
	return s.use.RUnlock, nil
}

// apply applies what fill puts into a batch, without waiting for the disk.
func (s *Indexes) apply(fill func(*pebble.Batch) error) (err error) {
	b := s.db.NewBatch()
	if err := fill(b); err != nil {
		return errors.Join(err, b.Close())
	}
	defer func() {
		if r := recover(); r != nil { // as in Store.apply
			s.fail(fmt.Errorf("writing the WAL of the indexes: %v", r))
			err = s.err()
		}
	}()
	if err := s.db.Apply(b, pebble.NoSync); err != nil {
		s.fail(fmt.Errorf("applying to an index: %w", err))
	}
	if err := s.err(); err != nil {
		return err
	}
	return b.Close()
}

// Close closes the folder. A close that hangs is fatal.
func (s *Indexes) Close() error {
	var err error
	s.closed.Do(func() {
		close(s.ending)
		hangs := time.AfterFunc(closeDeadline, func() { s.fail(errors.New("closing the indexes hangs")) })
		defer hangs.Stop()
		s.use.Lock()
		defer s.use.Unlock()
		if err = s.err(); err == nil { // a dead Pebble cannot be closed
			err = errors.Join(s.db.Close(), s.lock.Close())
		}
	})
	return err
}

// projection is one index.
type projection struct {
	s    *Indexes
	name string

	id uint32

	feed sync.Mutex // held over reading a position and moving it; readers need no lock, Pebble shows whole batches
}

var _ index.Index = (*projection)(nil)

func (p *projection) positionKey(log string) []byte {
	return append(idKey(kindPosition, p.id), log...)
}

func (p *projection) key(k []byte) []byte { return append(idKey(kindIndexed, p.id), k...) }

func (p *projection) Apply(ctx context.Context, b index.Batch) error {
	if err := index.CheckBatch(b); err != nil {
		return err
	}
	leave, err := p.s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := p.admit(b); err != nil {
		return err
	}
	p.feed.Lock()
	defer p.feed.Unlock()
	at, err := p.position(b.From)
	if err != nil {
		return err
	}
	if b.At <= at {
		return fmt.Errorf("%w: index %s has log %s up to %d, the batch is at %d", index.ErrBehind, p.name, b.From, at, b.At)
	}
	return p.s.apply(func(to *pebble.Batch) error {
		for _, w := range b.Writes {
			var err error
			if w.Remove {
				err = to.Delete(p.key(w.Key), nil)
			} else {
				err = to.Set(p.key(w.Key), w.Value, nil)
			}
			if err != nil {
				return err
			}
		}
		return to.Set(p.positionKey(b.From), binary.BigEndian.AppendUint64(nil, uint64(b.At)), nil)
	})
}

func (p *projection) admit(b index.Batch) error {
	if err := p.s.blocked(); err != nil {
		return err
	}
	n := 0
	for _, w := range b.Writes {
		n += len(w.Key) + len(w.Value) + 16
	}
	return p.s.space.take(n)
}

func (p *projection) position(log string) (journal.Seq, error) {
	v, err := get(p.s.db, p.positionKey(log))
	if err != nil || v == nil {
		return 0, p.s.readErr(err)
	}
	if len(v) != 8 {
		return 0, p.s.readErr(fmt.Errorf("position of index %s: %w", p.name, errFormat))
	}
	return journal.Seq(binary.BigEndian.Uint64(v)), nil
}

func (p *projection) Position(ctx context.Context, log string) (journal.Seq, error) {
	leave, err := p.s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	return p.position(log)
}

func (p *projection) Get(ctx context.Context, key []byte) ([]byte, bool, error) {
	leave, err := p.s.enter(ctx)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	v, err := get(p.s.db, p.key(key))
	return v, v != nil, p.s.readErr(err)
}

func (p *projection) Scan(ctx context.Context, from, to []byte) iter.Seq2[index.KV, error] {
	return func(yield func(index.KV, error) bool) {
		for more := true; more; {
			var chunk []index.KV
			var err error
			if chunk, from, more, err = p.chunk(ctx, from, to); err != nil {
				yield(index.KV{}, err)
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

// chunk gives some keys from from on, and where to go on.
func (p *projection) chunk(ctx context.Context, from, to []byte) (chunk []index.KV, next []byte, more bool, err error) {
	leave, err := p.s.enter(ctx)
	if err != nil {
		return nil, nil, false, err
	}
	defer leave()
	opts := &pebble.IterOptions{LowerBound: p.key(from), UpperBound: idKey(kindIndexed, p.id+1)}
	if to != nil {
		opts.UpperBound = p.key(to)
	}
	if string(opts.LowerBound) >= string(opts.UpperBound) {
		return nil, nil, false, nil
	}
	it, err := p.s.db.NewIter(opts)
	if err != nil {
		return nil, nil, false, p.s.readErr(err)
	}
	head, bytes := len(idKey(kindIndexed, p.id)), 0
	for ok := it.First(); ok; ok = it.Next() {
		key := append([]byte(nil), it.Key()[head:]...)
		if len(chunk) >= chunkEntries || bytes >= chunkBytes {
			next, more = key, true
			break
		}
		chunk = append(chunk, index.KV{Key: key, Value: append([]byte{}, it.Value()...)})
		bytes += len(it.Key()) + len(it.Value())
	}
	return chunk, next, more, p.s.readErr(errors.Join(it.Error(), it.Close()))
}

// Reset deletes the ranges in one batch, so that a power cut leaves all or nothing.
func (p *projection) Reset(ctx context.Context) error {
	leave, err := p.s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	p.feed.Lock()
	defer p.feed.Unlock()
	return p.s.apply(func(b *pebble.Batch) error {
		return errors.Join(
			b.DeleteRange(idKey(kindIndexed, p.id), idKey(kindIndexed, p.id+1), nil),
			b.DeleteRange(idKey(kindPosition, p.id), idKey(kindPosition, p.id+1), nil),
		)
	})
}
