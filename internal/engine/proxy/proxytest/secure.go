package proxytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"stoa/internal/engine/certs"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testSecure: a gateway that speaks TLS.
func testSecure(t *testing.T, open func(proxy.Options) Engine) {
	keys := t.TempDir()
	secure := func(on bool) shape {
		return func(s *snapshot.Snapshot) {
			l := s.Listeners["gateway"]
			l.Address, l.Redirect, l.TLS = "127.0.0.1:0", "", nil
			if on {
				l.TLS, l.Redirect = &certs.Config{Dev: true}, "127.0.0.1:0"
			}
			s.Listeners["gateway"] = l
		}
	}
	var mu sync.Mutex
	var plain []net.Listener // in the order in which they were opened
	b := tunedBench(t, open, proxy.Options{Candid: true, Keys: keys, Listen: func(network, addr string) (net.Listener, error) {
		ln, err := net.Listen(network, addr)
		if err == nil {
			mu.Lock()
			plain = append(plain, ln)
			mu.Unlock()
		}
		return ln, err
	}}, secure(true))
	mu.Lock()
	plain = nil
	mu.Unlock()
	b.serve(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto"), " ", r.Host)
	})
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- b.Run(ctx, func() { close(ready) }) }()
	<-ready
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	gate := func() string {
		all := b.Gateways()
		if len(all) != 1 || all[0].Err != nil || all[0].Bound == "" {
			t.Fatalf("the gateway: %+v", all)
		}
		return all[0].Bound
	}
	addr := gate()
	_, port, _ := net.SplitHostPort(addr)
	var root []byte
	filepath.WalkDir(keys, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && root == nil {
			if p, err := os.ReadFile(path); err == nil && strings.Contains(string(p), "BEGIN CERTIFICATE") {
				root = p
			}
		}
		return nil
	})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(root) {
		t.Fatal("no root in the folder of keys")
	}
	secureClient := func(h2 bool) *http.Client {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(!h2)
		tr.Protocols.SetHTTP2(h2)
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("requests, h2=%v", h2), func(t *testing.T) {
			c := secureClient(h2)
			for range 3 { // on one connection
				status, body, _ := get(t, c, "https://localhost:"+port+"/x")
				if status != 200 || body != "https localhost:"+port {
					t.Errorf("%d %q", status, body)
				}
			}
			want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[h2]
			b.waitHop("a request over "+want, func(r hop.Record) bool { return r.Protocol == want && r.Status == 200 })
		})
	}
	t.Run("in pieces, pipelined", func(t *testing.T) {
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		one := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		io.WriteString(c, one[:1])
		io.WriteString(c, one[1:9])
		io.WriteString(c, one[9:]+one+strings.Replace(one, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
		all, err := io.ReadAll(c)
		if n := strings.Count(string(all), "https a"); n != 3 || err != nil {
			t.Errorf("%d answers in %q, %v", n, all, err)
		}
	})
	t.Run("clear text is told", func(t *testing.T) {
		if got := raw(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); statusOf(got) != 400 || !strings.Contains(got, "https://") {
			t.Errorf("%q", got)
		}
	})
	t.Run("the port of clear text leads to it", func(t *testing.T) {
		mu.Lock()
		var at string
		for _, ln := range plain {
			if ln.Addr().String() != addr {
				at = ln.Addr().String()
			}
		}
		mu.Unlock()
		resp, err := client(t, false).Get("http://" + at + "/a%2Fb?x=1;y")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Location"); resp.StatusCode != 308 || !strings.HasPrefix(got, "https://127.0.0.1") || !strings.HasSuffix(got, "/a%2Fb?x=1;y") {
			t.Errorf("%d %q", resp.StatusCode, got)
		}
	})
	t.Run("taken away and given back, the address stays", func(t *testing.T) {
		next := usual(secure(false))
		next.Version.Serial = 2
		if err := b.Swap(next); err != nil {
			t.Fatal(err)
		}
		if got := gate(); got != addr {
			t.Errorf("the gateway moved from %s to %s", addr, got)
		}
		if status, _, _ := get(t, client(t, false), "http://"+addr+"/"); status != 200 {
			t.Errorf("in clear text: %d", status)
		}
		next = usual(secure(true))
		next.Version.Serial = 3
		if err := b.Swap(next); err != nil {
			t.Fatal(err)
		}
		if status, _, _ := get(t, secureClient(true), "https://localhost:"+port+"/"); status != 200 {
			t.Errorf("over TLS again: %d", status)
		}
	})
	t.Run("without certificates it is not opened, and says why", func(t *testing.T) {
		next := usual(func(s *snapshot.Snapshot) {
			l := s.Listeners["gateway"]
			l.Address, l.TLS = "127.0.0.1:0", &certs.Config{Cert: "/nowhere/cert.pem", Key: "/nowhere/key.pem"}
			s.Listeners["gateway"] = l
		})
		next.Version.Serial = 4
		if err := b.Swap(next); err != nil {
			t.Fatal(err)
		}
		g := b.Gateways()[0]
		if g.Err == nil || !strings.Contains(g.Err.Error(), "/nowhere/cert.pem") {
			t.Errorf("%+v", g)
		}
		if status, _, _ := get(t, secureClient(false), "https://localhost:"+port+"/"); status != 200 {
			t.Errorf("what was good serves no more: %d", status)
		}
	})
}
