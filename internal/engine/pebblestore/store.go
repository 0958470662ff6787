// Package pebblestore keeps the journal of one machine: logs, tables and indexes as
// key ranges of Pebble, in one folder. It is the only importer of Pebble.
//
//	Append, Put, Delete, Cut -> asks -> writer -> Pebble's memtable and WAL buffer
//	   (encoded by the caller)            |
//	   woken, readers see it <- syncer <- flights      (WAL synced)
//
// One goroutine, the writer, decides on every change, so compare and swap needs no
// lock; it gathers what waits, over all logs and tables, into one batch. A second, the
// syncer, waits for the WAL. Pebble publishes a batch before it is synced, so durable
// reads are ours to make: a log has a high-water mark that only the syncer moves, and
// a table keeps the old value of every key in flight and shows that.
//
// # Failing
//
// The store is crash-only. After an error of the WAL or the MANIFEST, damage, or a
// close that hangs, Options.Fatal ends the process with the reason; its parent starts
// it again and Open recovers what was acknowledged. Some of Pebble's own panics cannot
// be caught at all and come to the same. What is not fatal: flushes that fail (appends
// are refused until one succeeds), failed compactions, a read error.
//
// A journal that ends before what was acknowledged is refused, see witness. ENOSPC is
// kept away by a gate and a ballast file, see space.
//
// # Limits
//
// All changes pass one goroutine: some 100,000 appends of 1 KB a second, which disks
// do not sync. Space that a log gave up by Cut is freed in steps of Options.CutStep, so
// each log may hold on to that much. A Watch that falls more than journal.TableKeys
// keys behind is reset.
package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"stoa/api/fault"
	"stoa/internal/ground/journal"
)

// A Store is a journal in a folder.
type Store struct {
	o     Options
	db    *pebble.DB
	lock  *pebble.Lock
	space *space
	seen  *witness
	*failure

	asks    chan *ask
	flights chan flight
	closing chan struct{} // closed by Close
	written chan struct{} // closed when the writer has ended
	synced  chan struct{} // closed when the syncer has ended

	use    sync.RWMutex // read-held around every access to db outside of writer and syncer
	closed sync.Once

	mu     sync.Mutex
	logs   map[string]*log   // those opened, by name; guarded by mu
	tables map[string]*table // likewise
	names  map[string]uint32 // kind and name to id, all there are; guarded by mu

	count uint64            // of batches, in the store with each; of the writer alone
	given map[string]uint32 // as names, with those in flight; of the writer alone. Ids count up and none is ever dropped.
}

var _ journal.Store = (*Store)(nil)

// Open opens the journal in o.Dir and recovers what was acknowledged there; a new one
// is made where there is none. It refuses a folder that another process has open
// (Conflict), one that a newer Stoa wrote (Invalid), a damaged one (Internal, with the
// file named), and one on a full disk (Exhausted).
//
// ctx is looked at once: a recovery that has begun is finished.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	s := &Store{
		o:       o,
		failure: newFailure(o.Fatal),
		asks:    make(chan *ask, maxAsks),
		flights: make(chan flight, maxFlights),
		closing: make(chan struct{}),
		written: make(chan struct{}),
		synced:  make(chan struct{}),
		logs:    map[string]*log{},
		tables:  map[string]*table{},
		names:   map[string]uint32{},
		given:   map[string]uint32{},
	}
	if err := s.open(); err != nil {
		return nil, openErr(o.Dir, err)
	}
	go s.write()
	go s.sync()
	return s, nil
}

// open opens Pebble, reads the catalogue, and holds what it finds to what was acknowledged.
func (s *Store) open() (err error) {
	if s.lock, err = lockDir(s.o); err != nil {
		return err
	}
	s.seen = openWitness(s.o)
	if s.db, s.space, err = openPebble(s.o, s.failure, s.lock, s.seen.before); err == nil {
		if err = s.load(); err == nil {
			err = s.seen.check(s.o, s.count)
		}
		if err != nil {
			err = errors.Join(err, s.err(), s.db.Close()) // s.err() names the file, if one is damaged
		}
	}
	if err != nil {
		return errors.Join(err, s.seen.close(), s.lock.Close())
	}
	return nil
}

// lockDir makes the folder if need be, and locks it.
func lockDir(o Options) (*pebble.Lock, error) {
	if err := makeDir(o.FS, o.Dir); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(o.Dir, o.FS)
	if err != nil {
		return nil, &lockedError{err}
	}
	return lock, nil
}

// openPebble sets up gate and ballast and opens Pebble in a folder that is locked. before
// is called when all is ready, and may refuse.
func openPebble(o Options, f *failure, lock *pebble.Lock, before func(Options, *pebble.Options) error) (*pebble.DB, *space, error) {
	g := &space{fs: o.FS, dir: o.Dir, want: o.Reserve, ballast: o.Ballast, log: o.Log}
	p := o.pebbleOptions()
	if o.tune != nil {
		o.tune(p)
	}
	f.hooks(p, o.Log)
	p.Lock = lock
	p.FS = vfs.OnDiskFull(p.FS, g.dropBallast)
	p.WithFSDefaults() // notices a disk that is slow
	err := g.recoverable()
	if err == nil {
		err = before(o, p)
	}
	var db *pebble.DB
	if err == nil {
		db, err = tryOpen(o.Dir, p)
	}
	// What was replayed has reached a table when Open returns without a failed flush: it
	// must, since the old WAL is not synced again.
	if err = f.opened(err); err != nil {
		return nil, nil, err
	}
	g.now()
	return db, g, nil
}

// makeDir makes dir and what is missing above it, and syncs each folder that got a new
// one: a power cut takes a folder whose parent was never synced, with all that was
// synced inside it.
func makeDir(fs vfs.FS, dir string) error {
	var above []string
	for d := dir; ; {
		if _, err := fs.Stat(d); err == nil {
			break
		}
		up := fs.PathDir(d)
		if above = append(above, up); up == d {
			break
		}
		d = up
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range above {
		if err := syncDir(fs, d); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// tryOpen opens Pebble, which panics over some errors of a WAL.
func tryOpen(dir string, p *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("recovering: %v", r)
		}
	}()
	return pebble.Open(dir, p)
}

// lockedError: someone has the folder open.
type lockedError struct{ err error }

func (e *lockedError) Error() string { return "it is open in another process (" + e.err.Error() + ")" }
func (e *lockedError) Unwrap() error { return e.err }

// openErr says what kind of trouble an error of opening dir is, and what to do.
func openErr(dir string, err error) error {
	f := &fault.Error{Op: "journal.open", Subject: dir, Kind: fault.Unavailable, Err: err}
	var locked *lockedError
	switch {
	case errors.As(err, &locked):
		f.Kind, f.Hint = fault.Conflict, "Stop the stoa that runs on this folder (stoa down), or choose another with --data."
	case errors.Is(err, errNewer):
		f.Kind, f.Hint = fault.Invalid, "Use the stoa that wrote it, or a newer one."
	case errors.Is(err, syscall.ENOSPC):
		f.Kind, f.Hint = fault.Exhausted, "Free space on that volume and start again; nothing acknowledged is lost."
	case errors.Is(err, errLost):
		f.Kind, f.Hint = fault.Internal, "Keep a copy of the folder, then bring back the last backup: stoa restore. To go on without what is missing, remove "+beside(dir, ".acked")+"."
	case pebble.IsCorruptionError(err), errors.Is(err, errFormat):
		f.Kind, f.Hint = fault.Internal, "Keep a copy of the folder, then bring back the last backup: stoa restore."
	case errors.Is(err, os.ErrPermission):
		f.Kind, f.Hint = fault.Denied, "Give this user the folder, or choose another with --data."
	}
	return f
}

var errNewer = errors.New("a newer stoa wrote this journal")

// load reads the catalogue and checks the format, before writer and syncer run.
func (s *Store) load() error {
	v, err := s.get([]byte{kindFormat})
	switch {
	case err != nil:
		return err
	case v == nil:
		return s.db.Set([]byte{kindFormat}, []byte{formatVersion}, pebble.Sync)
	case len(v) != 1:
		return fmt.Errorf("format version: %w", errFormat)
	case v[0] > formatVersion:
		return fmt.Errorf("%w: format %d, this one knows %d", errNewer, v[0], formatVersion)
	}
	switch v, err = s.get([]byte{kindCount}); {
	case err != nil:
		return err
	case v == nil:
	case len(v) != 8:
		return fmt.Errorf("count of batches: %w", errFormat)
	default:
		s.count = binary.BigEndian.Uint64(v)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kindName}, UpperBound: []byte{kindName + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Value()) != 4 {
			return errors.Join(fmt.Errorf("name of a log: %w", errFormat), it.Close())
		}
		name, id := string(it.Key()[1:]), binary.BigEndian.Uint32(it.Value())
		s.names[name], s.given[name] = id, id
	}
	return it.Close()
}

// get reads one key, nil if absent. It is for the writer and for those who hold use.
func (s *Store) get(key []byte) ([]byte, error) {
	v, err := get(s.db, key)
	return v, s.readErr(err)
}

// get gives a copy of a value; an empty one is not nil.
func get(db *pebble.DB, key []byte) ([]byte, error) {
	v, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v = append(make([]byte, 0, len(v)), v...)
	return v, closer.Close()
}

// enter lets the caller use db until leave. It does not wait for one who closes.
func (s *Store) enter() (leave func(), err error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	s.use.RLock()
	if err := s.usable(); err != nil {
		s.use.RUnlock()
		return nil, err
	}
	return s.use.RUnlock, nil
}

// id gives the id of a log ('l') or table ('t'), and a new one to a new name.
func (s *Store) id(ctx context.Context, kind byte, name string) (uint32, error) {
	if err := journal.CheckKey(name); err != nil {
		return 0, err
	}
	s.mu.Lock()
	id, ok := s.names[string(kind)+name]
	s.mu.Unlock()
	if ok {
		return id, s.usable()
	}
	o := &nameOp{s: s, kind: kind, name: name}
	if err := s.do(ctx, o, len(name), false); err != nil {
		return 0, err
	}
	return o.id, nil
}

// nameOp gives an id to a name.
type nameOp struct {
	s    *Store
	kind byte
	name string
	id   uint32
}

func (o *nameOp) prepare(b *pebble.Batch) error {
	id, ok := o.s.given[string(o.kind)+o.name]
	if ok { // someone else was faster, perhaps in this very batch
		o.id = id
		return nil
	}
	o.id = uint32(len(o.s.given))
	o.s.given[string(o.kind)+o.name] = o.id
	return b.Set(nameKey(o.kind, o.name), binary.BigEndian.AppendUint32(nil, o.id), nil)
}

func (o *nameOp) durable() {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	o.s.names[string(o.kind)+o.name] = o.id
}

// Space tells how much room there is for appends.
func (s *Store) Space() Space { return s.space.now() }

// Close ends what is under way and closes Pebble. A close that hangs is fatal.
func (s *Store) Close() error {
	var err error
	s.closed.Do(func() {
		close(s.closing)
		hangs := time.AfterFunc(closeDeadline, func() { s.fail(errors.New("closing the journal hangs")) })
		defer hangs.Stop()
		err = s.close()
	})
	return err
}

func (s *Store) close() error {
	ended := make(chan error, 1)
	go func() { // waited for below, unless the store is dead and it never ends
		<-s.written
		<-s.synced
		s.use.Lock()
		defer s.use.Unlock()
		ended <- errors.Join(s.db.Close(), s.seen.close(), s.lock.Close())
	}()
	select {
	case err := <-ended:
		if err != nil && s.err() == nil {
			s.fail(fmt.Errorf("closing: %w", err))
		}
		return err
	case <-s.dead:
		return s.err()
	}
}
