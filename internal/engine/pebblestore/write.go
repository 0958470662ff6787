package pebblestore

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"stoa/internal/ground/journal"
)

// An op is one change of the store. Its methods are called by the writer and the
// syncer, in this order, or prepare alone when it refuses.
type op interface {
	// prepare decides on the writer's state and adds to b, or refuses and adds nothing.
	prepare(b *pebble.Batch) error
	// durable makes the change visible: it is on the disk.
	durable()
}

// An ask is an op whose caller waits.
type ask struct {
	op    op
	bytes int
	frees bool         // it frees space, so the gate lets it pass
	state atomic.Int32 // asked, taken or withdrawn
	done  chan error   // of one
}

const (
	asked int32 = iota
	taken
	withdrawn
)

// Bounds of the write path. A group stays well under half a memtable, from where on
// Pebble would treat it as a table of its own.
const (
	maxAsks    = 1024    // asks that wait for the writer; more callers wait to ask
	maxGroup   = 1 << 20 // bytes from which on a batch is closed
	maxFlights = 16      // batches that wait for the syncer; with 2, 16 logs at 64 waiters made 16-22k appends/s instead of 31k; 128 gave no more
)

// A flight is a batch that was applied but is perhaps not synced.
type flight struct {
	batch *pebble.Batch
	count uint64 // of batches, with this one
	asks  []*ask
}

// do hands an op to the writer and waits until it is durable. An op that was not
// taken when ctx ended is withdrawn, with ctx's error.
func (s *Store) do(ctx context.Context, o op, bytes int, frees bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.usable(); err != nil {
		return err
	}
	a := &ask{op: o, bytes: bytes, frees: frees, done: make(chan error, 1)}
	select {
	case s.asks <- a:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return journal.ErrClosed
	case <-s.dead:
		return s.err()
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		if a.state.CompareAndSwap(asked, withdrawn) {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w", journal.ErrUnknown, ctx.Err())
	case <-s.written: // the writer has ended
		if a.state.CompareAndSwap(asked, withdrawn) {
			return cmp.Or(s.err(), error(journal.ErrClosed))
		}
		select {
		case err := <-a.done: // taken, so the syncer answers before it ends
			return err
		case <-s.dead:
			return fmt.Errorf("%w: %w", journal.ErrUnknown, s.err())
		}
	case <-s.dead: // and if Fatal returned, the syncer may never answer
		if a.state.CompareAndSwap(asked, withdrawn) {
			return s.err()
		}
		return fmt.Errorf("%w: %w", journal.ErrUnknown, s.err())
	}
}

// usable gives ErrClosed or ErrDown when there is no use in asking.
func (s *Store) usable() error {
	select {
	case <-s.closing:
		return journal.ErrClosed
	default:
		return s.err()
	}
}

// write is the only goroutine that changes the store. It gathers what waits, over
// all logs and tables, into one batch; while that is synced it gathers the next.
func (s *Store) write() {
	defer close(s.flights)
	defer close(s.written)
	for {
		select {
		case a := <-s.asks:
			if f := s.gather(a); len(f.asks) > 0 {
				s.apply(f)
			}
		case <-s.closing:
			return
		case <-s.dead:
			return
		}
	}
}

// gather prepares a and what else waits. Whatever is refused is answered here.
func (s *Store) gather(a *ask) flight {
	f := flight{batch: s.db.NewBatch()}
	for bytes := 0; ; {
		if a.state.CompareAndSwap(asked, taken) {
			err := s.admit(a)
			if err == nil {
				err = a.op.prepare(f.batch)
			}
			if err != nil {
				a.done <- err
			} else {
				f.asks, bytes = append(f.asks, a), bytes+a.bytes
			}
		}
		if bytes >= maxGroup {
			return f
		}
		select {
		case a = <-s.asks:
		default:
			if len(f.asks) == 0 {
				_ = f.batch.Close() // empty, so nothing can go wrong
			}
			return f
		}
	}
}

// admit is the gate before the disk.
func (s *Store) admit(a *ask) error {
	if err := s.err(); err != nil || a.frees {
		return err
	}
	if err := s.blocked(); err != nil {
		return err
	}
	return s.space.take(a.bytes)
}

// apply brings f into the memtable and the WAL's buffer and hands it to the syncer.
func (s *Store) apply(f flight) {
	defer func() {
		// Pebble panics when its WAL is broken, and leaves its locks held.
		if r := recover(); r != nil {
			s.fail(fmt.Errorf("writing the WAL: %v", r))
			f.answer(fmt.Errorf("%w: %w", journal.ErrUnknown, s.err()))
		}
	}()
	s.count++
	f.count = s.count
	if err := f.batch.Set([]byte{kindCount}, binary.BigEndian.AppendUint64(nil, f.count), nil); err != nil {
		s.fail(fmt.Errorf("counting: %w", err))
	}
	if err := s.db.ApplyNoSyncWait(f.batch, pebble.Sync); err != nil {
		s.fail(fmt.Errorf("applying: %w", err))
	}
	if s.err() != nil { // Apply gives nil although Fatalf was called
		f.answer(fmt.Errorf("%w: %w", journal.ErrUnknown, s.err()))
		return
	}
	if s.o.ackEarly {
		f.succeed()
	}
	s.flights <- f // the syncer lives until flights is closed
}

// sync waits for the disk, batch after batch in the order of the WAL, and only then
// lets readers see and callers know: Pebble itself publishes before the sync.
func (s *Store) sync() {
	defer close(s.synced)
	for f := range s.flights {
		err := f.batch.SyncWait()
		if err != nil {
			s.fail(fmt.Errorf("syncing the WAL: %w", err))
		}
		if down := s.err(); down != nil {
			f.answer(fmt.Errorf("%w: %w", journal.ErrUnknown, down))
			continue
		}
		s.seen.saw(f.count, s.o)
		if !s.o.ackEarly {
			f.succeed()
		}
		if slow := s.slow.Swap(nil); slow != nil {
			s.o.Log.Warn("the disk is slow", "dir", s.o.Dir, "what", *slow)
		}
		_ = f.batch.Close() // gives its memory back, says its documentation
	}
}

func (f flight) succeed() {
	for _, a := range f.asks {
		a.op.durable()
	}
	f.answer(nil)
}

func (f flight) answer(err error) {
	for _, a := range f.asks {
		a.done <- err
	}
}
