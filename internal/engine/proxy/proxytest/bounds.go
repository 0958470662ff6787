package proxytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testBounds: nobody can make the proxy hold without end.
func testBounds(t *testing.T, open func(proxy.Options) Engine) {
	t.Run("calls that wait", func(t *testing.T) {
		b := tunedBench(t, open, proxy.Options{MaxHeld: 2}, upstream(func(u *snapshot.Upstream) { u.Hold = time.Hour }))
		ctx, cancel := context.WithCancel(t.Context())
		answers := make(chan string, 3)
		for range 3 {
			go func() {
				req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+b.mesh+"/", nil)
				resp, err := client(t, false).Do(req)
				if err != nil {
					answers <- "none"
					return
				}
				resp.Body.Close()
				answers <- fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Stoa-Reason"))
			}()
		}
		if got := <-answers; got != "503 "+string(hop.Overload) {
			t.Errorf("the third call: %s", got)
		}
		cancel() // the other two still wait
		for range 2 {
			if got := <-answers; got != "none" {
				t.Errorf("a call within the bound: %s", got)
			}
		}
	})
	t.Run("open connections", func(t *testing.T) {
		b := tunedBench(t, open, proxy.Options{MaxTunnel: 1}, func(s *snapshot.Snapshot) {
			s.Listeners["web>db"] = snapshot.Listener{Caller: "web", Protocol: snapshot.TCP, Upstream: "db"}
			s.Upstreams["db"] = snapshot.Upstream{Protocol: snapshot.TCP}
		})
		addr := b.bind("web>db")
		b.SetEndpoints("db", []snapshot.Endpoint{{ID: "db-1", Address: rawServer(t, func(c *rawConn) { io.WriteString(c, "hi"); io.Copy(io.Discard, c.in) })}})
		first := dial(t, addr)
		io.ReadFull(first, make([]byte, 2))
		if got, _ := io.ReadAll(dial(t, addr)); len(got) > 0 {
			t.Errorf("a second connection got %q", got)
		}
		b.waitHop("the one too many", func(r hop.Record) bool { return r.Reason == hop.Overload })
		first.Close()
	})
	t.Run("an outside caller that takes nothing of its answer", func(t *testing.T) {
		b := tunedBench(t, open, proxy.Options{Stall: 200 * time.Millisecond})
		ended := make(chan bool, 1)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					break
				}
			}
			ended <- true
		})
		c := dial(t, b.edge)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: svc\r\n\r\n")
		b.waitHop("the stalled answer", func(r hop.Record) bool { return r.Reason == hop.Cancelled && r.Status == 200 })
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the service still sends")
		}
	})
	t.Run("a caller that never ends its head", func(t *testing.T) {
		b := tunedBench(t, open, proxy.Options{MeshHead: 100 * time.Millisecond})
		c := dial(t, b.mesh)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: svc\r\nX:")
		got, _ := io.ReadAll(c) // until the proxy closes
		if n := statusOf(string(got)); n == 200 {
			t.Errorf("%q", got)
		}
	})
	t.Run("a service that does not begin to answer", func(t *testing.T) {
		for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
			b := newBench(t, open, protocol(proto), upstream(func(u *snapshot.Upstream) { u.Head = 50 * time.Millisecond }))
			b.serve(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			if code, _, h := get(t, client(t, false), "http://"+b.mesh+"/"); code != 504 || h.Get("Stoa-Reason") != string(hop.Deadline) {
				t.Errorf("%s: %d %s", proto, code, h.Get("Stoa-Reason"))
			}
		}
	})
}

// testOrigin: external services over TLS.
func testOrigin(t *testing.T, open func(proxy.Options) Engine) {
	start := func(t *testing.T, h2 bool, trust bool) (*bench, *httptest.Server, *atomic.Int64) {
		var seen atomic.Int64
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen.Add(1)
			fmt.Fprintf(w, "%s %s %s", r.Proto, r.Host, r.RequestURI)
		}))
		s.EnableHTTP2 = h2
		s.StartTLS()
		t.Cleanup(s.Close)
		roots := x509.NewCertPool()
		if trust {
			roots.AddCert(s.Certificate())
		}
		b := tunedBench(t, open, proxy.Options{TLS: &tls.Config{RootCAs: roots}}, protocol(snapshot.HTTPS))
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "origin", Address: s.Listener.Addr().String()}})
		return b, s, &seen
	}
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("asked by its own name, h2=%v", h2), func(t *testing.T) {
			b, s, _ := start(t, h2, true)
			want := fmt.Sprintf("HTTP/%s %s /a%%2Fb?x;y", map[bool]string{false: "1.1", true: "2.0"}[h2], s.Listener.Addr())
			for range 3 {
				if code, got, _ := get(t, client(t, false), "http://"+b.mesh+"/a%2Fb?x;y"); code != 200 || got != want {
					t.Errorf("%d %q, want %q", code, got, want)
				}
			}
			resp, err := client(t, false).Post("http://"+b.mesh+"/", "text/plain", strings.NewReader("body"))
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("POST: %v, %v", resp, err)
			}
			resp.Body.Close()
		})
	}
	t.Run("not trusted, not sent, not tried again", func(t *testing.T) {
		b, _, seen := start(t, false, false)
		began := time.Now()
		code, body, h := get(t, client(t, false), "http://"+b.mesh+"/")
		if code != 502 || h.Get("Stoa-Reason") != string(hop.Connect) || seen.Load() != 0 || strings.Contains(body, "x509") {
			t.Errorf("%d %s %q, %d requests", code, h.Get("Stoa-Reason"), body, seen.Load())
		}
		if time.Since(began) > snapshot.DefaultHold {
			t.Error("held, though waiting cannot help")
		}
	})
}
