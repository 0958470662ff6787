package proxytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testRepeat: without a policy that says otherwise, one request of the caller is one request to
// the service.
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
		{"POST", "Content-Length: 4\r\nIdempotency-Key: k\r\n", "body", true}, // what was read of the body is kept
		{"PUT", "Content-Length: 4\r\n", "body", true},
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
		b := newBench(t, open, policy(snapshot.Policy{Retry: once}))
		var seen atomic.Int64
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: rawServer(t, flaky(&seen, false))}})
		send(t, b.mesh, "GET", "", "")
		b.waitHop("the first", func(r hop.Record) bool { return r.Status == 200 })
		if n := send(t, b.mesh, "GET", "", ""); n != 502 || seen.Load() != 3 {
			t.Errorf("status %d after %d requests, want 502 after 3", n, seen.Load())
		}
	})
	t.Run("never on a fresh connection", func(t *testing.T) {
		b := newBench(t, open, policy(snapshot.Policy{Retry: once}))
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
