package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/fast"
	"stoa/internal/engine/flow"
	"stoa/internal/engine/h2proxy"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/snapshot"
)

// binding is one socket and what serves it. Several may stand for one listener: one
// per instance of the caller.
type binding struct {
	p    *Proxy
	name string // of the listener
	ln   net.Listener
	srv  *http.Server // net/http: all of the portable engine
	feed *feed
	fast *fast.Server               // HTTP/1.1; nil: the portable engine
	h2   *h2proxy.Server            // HTTP/2; nil: the portable engine
	tls  atomic.Pointer[tls.Config] // nil: clear text

	ctx     context.Context // of everything it serves: ended when draining has taken too long
	cancel  context.CancelFunc
	wg      sync.WaitGroup // its goroutines
	asides  asides         // requests that make stale answers fresh
	mirrors asides         // copies of requests
	tunnels atomic.Int64   // open TCP and upgraded connections
	quiet   chan struct{}  // capacity 1: a tunnel ended
	once    sync.Once
	done    chan struct{} // closed when released
}

// Bind opens a socket on the loopback for the listener of this name and serves it at
// once: what arrives before the listener is in a snapshot waits for it (5 s). release
// closes it: what is in flight may end within Options.Drain, then it is cut; when
// release returns nothing of it is left. It may be called more than once.
func (p *Proxy) Bind(name string) (addr string, release func(), err error) {
	b, err := p.bind(name, "127.0.0.1:0", false, nil)
	if err != nil {
		return "", nil, err
	}
	return b.ln.Addr().String(), b.release, nil
}

func (p *Proxy) bind(name, addr string, edge bool, secure *tls.Config) (*binding, error) {
	ln, err := p.o.Listen("tcp", addr)
	if err != nil {
		return nil, &fault.Error{Op: "proxy.bind", Subject: "listener/" + name, Kind: fault.Unavailable, Err: err,
			Hint: "See who has the port: ss -ltnp"}
	}
	b := &binding{p: p, name: name, ln: ln, quiet: make(chan struct{}, 1), done: make(chan struct{})}
	b.ctx, b.cancel = context.WithCancel(context.Background()) // it ends with release, whoever asked for it
	b.feed = &feed{conns: make(chan net.Conn), closed: make(chan struct{}), addr: ln.Addr()}
	head, streams := p.o.MeshHead, 250
	if edge {
		head, streams = p.o.EdgeHead, 100
	}
	b.srv = &http.Server{
		Handler:           b,
		ReadHeaderTimeout: head,
		IdleTimeout:       p.o.Idle,
		MaxHeaderBytes:    p.heads(name).Bytes,
		Protocols:         new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: streams,
			MaxReadFrameSize:     16 << 10, // the size of RFC 9113, section 4.2, from which h2spec goes out; Go's own is 1 MiB
		},
		BaseContext: func(net.Listener) context.Context { return b.ctx },
		ErrorLog:    slog.NewLogLogger(p.o.Log.With("listener", name).Handler(), slog.LevelDebug),
	}
	b.tls.Store(secure)
	b.srv.Protocols.SetHTTP1(true)
	b.srv.Protocols.SetHTTP2(true)
	b.srv.Protocols.SetUnencryptedHTTP2(true)

	if p.o.Engine != Portable {
		b.h2 = h2proxy.New(h2proxy.Options{
			Plane: p.plane, Name: name, Log: p.o.Log, Edge: edge, Listener: b.listener, Upstreams: p.ups, Portable: b,
			Head: head, Idle: p.o.Idle, Stall: p.o.Stall, MaxHead: p.heads(name).Bytes,
		})
		b.fast = fast.New(fast.Options{
			Plane: p.plane, Name: name, Log: p.o.Log, Listener: b.listener, Dial: p.o.Dial, Portable: b, HTTP2: b.serveHTTP2, Loops: &p.loops,
			Elsewhere: b.standIn, Refresh: b.refreshes, Mirror: b.mirrorFast, Enter: b.enterTunnel, Leave: b.leaveTunnel, Head: head, Idle: p.o.Idle, Stall: p.o.Stall, Heads: func() snapshot.Heads { return p.heads(name) },
		})
	}

	p.bindMu.Lock()
	defer p.bindMu.Unlock()
	if p.stopped {
		ln.Close()
		return nil, &fault.Error{Op: "proxy.bind", Subject: "listener/" + name, Kind: fault.Unavailable, Err: errors.New("the proxy has stopped")}
	}
	p.bindings[b] = true
	b.wg.Go(b.accept)
	b.wg.Go(func() { b.srv.Serve(b.feed) })
	return b, nil
}

// feed is the listener of the HTTP server: it gets the connections that are not TCP.
type feed struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	addr   net.Addr
}

func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *feed) Close() error   { f.once.Do(func() { close(f.closed) }); return nil }
func (f *feed) Addr() net.Addr { return f.addr }

func (f *feed) give(c net.Conn) {
	select {
	case f.conns <- c:
	case <-f.closed:
		c.Close()
	}
}

// accept takes connections and sends each the way of the listener's protocol.
func (b *binding) accept() {
	pause := time.Millisecond
	for {
		c, err := b.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || b.ctx.Err() != nil {
				return
			}
			// Out of descriptors, most likely: wait for some to come back.
			b.p.o.Log.Warn("accept", "listener", b.name, "err", err)
			select {
			case <-time.After(pause):
			case <-b.feed.closed:
				return
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = time.Millisecond
		if secure := b.tls.Load(); secure != nil {
			b.wg.Go(func() { b.handshake(c, secure) })
			continue
		}
		l := b.p.plane.Table().Listeners[b.name]
		if l != nil && l.Protocol == snapshot.HTTP {
			b.serveHTTP(c, nil)
			continue
		}
		b.wg.Go(func() { b.route(c) })
	}
}

// route waits until the listener is known and serves one connection.
func (b *binding) route(c net.Conn) {
	l, f := b.listener(b.ctx)
	switch {
	case f != nil:
		b.serveHTTP(c, nil) // an HTTP caller is told why
	case l.Protocol == snapshot.TCP:
		b.serveTCP(c, l)
	default:
		b.serveHTTP(c, nil)
	}
}

// serveHTTP gives a connection to the engine; state is nil in clear text.
func (b *binding) serveHTTP(c net.Conn, state *tls.ConnectionState) {
	if b.fast != nil {
		b.fast.Serve(c, state)
		return
	}
	b.feed.give(c)
}

// serveHTTP2 gives a connection of HTTP/2 in clear text to the own engine.
func (b *binding) serveHTTP2(c net.Conn) { b.h2.Serve(c, nil) }

// listener gives the listener as the snapshot in force has it, and waits a while for
// one that has it; with a nil ctx it gives nil instead of waiting.
func (b *binding) listener(ctx context.Context) (*flow.Listener, *flow.Refusal) {
	c := b.p.plane.Table()
	if l := c.Listeners[b.name]; l != nil {
		return l, nil
	}
	if ctx == nil {
		return nil, nil
	}
	t := time.NewTimer(snapshot.DefaultHold)
	defer t.Stop()
	for {
		select {
		case <-c.Replaced:
			c = b.p.plane.Table()
			if l := c.Listeners[b.name]; l != nil {
				return l, nil
			}
		case <-t.C:
			return nil, &flow.Refusal{Reason: hop.NoListener, Status: 503, Text: "nothing is declared for " + b.name,
				Hint: "Declare the use, and apply."}
		case <-ctx.Done():
			return nil, flow.Left(ctx.Err())
		}
	}
}

func (b *binding) enterTunnel() bool {
	if b.tunnels.Add(1) > int64(b.p.o.MaxTunnel) {
		b.leaveTunnel()
		return false
	}
	return true
}

func (b *binding) leaveTunnel() {
	b.tunnels.Add(-1)
	select {
	case b.quiet <- struct{}{}:
	default:
	}
}

// quiesce takes nothing new and waits until nothing is in flight, or ctx ends.
func (b *binding) quiesce(ctx context.Context) {
	b.ln.Close()
	if b.fast != nil {
		var both sync.WaitGroup
		both.Go(func() { b.h2.Shutdown(ctx) })
		b.fast.Shutdown(ctx)
		both.Wait()
	}
	b.srv.Shutdown(ctx) // closes feed; waits for requests
	for b.tunnels.Load() > 0 && ctx.Err() == nil {
		select {
		case <-b.quiet:
		case <-ctx.Done():
		}
	}
}

// release drains and closes the binding.
func (b *binding) release() {
	b.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), b.p.o.Drain)
		defer cancel()
		b.quiesce(ctx)
		b.cancel()
		if b.fast != nil {
			b.fast.Close()
			b.h2.Close()
		}
		b.srv.Close()
		b.feed.Close()
		b.asides.wait()
		b.mirrors.wait()
		b.wg.Wait()
		b.p.bindMu.Lock()
		delete(b.p.bindings, b)
		b.p.bindMu.Unlock()
		close(b.done)
	})
	<-b.done
}

// releaseAll releases every binding, side by side, and lets none come after.
func (p *Proxy) releaseAll() {
	p.bindMu.Lock()
	p.stopped = true
	all := slices.Collect(maps.Keys(p.bindings))
	p.bindMu.Unlock()
	var wg sync.WaitGroup
	for _, b := range all {
		wg.Go(b.release)
	}
	wg.Wait()
}
