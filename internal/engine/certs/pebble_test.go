package certs_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/certs"
)

// built is pebble, the ACME server that Let's Encrypt has made for tests of clients, from
// the module that testdata/pebble pins.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pebble")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "pebble")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var last error
	for range 3 { // the module proxy may be away for a moment
		cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/letsencrypt/pebble/v2/cmd/pebble")
		cmd.Dir = filepath.Join("testdata", "pebble")
		// With the settings of make check, whose standard library is built by then: built alone, all
		// of it takes a minute of CPU, pebble itself a sixth of that.
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
		out, err := cmd.CombinedOutput()
		if err == nil {
			return bin, nil
		}
		last = fmt.Errorf("go build pebble: %w\n%s", err, out)
	}
	return "", last
})

func TestMain(m *testing.M) {
	code := m.Run()
	if made.Load() {
		if bin, err := built(); err == nil {
			os.RemoveAll(filepath.Dir(bin))
		}
	}
	os.Exit(code)
}

var made atomic.Bool // that pebble was asked for

// A server is a running pebble, the world that it sees (names and what answers for them),
// and a gateway's two listeners.
type server struct {
	directory string         // its URL
	ca        string         // file with the root of its own https
	roots     *x509.CertPool // what it issues is verified by
	said      *diary
	tls       net.Listener // what it reaches at port 443 of any host
	plain     net.Listener // at port 80
	missing   sync.Map     // names that are not in the DNS
	source    atomic.Pointer[certs.Source]
}

// startServer runs a pebble whose settings more changes.
func startServer(t *testing.T, more map[string]any) *server {
	t.Helper()
	made.Store(true)
	bin, err := built()
	if err != nil {
		t.Fatal(err) // never skipped: what ACME needs would be untested
	}
	s := &server{said: &diary{}, tls: listen(t, "127.0.0.1:0"), plain: listen(t, "127.0.0.1:0")}
	dns := s.names(t)

	dir, own := t.TempDir(), newSigner(t)
	cert, key := own.sign(t, -1, 100, "localhost")
	pair := writePair(t, dir, "https", cert, key)
	s.ca = filepath.Join(dir, "ca.pem")
	write(t, s.ca, pemCert(own.cert.Raw))

	// Whoever else takes a free port first makes pebble end: another is tried.
	for try := 1; ; try++ {
		api, manage := freePort(t), freePort(t)
		settings := map[string]any{
			"listenAddress": api, "managementListenAddress": manage, "certificate": pair.Cert, "privateKey": pair.Key,
			"httpPort": port(s.plain), "tlsPort": port(s.tls), "keyAlgorithm": "ecdsa",
			"retryAfter": map[string]any{"authz": 1, "order": 1},
			"profiles":   map[string]any{"default": map[string]any{"description": "90 days", "validityPeriod": 90 * 24 * 3600}},
		}
		for k, v := range more {
			settings[k] = v
		}
		b, err := json.Marshal(map[string]any{"pebble": settings})
		if err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(dir, "pebble.json")
		write(t, config, b)
		cmd := exec.Command(bin, "-config", config, "-dnsserver", dns)
		cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0", "PEBBLE_WFE_NONCEREJECT=15")
		cmd.Stdout, cmd.Stderr = s.said, s.said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		stop := func() { cmd.Process.Kill(); <-ended }

		client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: own.pool, ServerName: "localhost"}}}
		up, down := false, false
		eventually(t, "pebble answers, or has ended", func() bool {
			select {
			case <-ended:
				down = true
				return true
			default:
			}
			resp, err := client.Get("https://" + manage + "/roots/0")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			root, err := io.ReadAll(resp.Body)
			s.roots = x509.NewCertPool()
			up = err == nil && s.roots.AppendCertsFromPEM(root)
			if resp, err := client.Get("https://" + api + "/dir"); err != nil {
				up = false
			} else {
				resp.Body.Close()
			}
			return up
		})
		if down && try < 5 {
			continue
		}
		t.Cleanup(func() {
			stop()
			if t.Failed() {
				t.Logf("status: %+v\npebble said:\n%s", s.source.Load().Status(), s.said.tail(6000))
			}
		})
		if !up {
			t.Fatal("pebble does not start")
		}
		_, p, _ := net.SplitHostPort(api)
		s.directory = "https://localhost:" + p + "/dir"
		break
	}

	// The gateway: its listeners are there before and after any Source.
	current := &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c := s.source.Load().TLS()
		if c.GetConfigForClient != nil {
			if other, err := c.GetConfigForClient(hello); other != nil || err != nil {
				return other, err
			}
		}
		return c, nil
	}}
	serve(t, s.tls, current)
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.source.Load().Challenge(w, r) {
			http.NotFound(w, r)
		}
	})}
	done := make(chan struct{})
	go func() { web.Serve(s.plain); close(done) }()
	t.Cleanup(func() { web.Close(); <-done })
	return s
}

// open opens a Source for c that asks s, and puts it behind the gateway's listeners.
func (s *server) open(t *testing.T, c certs.ACME, o certs.Options) *certs.Source {
	t.Helper()
	c.Directory, c.CA = s.directory, s.ca
	o.Every = 20 * time.Millisecond
	src := mustOpen(t, certs.Config{ACME: &c}, o)
	s.source.Store(src)
	return src
}

// names serves the DNS, over TCP as pebble asks: every name that is not missing leads to 127.0.0.1.
func (s *server) names(t *testing.T) (addr string) {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
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
				for {
					var size [2]byte
					if _, err := io.ReadFull(c, size[:]); err != nil {
						return
					}
					q := make([]byte, binary.BigEndian.Uint16(size[:]))
					if _, err := io.ReadFull(c, q); err != nil {
						return
					}
					answer := s.resolve(q)
					if answer == nil {
						return
					}
					c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// resolve answers one question: RFC 1035, section 4.1.
func (s *server) resolve(q []byte) []byte {
	if len(q) < 12 {
		return nil
	}
	at, labels := 12, []string(nil)
	for at < len(q) && q[at] != 0 && at+1+int(q[at]) < len(q) {
		labels = append(labels, string(q[at+1:at+1+int(q[at])]))
		at += 1 + int(q[at])
	}
	end := at + 5 // the root label, type and class
	if end > len(q) {
		return nil
	}
	a := bytes.Clone(q[:end])
	a[2], a[3] = 0x81, 0x80 // an answer, recursion available
	binary.BigEndian.PutUint16(a[4:], 1)
	clear(a[6:12])
	if _, missing := s.missing.Load(strings.ToLower(strings.Join(labels, "."))); missing {
		a[3] |= 3 // no such name
		return a
	}
	if binary.BigEndian.Uint16(q[at+1:]) == 1 { // type A
		a[7] = 1
		a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
	}
	return a
}

func (d *diary) tail(n int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.b.Bytes()
	return string(b[max(0, len(b)-n):])
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// freePort gives an address that nobody has just now.
func freePort(t *testing.T) string {
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	return l.Addr().String()
}
