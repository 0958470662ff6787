package h2

import (
	"context"
	"net"
	"runtime/debug"
	"sync"
)

// clientConn is a connection to a service.
type clientConn struct {
	conn
	used bool // it carried a stream before; guarded by mu
}

// maxUpstream bounds the streams of one connection, whatever the service allows.
const maxUpstream = 250

// Pool keeps the connections to one service, and opens streams on them. The first that has
// room is used, so that the frames of many streams leave together.
type Pool struct {
	cfg  Config
	dial func(context.Context) (net.Conn, error)
	ctx  context.Context // of dialling; ended by Close
	stop context.CancelFunc
	wg   sync.WaitGroup // readers, and who dials

	mu      sync.Mutex
	conns   []*clientConn // guarded by mu
	dialing *dialing      // nil: nobody dials; guarded by mu
	closed  bool          // guarded by mu
}

type dialing struct {
	done chan struct{}
	err  error // to be read when done is closed
}

// NewPool returns a pool whose connections dial makes, within its own time.
func NewPool(cfg Config, dial func(context.Context) (net.Conn, error)) *Pool {
	p := &Pool{cfg: cfg.filled(), dial: dial}
	p.ctx, p.stop = context.WithCancel(context.Background()) // it ends with Close, whoever needed it first
	return p
}

// Open begins a request on a connection that has room, or gives ErrFull: then Dial. head says
// that it is a HEAD, whose answer has no body whatever it says. reused says that
// the connection had carried a request before.
func (p *Pool) Open(fields []Field, end, head bool, w *Waker) (s *Stream, reused bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.conns[:0]
	for _, c := range p.conns {
		if s == nil {
			s, reused = c.open(fields, end, head, w)
		}
		if !c.isOver() {
			kept = append(kept, c)
		}
	}
	clear(p.conns[len(kept):])
	p.conns = kept
	if s == nil {
		return nil, false, ErrFull
	}
	return s, reused, nil
}

// isOver says whether the connection takes no stream any more.
func (c *clientConn) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving || c.err != nil
}

func (c *clientConn) open(fields []Field, end, head bool, w *Waker) (*Stream, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving || c.err != nil || len(c.streams) >= int(min(c.peerStreams, maxUpstream)) {
		return nil, false
	}
	if len(c.streams) == 0 {
		c.heard = now()
		c.arm(c.heard + int64(c.cfg.Ping))
	}
	if c.last += 2; c.last&1 == 0 {
		c.last = 1
	}
	if c.last == 1<<31-1 {
		c.leaving = true
	}
	s := c.newStream(c.last)
	s.recvs, s.sends = w, w
	s.bodiless = head
	reused := c.used
	c.used = true
	c.headLocked(s.id, fields, end)
	s.sendEnded = end
	c.flushLocked()
	return s, reused
}

// Dial makes another connection, or waits for the one that somebody makes already. The error
// is of dialling, or ctx's cause.
func (p *Pool) Dial(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	d := p.dialing
	if d == nil {
		d = &dialing{done: make(chan struct{})}
		p.dialing = d
		p.wg.Add(1)
		go p.connect(d)
	}
	p.mu.Unlock()
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Pool) connect(d *dialing) {
	defer p.wg.Done()
	nc, err := p.dial(p.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing = nil
	switch {
	case err != nil:
		d.err = err
	case p.closed:
		nc.Close()
		d.err = ErrClosed
	default:
		c := &clientConn{}
		c.client = true
		c.init(nc, &p.cfg)
		c.over = c.closeLast
		c.hello()
		p.conns = append(p.conns, c)
		p.wg.Add(1)
		go p.serve(c)
	}
	close(d.done)
}

func (p *Pool) serve(c *clientConn) {
	defer p.wg.Done()
	defer func() {
		if v := recover(); v != nil {
			p.cfg.Log.Error("panic in HTTP/2", "panic", v, "stack", string(debug.Stack()))
			c.fail(ErrClosed)
		}
		c.wg.Wait()
		p.mu.Lock()
		for i, k := range p.conns {
			if k == c {
				p.conns = append(p.conns[:i], p.conns[i+1:]...)
				break
			}
		}
		p.mu.Unlock()
	}()
	c.ending(c.read(func() {}))
}

// CloseIdle closes the connections that have no stream, and the others when they have none any
// more. What is opened later is on new ones.
func (p *Pool) CloseIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.mu.Lock()
		if c.err == nil {
			c.leaving = true
			if len(c.streams) == 0 {
				c.closeLast()
			}
		}
		c.mu.Unlock()
	}
}

// Close cuts every connection and waits for its goroutines. Streams that are open fail, and
// must still be closed.
func (p *Pool) Close() {
	p.stop()
	p.mu.Lock()
	p.closed = true
	for _, c := range p.conns {
		c.fail(ErrClosed)
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// maxInterim bounds the interim answers to one request.
const maxInterim = 64

// answer takes the head of an answer, interim or final, or trailers.
func (c *conn) answer(id uint32, flags byte, block []byte) error {
	h, err := c.decode(block)
	if err != nil {
		return err
	}
	end := flags&flagEnd != 0
	text := ""
	c.mu.Lock()
	s := c.streams[id]
	switch {
	case s == nil || s.err != nil:
		unheard := s == nil && c.unheard(id)
		c.mu.Unlock()
		h.Free()
		if unheard {
			return &connError{ProtocolError, "the head of a stream that was not opened"}
		}
		return nil
	case s.recvEnded:
		text = "HEADERS behind the end"
	case h.Over():
		text = "an answer with too many fields"
	case s.headed && !end:
		text = "trailers that do not end the stream"
	case s.headed:
		if text = h.check(aTrailer); text == "" && s.length >= 0 && s.got != s.length {
			text = "not as much DATA as content-length says"
		}
		if text == "" {
			s.trailer, s.recvEnded = h, true
		}
	default:
		text = h.check(anAnswer)
		switch {
		case text != "":
		case h.Status < 200 && (end || h.Status == 101):
			text = "an interim answer that ends the stream, or 101"
		case h.Status < 200:
			if s.interims++; s.interims > maxInterim {
				text = "more than 64 interim answers to one request"
			}
		default:
			s.headed = true
			if !s.bodiless && h.Status != 204 && h.Status != 304 {
				s.length = h.Length
			}
			if end && s.length > 0 {
				text = "a content-length without a body"
			} else {
				s.recvEnded = end
			}
		}
		if text == "" {
			s.heads = append(s.heads, h)
		}
	}
	if text == "" {
		s.recvs.Poke()
		c.mu.Unlock()
		return nil
	}
	c.mu.Unlock()
	h.Free()
	return c.wrong(id, ProtocolError, text)
}

// closeLast closes a connection that is leaving and has no stream any more, once what is to
// be written has left.
func (c *conn) closeLast() {
	if !c.leaving || c.err != nil || c.quit != 0 || !c.client && c.final != c.last {
		return
	}
	c.quit = now() + int64(lastWords)
	c.arm(c.quit)
	if c.client {
		c.out = appendGoAway(c.out, 0, NoError, "")
	}
	if !c.flushing && !c.dying {
		c.flushing = true
		c.wg.Add(1)
		go c.flusher()
	}
}

// Empty says whether there is no connection.
func (p *Pool) Empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) == 0 && p.dialing == nil
}
