package certs_test

import (
	"crypto/tls"
	"fmt"
	"testing"

	"stoa/internal/engine/certs"
)

// What a handshake costs, both ends of it, over a pair of sockets.
func BenchmarkHandshake(b *testing.B) {
	ca, dir := newSigner(b), b.TempDir()
	cert, key := ca.sign(b, -1, 100, "shop.localhost")
	p := writePair(b, dir, "shop", cert, key)
	files := mustOpen(b, certs.Config{Cert: p.Cert, Key: p.Key}, certs.Options{})
	dev := mustOpen(b, certs.Config{Dev: true}, certs.Options{Dir: dir})
	_, devPool := rootOf(b, dev)
	for _, c := range []struct {
		name   string
		s      *certs.Source
		client *tls.Config
	}{
		{"files", files, &tls.Config{ServerName: "shop.localhost", RootCAs: ca.pool}},
		{"dev", dev, &tls.Config{ServerName: "shop.localhost", RootCAs: devPool}},
		{"resumed", files, &tls.Config{ServerName: "shop.localhost", RootCAs: ca.pool, ClientSessionCache: tls.NewLRUClientSessionCache(1)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := listen(b, "127.0.0.1:0")
			serve(b, l, c.s.TLS())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := shake(l.Addr().String(), c.client); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What choosing a certificate adds to a handshake, and what the first for a name costs.
func BenchmarkGetCertificate(b *testing.B) {
	s := mustOpen(b, certs.Config{Dev: true}, certs.Options{Dir: b.TempDir()})
	b.Run("known", func(b *testing.B) {
		hello := &tls.ClientHelloInfo{ServerName: "orders.localhost"}
		b.ReportAllocs()
		for b.Loop() {
			s.GetCertificate(hello)
		}
	})
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.GetCertificate(&tls.ClientHelloInfo{ServerName: fmt.Sprintf("n%d.localhost", i)})
		}
	})
}
