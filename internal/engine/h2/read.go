package h2

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// inSize is the size of the buffers that are read into: two frames of the greatest size.
const inSize = 2 * (maxFrame + frameHead)

var ins = sync.Pool{New: func() any { return new([inSize]byte) }}

// read reads frames until the connection is over, and says why. batch is called after what
// each read brought.
func (c *conn) read(batch func()) error {
	if held := c.in[c.r:c.w]; len(held) <= inSize {
		c.buf = ins.Get().(*[inSize]byte)
		c.r, c.w, c.in = 0, copy(c.buf[:], held), c.buf[:]
	}
	defer func() {
		if c.buf != nil {
			ins.Put(c.buf)
		}
		c.buf, c.in = nil, nil
	}()
	for {
		for c.w-c.r >= frameHead {
			b := c.in[c.r:c.w]
			n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
			if n > maxFrame {
				return &connError{FrameSizeError, "a frame of more than 16 KiB"}
			}
			if len(b) < frameHead+n {
				break
			}
			c.r += frameHead + n
			err := c.frame(b[3], b[4], binary.BigEndian.Uint32(b[5:])&maxWindow, b[frameHead:frameHead+n])
			if err != nil {
				return err
			}
		}
		batch()
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
		n, err := c.nc.Read(c.in[c.w:])
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.slims() {
			if c.w > 0 { // a part of a frame has come meanwhile
				c.fatten()
				continue
			}
			n, err = c.readSlim()
		}
		c.w += n
		if n == 0 && err != nil {
			if err == io.EOF && c.w > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		c.mu.Lock()
		c.heard, c.pinged = now(), 0
		c.mu.Unlock()
	}
}

// slims says whether the connection has been idle for so long that it is to hold no buffer.
func (c *conn) slims() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slim && c.err == nil
}

// readSlim waits with one byte.
func (c *conn) readSlim() (int, error) {
	if c.buf != nil {
		ins.Put(c.buf)
	}
	c.buf, c.in, c.block = nil, nil, nil
	var one [1]byte
	c.nc.SetReadDeadline(time.Time{})
	n, err := c.nc.Read(one[:])
	c.buf = ins.Get().(*[inSize]byte)
	c.in = c.buf[:]
	c.in[0] = one[0]
	c.fatten()
	return n, err
}

// fatten notes that there is a buffer again.
func (c *conn) fatten() {
	c.nc.SetReadDeadline(time.Time{})
	c.mu.Lock()
	c.slim = false
	if c.idle != 0 {
		c.arm(now() + int64(slimAfter))
	}
	c.mu.Unlock()
}

var errFrameSize = &connError{FrameSizeError, "a frame of the wrong size"}

// frame takes one frame.
func (c *conn) frame(kind, flags byte, id uint32, p []byte) error {
	if c.partOf != 0 && (kind != frameContinuation || id != c.partOf) {
		return &connError{ProtocolError, "a frame between those of one head"}
	}
	if !c.settled && kind != frameSettings {
		return &connError{ProtocolError, "the first frame is not SETTINGS"}
	}
	switch kind {
	case frameData:
		return c.data(id, flags, p)
	case frameHeaders:
		return c.headers(id, flags, p)
	case frameContinuation:
		if c.partOf == 0 {
			return &connError{ProtocolError, "CONTINUATION without a head"}
		}
		if c.parts++; c.parts > maxParts || len(c.block)+len(p) > c.cfg.MaxHead {
			return &connError{EnhanceYourCalm, "a head of too many parts"}
		}
		c.block = append(c.block, p...)
		if flags&flagEndHead == 0 {
			return nil
		}
		flags, c.partOf, c.parts = c.partial, 0, 0
		c.setHeading(0)
		err := c.whole(id, flags, c.block)
		if cap(c.block) > maxFrame {
			c.block = nil
		}
		return err
	case framePriority:
		if id == 0 {
			return &connError{ProtocolError, "PRIORITY of no stream"}
		}
		if len(p) != 5 {
			return c.wrong(id, FrameSizeError, "a PRIORITY of the wrong size")
		}
		if binary.BigEndian.Uint32(p)&maxWindow == id {
			return c.wrong(id, ProtocolError, "a stream that depends on itself")
		}
		return c.useless(1)
	case frameReset:
		return c.reset(id, p)
	case frameSettings:
		return c.settings(id, flags, p)
	case framePush:
		return &connError{ProtocolError, "PUSH_PROMISE, which nobody takes"}
	case framePing:
		return c.ping(id, flags, p)
	case frameGoAway:
		return c.goneAway(id, p)
	case frameWindow:
		return c.window(id, p)
	}
	return c.useless(1) // unknown ones are passed over: RFC 9113, section 4.1
}

// wrong resets a stream because of what the peer did.
func (c *conn) wrong(id uint32, code Code, text string) error {
	c.mu.Lock()
	if s := c.streams[id]; s != nil && s.err == nil {
		c.resetLocked(s, &StreamError{Code: code, Text: text})
	} else if c.err == nil {
		c.out = appendReset(c.out, id, code)
		c.flushLocked()
	}
	err := c.answered(13)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return c.provoked()
}

// answered counts n bytes that answer a frame. A peer that asks and does not read is left.
func (c *conn) answered(n int) error {
	if c.control += n; c.control > maxControl {
		return &connError{EnhanceYourCalm, "the answers to control frames are not read"}
	}
	return nil
}

func (c *conn) data(id uint32, flags byte, p []byte) error {
	if id == 0 {
		return &connError{ProtocolError, "DATA of no stream"}
	}
	body, ok := unpad(p, flags)
	if !ok {
		return &connError{ProtocolError, "padding that is longer than its frame"}
	}
	if len(body) == 0 && flags&flagEnd == 0 {
		if err := c.useless(1); err != nil {
			return err
		}
	} else {
		c.junk.good(2)
	}
	c.mu.Lock()
	if c.recvWin -= int64(len(p)); c.recvWin < 0 {
		c.mu.Unlock()
		return &connError{FlowControlError, "more than the window of the connection"}
	}
	s := c.streams[id]
	if s == nil || s.recvEnded || s.err != nil {
		c.takenLocked(nil, len(p))
		var bad error
		switch known, ours := c.ended.find(id); {
		case s != nil && s.err != nil && !s.resetByPeer(), ours:
		case s != nil: // the peer had ended it
			c.mu.Unlock()
			return c.wrong(id, StreamClosed, "DATA behind the end")
		case c.unheard(id):
			bad = &connError{ProtocolError, "DATA of a stream that was not opened"}
		case known:
			bad = &connError{StreamClosed, "DATA behind the end"}
		default:
			c.mu.Unlock()
			return c.wrong(id, StreamClosed, "DATA behind the end")
		}
		c.mu.Unlock()
		return bad
	}
	if s.recvWin -= int64(len(p)); s.recvWin < 0 {
		c.takenLocked(nil, len(p))
		c.mu.Unlock()
		return c.wrong(id, FlowControlError, "more than the window of the stream")
	}
	if c.client && !s.headed {
		c.takenLocked(nil, len(p))
		c.mu.Unlock()
		return c.wrong(id, ProtocolError, "DATA before the head of an answer")
	}
	s.got += int64(len(body))
	end := flags&flagEnd != 0
	if s.length >= 0 && (s.got > s.length || end && s.got != s.length) {
		c.takenLocked(nil, len(p))
		c.mu.Unlock()
		return c.wrong(id, ProtocolError, "not as much DATA as content-length says")
	}
	if pad := len(p) - len(body); pad > 0 {
		c.takenLocked(s, pad)
	}
	s.in = append(s.in, body...)
	s.recvEnded = end
	s.recvs.Poke()
	c.mu.Unlock()
	return nil
}

// unheard says whether a stream was never opened.
func (c *conn) unheard(id uint32) bool {
	if id&1 == 0 {
		return true // we push nothing, and ask for nothing pushed
	}
	return id > c.last
}

func (c *conn) setHeading(at int64) {
	c.mu.Lock()
	if c.heading = at; at != 0 {
		c.arm(at + int64(c.cfg.First))
	}
	c.mu.Unlock()
}

func (c *conn) headers(id uint32, flags byte, p []byte) error {
	if id == 0 {
		return &connError{ProtocolError, "HEADERS of no stream"}
	}
	p, ok := unpad(p, flags)
	if !ok {
		return &connError{ProtocolError, "padding that is longer than its frame"}
	}
	onItself := false
	if flags&flagPriority != 0 {
		if len(p) < 5 {
			return errFrameSize
		}
		onItself = binary.BigEndian.Uint32(p)&maxWindow == id
		p = p[5:]
	}
	if onItself {
		flags |= selfish
	}
	if flags&flagEndHead == 0 {
		c.partOf, c.partial = id, flags
		c.block = append(c.block[:0], p...)
		c.setHeading(now())
		return nil
	}
	return c.whole(id, flags, p)
}

// selfish marks a HEADERS whose stream depends on itself; no flag of HTTP/2 has this bit.
const selfish = 0x80

// whole takes a head whose block is whole.
func (c *conn) whole(id uint32, flags byte, block []byte) error {
	c.junk.good(2)
	if c.client {
		return c.answer(id, flags, block)
	}
	return c.request(id, flags, block)
}

// decode decodes a block into a new Head.
func (c *conn) decode(block []byte) (*Head, error) {
	h := newHead(c.cfg.MaxHead)
	if err := c.dec.Decode(block, &h.Fields); err != nil {
		h.Free()
		return nil, &connError{CompressionError, "a head that cannot be decoded"}
	}
	return h, nil
}

func (c *conn) reset(id uint32, p []byte) error {
	if id == 0 {
		return &connError{ProtocolError, "RST_STREAM of no stream"}
	}
	if len(p) != 4 {
		return errFrameSize
	}
	code := Code(binary.BigEndian.Uint32(p))
	c.mu.Lock()
	s := c.streams[id]
	if s == nil {
		unheard := c.unheard(id)
		c.mu.Unlock()
		if unheard {
			return &connError{ProtocolError, "RST_STREAM of a stream that was not opened"}
		}
		return c.useless(1)
	}
	early := !s.sendEnded
	switch {
	case s.err != nil:
	case code == RefusedStream && c.client && !s.headed:
		s.failLocked(ErrUnprocessed)
	case c.client && s.recvEnded: // the answer is whole: the rest of the request is not wanted
		s.stopped = &StreamError{Code: code, Peer: true}
		s.sends.Poke()
	default:
		s.failLocked(&StreamError{Code: code, Peer: true})
	}
	c.mu.Unlock()
	if early {
		return c.provoked()
	}
	return nil
}

func (c *conn) settings(id uint32, flags byte, p []byte) error {
	switch {
	case id != 0:
		return &connError{ProtocolError, "SETTINGS of a stream"}
	case flags&flagAck != 0 && len(p) > 0, len(p)%6 != 0:
		return errFrameSize
	}
	if err := c.useless(settingsOf); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if flags&flagAck != 0 {
		c.acked = true
		return nil
	}
	for ; len(p) > 0; p = p[6:] {
		v := binary.BigEndian.Uint32(p[2:])
		switch binary.BigEndian.Uint16(p) {
		case setTable:
			c.enc.SetMax(v)
		case setPush:
			if v > 1 || v == 1 && c.client {
				return &connError{ProtocolError, "ENABLE_PUSH of " + Code(v).String()}
			}
		case setStreams:
			c.peerStreams = v
		case setWindow:
			if v > maxWindow {
				return &connError{FlowControlError, "a window of more than 2^31-1"}
			}
			for _, s := range c.streams {
				if s.sendWin += int64(v) - c.peerWindow; s.sendWin > maxWindow {
					return &connError{FlowControlError, "a window of more than 2^31-1"}
				}
			}
			c.peerWindow = int64(v)
			c.wakeBlocked()
		case setFrame:
			if v < maxFrame || v > 1<<24-1 {
				return &connError{ProtocolError, "a size of frames that must not be"}
			}
		}
	}
	c.settled = true
	c.out = appendFrame(c.out, 0, frameSettings, flagAck, 0)
	c.flushLocked()
	return c.answered(9)
}

func (c *conn) ping(id uint32, flags byte, p []byte) error {
	switch {
	case id != 0:
		return &connError{ProtocolError, "PING of a stream"}
	case len(p) != 8:
		return errFrameSize
	}
	c.mu.Lock()
	if flags&flagAck != 0 {
		if string(p) == pingDrain && c.leaving {
			c.goAwayLocked(NoError)
			c.lastLocked()
		}
		c.mu.Unlock()
		return c.useless(1)
	}
	c.out = append(appendFrame(c.out, 8, framePing, flagAck, 0), p...)
	c.flushLocked()
	err := c.answered(17)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return c.answering()
}

// pingDrain is asked between the two GOAWAYs of a server that ends: what was on its way before
// it saw the first has come when it answers.
const pingDrain = "stoa:bye"

func (c *conn) lastLocked() {
	if len(c.streams) == 0 {
		c.over()
	}
}

func (c *conn) goneAway(id uint32, p []byte) error {
	switch {
	case id != 0:
		return &connError{ProtocolError, "GOAWAY of a stream"}
	case len(p) < 8:
		return errFrameSize
	}
	if !c.client {
		return c.useless(1)
	}
	last := binary.BigEndian.Uint32(p) & maxWindow
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	for id, s := range c.streams {
		if id > last && !s.headed {
			s.failLocked(ErrUnprocessed)
		}
	}
	c.lastLocked()
	return nil
}

func (c *conn) window(id uint32, p []byte) error {
	if len(p) != 4 {
		return errFrameSize
	}
	n := int64(binary.BigEndian.Uint32(p) & maxWindow)
	if err := c.answering(); err != nil {
		return err
	}
	if n == 0 {
		if id == 0 {
			return &connError{ProtocolError, "a window of nothing"}
		}
		return c.wrong(id, ProtocolError, "a window of nothing")
	}
	c.mu.Lock()
	if id == 0 {
		defer c.mu.Unlock()
		if c.sendWin += n; c.sendWin > maxWindow {
			return &connError{FlowControlError, "a window of more than 2^31-1"}
		}
		c.wakeBlocked()
		return nil
	}
	s := c.streams[id]
	if s == nil {
		unheard := c.unheard(id)
		c.mu.Unlock()
		if unheard {
			return &connError{ProtocolError, "WINDOW_UPDATE of a stream that was not opened"}
		}
		return nil
	}
	s.sendWin += n
	over := s.sendWin > maxWindow
	if !over {
		c.wakeBlocked()
	}
	c.mu.Unlock()
	if over {
		return c.wrong(id, FlowControlError, "a window of more than 2^31-1")
	}
	return nil
}

// ending tells the peer of a connection that ends why, if it did something wrong.
func (c *conn) ending(err error) {
	var e *connError
	if errors.As(err, &e) {
		c.cfg.Log.Debug("an HTTP/2 connection was ended", "peer", c.nc.RemoteAddr().String(), "err", err)
		c.say(e)
		return
	}
	c.fail(err)
}
