package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/certs"
)

// rootOf reads the file that users are told to trust.
func rootOf(t testing.TB, s *certs.Source) (*x509.Certificate, *x509.CertPool) {
	t.Helper()
	b, err := os.ReadFile(s.Root())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return root, pool
}

// Whoever trusts the root's file gets in by each name and address that is the machine's own,
// and by each host that the gateway answers for.
func TestDevelopmentCertificates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	s := mustOpen(t, certs.Config{Dev: true}, certs.Options{Dir: dir, Hosts: []string{"shop.test", "*.api.test", "192.0.2.7", "no name", ""}})
	_, pool := rootOf(t, s)
	l := listen(t, "127.0.0.1:0")
	serve(t, l, s.TLS())
	run(t, s)
	for _, name := range []string{"localhost", "orders.localhost", "a.b.localhost", "LOCALHOST", "127.0.0.1", "shop.test", "www.shop.test", "v1.api.test"} {
		leaf := leafOf(t, l.Addr().String(), name, pool)
		if life := time.Until(leaf.NotAfter); life > 31*24*time.Hour || life < 29*24*time.Hour {
			t.Errorf("the leaf for %s lives %v, want 30 days", name, life)
		}
	}
	// Clients send no name for an address; which one they came to is known by the socket.
	for _, addr := range []string{"127.0.0.1:0", "127.0.0.5:0", "[::1]:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Logf("this machine has no %s: %v", addr, err)
			continue
		}
		serve(t, l, s.TLS())
		host, _, _ := net.SplitHostPort(l.Addr().String())
		leafOf(t, l.Addr().String(), host, pool)
	}
	// For other names the client's own complaint says most.
	for _, name := range []string{"evil.example", "notlocalhost", "localhost.evil.example", "192.0.2.8"} {
		var wrong x509.HostnameError
		if _, err := shake(l.Addr().String(), &tls.Config{ServerName: name, RootCAs: pool}); !errors.As(err, &wrong) {
			t.Errorf("the handshake for %s gave %v, want that the certificate is for another name", name, err)
		}
	}
	st := s.Status()[0]
	if st.From != "dev" || st.Path != s.Root() || st.Error != "" || !slices.Contains(st.Hosts, "*.localhost") || !slices.Contains(st.Hosts, "127.0.0.0/8") || !slices.Contains(st.Hosts, "192.0.2.7") {
		t.Errorf("status %+v", st)
	}
	for name, want := range map[string]os.FileMode{"dev-root.key": 0o600, "dev-root.pem": 0o644, ".": 0o700} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}

// A root that is stolen is good for nothing but the names that it was made for: verifiers see to that.
func TestTheRootIsConstrained(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, certs.Config{Dev: true}, certs.Options{Dir: dir, Hosts: []string{"shop.test"}})
	root, pool := rootOf(t, s)
	b, err := os.ReadFile(filepath.Join(dir, "dev-root.key"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	rootKey, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for _, c := range []struct {
		name string
		ok   bool
		t    x509.Certificate
	}{
		{"localhost", true, x509.Certificate{DNSNames: []string{"localhost"}}},
		{"x.shop.test", true, x509.Certificate{DNSNames: []string{"x.shop.test"}}},
		{"127.9.9.9", true, x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 9, 9, 9)}}},
		{"bank.example", false, x509.Certificate{DNSNames: []string{"bank.example"}}},
		{"localhost", false, x509.Certificate{DNSNames: []string{"localhost", "bank.example"}}},
		{"192.0.2.1", false, x509.Certificate{IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}}},
		{"2001:db8::1", false, x509.Certificate{IPAddresses: []net.IP{net.ParseIP("2001:db8::1")}}},
		{"localhost", false, x509.Certificate{DNSNames: []string{"localhost"}, EmailAddresses: []string{"a@bank.example"}}},
		{"localhost", false, x509.Certificate{DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}},
	} {
		c.t.SerialNumber, c.t.NotBefore, c.t.NotAfter = big.NewInt(9), time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
		usage := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if c.t.ExtKeyUsage != nil {
			usage = c.t.ExtKeyUsage
		}
		der, err := x509.CreateCertificate(rand.Reader, &c.t, root, key.Public(), rootKey)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Verify(x509.VerifyOptions{DNSName: c.name, Roots: pool, KeyUsages: usage})
		var invalid x509.CertificateInvalidError
		if c.ok != (err == nil) || !c.ok && !errors.As(err, &invalid) {
			t.Errorf("a forged leaf for %v %v %v: %v, want it accepted: %v", c.t.DNSNames, c.t.IPAddresses, c.t.EmailAddresses, err, c.ok)
		}
	}
}

// The root stays as long as it is good for what the gateway answers for, so that it is trusted once.
func TestTheRootStays(t *testing.T) {
	dir, d, now := t.TempDir(), &diary{}, &clock{}
	key, cert := filepath.Join(dir, "dev-root.key"), filepath.Join(dir, "dev-root.pem")
	var last []byte
	for _, c := range []struct {
		name  string
		hosts []string
		first func()
		same  bool
	}{
		{"the first", nil, func() {}, false},
		{"a restart", nil, func() {}, true},
		{"a name that it is good for", []string{"shop.localhost", "127.0.0.9"}, func() {}, true},
		{"another host", []string{"shop.test"}, func() {}, false},
		{"below that host", []string{"*.shop.test"}, func() {}, true},
		{"fewer hosts", nil, func() {}, true},
		{"another address", []string{"192.0.2.7"}, func() {}, false},
		{"a broken certificate", nil, func() { os.WriteFile(cert, []byte("x"), 0o644) }, false},
		{"a broken key", nil, func() { os.WriteFile(key, []byte("x"), 0o600) }, false},
		{"no certificate", nil, func() { os.Remove(cert) }, false},
		{"no key", nil, func() { os.Remove(key) }, false},
		{"another's root", nil, func() {
			c, k := newSigner(t).sign(t, -1, 100, "localhost")
			os.WriteFile(cert, c, 0o644)
			os.WriteFile(key, k, 0o600)
		}, false},
		{"near its end", nil, func() { now.advance(5*365*24*time.Hour - 50*24*time.Hour) }, false},
		{"after that", nil, func() {}, true},
	} {
		c.first()
		told := d.count("is to be trusted")
		mustOpen(t, certs.Config{Dev: true}, certs.Options{Dir: dir, Hosts: c.hosts, Now: now.now, Log: d.log()})
		b, err := os.ReadFile(cert)
		if err != nil {
			t.Fatal(err)
		}
		if same := string(b) == string(last); same != c.same {
			t.Errorf("%s: the root stayed: %v, want %v", c.name, same, c.same)
		}
		if news := d.count("is to be trusted") > told; news == c.same {
			t.Errorf("%s: users were told to trust a root: %v", c.name, news)
		}
		last = b
	}
	os.Chmod(key, 0o640)
	if _, err := certs.Open(certs.Config{Dev: true}, certs.Options{Dir: dir, Now: now.now}); !fault.Is(err, fault.Denied) || fault.HintOf(err) == "" {
		t.Errorf("a key that others may read gave %v, want it denied with a hint", err)
	}
	os.Remove(key)
	os.Remove(cert)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.Open(certs.Config{Dev: true}, certs.Options{Dir: filepath.Join(cert, "x"), Log: d.log()}); err != nil {
		t.Errorf("a folder that is missing is made: %v", err)
	}
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
	if _, err := certs.Open(certs.Config{Dev: true}, certs.Options{Dir: filepath.Join(dir, "file", "x")}); err == nil || fault.HintOf(err) == "" {
		t.Errorf("a folder that cannot be made gave %v, want a fault with a hint", err)
	}
}

// However many come first at once, one leaf is made for them.
func TestFirstHandshakesShareALeaf(t *testing.T) {
	s := mustOpen(t, certs.Config{Dev: true}, certs.Options{Dir: t.TempDir()})
	var wg sync.WaitGroup
	got := make([]*tls.Certificate, 64)
	start := make(chan struct{})
	for i := range got {
		wg.Go(func() {
			<-start
			got[i], _ = s.GetCertificate(&tls.ClientHelloInfo{ServerName: []string{"a.localhost", "A.localhost", "a.localhost."}[i%3]})
		})
	}
	close(start)
	wg.Wait()
	for i, c := range got {
		if c == nil || c != got[0] {
			t.Fatalf("handshake %d got another leaf than the first", i)
		}
	}
	if n := s.Leaves(); n != 1 {
		t.Errorf("%d leaves are kept, want 1", n)
	}
}

// Names without end make no more than the bound of leaves, and those in use stay.
func TestLeavesAreBounded(t *testing.T) {
	s := mustOpen(t, certs.Config{Dev: true}, certs.Options{Dir: t.TempDir()})
	pick := func(name string) *tls.Certificate {
		t.Helper()
		c, err := s.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	used := pick("used.localhost")
	for i := range 3 * certs.MaxLeaves {
		pick(fmt.Sprintf("n%d.localhost", i))
		if pick("used.localhost") != used {
			t.Fatal("a leaf in use was dropped")
		}
	}
	for i := range 100 {
		pick(strings.Repeat("x", 64) + fmt.Sprintf("%d.localhost", i)) // a label that is too long
		pick(fmt.Sprintf("n%d.example", i))
	}
	if n := s.Leaves(); n != certs.MaxLeaves {
		t.Errorf("%d leaves are kept, want %d", n, certs.MaxLeaves)
	}
}

// A leaf is replaced before it ends.
func TestLeavesAreRenewed(t *testing.T) {
	now := &clock{}
	s := mustOpen(t, certs.Config{Dev: true}, certs.Options{Dir: t.TempDir(), Now: now.now})
	hello := &tls.ClientHelloInfo{ServerName: "localhost"}
	first, _ := s.GetCertificate(hello)
	now.advance(19 * 24 * time.Hour)
	if same, _ := s.GetCertificate(hello); same != first {
		t.Error("a leaf with 11 days left was replaced")
	}
	now.advance(2 * 24 * time.Hour)
	next, _ := s.GetCertificate(hello)
	if next == first || next.Leaf.NotAfter.Sub(now.now()) < 29*24*time.Hour {
		t.Error("a leaf with 9 days left was not replaced")
	}
	if n := s.Leaves(); n != 1 {
		t.Errorf("%d leaves are kept, want 1", n)
	}
	now.advance(5*365*24*time.Hour - 60*24*time.Hour)
	if st := s.Status()[0]; st.Error == "" || st.Hint == "" {
		t.Errorf("a root near its end: status %+v, want it told", st)
	}
	if last, _ := s.GetCertificate(hello); last.Leaf.NotAfter.After(s.Status()[0].NotAfter) {
		t.Error("a leaf outlives its root")
	}
}

// net/http's own server takes the configuration as it is, and speaks HTTP/2 with it.
func TestServesHTTP2(t *testing.T) {
	s := mustOpen(t, certs.Config{Dev: true}, certs.Options{Dir: t.TempDir()})
	_, pool := rootOf(t, s)
	l := listen(t, "127.0.0.1:0")
	web := &http.Server{TLSConfig: s.TLS(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(r.Proto)) })}
	done := make(chan struct{})
	go func() { web.ServeTLS(l, "", ""); close(done) }()
	defer func() { web.Close(); <-done }()
	for _, http2 := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
		resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get("https://" + l.Addr().String() + "/")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		transport.CloseIdleConnections()
		if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2]; err != nil || string(b) != want {
			t.Errorf("the server saw %q, %v; want %s", b, err, want)
		}
	}
}
