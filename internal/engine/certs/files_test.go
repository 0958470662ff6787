package certs_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/certs"
)

// A changed file is served at the next look; one that cannot be used leaves the one before, and says why.
func TestFilesAreReloaded(t *testing.T) {
	ca, dir, d := newSigner(t), t.TempDir(), &diary{}
	cert1, key1 := ca.sign(t, -1, 100, "shop.example")
	p := writePair(t, dir, "shop", cert1, key1)
	s := mustOpen(t, certs.Config{Cert: p.Cert, Key: p.Key}, certs.Options{Every: 5 * time.Millisecond, Log: d.log()})
	l := listen(t, "127.0.0.1:0")
	serve(t, l, s.TLS())
	run(t, s)
	addr := l.Addr().String()
	served := func() int64 { t.Helper(); return leafOf(t, addr, "shop.example", ca.pool).SerialNumber.Int64() }
	first := served()

	cert2, key2 := ca.sign(t, -1, 200, "shop.example")
	write(t, p.Cert, cert2) // and not yet the key: no pair
	eventually(t, "the status tells of a certificate without its key", func() bool { return strings.Contains(s.Status()[0].Error, "private key") })
	if got := served(); got != first {
		t.Fatalf("with half of a new pair in place serial %d is served, want the old %d", got, first)
	}
	write(t, p.Key, key2)
	eventually(t, "the new pair is served", func() bool { return served() == first+1 })
	if st := s.Status()[0]; st.Error != "" || st.From != "files" || st.Issuer != "test root" || st.Hosts[0] != "shop.example" {
		t.Errorf("status of a good pair: %+v", st)
	}

	for _, c := range []struct{ name, want string }{
		{"expired", "expired"}, {"early", "not valid before"}, {"garbage", "PEM"}, {"gone", "no such file"}, {"other key", "private key"},
	} {
		cert, key := ca.sign(t, -1, 300, "shop.example")
		switch c.name {
		case "expired":
			cert, key = ca.sign(t, -10, -1, "shop.example")
		case "early":
			cert, key = ca.sign(t, 10, 20, "shop.example")
		case "garbage":
			cert = []byte("-----BEGIN")
		case "other key":
			_, key = ca.sign(t, -1, 300, "shop.example")
		}
		if c.name == "gone" {
			if err := os.Remove(p.Cert); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, p.Cert, cert) // first what does not fit the key that lies there: never is there a good pair
			write(t, p.Key, key)
		}
		eventually(t, c.name+" is told as "+c.want, func() bool { return strings.Contains(s.Status()[0].Error, c.want) })
		if st := s.Status()[0]; st.Hint == "" || time.Until(st.NotAfter) < 199*time.Hour {
			t.Errorf("%s: status %+v lacks a hint, or tells of another certificate than is served", c.name, st)
		}
		if got := served(); got != first+1 {
			t.Fatalf("%s: serial %d is served, want %d", c.name, got, first+1)
		}
	}
	cert3, key3 := ca.sign(t, -1, 400, "shop.example")
	writePair(t, dir, "shop", cert3, key3)
	eventually(t, "a good pair ends it", func() bool { return s.Status()[0].Error == "" })
	if n := d.count("expired on"); n != 1 {
		t.Errorf("an expired file was logged %d times, want once", n)
	}
}

// A folder that is swapped by its link, as Kubernetes mounts secrets, is seen as changed files.
func TestASwappedFolderIsReloaded(t *testing.T) {
	ca, dir := newSigner(t), t.TempDir()
	swap := func(version string, hours int) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		cert, key := ca.sign(t, -1, hours, "shop.example")
		writePair(t, filepath.Join(dir, version), "tls", cert, key)
		link := filepath.Join(dir, "data")
		if err := os.Symlink(version, link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
	}
	swap("v1", 100)
	s := mustOpen(t, certs.Config{Cert: filepath.Join(dir, "data", "tls.pem"), Key: filepath.Join(dir, "data", "tls.key")}, certs.Options{Every: 5 * time.Millisecond})
	run(t, s)
	st := s.Status()[0]
	if left := st.NotAfter.Sub(st.Due); left < 20*time.Hour || left > 21*time.Hour {
		t.Errorf("of a life of 101 h the last %v are due, want a fifth", left)
	}
	swap("v2", 1000)
	eventually(t, "the new folder's certificate is served", func() bool { return s.Status()[0].NotAfter.After(st.NotAfter) })
	if st := s.Status()[0]; st.Error != "" {
		t.Errorf("status %+v", st)
	}
}

// What is not valid yet is taken once it is, although its file does not change.
func TestAnEarlyCertificateIsTakenInTime(t *testing.T) {
	ca, dir, c := newSigner(t), t.TempDir(), &clock{}
	cert, key := ca.sign(t, -1, 100, "shop.example")
	p := writePair(t, dir, "shop", cert, key)
	s := mustOpen(t, certs.Config{Cert: p.Cert, Key: p.Key}, certs.Options{Every: 5 * time.Millisecond, Now: c.now})
	run(t, s)
	cert, key = ca.sign(t, 10, 200, "shop.example")
	writePair(t, dir, "shop", cert, key)
	eventually(t, "it is refused", func() bool { return strings.Contains(s.Status()[0].Error, "not valid before") })
	c.advance(11 * time.Hour)
	eventually(t, "it is taken", func() bool { return s.Status()[0].Error == "" && time.Until(s.Status()[0].NotAfter) > 150*time.Hour })
}

// Several pairs are chosen from by the name that the client asks for; the first is for all other names.
func TestPairsAreChosenByName(t *testing.T) {
	ca, dir := newSigner(t), t.TempDir()
	var c certs.Config
	for i, name := range []string{"a.example", "b.example", "*.c.example"} {
		cert, key := ca.sign(t, -1, 100, name)
		p := writePair(t, dir, string(rune('a'+i)), cert, key)
		if i == 0 {
			c.Cert, c.Key = p.Cert, p.Key
		} else {
			c.More = append(c.More, p)
		}
	}
	s := mustOpen(t, c, certs.Options{})
	l := listen(t, "127.0.0.1:0")
	serve(t, l, s.TLS())
	for name, want := range map[string]string{"a.example": "a.example", "b.example": "b.example", "x.c.example": "*.c.example", "other.example": "a.example", "": "a.example"} {
		st, err := shake(l.Addr().String(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := st.PeerCertificates[0].DNSNames[0]; got != want {
			t.Errorf("for %q the certificate of %s is served, want %s", name, got, want)
		}
	}
	if n := len(s.Status()); n != 3 {
		t.Errorf("%d statuses, want one for each pair", n)
	}
}

// A broken file at the start is refused with what to do about it.
func TestBrokenFilesAreRefused(t *testing.T) {
	ca, dir := newSigner(t), t.TempDir()
	cert, key := ca.sign(t, -1, 100, "a.example")
	_, other := ca.sign(t, -1, 100, "b.example")
	good := writePair(t, dir, "good", cert, key)
	for _, c := range []struct {
		name string
		pair certs.Pair
		kind fault.Kind
	}{
		{"no pair", writePair(t, dir, "other", cert, other), fault.Invalid},
		{"no PEM", writePair(t, dir, "nopem", []byte("x"), key), fault.Invalid},
		{"swapped", certs.Pair{Cert: good.Key, Key: good.Cert}, fault.Invalid},
		{"too large", writePair(t, dir, "large", make([]byte, 2<<20), key), fault.Invalid},
		{"missing", certs.Pair{Cert: filepath.Join(dir, "none"), Key: good.Key}, fault.NotFound},
		{"a folder", certs.Pair{Cert: dir, Key: good.Key}, fault.Invalid},
	} {
		_, err := certs.Open(certs.Config{Cert: c.pair.Cert, Key: c.pair.Key}, certs.Options{})
		if fault.KindOf(err) != c.kind || fault.HintOf(err) == "" || !strings.Contains(err.Error(), c.pair.Cert) {
			t.Errorf("%s: %v (%s, hint %q), want a fault of kind %s about %s", c.name, err, fault.KindOf(err), fault.HintOf(err), c.kind, c.pair.Cert)
		}
	}
}

// An expired certificate is served if there is no other: the clients say what is wrong with it, and so does the status.
func TestAnExpiredCertificate(t *testing.T) {
	ca, dir := newSigner(t), t.TempDir()
	cert, key := ca.sign(t, -10, -1, "shop.example")
	p := writePair(t, dir, "shop", cert, key)
	s := mustOpen(t, certs.Config{Cert: p.Cert, Key: p.Key}, certs.Options{})
	l := listen(t, "127.0.0.1:0")
	serve(t, l, s.TLS())
	if _, err := shake(l.Addr().String(), &tls.Config{ServerName: "shop.example", RootCAs: ca.pool}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("the client's handshake gave %v, want that the certificate has expired", err)
	}
	if st := s.Status()[0]; !strings.HasPrefix(st.Error, "expired on") || st.Hint == "" {
		t.Errorf("status %+v does not tell", st)
	}
}

// TLS 1.3 is chosen, 1.2 is served, 1.1 is not; HTTP/2 is preferred; a session is resumed.
func TestVersionsAndProtocols(t *testing.T) {
	ca, dir := newSigner(t), t.TempDir()
	cert, key := ca.sign(t, -1, 100, "shop.example")
	p := writePair(t, dir, "shop", cert, key)
	s := mustOpen(t, certs.Config{Cert: p.Cert, Key: p.Key}, certs.Options{})
	l := listen(t, "127.0.0.1:0")
	serve(t, l, s.TLS())
	for _, c := range []struct {
		min, max uint16
		protos   []string
		version  uint16 // 0: refused
		proto    string
	}{
		{0, 0, nil, tls.VersionTLS13, ""},
		{0, tls.VersionTLS12, []string{"http/1.1", "h2"}, tls.VersionTLS12, "h2"},
		{0, 0, []string{"http/1.1"}, tls.VersionTLS13, "http/1.1"},
		{tls.VersionTLS10, tls.VersionTLS11, nil, 0, ""},
		{0, 0, []string{"acme-tls/1"}, 0, ""},
	} {
		st, err := shake(l.Addr().String(), &tls.Config{ServerName: "shop.example", RootCAs: ca.pool, MinVersion: c.min, MaxVersion: c.max, NextProtos: c.protos})
		if st.Version != c.version || st.NegotiatedProtocol != c.proto || (err != nil) != (c.version == 0) {
			t.Errorf("%+v: version %x, protocol %q, %v", c, st.Version, st.NegotiatedProtocol, err)
		}
	}
	client := &tls.Config{ServerName: "shop.example", RootCAs: ca.pool, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	for i := range 2 {
		st, err := shake(l.Addr().String(), client)
		if err != nil || st.DidResume != (i == 1) {
			t.Errorf("handshake %d: resumed %v, %v", i, st.DidResume, err)
		}
	}
}
