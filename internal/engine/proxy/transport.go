package proxy

import (
	"context"
	"net"
	"net/http"
	"time"

	"stoa/internal/engine/snapshot"
)

// transports are the ways to one endpoint: one that keeps connections, and one that
// does not, for the repetition after a kept connection died.
type transports struct {
	of    snapshot.Upstream // what they were made for
	kept  *http.Transport
	fresh *http.Transport
}

// maxKept bounds the idle connections to one endpoint.
const maxKept = 256

// transports gives the ways to e as u wants them, made anew when u has changed.
func (e *endpoint) transports(p *Proxy, u *upstream) *transports {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tr != nil && e.tr.of == u.Upstream {
		return e.tr
	}
	if e.tr != nil {
		e.tr.kept.CloseIdleConnections()
	}
	e.tr = &transports{of: u.Upstream, kept: p.transport(e, u), fresh: p.transport(e, u)}
	e.tr.fresh.DisableKeepAlives = true
	return e.tr
}

// closeTransports closes what is idle, so that a server which waits for its
// connections to close can end. Called when e holds nothing more.
func (e *endpoint) closeTransports() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tr != nil {
		e.tr.kept.CloseIdleConnections()
	}
}

func (e *endpoint) protocol(u *upstream) snapshot.Protocol {
	if e.Protocol != "" {
		return e.Protocol
	}
	return u.Protocol
}

func (p *Proxy) transport(e *endpoint, u *upstream) *http.Transport {
	connect := orDefault(u.Connect, snapshot.DefaultConnect)
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if connect > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, connect)
				defer cancel()
			}
			return p.o.Dial(ctx, network, addr)
		},
		MaxIdleConns:           maxKept,
		MaxIdleConnsPerHost:    maxKept,
		IdleConnTimeout:        orDefault(u.Idle, snapshot.DefaultIdle),
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		ResponseHeaderTimeout:  max(u.Head, 0),
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true, // else Accept-Encoding would be added and bodies changed
		Protocols:              new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: 30 * time.Second, // a peer that vanished is noticed within 45 s
			PingTimeout:     15 * time.Second,
		},
	}
	if p.o.TLS != nil {
		t.TLSClientConfig = p.o.TLS.Clone()
	}
	switch e.protocol(u) {
	case snapshot.H2C:
		t.Protocols.SetUnencryptedHTTP2(true)
	case snapshot.HTTPS:
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
	default:
		t.Protocols.SetHTTP1(true)
	}
	return t
}

// orDefault reads a duration of a snapshot: 0 is the default, negative is none (0).
func orDefault(d, def time.Duration) time.Duration {
	switch {
	case d == 0:
		return def
	case d < 0:
		return 0
	}
	return d
}
