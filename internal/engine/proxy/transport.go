package proxy

import (
	"context"
	"net"
	"net/http"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/snapshot"
)

// transports are the ways to one endpoint: one that keeps connections, and one that
// does not, for the repetition after a kept connection died.
type transports struct {
	of    wants // what they were made for
	kept  *http.Transport
	fresh *http.Transport
}

// maxKept bounds the idle connections to one endpoint.
const maxKept = 256

// portable is the number under which this engine keeps its ways with an endpoint.
const portable = 0

// CloseIdle closes the connections that are not in use.
func (t *transports) CloseIdle() { t.kept.CloseIdleConnections() }

// wants is what of an upstream decides how its transports are made.
type wants struct {
	protocol            snapshot.Protocol
	connect, head, idle time.Duration
}

func wantsOf(u *flow.Upstream) wants { return wants{u.Protocol, u.Connect, u.Head, u.Idle} }

// transports gives the ways to e as u wants them, made anew when u has changed.
func (p *Proxy) transports(e *flow.Endpoint, u *flow.Upstream) *transports {
	return e.Keep(portable,
		func(k flow.Kept) bool { return k.(*transports).of == wantsOf(u) },
		func() flow.Kept {
			t := &transports{of: wantsOf(u), kept: p.transport(e, u), fresh: p.transport(e, u)}
			t.fresh.DisableKeepAlives = true
			return t
		}).(*transports)
}

func (p *Proxy) transport(e *flow.Endpoint, u *flow.Upstream) *http.Transport {
	connect := flow.OrDefault(u.Connect, snapshot.DefaultConnect)
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
		IdleConnTimeout:        flow.OrDefault(u.Idle, snapshot.DefaultIdle),
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
	switch e.Speaks(u) {
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
