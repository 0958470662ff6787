package h2

import (
	"sync"

	"stoa/internal/engine/h2/hpack"
)

// Waker is what one goroutine waits on for any number of streams.
type Waker struct{ ch chan struct{} }

// NewWaker gives one that nobody has poked.
func NewWaker() *Waker { return &Waker{make(chan struct{}, 1)} }

// Poke lets the goroutine go on that waits, or will.
func (w *Waker) Poke() {
	select {
	case w.ch <- struct{}{}:
	default:
	}
}

// Drain forgets a Poke.
func (w *Waker) Drain() {
	select {
	case <-w.ch:
	default:
	}
}

// Wait waits for a Poke. It may come without a reason.
func (w *Waker) Wait() { <-w.ch }

// C is what Wait waits on.
func (w *Waker) C() <-chan struct{} { return w.ch }

// Stream is one request and its answer. Its methods are for one goroutine, or for two if one
// sends and the other polls. After Close none may be called.
type Stream struct {
	c    *conn
	id   uint32
	Head *Head // of the request, on a server; it is freed by Close
	own  *Waker

	// Guarded by c.mu.
	recvs, sends *Waker
	recvEnded    bool // END_STREAM came
	sendEnded    bool // END_STREAM was sent
	err          error
	stopped      error // nothing more is to be sent, but what came is good
	heads        []*Head
	headed       bool // the final head of an answer came
	bodiless     bool // the request is HEAD
	interims     int
	in           []byte
	trailer      *Head
	recvWin      int64
	debt         int
	length, got  int64
	sendWin      int64
	waits        bool  // is in c.blocked
	starved      int64 // since when there is no window for what is to be sent; 0: there is
	until        int64
	interrupt    func()
	held         int
}

var streams = sync.Pool{New: func() any { return &Stream{own: NewWaker()} }}

// maxKeptIn is the size up to which the buffer of a stream is used again.
const maxKeptIn = 16 << 10

func (c *conn) newStream(id uint32) *Stream {
	s := streams.Get().(*Stream)
	own, in, hs := s.own, s.in[:0], s.heads[:0]
	own.Drain()
	*s = Stream{c: c, id: id, own: own, in: in, heads: hs, recvs: own, sends: own,
		recvWin: int64(c.cfg.Window), sendWin: c.peerWindow, length: -1}
	c.streams[id] = s
	c.idle = 0
	return s
}

// Waker is what is poked when there is something to Poll, or room to Send.
func (s *Stream) Waker() *Waker { return s.own }

// Wake says who is poked: recvs when there is something to Poll, sends when there is room to Send.
func (s *Stream) Wake(recvs, sends *Waker) {
	s.c.mu.Lock()
	s.recvs, s.sends = recvs, sends
	s.c.mu.Unlock()
}

// Until sees to it that both Wakers are poked once at the time at, as At gives it; 0 for never.
func (s *Stream) Until(at int64) {
	c := s.c
	c.mu.Lock()
	if s.until = at; at != 0 {
		c.arm(at)
	}
	c.mu.Unlock()
}

// Interrupt has f called, once, when the stream fails; at once if it has. f must not block nor
// call the stream. nil takes it back.
func (s *Stream) Interrupt(f func()) {
	s.c.mu.Lock()
	s.interrupt = f
	failed := s.err != nil
	if failed {
		s.interrupt = nil
	}
	s.c.mu.Unlock()
	if failed && f != nil {
		f()
	}
}

// Err is why the stream failed, nil if it has not.
func (s *Stream) Err() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.err
}

// Polled is what came since the last Poll.
type Polled struct {
	Head    *Head  // of an answer, interim or final: Poll again. It is to be freed
	Data    []byte // of the body; it is the caller's
	End     bool   // nothing more will come
	Trailer *Head  // with End; nil: none. It is to be freed
	Err     error  // the stream failed, and nothing more will come
}

// Poll gives what came. spare is a buffer in exchange for that of Data; it may be nil.
func (s *Stream) Poll(spare []byte) (p Polled) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(s.heads) > 0 {
		p.Head = s.heads[0]
		s.heads = s.heads[:copy(s.heads, s.heads[1:])]
		return p
	}
	if s.err != nil && !c.client {
		p.Err = s.err
		return p
	}
	if n := len(s.in); n > 0 {
		p.Data, s.in = s.in, spare[:0]
		c.takenLocked(s, n)
	}
	switch {
	case s.recvEnded:
		p.End, p.Trailer = true, s.trailer
		s.trailer = nil
	case s.err != nil && len(p.Data) == 0:
		p.Err = s.err
	}
	return p
}

// takenLocked gives the peer window for n bytes that were taken of s, which may be nil.
func (c *conn) takenLocked(s *Stream, n int) {
	if c.err != nil {
		return
	}
	if c.debt += n; c.debt >= c.cfg.ConnWindow/2 {
		c.out = appendWindow(c.out, 0, c.debt)
		c.recvWin += int64(c.debt)
		c.debt = 0
		c.flushLocked()
	}
	if s == nil || s.recvEnded || s.err != nil {
		return
	}
	if s.debt += n; s.debt >= c.cfg.Window/2 {
		c.out = appendWindow(c.out, s.id, s.debt)
		s.recvWin += int64(s.debt)
		s.debt = 0
		c.flushLocked()
	}
}

// Field is a field to send. Its name is in lower case.
type Field struct {
	Name, Value []byte
	How         hpack.How
}

// SendHead sends a field section: of an answer or, with end, trailers.
func (s *Stream) SendHead(fields []Field, end bool) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.canSend(); err != nil {
		return err
	}
	c.headLocked(s.id, fields, end)
	s.sendEnded = end
	c.flushLocked()
	return nil
}

func (s *Stream) canSend() error {
	switch {
	case s.err != nil:
		return s.err
	case s.stopped != nil:
		return s.stopped
	case s.sendEnded:
		return errSent
	}
	return nil
}

// headLocked appends HEADERS, and CONTINUATIONs if it is a long one.
func (c *conn) headLocked(id uint32, fields []Field, end bool) {
	at := len(c.out)
	flags := byte(flagEndHead)
	if end {
		flags |= flagEnd
	}
	c.out = appendFrame(c.out, 0, frameHeaders, flags, id)
	c.out = c.enc.Begin(c.out)
	for i := range fields {
		f := &fields[i]
		c.out = c.enc.Append(c.out, f.Name, f.Value, f.How)
	}
	n := len(c.out) - at - frameHead
	if n > maxFrame {
		c.splitHead(at, id, flags)
		return
	}
	c.out[at], c.out[at+1], c.out[at+2] = byte(n>>16), byte(n>>8), byte(n)
}

func (c *conn) splitHead(at int, id uint32, flags byte) {
	block := append([]byte(nil), c.out[at+frameHead:]...)
	c.out = c.out[:at]
	kind, flags := byte(frameHeaders), flags&^flagEndHead
	for len(block) > maxFrame {
		c.out = append(appendFrame(c.out, maxFrame, kind, flags, id), block[:maxFrame]...)
		block = block[maxFrame:]
		kind, flags = frameContinuation, 0
	}
	c.out = append(appendFrame(c.out, len(block), kind, flags|flagEndHead, id), block...)
}

// Send takes of p what there is room for, and says how much that was. When less than all of
// it, the Waker is poked when there is more. With end, the last byte of p ends the stream.
func (s *Stream) Send(p []byte, end bool) (n int, err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.canSend(); err != nil {
		return 0, err
	}
	for n < len(p) {
		room := min(int64(len(p)-n), s.sendWin, c.sendWin, int64(maxOut-len(c.out)))
		if room <= 0 {
			break
		}
		k := min(int(room), c.peerFrame)
		flags := byte(0)
		if end && n+k == len(p) {
			flags = flagEnd
			s.sendEnded = true
		}
		c.out = append(appendFrame(c.out, k, frameData, flags, s.id), p[n:n+k]...)
		n += k
		c.given = min(c.given+4+k/1024, maxGiven)
		s.sendWin -= int64(k)
		c.sendWin -= int64(k)
		s.starved = 0
	}
	switch {
	case n < len(p):
		if s.starved == 0 && (s.sendWin <= 0 || c.sendWin <= 0) {
			s.starved = now()
			if c.cfg.Stall > 0 {
				c.arm(s.starved + int64(c.cfg.Stall))
			}
		}
		if !s.waits {
			s.waits = true
			c.blocked = append(c.blocked, s)
		}
	case end && len(p) == 0:
		c.out = appendFrame(c.out, 0, frameData, flagEnd, s.id)
		s.sendEnded = true
	}
	c.flushLocked()
	return n, nil
}

// Reset ends the stream, if it has not ended.
func (s *Stream) Reset(code Code) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err == nil {
		c.resetLocked(s, &StreamError{Code: code, Text: "it was given up"})
	}
}

func (c *conn) resetLocked(s *Stream, err *StreamError) {
	if c.err == nil && !(s.recvEnded && s.sendEnded) {
		c.out = appendReset(c.out, s.id, err.Code)
		c.flushLocked()
	}
	s.failLocked(err)
}

// failLocked notes that the stream is over.
func (s *Stream) failLocked(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	s.starved, s.until = 0, 0
	s.recvs.Poke()
	s.sends.Poke()
	if f := s.interrupt; f != nil {
		s.interrupt = nil
		f()
	}
}

func (s *Stream) resetByPeer() bool {
	e, ok := s.err.(*StreamError)
	return ok && e.Peer
}

// Close forgets the stream. What has not ended of it is reset: with NO_ERROR if only the
// other side had something to say (RFC 9113, section 8.1), else with CANCEL.
func (s *Stream) Close() {
	c := s.c
	c.mu.Lock()
	ours := !s.recvEnded
	if s.err == nil && c.err == nil && !(s.recvEnded && s.sendEnded) {
		code := Cancel
		if s.sendEnded && !c.client {
			code = NoError
		}
		c.out = appendReset(c.out, s.id, code)
		c.flushLocked()
	} else if s.resetByPeer() {
		ours = false
	}
	if n := len(s.in); n > 0 {
		c.takenLocked(nil, n)
	}
	c.held -= s.held
	c.ended.add(s.id, ours)
	c.gone(s)
	for _, h := range s.heads {
		h.Free()
	}
	s.trailer.Free()
	c.mu.Unlock()
	s.Head.Free()
	s.Head, s.trailer, s.interrupt, s.c = nil, nil, nil, nil
	clear(s.heads[:cap(s.heads)])
	if cap(s.in) > maxKeptIn {
		s.in = nil
	}
	streams.Put(s)
}
