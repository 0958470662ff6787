// Package websocket is a suite of RFC 6455 over the data plane: what a WebSocket client and
// server say to each other must pass as if nothing stood between them.
//
// A server of frames (echo_test.go) stands behind the proxy, a client of frames before it.
// The cases follow the order in which Autobahn's suite has them: framing, pings, reserved
// bits and opcodes, fragments, UTF-8, closing, sizes, the handshake, compression; then
// what only a proxy can get wrong. Every case runs against the server itself first, so that
// what fails through the proxy is the proxy's. Both sides count and hash each byte that
// they send and get: after a case the sums must agree.
package websocket

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"sync"
)

// The opcodes of RFC 6455, section 5.2.
const (
	opMore   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xA
)

// fin and rsv1 are bits of a frame's first byte.
const (
	fin  = 0x80
	rsv1 = 0x40
)

// A frame is one frame; first is its first byte.
type frame struct {
	first   byte
	masked  bool
	payload []byte // unmasked
}

func (f frame) op() byte  { return f.first & 0x0F }
func (f frame) fin() bool { return f.first&fin != 0 }

// append appends the frame as bytes, with the mask if it is masked.
func (f frame) append(b []byte, key [4]byte) []byte {
	b = append(b, f.first)
	mask := byte(0)
	if f.masked {
		mask = 0x80
	}
	switch n := len(f.payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if !f.masked {
		return append(b, f.payload...)
	}
	b = append(b, key[:]...)
	start := len(b)
	b = append(b, f.payload...)
	xor(b[start:], key)
	return b
}

// xor masks b, and unmasks it. RFC 6455, section 5.3.
func xor(b []byte, key [4]byte) {
	pad := bytes.Repeat(key[:], 1024)
	for len(b) > 0 {
		n := subtle.XORBytes(b, b, pad)
		b = b[n:]
	}
}

// maxPayload bounds what the suite reads as one frame.
const maxPayload = 64 << 20

var errTooLarge = errors.New("a frame of more than 64 MiB")

// readFrame reads one frame.
func readFrame(r io.Reader) (frame, error) {
	var head [14]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return frame{}, err
	}
	f := frame{first: head[0], masked: head[1]&0x80 != 0}
	n := uint64(head[1] & 0x7F)
	switch n {
	case 126:
		if _, err := io.ReadFull(r, head[2:4]); err != nil {
			return frame{}, err
		}
		n = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		if _, err := io.ReadFull(r, head[2:10]); err != nil {
			return frame{}, err
		}
		n = binary.BigEndian.Uint64(head[2:])
	}
	if n > maxPayload {
		return frame{}, errTooLarge
	}
	var key [4]byte
	if f.masked {
		if _, err := io.ReadFull(r, key[:]); err != nil {
			return frame{}, err
		}
	}
	f.payload = make([]byte, n)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return frame{}, err
	}
	if f.masked {
		xor(f.payload, key)
	}
	return f, nil
}

// tally counts and hashes what passes.
type tally struct {
	mu  sync.Mutex
	n   int64     // guarded by mu
	sum hash.Hash // guarded by mu
}

func newTally() *tally { return &tally{sum: sha256.New()} }

func (t *tally) add(b []byte) {
	t.mu.Lock()
	t.n += int64(len(b))
	t.sum.Write(b)
	t.mu.Unlock()
}

// total gives how many bytes passed, and their sum.
func (t *tally) total() (int64, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n, string(t.sum.Sum(nil))
}

// counted is a reader and writer whose bytes are tallied.
type counted struct {
	r        io.Reader
	w        io.Writer
	got, put *tally
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.got.add(p[:n])
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.put.add(p[:n])
	return n, err
}
