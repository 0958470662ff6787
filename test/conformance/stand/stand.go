// Package stand puts a Stoa proxy between a suite that knows nothing of Stoa and a service,
// over real sockets.
//
//	suite -> mesh, gateway, gateway over TLS -> proxy of either engine -> service
//
// Each listener leads every path to the one service. Nothing is bent for a suite: the
// options are those of a node, but for development certificates.
package stand

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/certs"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// Engines are the two engines, by the names that tests bear.
var Engines = map[string]proxy.Engine{"fast": "", "portable": proxy.Portable}

// Stand is a proxy that runs until the test ends.
type Stand struct {
	Mesh    string // address of a service's listener, in clear text
	Gateway string // address of the listener for outside, in clear text
	Secure  string // address of the listener for outside, over TLS
	Roots   *x509.CertPool
}

// Listeners gives the addresses by the names that tests bear.
func (s *Stand) Listeners() map[string]string {
	return map[string]string{"mesh": s.Mesh, "gateway": s.Gateway, "gateway over TLS": s.Secure}
}

// TLS is what a client of Secure trusts; protocols are offered by ALPN.
func (s *Stand) TLS(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: s.Roots, ServerName: "localhost", NextProtos: protocols}
}

// Open starts a proxy of the engine before the service at address, which speaks p. For each
// of more the service stands there once again, below /more/: what one learns of it, or holds
// against it, the others do not.
func Open(t testing.TB, engine proxy.Engine, p snapshot.Protocol, address string, more ...string) *Stand {
	t.Helper()
	keys := t.TempDir()
	px := proxy.New(proxy.Options{Engine: engine, Keys: keys, Drain: time.Second})
	all := []route.Rule{{Name: "all", Path: "/", Upstream: "svc"}}
	upstreams := map[string]snapshot.Upstream{"svc": {Protocol: p}}
	for _, name := range more {
		all = append(all, route.Rule{Name: name, Path: "/" + name + "/", Upstream: name})
		upstreams[name] = snapshot.Upstream{Protocol: p}
	}
	err := px.Swap(&snapshot.Snapshot{
		Version: snapshot.Version{Revision: 1, Serial: 1},
		Listeners: map[string]snapshot.Listener{
			"web>svc":        {Caller: "web", Protocol: snapshot.HTTP, Routes: all},
			"gateway":        {Protocol: snapshot.HTTP, Routes: all, Address: "127.0.0.1:0"},
			"gateway:secure": {Protocol: snapshot.HTTP, Routes: all, Address: "127.0.0.1:0", TLS: &certs.Config{Dev: true}},
		},
		Upstreams: upstreams,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range upstreams {
		px.SetEndpoints(name, []snapshot.Endpoint{{ID: name + "-1", Address: address, Instance: name + "-1"}})
	}

	s := &Stand{}
	mesh, release, err := px.Bind("web>svc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	s.Mesh = mesh
	ctx, cancel := context.WithCancel(context.Background()) // it ends in the test's cleanup
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- px.Run(ctx, func() { close(ready) }) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for _, g := range px.Gateways() {
		if g.Err != nil {
			t.Fatal(g.Err)
		}
		switch g.Name {
		case "gateway":
			s.Gateway = g.Bound
		case "gateway:secure":
			s.Secure = g.Bound
		}
	}
	s.Roots = roots(t, keys)
	return s
}

// roots reads the development CA out of the folder of keys.
func roots(t testing.TB, dir string) *x509.CertPool {
	pool, found := x509.NewCertPool(), false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), "BEGIN CERTIFICATE") {
			found = pool.AppendCertsFromPEM(b) || found
		}
		return err
	})
	if err != nil || !found {
		t.Fatalf("no development CA in %s: %v", dir, err)
	}
	return pool
}

// Listen opens a socket for a service; it is closed when the test ends.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}
