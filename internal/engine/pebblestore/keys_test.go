package pebblestore

import (
	"bytes"
	"testing"
	"time"
)

// Whatever bytes are found under an entry's key, decoding gives an entry or an error.
func FuzzDecodeEntry(f *testing.F) {
	for _, items := range [][][]byte{nil, {{}}, {[]byte("a"), []byte("bc")}, {make([]byte, 300)}} {
		b := encodeEntry(items)
		sealEntry(b, time.UnixMilli(1700000000000), 77)
		f.Add(b)
	}
	f.Add([]byte{entryVersion, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry(1, b)
		if err != nil {
			return
		}
		again := encodeEntry(e.Items)
		sum, _ := entrySum(b)
		sealEntry(again, e.At, sum)
		back, err := decodeEntry(1, again)
		if err != nil || len(back.Items) != len(e.Items) || !back.At.Equal(e.At) {
			t.Fatalf("%x decodes to %v and back to %v (%v)", b, e, back, err)
		}
		for i := range e.Items {
			if !bytes.Equal(e.Items[i], back.Items[i]) {
				t.Fatalf("item %d: %x, then %x", i, e.Items[i], back.Items[i])
			}
		}
	})
}
