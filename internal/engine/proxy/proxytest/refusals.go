package proxytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return ln.Addr().String()
}

// testRefusals: an answer of the proxy says that it is one, why, and what to do.
func testRefusals(t *testing.T, open func(proxy.Options) Engine) {
	noHold := upstream(func(u *snapshot.Upstream) { u.Hold = -1 })
	for _, c := range []struct {
		claim  string
		path   string
		shapes []shape
		eps    func(*testing.T) []snapshot.Endpoint
		status int
		reason hop.Reason
		text   string
	}{
		{"no endpoint", "/", []shape{noHold}, nil, 503, hop.NoEndpoint, "svc"},
		{"no connection", "/", []shape{noHold}, func(t *testing.T) []snapshot.Endpoint {
			return []snapshot.Endpoint{{ID: "a", Address: closedPort(t)}, {ID: "b", Address: closedPort(t)}}
		}, 503, hop.Connect, "svc"},
		{"no route", "/x", []shape{rules(route.Rule{Name: "a", Path: "/a", Upstream: "svc"})}, nil, 404, hop.NoRoute, "/x"},
		{"no method", "/a", []shape{rules(route.Rule{Name: "a", Path: "/a", Methods: []string{"POST"}, Upstream: "svc"})}, nil, 405, hop.NoMethod, "GET"},
		{"bad path", "/a/../b", nil, nil, 400, hop.BadPath, ".."},
		{"connection broken", "/", nil, func(t *testing.T) []snapshot.Endpoint {
			return []snapshot.Endpoint{{ID: "a", Address: rawServer(t, func(c *rawConn) { c.request() })}}
		}, 502, hop.Upstream, "svc"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			b := newBench(t, open, c.shapes...)
			if c.eps != nil {
				b.SetEndpoints("svc", c.eps(t))
			}
			for _, accept := range []string{"*/*", "application/json"} {
				got := raw(t, b.mesh, "GET "+c.path+" HTTP/1.1\r\nHost: svc\r\nAccept: "+accept+"\r\nConnection: close\r\n\r\n")
				head, body, _ := strings.Cut(got, "\r\n\r\n")
				if statusOf(got) != c.status || !strings.Contains(head, "Stoa-Reason: "+string(c.reason)) || !strings.Contains(body, c.text) || !strings.Contains(body, string(c.reason)) {
					t.Errorf("accept %s: %q; want %d, %s and %q", accept, got, c.status, c.reason, c.text)
				}
				if accept != "*/*" && !json.Valid([]byte(body)) {
					t.Errorf("not JSON: %q", body)
				}
				if strings.Contains(body, "127.0.0.1") {
					t.Errorf("an address leaked: %q", body)
				}
			}
			b.waitHop(c.claim, func(r hop.Record) bool { return r.Reason == c.reason && r.Status == c.status && !r.Trace.IsZero() })
		})
	}
	t.Run("405 lists what is allowed", func(t *testing.T) {
		b := newBench(t, open, rules(route.Rule{Name: "a", Path: "/a", Methods: []string{"POST", "PUT"}, Upstream: "svc"}))
		if _, _, h := get(t, client(t, false), "http://"+b.mesh+"/a"); h.Get("Allow") != "POST, PUT" {
			t.Errorf("Allow: %q", h.Get("Allow"))
		}
	})
	t.Run("a snapshot with a problem is refused as a whole", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
		bad := usual(rules(route.Rule{Name: "a", Path: "/", Upstream: "nobody"}))
		if err := b.Swap(bad); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("Swap: %v", err)
		}
		if code, _, _ := get(t, client(t, false), "http://"+b.mesh+"/"); code != 200 {
			t.Errorf("the snapshot before it is gone: %d", code)
		}
	})
}

// testRepeat: one request of the caller is one request to the service.
func testRepeat(t *testing.T, open func(proxy.Options) Engine) {
	// flaky answers the first request of a connection and closes when the second has been
	// read: an idle connection that dies as the proxy sends on it.
	flaky := func(seen *atomic.Int64, fresh bool) func(*rawConn) {
		return func(c *rawConn) {
			if c.request() == nil {
				return
			}
			seen.Add(1)
			if c.n > 0 && !fresh {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			if c.request() != nil {
				seen.Add(1)
			}
		}
	}
	send := func(t *testing.T, addr, method, lines, body string) int {
		t.Helper()
		return statusOf(raw(t, addr, method+" / HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n"+lines+"\r\n"+body))
	}
	for _, c := range []struct {
		method, lines, body string
		repeat              bool // may be repeated, once
	}{
		{"GET", "", "", true},
		{"HEAD", "", "", true},
		{"OPTIONS", "", "", true},
		{"DELETE", "", "", true},
		{"PUT", "Content-Length: 0\r\n", "", true},
		{"POST", "Content-Length: 0\r\n", "", false},
		{"POST", "Content-Length: 0\r\nIdempotency-Key: k\r\n", "", true},
		{"POST", "Content-Length: 4\r\nIdempotency-Key: k\r\n", "body", false}, // the body has been read
		{"PUT", "Content-Length: 4\r\n", "body", false},
		{"PATCH", "Content-Length: 0\r\nX-Idempotency-Key: k\r\n", "", true},
	} {
		name := strings.TrimSpace(c.method + " " + strings.ReplaceAll(strings.TrimSpace(c.lines), "\r\n", ", "))
		t.Run("on a dead kept connection, "+name, func(t *testing.T) {
			b := newBench(t, open)
			var seen atomic.Int64
			b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: rawServer(t, flaky(&seen, true))}})
			if n := send(t, b.mesh, "GET", "", ""); n != 200 {
				t.Fatalf("first: %d", n)
			}
			b.waitHop("the first", func(r hop.Record) bool { return r.Status == 200 })
			n := send(t, b.mesh, c.method, c.lines, c.body)
			if c.repeat && (n != 200 || seen.Load() != 3) {
				t.Errorf("status %d after %d requests at the service, want 200 after 3", n, seen.Load())
			}
			if !c.repeat && (n != 502 || seen.Load() != 2) {
				t.Errorf("status %d after %d requests at the service, want 502 after 2", n, seen.Load())
			}
			b.waitHop("the second", func(r hop.Record) bool {
				return r.Method == c.method && r.Attempts == map[bool]int{true: 2, false: 1}[c.repeat]
			})
		})
	}
	t.Run("once only", func(t *testing.T) {
		b := newBench(t, open)
		var seen atomic.Int64
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: rawServer(t, flaky(&seen, false))}})
		send(t, b.mesh, "GET", "", "")
		b.waitHop("the first", func(r hop.Record) bool { return r.Status == 200 })
		if n := send(t, b.mesh, "GET", "", ""); n != 502 || seen.Load() != 3 {
			t.Errorf("status %d after %d requests, want 502 after 3", n, seen.Load())
		}
	})
	t.Run("never on a fresh connection", func(t *testing.T) {
		b := newBench(t, open)
		var seen atomic.Int64
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: rawServer(t, func(c *rawConn) {
			if c.request() != nil {
				seen.Add(1)
			}
		})}})
		if n := send(t, b.mesh, "GET", "", ""); n != 502 || seen.Load() != 1 {
			t.Errorf("status %d after %d requests, want 502 after 1", n, seen.Load())
		}
	})
	t.Run("what goes over the wire is not changed by it", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Method, r.ContentLength, r.TransferEncoding, r.Header.Get("Idempotency-Key"), r.Header.Get("Content-Length"))
		})
		for _, c := range [][3]string{
			{"GET", "Idempotency-Key: k\r\n", "GET0 []k"}, {"POST", "Content-Length: 0\r\nIdempotency-Key: k\r\n", "POST0 []k0"},
			{"GET", "Content-Length: 2\r\n", "GET2 []2"}, {"GET", "Transfer-Encoding: chunked\r\n", "GET-1 [chunked]"},
			{"DELETE", "", "DELETE0 []"}, {"OPTIONS", "", "OPTIONS0 []"},
		} {
			body := map[string]string{"GET2 []2": "xx", "GET-1 [chunked]": "0\r\n\r\n"}[c[2]]
			got := raw(t, b.mesh, c[0]+" / HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n"+c[1]+"\r\n"+body)
			if !strings.HasSuffix(got, c[2]) {
				t.Errorf("%s %q came as %q, want %s", c[0], c[1], got, c[2])
			}
		}
	})
}

// testHold: a call waits for a service that is not ready yet.
func testHold(t *testing.T, open func(proxy.Options) Engine) {
	ok := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }
	t.Run("until an endpoint comes", func(t *testing.T) {
		b := newBench(t, open, upstream(func(u *snapshot.Upstream) { u.Hold = patience }))
		s := server(t, ok)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if code, _, _ := get(t, client(t, false), "http://"+b.mesh+"/"); code != 200 {
					t.Errorf("status %d", code)
				}
			})
		}
		b.SetEndpoints("other", []snapshot.Endpoint{endpoint("x", s)})
		time.AfterFunc(50*time.Millisecond, func() { b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("svc-1", s)}) })
		wg.Wait()
		b.waitHop("a held call", func(r hop.Record) bool { return r.Held > 0 && r.Status == 200 })
	})
	t.Run("past an endpoint that refuses", func(t *testing.T) {
		b := newBench(t, open)
		s := server(t, ok)
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "dead", Address: closedPort(t)}, endpoint("svc-1", s)})
		for range 50 {
			resp, err := client(t, false).Post("http://"+b.mesh+"/", "text/plain", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Fatalf("status %d, want 200 from the one that lives", resp.StatusCode)
			}
		}
	})
	t.Run("over the restart of the only one", func(t *testing.T) {
		b := newBench(t, open, upstream(func(u *snapshot.Upstream) { u.Hold = patience }))
		addr := closedPort(t)
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "svc-1", Address: addr}})
		code := make(chan int, 1)
		go func() { c, _, _ := get(t, client(t, false), "http://"+b.mesh+"/"); code <- c }()
		s := server(t, ok)
		b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("svc-2", s)})
		if c := <-code; c != 200 {
			t.Errorf("status %d", c)
		}
	})
	t.Run("no longer than told, and names the service", func(t *testing.T) {
		b := newBench(t, open, upstream(func(u *snapshot.Upstream) { u.Hold = 50 * time.Millisecond; u.Service = "inventory" }))
		code, body, h := get(t, client(t, false), "http://"+b.mesh+"/")
		if code != 503 || h.Get("Stoa-Reason") != "no-endpoint" || !strings.Contains(body, "inventory") {
			t.Errorf("%d %s %q", code, h.Get("Stoa-Reason"), body)
		}
	})
	t.Run("a request at a listener before its snapshot", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(ok)
		addr := b.bind("late>svc")
		code := make(chan int, 1)
		go func() { c, _, _ := get(t, client(t, false), "http://"+addr+"/"); code <- c }()
		err := b.Swap(usual(func(s *snapshot.Snapshot) {
			s.Listeners["late>svc"] = snapshot.Listener{Caller: "late", Protocol: snapshot.HTTP, Routes: s.Listeners["web>svc"].Routes}
		}))
		if err != nil {
			t.Fatal(err)
		}
		if c := <-code; c != 200 {
			t.Errorf("status %d", c)
		}
	})
}

// testCancel: who goes away is not worked for.
func testCancel(t *testing.T, open func(proxy.Options) Engine) {
	for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("the service sees it, %s, client h2=%v", proto, h2), func(t *testing.T) {
				b := newBench(t, open, protocol(proto))
				began, ended := make(chan bool, 1), make(chan bool, 1)
				b.serve(func(w http.ResponseWriter, r *http.Request) {
					began <- true
					<-r.Context().Done()
					ended <- true
				})
				ctx, cancel := context.WithCancel(t.Context())
				req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+b.mesh+"/", nil)
				go func() { <-began; cancel() }()
				if _, err := client(t, h2).Do(req); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				select {
				case <-ended:
				case <-time.After(patience):
					t.Fatal("the service goes on")
				}
				b.waitHop("the cancelled call", func(r hop.Record) bool {
					return r.Reason == hop.Cancelled && r.Class() == "cancelled" && !r.Failed()
				})
			})
		}
	}
	t.Run("a held call ends with its caller", func(t *testing.T) {
		b := newBench(t, open, upstream(func(u *snapshot.Upstream) { u.Hold = time.Hour }))
		c := dial(t, b.mesh)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: svc\r\n\r\n")
		time.AfterFunc(30*time.Millisecond, func() { c.Close() })
		b.waitHop("the held call", func(r hop.Record) bool { return r.Reason == hop.Cancelled })
	})
}
