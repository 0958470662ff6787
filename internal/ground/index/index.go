// Package index is the port of rebuildable projections: due times, dedupe, search and
// whatever else is looked up in another order than a log has.
//
// An index holds nothing that its logs do not. It may be lost at any time (a power cut
// takes its tail, damage takes it whole) and is then fed again from the position it
// tells. Therefore the one rule: a write and the position it came from are applied
// together, and only what a log has made durable is applied.
//
//	Log.Read(after Position) -> decide -> Apply(From, At, writes) -> Get, Scan
//
// An index is always behind its logs and always consistent: it is what applying a
// prefix of its batches gives, never a part of a batch. Applying does not wait for a
// disk. One goroutine feeds an index; any number read it.
package index

import (
	"context"
	"errors"
	"iter"

	"stoa/api/fault"
	"stoa/internal/ground/journal"
)

// Limits of an index.
const (
	MaxKey   = 4 << 10 // bytes of a key
	MaxBatch = 1 << 20 // bytes of keys and values in a batch
)

// The errors, besides those of the journal: ErrFull, ErrDown, ErrClosed, ErrTooBig
// and ErrKey mean the same here.
var (
	// ErrBehind: the batch does not come after the position of its log. Whoever feeds
	// the index has to read Position and begin there.
	ErrBehind = &fault.Error{Kind: fault.Conflict, Err: errors.New("the index has already taken this position")}
)

// A Write sets Key to Value, or removes it. Keys are ordered by their bytes; an empty
// key is ErrKey.
type Write struct {
	Key    []byte
	Value  []byte
	Remove bool
}

// A Batch is what one stretch of a log amounts to. No writes at all are fine: they
// move the position.
type Batch struct {
	From   string      // the log's name, which obeys journal.CheckKey
	At     journal.Seq // the last entry that the writes account for
	Writes []Write     // borrowed until Apply returns; of two writes to a key the later counts
}

// KV is a key and its value; the reader owns both.
type KV struct{ Key, Value []byte }

// An Index is one projection. All methods may be called concurrently and block at most
// until ctx ends.
type Index interface {
	// Apply takes the batch in whole or not at all; any error means not at all.
	// ErrBehind unless b.At is beyond the position of b.From.
	Apply(ctx context.Context, b Batch) error

	// Get gives the value of key, and false if there is none.
	Get(ctx context.Context, key []byte) ([]byte, bool, error)

	// Scan gives the keys from from on and below to, in byte order; a nil to is the
	// end. It sees one state of the index, however long it takes, if it is short (some
	// hundred keys); a longer one sees each stretch as it is when it is reached.
	Scan(ctx context.Context, from, to []byte) iter.Seq2[KV, error]

	// Position gives the last entry of a log that the index accounts for, 0 if none.
	Position(ctx context.Context, log string) (journal.Seq, error)

	// Reset empties the index and all its positions, to be built again.
	Reset(ctx context.Context) error
}

// CheckBatch gives ErrKey or ErrTooBig for a batch that no index takes.
func CheckBatch(b Batch) error {
	if err := journal.CheckKey(b.From); err != nil {
		return err
	}
	size := 0
	for _, w := range b.Writes {
		if len(w.Key) == 0 {
			return keyErr("it is empty", len(w.Key))
		}
		if len(w.Key) > MaxKey {
			return keyErr("too long", len(w.Key))
		}
		size += len(w.Key) + len(w.Value)
	}
	if size > MaxBatch {
		return tooBig(size)
	}
	return nil
}
