package proxytest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testProtocol: the corners of HTTP/1.1.
func testProtocol(t *testing.T, open func(proxy.Options) Engine) {
	t.Run("Expect waits for the service", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/no" {
				w.WriteHeader(417)
				return
			}
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
		})
		c := dial(t, b.mesh)
		in := bufio.NewReader(c)
		io.WriteString(c, "POST /yes HTTP/1.1\r\nHost: svc\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
		if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 100 {
			t.Fatalf("first answer %v, %v; want 100", resp, err)
		}
		io.WriteString(c, "body")
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("second answer %v, %v; want 200", resp, err)
		}
		if got, _ := io.ReadAll(resp.Body); string(got) != "4" {
			t.Errorf("the service read %s bytes", got)
		}
		io.WriteString(c, "POST /no HTTP/1.1\r\nHost: svc\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
		if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 417 {
			t.Errorf("an unwanted body: %v, %v; want 417 at once", resp, err)
		}
		// The connection to the service must not be poisoned by the body that never came.
		for range 5 {
			if code, body, _ := get(t, client(t, false), "http://"+b.mesh+"/yes"); code != 200 || body != "0" {
				t.Errorf("the request after it: %d %q", code, body)
			}
		}
	})
	t.Run("an early answer to a long request", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).EnableFullDuplex() // else net/http reads the request first
			w.WriteHeader(413)
		})
		body, send := io.Pipe()
		defer send.Close()
		req, _ := http.NewRequest("POST", "http://"+b.mesh+"/", body)
		resp, err := client(t, true).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 413 {
			t.Errorf("status %d, want 413", resp.StatusCode)
		}
	})
	t.Run("framing that can be read two ways is refused", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
		for _, lines := range []string{
			"Content-Length: 4\r\nContent-Length: 5\r\n", "Content-Length: +4\r\n", "Content-Length: -1\r\n", "Content-Length: 4 4\r\n",
			"Transfer-Encoding: xchunked\r\n", "Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
			"X : 1\r\n", "X\r\n", "X: a\x00b\r\n", "Host: other\r\n",
		} {
			got := raw(t, b.mesh, "POST / HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n"+lines+"\r\nabcd")
			if n := statusOf(got); n != 400 && n != 501 {
				t.Errorf("%q: %q, want 400", lines, got)
			}
		}
	})
	t.Run("CONNECT and TRACE are refused", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) { t.Errorf("%s came through", r.Method) })
		for _, line := range []string{"CONNECT svc:443", "TRACE /"} {
			if got := raw(t, b.mesh, line+" HTTP/1.1\r\nHost: svc:443\r\nConnection: close\r\n\r\n"); statusOf(got) != 405 {
				t.Errorf("%s: %q, want 405", line, got)
			}
		}
	})
	t.Run("absolute form is read as origin form", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "[%s %s]", r.Host, r.RequestURI) })
		got := raw(t, b.mesh, "GET http://svc/a%2Fb?c HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n\r\n")
		if !strings.Contains(got, "[svc /a%2Fb?c]") {
			t.Errorf("%q", got)
		}
	})
	t.Run("HTTP/1.0 gets no chunks and no 1xx", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(103)
			http.NewResponseController(w).Flush()
			io.WriteString(w, "a")
			http.NewResponseController(w).Flush()
			io.WriteString(w, "b")
		})
		got := raw(t, b.mesh, "GET / HTTP/1.0\r\n\r\n")
		if statusOf(got) != 200 || !strings.HasSuffix(got, "\r\n\r\nab") || strings.Contains(got, "chunked") {
			t.Errorf("%q", got)
		}
	})
	t.Run("a head above the bound is refused", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) {})
		got := raw(t, b.mesh, "GET / HTTP/1.1\r\nHost: svc\r\nConnection: close\r\nX: "+strings.Repeat("x", 80<<10)+"\r\n\r\n")
		if statusOf(got) != 431 {
			t.Errorf("%.80q, want 431", got)
		}
	})
	t.Run("a head from outside has less room, or what is declared", func(t *testing.T) {
		head := func(fields int, size int) string {
			return strings.Repeat("Y: y\r\n", fields) + "X: " + strings.Repeat("x", size) + "\r\n"
		}
		for _, c := range []struct {
			heads              snapshot.Heads
			lines              string
			target, mesh, edge int
		}{
			{snapshot.Heads{}, head(0, 12<<10), 10, 200, 200},
			{snapshot.Heads{}, head(0, 24<<10), 10, 200, 431},
			{snapshot.Heads{Bytes: 32 << 10}, head(0, 24<<10), 10, 200, 200},
			{snapshot.Heads{}, head(120, 10), 10, 431, 431},
			{snapshot.Heads{Fields: 200}, head(120, 10), 10, 431, 200},
			{snapshot.Heads{}, head(0, 10), 10 << 10, 414, 414},
			{snapshot.Heads{Target: 12 << 10}, head(0, 10), 10 << 10, 414, 200},
		} {
			b := newBench(t, open, func(s *snapshot.Snapshot) {
				l := s.Listeners["gateway"]
				l.Heads = c.heads
				s.Listeners["gateway"] = l
			})
			b.serve(func(w http.ResponseWriter, r *http.Request) {})
			for addr, want := range map[string]int{b.mesh: c.mesh, b.edge: c.edge} {
				got := raw(t, addr, "GET /"+strings.Repeat("a", c.target)+" HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n"+c.lines+"\r\n")
				if statusOf(got) != want {
					t.Errorf("%+v at %s, target %d: %.60q, want %d", c.heads, addr, c.target, got, want)
				}
			}
		}
	})
	t.Run("the rule's time runs out", func(t *testing.T) {
		b := newBench(t, open, func(s *snapshot.Snapshot) { s.Listeners["web>svc"].Routes[0].Timeout = 50 * time.Millisecond })
		seen := make(chan struct{})
		b.serve(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done(); close(seen) })
		code, body, h := get(t, client(t, false), "http://"+b.mesh+"/")
		if code != 504 || h.Get("Stoa-Reason") != string(hop.Deadline) {
			t.Errorf("%d %q %s", code, body, h.Get("Stoa-Reason"))
		}
		select {
		case <-seen:
		case <-time.After(patience):
			t.Error("the service was not told")
		}
	})
	t.Run("an answer that cannot be read", func(t *testing.T) {
		b := newBench(t, open)
		addr := rawServer(t, func(c *rawConn) {
			c.request()
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx")
			c.Close()
		})
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "bad", Address: addr}})
		if code, _, h := get(t, client(t, false), "http://"+b.mesh+"/"); code != 502 || h.Get("Stoa-Reason") == "" {
			t.Errorf("%d %s, want 502 with a reason", code, h.Get("Stoa-Reason"))
		}
	})
}
