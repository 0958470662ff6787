package certs_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/certs"
)

// patience is how long a test waits for what has to come: machines of CI are busy.
const patience = 60 * time.Second

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("after %v still not so: %s", patience, what)
		}
	}
}

// A clock is the time that a Source is told.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// A diary keeps what a Source logs.
type diary struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (d *diary) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.Write(b)
}

func (d *diary) count(s string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Count(d.b.Bytes(), []byte(s))
}

func (d *diary) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(d, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// A signer signs certificates for tests.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	n    int64
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: time.Now().Add(10000 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := &signer{key: key, pool: x509.NewCertPool(), n: 1}
	if s.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	s.pool.AddCert(s.cert)
	return s
}

// sign gives a certificate for names that lives from from to to hours from now, and its key, as PEM.
func (s *signer) sign(t testing.TB, from, to int, names ...string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.n++
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(s.n), DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(time.Duration(from) * time.Hour), NotAfter: time.Now().Add(time.Duration(to) * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, s.cert, k.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// write puts b where path says, in one step.
func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// writePair puts a certificate and its key into a folder.
func writePair(t testing.TB, dir, name string, cert, key []byte) certs.Pair {
	t.Helper()
	p := certs.Pair{Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
	write(t, p.Key, key)
	write(t, p.Cert, cert)
	return p
}

func mustOpen(t testing.TB, c certs.Config, o certs.Options) *certs.Source {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := certs.Open(c, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs s until the test ends, or until the func it gives is called.
func run(t testing.TB, s *certs.Source) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(ready) }) }()
	<-ready
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run gave %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// serve answers handshakes on l with config until the test ends.
func serve(t testing.TB, l net.Listener, config *tls.Config) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				tc := tls.Server(c, config)
				if tc.Handshake() == nil && !certs.Checked(tc.ConnectionState()) {
					tc.Write([]byte("hello"))
				}
				tc.Close()
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// shake makes a handshake with addr, and reads what is said after it.
func shake(addr string, config *tls.Config) (tls.ConnectionState, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: config}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		return tls.ConnectionState{}, err
	}
	return c.(*tls.Conn).ConnectionState(), nil
}

// leafOf gives the certificate that addr serves for name, verified against pool.
func leafOf(t testing.TB, addr, name string, pool *x509.CertPool) *x509.Certificate {
	t.Helper()
	st, err := shake(addr, &tls.Config{ServerName: name, RootCAs: pool})
	if err != nil {
		t.Fatalf("handshake for %q: %v", name, err)
	}
	return st.PeerCertificates[0]
}
