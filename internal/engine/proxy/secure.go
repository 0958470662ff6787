package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stoa/internal/engine/certs"
	"stoa/internal/engine/flow"
)

// handshake makes a connection one over TLS and gives it to what was agreed upon.
func (b *binding) handshake(c net.Conn, cfg *tls.Config) {
	tc := tls.Server(c, cfg)
	ctx, cancel := context.WithTimeout(b.ctx, b.p.o.EdgeHead)
	err := tc.HandshakeContext(ctx)
	cancel()
	if err != nil {
		var bad tls.RecordHeaderError
		if errors.As(err, &bad) && bad.Conn != nil && looksLikeHTTP(bad.RecordHeader) {
			io.WriteString(bad.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nThis is a port of HTTPS: begin with https://\n")
			bad.Conn.Close()
		}
		b.p.o.Log.Debug("TLS handshake", "listener", b.name, "caller", c.RemoteAddr().String(), "err", err)
		c.Close()
		return
	}
	state := tc.ConnectionState()
	switch {
	case certs.Checked(state): // an ACME server, which has seen what it wanted
		tc.Close()
	case state.NegotiatedProtocol == "h2" && b.h2 != nil:
		b.h2.Serve(tc, &state)
	case state.NegotiatedProtocol == "h2":
		b.feed.give(tc)
	default:
		b.serveHTTP(tc, &state)
	}
}

// looksLikeHTTP says whether what should be a TLS record begins as a request.
func looksLikeHTTP(b [5]byte) bool {
	switch string(b[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		return true
	}
	return false
}

// secured is what makes a gateway speak TLS: its certificates, and the port of clear
// text that leads to it.
type secured struct {
	cfg      certs.Config
	redirect string
	src      *certs.Source
	plain    *http.Server // nil: there is none
	at       net.Listener // of plain
	port     atomic.Int32 // of TLS
	cancel   context.CancelFunc
	lives    sync.WaitGroup
}

// secures says whether s is what the listener declares. Both may be nil.
func (s *secured) secures(l *flow.Listener) bool {
	if s == nil || l.TLS == nil {
		return s == nil && l.TLS == nil
	}
	return s.redirect == l.Redirect && reflect.DeepEqual(s.cfg, *l.TLS)
}

// secure opens what l declares.
func (p *Proxy) secure(l *flow.Listener) (*secured, error) {
	s := &secured{cfg: *l.TLS, redirect: l.Redirect}
	dir := ""
	if p.o.Keys != "" {
		dir = filepath.Join(p.o.Keys, strings.ReplaceAll(l.Name, ":", "-"))
	}
	host, _, _ := net.SplitHostPort(l.Address)
	o := certs.Options{Dir: dir, Log: p.o.Log.With("listener", l.Name)}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		o.Hosts = append(o.Hosts, host)
	}
	for _, r := range l.Routes {
		if r.Host != "" && !strings.HasPrefix(r.Host, "*") {
			o.Hosts = append(o.Hosts, r.Host)
		}
	}
	src, err := certs.Open(s.cfg, o)
	if err != nil {
		return nil, err
	}
	s.src = src
	if s.redirect != "" {
		if s.at, err = p.o.Listen("tcp", s.redirect); err != nil {
			return nil, err
		}
		s.plain = &http.Server{
			ReadTimeout: p.o.EdgeHead, WriteTimeout: p.o.EdgeHead, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if src.Challenge(w, r) {
					return
				}
				location, ok := certs.Redirect(r.Host, r.RequestURI, int(s.port.Load()))
				if !ok {
					http.Error(w, "this is reached over https only", http.StatusBadRequest)
					return
				}
				w.Header().Set("Location", location)
				w.WriteHeader(http.StatusPermanentRedirect)
			}),
		}
	}
	return s, nil
}

// start begins to look after the certificates; ACME servers ask back, so the listener is
// open, at addr.
func (s *secured) start(addr net.Addr) {
	if a, ok := addr.(*net.TCPAddr); ok {
		s.port.Store(int32(a.Port))
	}
	ctx, cancel := context.WithCancel(context.Background()) // it ends with stop
	s.cancel = cancel
	s.lives.Go(func() { s.src.Run(ctx, func() {}) })
	if s.plain != nil {
		s.lives.Go(func() { s.plain.Serve(s.at) })
	}
}

func (s *secured) stop() {
	if s == nil || s.cancel == nil {
		return
	}
	s.cancel()
	if s.plain != nil {
		s.plain.Close()
	}
	s.lives.Wait()
}
