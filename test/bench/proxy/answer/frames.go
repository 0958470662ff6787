package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
)

// Frame types and flags of RFC 9113, section 6.
const (
	typeData, typeHeaders, typeSettings, typePing, typeGoAway, typeWindow = 0, 1, 4, 6, 7, 8

	flagEndStream, flagAck, flagEndHeaders = 1, 1, 4
)

const (
	preface       = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	initialWindow = 65535
	maxFrame      = 16 << 10 // larger ones are forbidden without a setting that offers them
	grant         = 1 << 30  // bytes that a peer may send on a connection before it is granted more
)

// wire is the answer as bytes, but for the stream's number.
type wire struct {
	head, data, trailer []byte // whole frames
	cost                int    // bytes of the connection's window
}

func newWire(size int) *wire {
	message := binary.BigEndian.AppendUint32([]byte{0}, uint32(size))
	message = append(message, make([]byte, size)...)
	return &wire{
		head:    frame(typeHeaders, flagEndHeaders, append([]byte{0x88}, literal(31, "", "application/grpc")...)), // :status 200; content-type
		data:    frame(typeData, 0, message),
		trailer: frame(typeHeaders, flagEndHeaders|flagEndStream, literal(0, "grpc-status", "0")),
		cost:    len(message),
	}
}

// frame makes a frame of stream 0.
func frame(typ, flags byte, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(typ))
	return append(append(b, flags, 0, 0, 0, 0), payload...)
}

// literal is a field without indexing, its name by index of the static table, or by text
// if that is 0. RFC 7541, section 6.2.2.
func literal(index byte, name, value string) []byte {
	b := []byte{index}
	if index >= 15 {
		b = []byte{15, index - 15}
	}
	if index == 0 {
		b = append(append(b, byte(len(name))), name...)
	}
	return append(append(b, byte(len(value))), value...)
}

// conn is one connection. Its goroutine owns it.
type conn struct {
	c       net.Conn
	wire    *wire
	window  int      // bytes we may send
	waiting []uint32 // streams that wait for the window
	taken   int      // bytes of DATA since the last grant
	out     []byte
}

// serve answers until the peer closes, which is no error.
func (c *conn) serve() error {
	settings := binary.BigEndian.AppendUint32([]byte{0, 3}, 1000)           // MAX_CONCURRENT_STREAMS
	settings = binary.BigEndian.AppendUint32(append(settings, 0, 4), 1<<20) // INITIAL_WINDOW_SIZE
	c.out = append(c.out, frame(typeSettings, 0, settings)...)
	c.out = append(c.out, frame(typeWindow, 0, binary.BigEndian.AppendUint32(nil, grant))...)
	buf, n, greeted := make([]byte, 64<<10), 0, false
	for {
		m, err := c.c.Read(buf[n:])
		if n += m; err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || n == 0 {
				return nil
			}
			return err
		}
		at := 0
		if !greeted && n >= len(preface) {
			if string(buf[:len(preface)]) != preface {
				return fmt.Errorf("no HTTP/2 preface: %q", buf[:len(preface)])
			}
			greeted, at = true, len(preface)
		}
		for greeted && n-at >= 9 {
			size := int(binary.BigEndian.Uint32(buf[at:]) >> 8)
			if size > maxFrame {
				return fmt.Errorf("frame of %d bytes", size)
			}
			if n-at < 9+size {
				break
			}
			if !c.take(buf[at+3], buf[at+4], binary.BigEndian.Uint32(buf[at+5:])&(1<<31-1), buf[at+9:at+9+size]) {
				return nil
			}
			at += 9 + size
		}
		n = copy(buf, buf[at:n])
		if len(c.out) > 0 {
			if _, err := c.c.Write(c.out); err != nil {
				return nil // it has gone
			}
			c.out = c.out[:0]
		}
	}
}

// take handles one frame; false ends the connection.
func (c *conn) take(typ, flags byte, stream uint32, payload []byte) bool {
	switch typ {
	case typeData:
		if c.taken += len(payload); c.taken > grant/2 {
			c.out = append(c.out, frame(typeWindow, 0, binary.BigEndian.AppendUint32(nil, uint32(c.taken)))...)
			c.taken = 0
		}
		if flags&flagEndStream != 0 {
			c.waiting = append(c.waiting, stream)
		}
	case typeHeaders:
		if flags&flagEndStream != 0 {
			c.waiting = append(c.waiting, stream)
		}
	case typeSettings:
		if flags&flagAck == 0 {
			c.out = append(c.out, frame(typeSettings, flagAck, nil)...)
		}
	case typePing:
		if flags&flagAck == 0 {
			c.out = append(c.out, frame(typePing, flagAck, payload)...)
		}
	case typeWindow:
		if stream == 0 && len(payload) == 4 {
			c.window += int(binary.BigEndian.Uint32(payload) & (1<<31 - 1))
		}
	case typeGoAway:
		return false
	}
	done := 0
	for _, s := range c.waiting {
		if c.window < c.wire.cost {
			break
		}
		c.window -= c.wire.cost
		c.out = mark(append(c.out, c.wire.head...), len(c.wire.head), s)
		c.out = mark(append(c.out, c.wire.data...), len(c.wire.data), s)
		c.out = mark(append(c.out, c.wire.trailer...), len(c.wire.trailer), s)
		done++
	}
	if done > 0 {
		answered.Add(int64(done))
		c.waiting = slices.Delete(c.waiting, 0, done)
	}
	return true
}

// mark writes the stream's number into the last frame, which has n bytes.
func mark(b []byte, n int, stream uint32) []byte {
	binary.BigEndian.PutUint32(b[len(b)-n+5:], stream)
	return b
}
