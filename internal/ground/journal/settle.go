package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"
)

// MarkSize is the length of a mark: 16 bytes name the owner, 8 count its attempts.
const MarkSize = 24

// Mark gives the first item of an entry that may have to be settled. Equal bytes prove
// nothing (two owners may well append the same), equal marks do: owner is random, one
// per life of a writer, and n is never used twice by it.
func Mark(owner [16]byte, n uint64) []byte {
	m := make([]byte, MarkSize)
	copy(m, owner[:])
	binary.BigEndian.PutUint64(m[16:], n)
	return m
}

// Settling backs off between tries: a first attempt that lands late was seen up to a
// second after the second try, so that is the longest pause.
const (
	settleFirst = 2 * time.Millisecond
	settleLast  = time.Second
)

// Settle finds out about an append whose outcome is unknown, and brings it about if it
// has not happened: it appends the same items with the same after again. Success is
// success. Stale means to look: the first entry after after is ours (it happened),
// another's (ErrStale: it did not and never will, since that place is taken), or not
// there (something is in flight: back off, repeat).
//
// The first item must be a Mark that no other append bears. Settle goes on until it
// knows, the store is closed or ctx ends; in the last two cases it gives ErrUnknown.
func Settle(ctx context.Context, l Log, after Seq, items ...[]byte) (Seq, error) {
	if len(items) == 0 || len(items[0]) != MarkSize {
		panic("journal: Settle needs a mark as the first item")
	}
	pause := settleFirst
	for {
		seq, err := l.Append(ctx, after, items...)
		switch {
		case err == nil:
			return seq, nil
		case errors.Is(err, ErrTooBig), errors.Is(err, ErrKey):
			return 0, err // nor was the first attempt ever taken
		case errors.Is(err, ErrClosed), ctx.Err() != nil:
			return 0, unknown(err)
		}
		if e, found, rerr := firstAfter(ctx, l, after); found {
			if len(e.Items) > 0 && bytes.Equal(e.Items[0], items[0]) {
				return e.Seq, nil
			}
			return 0, ErrStale
		} else if errors.Is(rerr, ErrCut) || errors.Is(rerr, ErrClosed) {
			return 0, unknown(rerr) // what could decide is gone
		}
		select {
		case <-ctx.Done():
			return 0, unknown(ctx.Err())
		case <-time.After(pause):
			pause = min(2*pause, settleLast)
		}
	}
}

func firstAfter(ctx context.Context, l Log, after Seq) (Entry, bool, error) {
	for e, err := range l.Read(ctx, after) {
		return e, err == nil, err
	}
	return Entry{}, false, nil
}
