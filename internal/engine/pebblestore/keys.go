package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"stoa/internal/ground/journal"
)

// The key space. The bytes are drawn in docs/formats/journal.md.
const (
	kindFormat = 'v' // -> format version, one byte
	kindCount  = 'n' // -> batches of changes so far, eight bytes
	kindName   = 'c' // 'l' or 't', name -> id
	kindEntry  = 'l' // id, seq -> entry
	kindFront  = 'f' // id of a log -> front
	kindValue  = 't' // id, key -> revision, value
	kindRev    = 'r' // id of a table -> last revision
)

// formatVersion is written into a new store. A greater one is refused.
const formatVersion = 1

var errFormat = errors.New("not in the format of docs/formats/journal.md")

func idKey(kind byte, id uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, id)
}

func entryKey(id uint32, seq journal.Seq) []byte {
	k := make([]byte, 0, 13)
	k = binary.BigEndian.AppendUint32(append(k, kindEntry), id)
	return binary.BigEndian.AppendUint64(k, uint64(seq))
}

func entrySeq(key []byte) journal.Seq { return journal.Seq(binary.BigEndian.Uint64(key[5:])) }

func valueKey(id uint32, key string) []byte {
	k := make([]byte, 0, 5+len(key))
	k = binary.BigEndian.AppendUint32(append(k, kindValue), id)
	return append(k, key...)
}

func nameKey(kind byte, name string) []byte {
	return append([]byte{kindName, kind}, name...)
}

// An entry: version, At in milliseconds, sum, count, lengths, bytes. sum is the
// encoded size of all entries of the log up to and with this one: the difference of
// two tells what a cut frees, without reading what is between.
const (
	entryVersion = 1
	entryHead    = 1 + 8 + 8
)

// encodeEntry leaves At and sum open; seal fills them in. It copies the items.
func encodeEntry(items [][]byte) []byte {
	b := make([]byte, entryHead, entryHead+binary.MaxVarintLen32+journal.Size(items...))
	b[0] = entryVersion
	b = binary.AppendUvarint(b, uint64(len(items)))
	for _, it := range items {
		b = binary.AppendUvarint(b, uint64(len(it)))
	}
	for _, it := range items {
		b = append(b, it...)
	}
	return b
}

func sealEntry(b []byte, at time.Time, sum uint64) {
	binary.BigEndian.PutUint64(b[1:], uint64(at.UnixMilli()))
	binary.BigEndian.PutUint64(b[9:], sum)
}

func entrySum(b []byte) (uint64, error) {
	if len(b) < entryHead || b[0] != entryVersion {
		return 0, errFormat
	}
	return binary.BigEndian.Uint64(b[9:]), nil
}

// decodeEntry gives an entry whose items are parts of b.
func decodeEntry(seq journal.Seq, b []byte) (journal.Entry, error) {
	bad := func(what string) (journal.Entry, error) {
		return journal.Entry{}, fmt.Errorf("entry %d, %s: %w", seq, what, errFormat)
	}
	if len(b) < entryHead || b[0] != entryVersion {
		return bad("head")
	}
	e := journal.Entry{Seq: seq, At: time.UnixMilli(int64(binary.BigEndian.Uint64(b[1:]))).UTC()}
	rest := b[entryHead:]
	count, n := binary.Uvarint(rest)
	if n <= 0 || count > uint64(len(rest)) { // each item takes a byte at least
		return bad("count")
	}
	lens := rest[n:]
	body, total := lens, uint64(0)
	for range count {
		l, n := binary.Uvarint(body)
		if n <= 0 || l > journal.MaxEntry {
			return bad("lengths")
		}
		body, total = body[n:], total+l
	}
	if total != uint64(len(body)) {
		return bad("size")
	}
	e.Items = make([][]byte, count)
	for i := range e.Items {
		l, n := binary.Uvarint(lens)
		lens = lens[n:]
		e.Items[i], body = body[:l:l], body[l:]
	}
	return e, nil
}

// front is where a log begins.
type front struct {
	first journal.Seq // the first entry that can be read
	old   journal.Seq // the first that is not deleted yet; old <= first
	sum   uint64      // of the entries before first
	freed uint64      // of the entries before old
}

func (f front) encode() []byte {
	b := make([]byte, 0, 33)
	b = append(b, 1)
	for _, v := range []uint64{uint64(f.first), uint64(f.old), f.sum, f.freed} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func decodeFront(b []byte) (front, error) {
	if len(b) != 33 || b[0] != 1 {
		return front{}, fmt.Errorf("front of a log: %w", errFormat)
	}
	u := func(i int) uint64 { return binary.BigEndian.Uint64(b[1+8*i:]) }
	return front{journal.Seq(u(0)), journal.Seq(u(1)), u(2), u(3)}, nil
}

func encodeValue(rev journal.Rev, v []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(v)), uint64(rev)), v...)
}

// decodeValue gives a value that is a part of b.
func decodeValue(b []byte) (journal.Rev, []byte, error) {
	if len(b) < 8 {
		return 0, nil, fmt.Errorf("value of a table: %w", errFormat)
	}
	return journal.Rev(binary.BigEndian.Uint64(b)), b[8:], nil
}
