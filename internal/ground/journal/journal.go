// Package journal is the durable port: logs and small tables, whatever keeps them.
//
// Everything that must survive is an entry in a Log or the latest value of a key in
// a Table; everything else is a projection that can be dropped and rebuilt. On one
// machine engine/pebblestore keeps them, in a cluster a replicated store does. Both
// pass the suite in journaltest, which is the contract in full; this page is the
// contract in short.
//
//	owner -> Committer -> Log.Append ----> disk, or a majority of disks
//	                          |
//	readers <- Read <- Wait <-+  durable entries only, in order, never a silent gap
//
// One owner appends to a log, through a Committer that gathers all who wait into one
// entry. A log and a table never need one commit: the log is written first, tables and
// indexes are derived from it and can be redone.
//
// Whoever appends says which entry it believes to be the last. That is the whole of
// the fencing: an owner that was replaced is stale at its next append.
//
// # What an error means
//
// Any error but ErrUnknown means that this call wrote nothing. ErrUnknown means that
// it may have written and may even do so later: Settle finds out. A context that ended
// before the write began gives the plain context error.
//
// # Limits
//
// An entry has at most MaxEntry bytes, a table value MaxValue, a key MaxKey, a table
// is meant for TableKeys keys. Watch gives states and may skip some. Entry.At is the
// store's wall clock: good for people and retention, never for order.
package journal

import (
	"context"
	"iter"
	"time"
)

// A Seq numbers the entries of one log: 1, 2, 3, without gaps. 0 is before the first.
type Seq uint64

// A Rev numbers the changes of one table; a later change has the greater Rev, and none
// is used twice, not even after a Delete. 0 means absent.
type Rev uint64

// Entry is what one Append wrote. The reader owns it.
type Entry struct {
	Seq   Seq
	At    time.Time // when the store took it, UTC, to the millisecond; may step back with the wall clock
	Items [][]byte  // as appended; no item is nil, some may be empty
}

// KV is one key of a table. The reader owns Value.
type KV struct {
	Key   string
	Value []byte
	Rev   Rev
}

// A ChangeKind says what a Change tells.
type ChangeKind uint8

// The kinds of change.
const (
	Put     ChangeKind = iota + 1 // Key has Value since Rev
	Deleted                       // Key is absent since Rev; it may never have been shown
	Synced                        // the whole state has been given; what follows is new
	Reset                         // forget everything: the whole state follows again, then Synced
)

// Change is one step of a Watch. Only Put has a Value; Synced and Reset have no KV.
type Change struct {
	Kind ChangeKind
	KV
}

// A Log is an ordered sequence of entries that is cut at the front only.
// All methods may be called concurrently. They block at most until ctx ends.
type Log interface {
	// Append writes items as one entry, all or none, and returns when it is durable.
	// It is refused with ErrStale unless after is the last entry; the new entry has
	// the number after+1. A stale answer may rest on an entry still in flight: only an
	// entry that can be read decides, and if none is after after, append again.
	//
	// Items are borrowed until Append returns. No items at all are an entry too.
	// Errors: ErrStale, ErrTooBig, ErrFull, ErrDown, ErrClosed, ErrUnknown.
	Append(ctx context.Context, after Seq, items ...[]byte) (Seq, error)

	// Read gives the durable entries after after, in order, and ends when there are no
	// more. In a cluster it may be behind, it is never wrong. If an entry after after
	// has been cut, it gives ErrCut in its place. After an error it ends.
	Read(ctx context.Context, after Seq) iter.Seq2[Entry, error]

	// Wait returns nil when there is something to read after after, be it ErrCut.
	Wait(ctx context.Context, after Seq) error

	// Cut drops the entries before before, durably. Beyond the last entry it drops
	// all there are; before the first it does nothing. Numbers go on.
	Cut(ctx context.Context, before Seq) error

	// Bounds gives the first and last entry that can be read. An empty log has
	// first = last+1; a new one 1 and 0.
	Bounds(ctx context.Context) (first, last Seq, err error)
}

// A Table is a small map with compare and swap, for the latest value of a few
// thousand keys: leases, cursors, wrapped keys. One writer per key is the use it is
// made for. All methods may be called concurrently; they block at most until ctx ends.
type Table interface {
	// Get gives the value of key and its revision. It may be behind, it is never ahead
	// of the disk. Absent: Rev 0 and no error.
	Get(ctx context.Context, key string) ([]byte, Rev, error)

	// Put sets key to v if its revision is at, and gives the new one when it is
	// durable. At 0 it must be absent; that works after a Delete too.
	// Errors: ErrStale, ErrKey, ErrTooBig, ErrFull, ErrDown, ErrClosed, ErrUnknown.
	Put(ctx context.Context, key string, v []byte, at Rev) (Rev, error)

	// Delete removes key if its revision is at, durably. Of an absent key: ErrStale.
	Delete(ctx context.Context, key string, at Rev) error

	// Scan gives the keys that begin with prefix, in byte order. It is no snapshot:
	// each key is as it was at some moment during the scan.
	Scan(ctx context.Context, prefix string) iter.Seq2[KV, error]

	// Watch gives the whole state under prefix as Puts, then Synced, then a Put or
	// Deleted for what changed. It gives states: a value that was soon replaced may
	// be skipped, and one may be given twice. Reset begins again. It ends with ctx or
	// an error, never by itself.
	Watch(ctx context.Context, prefix string) iter.Seq2[Change, error]
}

// A Store keeps logs and tables. Log and Table create what is not there yet, and give
// the same log or table for the same name; names obey the rules of keys.
type Store interface {
	Log(ctx context.Context, name string) (Log, error)
	Table(ctx context.Context, name string) (Table, error)

	// Close ends every call under way (ErrClosed, or ErrUnknown where that is the
	// truth), waits for them and lets go of the store. A second Close does nothing.
	Close() error
}
