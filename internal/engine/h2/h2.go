// Package h2 speaks HTTP/2 (RFC 9113), as a server to callers and as a client to services.
//
//	bytes -> reader (one goroutine a connection): frames, fields, windows -> Stream
//	Stream: on a server a goroutine of its own, one of those that are kept warm; Poll what came, Send what goes
//	frames of all streams -> one buffer a connection, under its lock -> one write by the flusher
//
// The flusher is started by whoever appends to an empty buffer, and yields once before it
// writes: so frames of many streams leave in one system call, which is most of what HTTP/2
// can save. Streams that came in one read are started together, after it, with what came of
// their bodies.
//
// Nothing waits in here but the reader for bytes, the flusher for the peer to take them, and Waker.Wait.
// Poll and Send give what is there and take what has room; what follows is told to a Waker.
// So one goroutine can carry both directions of two streams.
//
// Invariants:
//   - Bodies pass in constant memory: a peer may send what its window allows, and gets more
//     only as Poll takes it; Send takes what windows and buffer allow.
//   - A request that a Handler gets has good pseudo fields and no field of a connection
//     (RFC 9113, section 8); what breaks these rules is a stream error and reaches no Handler.
//   - A stream of a caller holds its place until its Handler has returned, whoever has reset it.
//   - What one connection can make us hold and do is bounded: see Config, and abuse.go.
//
// It knows nothing of who asks and what is done for it; it imports no other package of the
// house but hpack. Frames are read in place from the buffer of the connection: the Framer of
// golang.org/x/net copies each and gives a string for every field (ADR 15).
//
// Not here: push, priorities (read and ignored: RFC 9113, section 5.3.2), extended CONNECT,
// alternative services, the upgrade from HTTP/1.1 (RFC 9113 has none).
package h2

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Preface is what a client's connection begins with.
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Code is a reason to end a stream or a connection. RFC 9113, section 7.
type Code uint32

// The codes.
const (
	NoError Code = iota
	ProtocolError
	InternalError
	FlowControlError
	SettingsTimeout
	StreamClosed
	FrameSizeError
	RefusedStream
	Cancel
	CompressionError
	ConnectError
	EnhanceYourCalm
	InadequateSecurity
	HTTP11Required
)

var codeNames = [...]string{"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"}

// String is the code as the RFC spells it.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("0x%x", uint32(c))
}

// connError ends a connection.
type connError struct {
	code Code
	text string
}

func (e *connError) Error() string { return "h2: " + e.code.String() + ": " + e.text }

// Malformed says whether a connection was ended because the peer broke a rule.
func Malformed(err error) bool {
	var e *connError
	return errors.As(err, &e) && e.code != NoError
}

// StreamError ends a stream.
type StreamError struct {
	Code Code
	Peer bool // it is the peer that ended it
	Text string
}

func (e *StreamError) Error() string {
	if e.Peer {
		return "h2: the stream was reset by the peer: " + e.Code.String()
	}
	return "h2: the stream was reset: " + e.Code.String() + ": " + e.Text
}

// The errors of streams and connections.
var (
	// ErrUnprocessed says that the peer has not looked at the request: it may be sent again,
	// whatever it asks for (RFC 9113, section 8.7).
	ErrUnprocessed = errors.New("h2: the peer has not processed the request")
	// ErrFull says that a connection can carry no further stream now.
	ErrFull = errors.New("h2: the connection has no room for another stream")
	// ErrClosed says that the connection was closed from this side.
	ErrClosed = errors.New("h2: the connection was closed")

	errSent = errors.New("h2: the end of the stream was sent already")
)

// Config bounds what a connection may hold and do. The zero value is for an edge.
type Config struct {
	Window     int           // bytes that a stream may send before they are taken; 0: 64 KiB
	ConnWindow int           // and all streams of a connection together; 0: 1 MiB
	Streams    int           // of a caller at one time; 0: 100
	MaxHead    int           // of one message's fields, with 32 bytes for each; 0: 64 KiB
	HeadMemory int           // of all fields that a connection makes us hold; 0: 1 MiB
	Resets     int           // in ten seconds, the caller's and those that it provokes; 0: 100
	Stall      time.Duration // a stream that is given no window, a connection that takes nothing; 0: 30 s, below 0: for ever
	First      time.Duration // for the preface, and for each head that comes in parts; 0: 10 s
	Idle       time.Duration // a connection without a stream; 0: 75 s
	Ping       time.Duration // quiet with streams open, then the peer is asked whether it is there; 0: 30 s
	Log        *slog.Logger  // nil: no log
}

func (c Config) filled() Config {
	or := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	or(&c.Window, 64<<10)
	or(&c.ConnWindow, 1<<20)
	or(&c.Streams, 100)
	or(&c.MaxHead, 64<<10)
	or(&c.HeadMemory, 1<<20)
	or(&c.Resets, 100)
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&c.Stall, 30 * time.Second}, {&c.First, 10 * time.Second}, {&c.Idle, 75 * time.Second}, {&c.Ping, 30 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	c.Window, c.ConnWindow = max(c.Window, initialWindow), max(c.ConnWindow, initialWindow)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

var epoch = time.Now()

// now is the time as connections count it: nanoseconds of the monotonic clock, above 0.
func now() int64 { return int64(time.Since(epoch)) + 1 }

// At gives t as Wait wants it, 0 for the zero time.
func At(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return int64(t.Sub(epoch)) + 1
}
