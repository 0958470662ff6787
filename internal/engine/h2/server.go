package h2

import (
	"context"
	"crypto/tls"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

// Handler serves a stream on a goroutine that it has for itself, and closes it. See Server.
type Handler func(s *Stream)

// Server serves the connections that it is given.
type Server struct {
	cfg    Config
	handle Handler

	mu      sync.Mutex
	conns   map[*ServerConn]struct{} // guarded by mu
	closing bool                     // guarded by mu
	quiet   chan struct{}            // capacity 1: a connection ended
	wg      sync.WaitGroup           // readers and workers
	workers workers
}

// ServerConn is a connection of a caller.
type ServerConn struct {
	conn
	srv *Server

	// Of the connection, for handlers; they never change.
	TLS    *tls.ConnectionState // nil in clear text
	Remote string               // address of the caller
	Client string               // the same, without port
	N      uint32               // number of the connection

}

// NewServer returns a server that hands each stream to handle.
func NewServer(cfg Config, handle Handler) *Server {
	s := &Server{cfg: cfg.filled(), handle: handle, conns: map[*ServerConn]struct{}{}, quiet: make(chan struct{}, 1)}
	s.workers.s = s
	return s
}

// Serve takes a connection over. held was read of it already; state is nil in clear text.
func (srv *Server) Serve(nc net.Conn, state *tls.ConnectionState, held []byte, n uint32) {
	c := &ServerConn{srv: srv, TLS: state, Remote: nc.RemoteAddr().String(), N: n}
	c.Client = c.Remote
	if host, _, err := net.SplitHostPort(c.Remote); err == nil {
		c.Client = host
	}
	c.init(nc, &srv.cfg)
	c.in, c.w = held, len(held)
	c.server, c.over = c, c.closeLast
	srv.mu.Lock()
	if srv.closing {
		srv.mu.Unlock()
		nc.Close()
		return
	}
	srv.conns[c] = struct{}{}
	srv.wg.Add(1)
	srv.mu.Unlock()
	go c.serve()
}

// Conn gives the connection of a caller's stream.
func (s *Stream) Conn() *ServerConn { return s.c.server }

func (c *ServerConn) serve() {
	srv := c.srv
	defer func() {
		if v := recover(); v != nil {
			srv.cfg.Log.Error("panic in HTTP/2", "panic", v, "stack", string(debug.Stack()))
			c.fail(ErrClosed)
		}
		c.wg.Wait()
		srv.mu.Lock()
		delete(srv.conns, c)
		srv.mu.Unlock()
		select {
		case srv.quiet <- struct{}{}:
		default:
		}
		srv.wg.Done()
	}()
	c.hello()
	err := c.preface()
	if err == nil {
		err = c.read(c.start)
	}
	c.ending(err)
}

var errPreface = &connError{ProtocolError, "what came is no preface of HTTP/2"}

// preface reads what a client begins with.
func (c *ServerConn) preface() error {
	have := append([]byte(nil), c.in[:c.w]...)
	for len(have) < len(Preface) {
		if string(have) != Preface[:len(have)] {
			return errPreface
		}
		var b [1 << 10]byte
		n, err := c.nc.Read(b[:])
		have = append(have, b[:n]...)
		if n == 0 && err != nil {
			return err
		}
	}
	if string(have[:len(Preface)]) != Preface {
		return errPreface
	}
	c.in, c.r, c.w = have, len(Preface), len(have)
	return nil
}

// start hands what came to handlers.
func (c *ServerConn) start() {
	for i, s := range c.started {
		c.srv.workers.run(s)
		c.started[i] = nil
	}
	c.started = c.started[:0]
}

// request takes the head of a request, or its trailers.
func (c *conn) request(id uint32, flags byte, block []byte) error {
	sc := c.server
	h, err := c.decode(block)
	if err != nil {
		return err
	}
	if id&1 == 0 {
		h.Free()
		return &connError{ProtocolError, "a stream of a caller with an even number"}
	}
	end := flags&flagEnd != 0
	c.mu.Lock()
	if c.err != nil { // the flusher has met the end of the connection: nobody would tell a new stream
		err := c.err
		c.mu.Unlock()
		h.Free()
		return err
	}
	if s := c.streams[id]; s != nil || id <= c.last {
		err, code, text := error(nil), NoError, ""
		switch known, ours := c.ended.find(id); {
		case s != nil && s.resetByPeer():
			code, text = StreamClosed, "HEADERS behind RST_STREAM"
		case s == nil && ours, s != nil && s.err != nil:
		case s == nil && known, s != nil && s.recvEnded:
			err = &connError{StreamClosed, "HEADERS behind the end"}
		case s == nil:
			err = &connError{ProtocolError, "a stream with a lower number than the one before"}
		case !end:
			code, text = ProtocolError, "trailers that do not end the stream"
		case h.Over():
			code, text = EnhanceYourCalm, "too many trailers"
		case h.check(aTrailer) != "":
			code, text = ProtocolError, "malformed trailers"
		case s.length >= 0 && s.got != s.length:
			code, text = ProtocolError, "not as much DATA as content-length says"
		default:
			s.trailer, s.recvEnded = h, true
			s.recvs.Poke()
			c.mu.Unlock()
			return nil
		}
		c.mu.Unlock()
		h.Free()
		if code != NoError {
			return c.wrong(id, code, text)
		}
		return err
	}
	if id > c.final { // behind our GOAWAY: it knows that we do not look at it
		c.mu.Unlock()
		h.Free()
		return nil
	}
	c.last = id
	refused, text := NoError, ""
	open := 0
	if len(c.streams) >= c.cfg.Streams {
		for _, s := range c.streams {
			if s.err == nil && !(s.recvEnded && s.sendEnded) {
				open++
			}
		}
	}
	switch {
	case flags&selfish != 0:
		refused, text = ProtocolError, "a stream that depends on itself"
	case open >= c.cfg.Streams, len(c.streams) >= 2*c.cfg.Streams:
		refused, text = RefusedStream, "too many streams"
	case c.held+h.Size() > c.cfg.HeadMemory:
		refused, text = EnhanceYourCalm, "too much memory for fields"
	case !h.Over():
		if text = h.check(aRequest); text != "" {
			refused = ProtocolError
		} else if end && h.Length > 0 {
			refused, text = ProtocolError, "a content-length without a body"
		}
	}
	if refused != NoError {
		c.ended.add(id, true)
		c.mu.Unlock()
		h.Free()
		if refused == RefusedStream && !c.acked {
			c.mu.Lock()
			c.out = appendReset(c.out, id, refused)
			c.flushLocked()
			err := c.answered(13)
			c.mu.Unlock()
			return err
		}
		return c.wrong(id, refused, text)
	}
	s := c.newStream(id)
	s.Head, s.recvEnded, s.length = h, end, h.Length
	if h.Over() {
		s.length = -1
	}
	s.held = h.Size()
	c.held += s.held
	c.mu.Unlock()
	sc.started = append(sc.started, s)
	return nil
}

// Shutdown takes no new connection and no new stream, and waits until none is left, or ctx
// ends. Callers are told in two steps (RFC 9113, section 6.8): that the connection ends, and,
// when what was on its way has come, which stream was the last.
func (srv *Server) Shutdown(ctx context.Context) {
	srv.mu.Lock()
	srv.closing = true
	for c := range srv.conns {
		c.leave()
	}
	srv.mu.Unlock()
	for {
		srv.mu.Lock()
		n := len(srv.conns)
		srv.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-srv.quiet:
		case <-ctx.Done():
			return
		}
	}
}

func (c *ServerConn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.leaving {
		return
	}
	if c.last == 0 && !c.settled { // it has not begun
		c.failLocked(ErrClosed)
		return
	}
	c.leaving = true
	c.out = appendGoAway(c.out, maxWindow, NoError, "")
	c.out = append(appendFrame(c.out, 8, framePing, 0, 0), pingDrain...)
	c.flushLocked()
	time.AfterFunc(lastWords, func() { // for who answers no PING
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err == nil {
			c.goAwayLocked(NoError)
			c.lastLocked()
		}
	})
}

// Close cuts every connection, and waits until its goroutines and the handlers have ended.
func (srv *Server) Close() {
	srv.mu.Lock()
	srv.closing = true
	for c := range srv.conns {
		c.fail(ErrClosed)
	}
	srv.mu.Unlock()
	srv.workers.close()
	srv.wg.Wait()
}

// workers are goroutines that serve streams: kept for the next one while there are many, since
// their stacks have the size by then. The one that was idle last comes first.
type workers struct {
	s      *Server
	mu     sync.Mutex
	idle   []*worker // guarded by mu
	closed bool      // guarded by mu
	timer  *time.Timer
}

type worker struct {
	next  chan *Stream
	since int64
}

// How long a worker waits for another stream.
const workerIdle = 5 * time.Second

func (w *workers) run(s *Stream) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 {
		k := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		k.next <- s
		return
	}
	w.mu.Unlock()
	w.s.wg.Add(1) // above zero, since the reader is counted
	go w.work(&worker{next: make(chan *Stream, 1)}, s)
}

func (w *workers) work(k *worker, s *Stream) {
	defer w.s.wg.Done()
	for s != nil {
		w.s.one(s)
		k.since = now()
		w.mu.Lock()
		if w.closed {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, k)
		if w.timer == nil {
			w.timer = time.AfterFunc(workerIdle, w.sweep)
		}
		w.mu.Unlock()
		s = <-k.next
	}
}

// one serves a stream. What breaks one breaks no other.
func (srv *Server) one(s *Stream) {
	defer func() {
		if v := recover(); v != nil {
			srv.cfg.Log.Error("panic in the handler of a stream", "panic", v, "stack", string(debug.Stack()))
			s.Reset(InternalError)
			s.Close()
		}
	}()
	srv.handle(s)
}

func (w *workers) sweep() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = nil
	old := now() - int64(workerIdle)
	n := 0
	for n < len(w.idle) && w.idle[n].since < old {
		w.idle[n].next <- nil
		n++
	}
	w.idle = w.idle[:copy(w.idle, w.idle[n:])]
	if len(w.idle) > 0 && !w.closed {
		w.timer = time.AfterFunc(workerIdle, w.sweep)
	}
}

func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
	for _, k := range w.idle {
		k.next <- nil
	}
	w.idle = nil
}
