package certs_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/certs"
)

func pemCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// at gives what the gateway serves for name at the given time, "" with the error if a client refuses it.
func (s *server) at(name string, now func() time.Time) (serial string, err error) {
	st, err := shake(s.tls.Addr().String(), &tls.Config{ServerName: name, RootCAs: s.roots, Time: now})
	if err != nil {
		return "", err
	}
	return st.PeerCertificates[0].SerialNumber.String(), nil
}

// Certificates are issued by either challenge, renewed in the background while the old one
// is served, and kept across a restart.
func TestACMEIssuesAndRenews(t *testing.T) {
	for _, challenge := range []string{"tls-alpn-01", "http-01"} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			s, dir, now := startServer(t, nil), t.TempDir(), &clock{}
			c := certs.ACME{Email: "ops@shop.example", Agree: true, Hosts: []string{"shop.example", "api.shop.example"}, Challenge: challenge}
			src := s.open(t, c, certs.Options{Dir: dir, Now: now.now})
			if st := src.Status(); len(st) != 2 || st[0].Error == "" || st[0].Hosts[0] != "shop.example" {
				t.Errorf("before anything was issued: status %+v", st)
			}
			if _, err := s.at("shop.example", nil); err == nil {
				t.Error("a handshake succeeded before anything was issued")
			}
			stop := run(t, src)
			first := map[string]string{}
			for _, h := range c.Hosts {
				eventually(t, h+" is served with a certificate that clients accept", func() bool {
					serial, err := s.at(h, now.now)
					first[h] = serial
					return err == nil
				})
			}
			for _, st := range src.Status() {
				if st.Error != "" || st.From != "acme" || !strings.Contains(st.Issuer, "Pebble") || st.Next.Before(now.now().Add(50*24*time.Hour)) || st.Next.After(st.NotAfter) {
					t.Errorf("status of what was issued: %+v", st)
				}
			}
			// Undeclared hosts have none, whoever asks.
			for _, name := range []string{"other.example", "x.shop.example", ""} {
				_, err := shake(s.tls.Addr().String(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
				if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
					t.Errorf("a handshake for %q gave %v, want unrecognized name", name, err)
				}
			}

			// 61 days later a third of the life is left.
			now.advance(61 * 24 * time.Hour)
			for _, h := range c.Hosts {
				eventually(t, h+" is renewed", func() bool {
					serial, err := s.at(h, now.now)
					if err != nil {
						t.Fatalf("%s was not served during its renewal: %v", h, err)
					}
					return serial != first[h]
				})
				first[h], _ = s.at(h, now.now)
			}
			stop()

			// A restart serves what was kept, without asking.
			src = s.open(t, c, certs.Options{Dir: dir, Now: now.now})
			for _, h := range c.Hosts {
				if serial, err := s.at(h, now.now); err != nil || serial != first[h] {
					t.Errorf("after a restart %s is served with %s, %v; want %s", h, serial, err, first[h])
				}
			}
			files := 0
			filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
				if err == nil && !e.IsDir() {
					files++
					if info, _ := e.Info(); info.Mode().Perm() != 0o600 {
						t.Errorf("%s has mode %v", path, info.Mode())
					}
				}
				return err
			})
			if files != 3 {
				t.Errorf("%d files are kept, want the account's key and two certificates", files)
			}
			if n := s.said.count("There are now 1 accounts"); n != 1 {
				t.Errorf("%d accounts were opened first, want one in all", n)
			}
			// A key that lies open, or a file of another host, is not served.
			path := src.Status()[0].Path
			if b, err := os.ReadFile(src.Status()[1].Path); err != nil || os.WriteFile(path, b, 0o600) != nil {
				t.Fatal(err)
			}
			if st := s.open(t, c, certs.Options{Dir: dir, Now: now.now}).Status(); !st[0].NotAfter.IsZero() || st[1].NotAfter.IsZero() {
				t.Errorf("another host's file was taken: %+v", st)
			}
		})
	}
}

// Without a word on challenges, whichever works is found at the first attempt.
func TestACMEFindsTheChallengeThatWorks(t *testing.T) {
	t.Parallel()
	s, now := startServer(t, nil), &clock{}
	s.tls.Close() // nobody answers at port 443
	c := certs.ACME{Agree: true, Hosts: []string{"shop.example"}, Profile: "default"}
	src := s.open(t, c, certs.Options{Dir: t.TempDir(), Now: now.now})
	run(t, src)
	eventually(t, "a certificate is issued by http-01", func() bool { return src.Status()[0].Error == "" })
	first := src.Status()[0].NotBefore
	if first.IsZero() {
		t.Errorf("status %+v without a certificate", src.Status()[0])
	}
}

// A host that the server cannot check is told with what to do, waits, and keeps nobody else
// from a certificate; put right, it gets its own. What cannot be renewed or kept is served.
func TestACMETellsWhatFails(t *testing.T) {
	t.Parallel()
	s, now, d := startServer(t, nil), &clock{}, &diary{}
	s.missing.Store("lost.example", true)
	src := s.open(t, certs.ACME{Agree: true, Hosts: []string{"lost.example", "shop.example", "full.example"}}, certs.Options{Dir: t.TempDir(), Now: now.now, Log: d.log()})
	if err := os.MkdirAll(src.Status()[2].Path, 0o700); err != nil { // where a file cannot be written
		t.Fatal(err)
	}
	stop := run(t, src)
	eventually(t, "all attempts are over", func() bool {
		st := src.Status()
		return !st[0].Next.IsZero() && !st[1].NotAfter.IsZero() && !st[2].NotAfter.IsZero()
	})
	st := src.Status()
	if !strings.Contains(st[0].Error, "lost.example") || !strings.Contains(st[0].Hint, "DNS") || !st[0].NotAfter.IsZero() {
		t.Errorf("status of what failed: %+v", st[0])
	}
	if wait := st[0].Next.Sub(now.now()); wait < 2*time.Minute || wait > 5*time.Minute {
		t.Errorf("the next attempt is in %v, want some 4 min", wait)
	}
	if n := d.count("no certificate was issued"); n != 1 {
		t.Errorf("one failure was logged %d times", n)
	}
	if _, err := s.at("full.example", nil); err != nil || !strings.Contains(st[2].Error, "full.example.pem") || !strings.Contains(st[2].Hint, "data folder") {
		t.Errorf("what cannot be kept: served: %v; status %+v", err, st[2])
	}

	s.missing.Store("shop.example", true)
	s.missing.Delete("lost.example")
	now.advance(61 * 24 * time.Hour)
	eventually(t, "lost.example is issued and shop.example is not renewed", func() bool {
		_, err := s.at("lost.example", now.now)
		return err == nil && src.Status()[1].Error != ""
	})
	if _, err := s.at("shop.example", now.now); err != nil {
		t.Errorf("after a failed renewal: %v, want the old certificate served", err)
	}
	stop()
	now.advance(60 * 24 * time.Hour)
	if st := src.Status()[1]; st.Error == "" || st.NotAfter.After(now.now()) {
		t.Errorf("status of an expired certificate: %+v", st)
	}
}

// What keeps the account from being opened is told for each host that waits for it.
func TestACMEAccounts(t *testing.T) {
	t.Parallel()
	mac := base64.RawURLEncoding.EncodeToString([]byte("a key that the operator gave out"))
	s := startServer(t, map[string]any{"externalAccountBindingRequired": true, "externalAccountMACKeys": map[string]string{"kid-1": mac}})
	keyFile := filepath.Join(t.TempDir(), "mac")
	write(t, keyFile, []byte(mac+"\n"))
	hosts := []string{"shop.example"}
	for _, c := range []struct {
		name string
		c    certs.ACME
		want string // in the error; "": none
	}{
		{"no account named", certs.ACME{Agree: true, Hosts: hosts}, "externalAccount"},
		{"an unknown account", certs.ACME{Agree: true, Hosts: hosts, Account: &certs.Account{ID: "kid-2", KeyFile: keyFile}}, "not known"},
		{"no key", certs.ACME{Agree: true, Hosts: hosts, Account: &certs.Account{ID: "kid-1", KeyFile: keyFile + "x"}}, "no such file"},
		{"terms not agreed to", certs.ACME{Hosts: hosts, Account: &certs.Account{ID: "kid-1", KeyFile: keyFile}}, "terms of service"},
		{"a profile that is not there", certs.ACME{Agree: true, Profile: "none", Hosts: hosts, Account: &certs.Account{ID: "kid-1", KeyFile: keyFile}}, "profile"},
		{"the account", certs.ACME{Agree: true, Hosts: hosts, Account: &certs.Account{ID: "kid-1", KeyFile: keyFile}}, ""},
	} {
		src := s.open(t, c.c, certs.Options{Dir: t.TempDir()})
		stop := run(t, src)
		eventually(t, c.name+": the attempt is over", func() bool { return !src.Status()[0].Next.IsZero() })
		st := src.Status()[0]
		if (st.Error == "") != (c.want == "") || !strings.Contains(strings.ToLower(st.Error), strings.ToLower(c.want)) || (c.want != "" && st.Hint == "") {
			t.Errorf("%s: status %+v, want an error with %q and a hint", c.name, st, c.want)
		}
		stop()
	}
}

// A server that cannot be reached is no reason not to start, and Run ends in the middle of an attempt.
func TestACMEServerIsAway(t *testing.T) {
	l := listen(t, "127.0.0.1:0") // takes connections, and says nothing
	defer l.Close()
	dir, own := t.TempDir(), newSigner(t)
	ca := filepath.Join(dir, "ca.pem")
	write(t, ca, pemCert(own.cert.Raw))
	open := func(addr string) *certs.Source {
		return mustOpen(t, certs.Config{ACME: &certs.ACME{Directory: "https://" + addr + "/dir", CA: ca, Agree: true, Hosts: []string{"shop.example"}}}, certs.Options{Dir: dir})
	}
	silent := open(l.Addr().String())
	stop := run(t, silent)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	stop() // ends the attempt, and returns
	c.Close()
	if st := silent.Status()[0]; st.Error != "no certificate yet" {
		t.Errorf("an attempt that was stopped is told as failed: %+v", st)
	}
	for _, path := range []string{"/", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/x"} {
		if body, ok := silent.Answer(path); ok {
			t.Errorf("%s is answered with %q while no challenge is open", path, body)
		}
	}
	if silent.Challenge(nil, &http.Request{Method: "POST"}) {
		t.Error("a POST was answered")
	}
}

// Files of one server are not taken for those of another.
func TestACMEServersAreKeptApart(t *testing.T) {
	var paths []string
	for _, directory := range []string{"", "https://acme-staging-v02.api.letsencrypt.org/directory", "https://ca.internal:9000/a", "https://ca.internal:9000/b"} {
		s := mustOpen(t, certs.Config{ACME: &certs.ACME{Directory: directory, Agree: true, Hosts: []string{"shop.stoa.dev"}}}, certs.Options{Dir: "d"})
		paths = append(paths, s.Status()[0].Path)
	}
	slices.Sort(paths)
	if n := len(slices.Compact(slices.Clone(paths))); n != 4 {
		t.Errorf("4 servers share files: %q", paths)
	}
	if !strings.HasPrefix(paths[0], filepath.Join("d", "acme", "acme-staging-v02.api.letsencrypt.org-")) {
		t.Errorf("%q does not name its server", paths[0])
	}
}
