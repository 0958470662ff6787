// Package id makes identifiers: UUIDs of version 7 (RFC 9562, 5.7), which sort by the
// time at which they were made, to the millisecond.
package id

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// New gives a new identifier, in 36 lower-case characters.
func New() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	ms := uint64(time.Now().UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[0:8], b[0:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:36], b[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}
