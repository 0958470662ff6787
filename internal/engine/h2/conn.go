package h2

import (
	"io"
	"net"
	"runtime"
	"sync"
	"time"

	"stoa/internal/engine/h2/hpack"
)

// conn is what both sides of a connection have in common.
type conn struct {
	nc      net.Conn
	cfg     *Config
	client  bool
	server  *ServerConn    // nil on a client
	wg      sync.WaitGroup // the flusher
	flusher func()         // flush, made once
	over    func()         // called, under mu, when the last stream has left

	// The reader owns these; see read.go.
	in      []byte        // in[r:w] is unread
	buf     *[inSize]byte // what in is of; nil: of none
	r, w    int
	dec     hpack.Decoder
	block   []byte // of a head that comes in parts
	partOf  uint32 // the stream of block; 0: none
	partial byte   // the flags of its HEADERS
	parts   int
	started []*Stream // by what was read last
	junk    bucket    // frames that bring nothing
	resets  bucket    // of streams that were not over

	mu       sync.Mutex
	out      []byte // to be written; guarded by mu, as all below
	spare    []byte // the buffer of the last write
	flushing bool
	err      error // it is over: why
	dying    bool  // no flush begins any more
	enc      hpack.Encoder
	streams  map[uint32]*Stream
	blocked  []*Stream // that wait for window or buffer
	ended    past
	control  int // bytes of out that answer frames of the peer
	given    int // frames that answer what we sent: windows and pings, see abuse.go
	sendWin  int64
	recvWin  int64
	debt     int // taken of recvWin, not given back yet
	held     int // memory of fields
	last     uint32
	leaving  bool   // GOAWAY was sent, or came: no new streams
	final    uint32 // streams of the peer beyond are not looked at
	heard    int64  // when something came last
	idle     int64  // since when there is no stream; 0: there are some
	heading  int64  // since when a head comes in parts; 0: none does
	pinged   int64  // when the peer was asked whether it is there; 0: it has answered
	settled  bool   // the settings of the peer have come
	acked    bool   // and ours have been taken note of
	writing  int64  // since when the flusher writes; 0: it does not
	slim     bool   // the reader was told to hold no buffer
	quit     int64  // when a connection is cut that has said its last; 0: it has not
	timer    *time.Timer
	armed    int64 // when timer fires; 0: it does not

	// Of the peer's settings.
	peerFrame   int
	peerWindow  int64
	peerStreams uint32
}

// maxOut is how much may wait to be written before streams wait with their bodies.
const maxOut = 256 << 10

// maxControl bounds what answers frames of a peer that does not read: acknowledgements, resets.
const maxControl = 64 << 10

// slimAfter is how long a connection must have been idle to hold no buffers.
const slimAfter = time.Second

// keptOut is the size of buffers up to which they stay with a connection, until it is idle.
const keptOut = 32 << 10

func (c *conn) init(nc net.Conn, cfg *Config) {
	c.nc, c.cfg, c.flusher = nc, cfg, c.flush
	c.streams = map[uint32]*Stream{}
	c.sendWin, c.peerWindow, c.peerFrame, c.peerStreams = initialWindow, initialWindow, maxFrame, initialStreams
	c.recvWin = int64(cfg.ConnWindow)
	c.final = maxWindow
	c.heard = now()
	c.idle = c.heard
	c.junk = bucket{most: maxJunk, rate: junkRate}
	c.resets = bucket{most: float64(cfg.Resets), rate: float64(cfg.Resets) / 10}
}

// hello appends what we begin with.
func (c *conn) hello() {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out
	if c.client {
		out = append(out, Preface...)
	}
	at := len(out)
	out = appendFrame(out, 0, frameSettings, 0, 0)
	if c.client {
		out = appendSetting(out, setPush, 0)
	} else {
		out = appendSetting(out, setStreams, uint32(c.cfg.Streams))
	}
	if c.cfg.Window != initialWindow {
		out = appendSetting(out, setWindow, uint32(c.cfg.Window))
	}
	out = appendSetting(out, setHead, uint32(c.cfg.MaxHead))
	out[at+2] = byte(len(out) - at - frameHead)
	if more := c.cfg.ConnWindow - initialWindow; more > 0 {
		out = appendWindow(out, 0, more)
	}
	c.out = out
	c.arm(now() + int64(c.cfg.First))
	c.flushLocked()
}

// flushLocked sees to it that out is written.
func (c *conn) flushLocked() {
	if c.flushing || len(c.out) == 0 || c.err != nil || c.dying {
		return
	}
	c.flushing = true
	c.wg.Add(1)
	go c.flusher()
}

// flush writes until nothing is left. It yields first: others append meanwhile, and leave with it.
func (c *conn) flush() {
	defer c.wg.Done()
	runtime.Gosched()
	for {
		c.mu.Lock()
		if len(c.out) == 0 || c.err != nil {
			c.flushing, c.writing = false, 0
			if cap(c.spare) > keptOut {
				putOut(c.spare)
				c.spare = nil
			}
			last := c.quit != 0 && c.err == nil
			c.mu.Unlock()
			if last {
				closeWrite(c.nc)
			}
			return
		}
		buf := c.out
		c.out, c.control = c.spare[:0], 0
		c.spare = nil
		if cap(c.out) == 0 {
			c.out = getOut()
		}
		c.writing = now()
		if c.cfg.Stall > 0 {
			c.arm(c.writing + int64(c.cfg.Stall))
		}
		c.mu.Unlock()
		_, err := c.nc.Write(buf)
		c.mu.Lock()
		c.writing = 0
		if cap(buf) <= maxOut {
			c.spare = buf[:0]
		}
		if err != nil {
			c.failLocked(err)
		}
		c.wakeBlocked()
		c.mu.Unlock()
	}
}

// outs are buffers to write from.
var outs = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

func getOut() []byte { return (*outs.Get().(*[]byte))[:0] }

func putOut(b []byte) {
	if cap(b) <= maxOut {
		outs.Put(&b)
	}
}

// failLocked ends the connection: every stream of it has failed.
func (c *conn) failLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.leaving = true
	for _, s := range c.streams {
		s.failLocked(err)
	}
	c.blocked = nil
	cut(c.nc)
	if c.timer != nil {
		c.timer.Stop()
	}
}

func (c *conn) fail(err error) {
	c.mu.Lock()
	c.failLocked(err)
	c.mu.Unlock()
}

// say sends a GOAWAY with which the connection ends, and gives it a moment to leave.
func (c *conn) say(e *connError) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	for _, s := range c.streams { // they send nothing more
		s.failLocked(e)
	}
	last := c.last
	if c.client {
		last = 0
	}
	c.out = appendGoAway(c.out, last, e.code, e.text)
	c.leaving, c.final = true, c.last
	c.nc.SetWriteDeadline(time.Now().Add(lastWords))
	c.flushLocked()
	c.dying = true
	c.mu.Unlock()
	c.wg.Wait()
	// Closed with bytes unread, the connection would be reset, and the GOAWAY with it.
	closeWrite(c.nc)
	c.nc.SetReadDeadline(time.Now().Add(lastWords / 2))
	io.CopyN(io.Discard, c.nc, maxOut)
	c.fail(e)
}

// cut closes nc without a word: TLS would write one, and wait for it.
func cut(nc net.Conn) {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	nc.Close()
}

func closeWrite(nc net.Conn) {
	if cw, ok := nc.(interface{ CloseWrite() error }); ok {
		cw.CloseWrite()
	}
}

// lastWords is how long a peer may take for the GOAWAY of a connection that ends.
const lastWords = time.Second

// wakeBlocked lets those go on that wait for window or buffer.
func (c *conn) wakeBlocked() {
	if len(c.blocked) == 0 || c.sendWin <= 0 || len(c.out) >= maxOut {
		return
	}
	kept := c.blocked[:0]
	for _, s := range c.blocked {
		if s.sendWin <= 0 {
			kept = append(kept, s)
			continue
		}
		s.waits, s.starved = false, 0
		s.sends.Poke()
	}
	clear(c.blocked[len(kept):])
	c.blocked = kept
}

// arm sees to it that tick is called at the time at, or before.
func (c *conn) arm(at int64) {
	if c.err != nil || c.armed != 0 && c.armed <= at {
		return
	}
	d := max(time.Duration(at-now()), time.Millisecond)
	c.armed = at
	if c.timer == nil {
		c.timer = time.AfterFunc(d, c.tick)
		return
	}
	c.timer.Reset(d)
}

// tick looks for what is late.
func (c *conn) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = 0
	if c.err != nil {
		return
	}
	t := now()
	next := int64(0)
	due := func(at int64) bool {
		if at <= t {
			return true
		}
		if next == 0 || at < next {
			next = at
		}
		return false
	}
	stall := int64(c.cfg.Stall)
	for _, s := range c.streams {
		if s.until != 0 && due(s.until) {
			s.until = 0
			s.sends.Poke()
			s.recvs.Poke()
		}
		if stall > 0 && s.starved != 0 && due(s.starved+stall) {
			c.resetLocked(s, &StreamError{Code: EnhanceYourCalm, Text: "no window for the answer"})
		}
	}
	switch {
	case c.quit != 0:
		if due(c.quit) {
			c.failLocked(ErrClosed)
			return
		}
	case stall > 0 && c.writing != 0 && due(c.writing+stall):
		c.failLocked(&connError{EnhanceYourCalm, "the peer takes nothing"})
		return
	case !c.settled && due(c.heard+int64(c.cfg.First)), c.heading != 0 && due(c.heading+int64(c.cfg.First)):
		c.failLocked(&connError{ProtocolError, "a preface or a head did not come in time"})
		return
	case c.idle != 0 && due(c.idle+int64(c.cfg.Idle)):
		c.goAwayLocked(NoError)
		c.over()
	}
	if c.idle != 0 && !c.slim && c.quit == 0 && c.settled && due(max(c.idle, c.heard)+int64(slimAfter)) {
		c.slim = true
		c.nc.SetReadDeadline(time.Unix(1, 0))
		if !c.flushing {
			c.out, c.spare = nil, nil
		}
	}
	if c.client && len(c.streams) > 0 {
		ping := int64(c.cfg.Ping)
		switch {
		case c.pinged != 0 && due(c.pinged+ping/2):
			c.failLocked(&connError{NoError, "the peer does not answer"})
			return
		case c.pinged == 0 && due(max(c.heard, c.idle)+ping):
			c.pinged = t
			c.out = append(appendFrame(c.out, 8, framePing, 0, 0), "stoa:go?"...)
			c.flushLocked()
			due(t + ping/2)
		}
	}
	if next != 0 {
		c.arm(next)
	}
}

// goAwayLocked lets the streams that there are end, and takes no new ones.
func (c *conn) goAwayLocked(code Code) {
	if c.leaving && c.final == c.last {
		return
	}
	c.leaving, c.final = true, c.last
	if c.err == nil && !c.client {
		c.out = appendGoAway(c.out, c.last, code, "")
		c.flushLocked()
	}
}

// gone takes a stream out, and ends a connection that is leaving with its last one.
func (c *conn) gone(s *Stream) {
	if c.streams[s.id] == s {
		delete(c.streams, s.id)
	}
	if s.waits {
		for i, b := range c.blocked {
			if b == s {
				c.blocked = append(c.blocked[:i], c.blocked[i+1:]...)
				break
			}
		}
	}
	if len(c.streams) == 0 {
		c.idle = now()
		c.over()
		if c.err == nil {
			c.arm(c.idle + min(int64(c.cfg.Idle), int64(slimAfter)))
		}
	}
}
