package proxytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/inject"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testFallback: what is answered where a failure would be.
func testFallback(t *testing.T, open func(proxy.Options) Engine) {
	// failing are the ways in which a service fails, and what makes svc fail so.
	failing := []struct {
		name string
		fail func(*testing.T, *bench)
	}{
		{"503", func(t *testing.T, b *bench) {
			b.serve(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) })
		}},
		{"504 in chunks", func(t *testing.T, b *bench) {
			b.serve(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(504)
				for range 3 {
					io.WriteString(w, "gone")
					http.NewResponseController(w).Flush()
				}
			})
		}},
		{"no endpoint", func(t *testing.T, b *bench) { b.SetEndpoints("svc", nil) }},
		{"stopped", func(t *testing.T, b *bench) { b.Close("svc", snapshot.Closed{Reason: hop.Stopped, Text: "stopped"}) }},
		{"no connection", func(t *testing.T, b *bench) {
			b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "dead", Address: closedPort(t)}})
		}},
		{"broke", func(t *testing.T, b *bench) {
			b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "broken", Address: rawServer(t, func(c *rawConn) { c.request() })}})
		}},
		{"no answer", func(t *testing.T, b *bench) {
			b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "odd", Address: rawServer(t, func(c *rawConn) { c.request(); io.WriteString(c, "odd\r\n\r\n") })}})
		}},
		{"injected", func(t *testing.T, b *bench) {
			b.SetFaults([]inject.Fault{{ID: "f", Callee: "svc", Percent: 100, Abort: 502, Until: soon()}})
		}},
	}
	noHold := upstream(func(u *snapshot.Upstream) { u.Hold = -1 })
	good := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Page", "1")
		io.WriteString(w, "page "+r.URL.Path)
	}
	for _, f := range failing {
		t.Run("the last good answer, "+f.name, func(t *testing.T) {
			b := newBench(t, open, noHold, policy(snapshot.Policy{Retry: once, Fallback: &snapshot.Fallback{Cached: time.Hour}}))
			c := client(t, false)
			b.serve(good)
			if code, body, h := get(t, c, "http://"+b.mesh+"/a?x=1"); code != 200 || body != "page /a" || h.Get("Stoa-Fallback") != "" {
				t.Fatalf("at first: %d %q %v", code, body, h)
			}
			b.waitHop("the good answer", func(r hop.Record) bool { return r.Status == 200 })
			f.fail(t, b)
			code, body, h := get(t, c, "http://"+b.mesh+"/a?x=1")
			if code != 200 || body != "page /a" || h.Get("X-Page") != "1" || !strings.HasPrefix(h.Get("Stoa-Fallback"), "cached; age=") ||
				!strings.Contains(h.Get("Cache-Status"), "detail=last-good") || h.Get("Age") == "" {
				t.Fatalf("%d %q %v", code, body, h)
			}
			b.waitHop("the failure", func(r hop.Record) bool { return r.Fallback == "cached" && r.Status == 200 && r.Failed() })
			if n := b.total("stoa_proxy_fallbacks_total", "callee=svc", "kind=cached"); n != 1 {
				t.Errorf("%g counted, want 1", n)
			}
			if n := b.total("stoa_proxy_requests_total", "callee=svc", "class=5xx"); n != 1 {
				t.Errorf("%g failures counted, want 1", n)
			}
			// Nothing stands in for what was never good, nor for what may have been done.
			if code, _, h := get(t, c, "http://"+b.mesh+"/b"); code < 500 || h.Get("Stoa-Fallback") != "" {
				t.Errorf("another page: %d %v", code, h)
			}
			resp, err := c.Post("http://"+b.mesh+"/a?x=1", "text/plain", strings.NewReader("body"))
			if err != nil || resp.StatusCode < 500 || resp.Header.Get("Stoa-Fallback") != "" {
				t.Errorf("POST: %v, %v", resp, err)
			}
			resp.Body.Close()
		})
		t.Run("a static answer, "+f.name, func(t *testing.T) {
			b := newBench(t, open, noHold, policy(snapshot.Policy{Retry: once,
				Fallback: &snapshot.Fallback{Cached: time.Hour, Static: &snapshot.Static{ContentType: "application/json", Body: `{"items":[]}`}}}))
			f.fail(t, b)
			for _, h2 := range []bool{false, true} {
				code, body, h := get(t, client(t, h2), "http://"+b.mesh+"/")
				if code != 200 || body != `{"items":[]}` || h.Get("Stoa-Fallback") != "static" || h.Get("Content-Type") != "application/json" || h.Get("Stoa-Reason") != "" {
					t.Errorf("h2=%v: %d %q %v", h2, code, body, h)
				}
			}
			b.waitHop("the failure", func(r hop.Record) bool { return r.Fallback == "static" && r.Failed() && r.Protocol == "HTTP/2.0" })
		})
		t.Run("another service, "+f.name, func(t *testing.T) {
			b := newBench(t, open, noHold, policy(snapshot.Policy{Retry: once, Fallback: &snapshot.Fallback{Upstream: "spare"}}),
				func(s *snapshot.Snapshot) {
					s.Upstreams["spare"] = snapshot.Upstream{Protocol: snapshot.HTTP1, Hold: -1}
				})
			var traces atomic.Value
			spare := server(t, func(w http.ResponseWriter, r *http.Request) {
				traces.Store(r.Header.Get("Traceparent"))
				w.Header().Set("X-From", "spare")
				fmt.Fprint(w, r.Method, " ", r.RequestURI, " ", r.Header.Get("X-A"))
			})
			b.SetEndpoints("spare", []snapshot.Endpoint{endpoint("spare-1", spare)})
			f.fail(t, b)
			for _, h2 := range []bool{false, true} {
				c := client(t, h2)
				for range 2 { // the connection is of use again
					req, _ := http.NewRequest("GET", "http://"+b.mesh+"/a%2Fb?x", nil)
					req.Header.Set("X-A", "1")
					resp, err := c.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if resp.StatusCode != 200 || string(body) != "GET /a%2Fb?x 1" || err != nil || resp.Header.Get("Stoa-Fallback") != "service=spare" || resp.Header.Get("X-From") != "spare" {
						t.Fatalf("h2=%v: %d %q %v, %v", h2, resp.StatusCode, body, resp.Header, err)
					}
				}
			}
			r := b.waitHop("the failure", func(r hop.Record) bool {
				return r.Fallback == "service=spare" && r.Callee == "svc" && r.Failed() && r.Status == 200
			})
			b.waitHop("the call of the spare", func(s hop.Record) bool {
				return s.Callee == "spare" && s.Caller == "web" && s.Trace == r.Trace && s.Parent == r.Span && s.Status == 200
			})
			if got, _ := traces.Load().(string); !strings.Contains(got, "-") {
				t.Errorf("traceparent %q", got)
			}
			// If that fails as well, the first failure is the answer.
			b.SetEndpoints("spare", nil)
			code, body, h := get(t, client(t, false), "http://"+b.mesh+"/")
			if code < 500 || h.Get("Stoa-Fallback") != "" || h.Get("Stoa-Reason") == "" {
				t.Errorf("both fail: %d %q %v", code, body, h)
			}
			b.SetEndpoints("spare", []snapshot.Endpoint{endpoint("spare-2", server(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }))})
			if code, body, h := get(t, client(t, false), "http://"+b.mesh+"/"); code < 502 || h.Get("Stoa-Fallback") != "" {
				t.Errorf("both fail: %d %q %v", code, body, h)
			}
		})
	}
	t.Run("the last good answer is kept warm and bounded", func(t *testing.T) {
		b := newBench(t, open, noHold, policy(snapshot.Policy{Retry: once, Fallback: &snapshot.Fallback{Cached: 10 * time.Millisecond}}))
		c := client(t, false)
		var n atomic.Int64
		s := b.serve(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, n.Add(1)) })
		get(t, c, "http://"+b.mesh+"/")
		s.Close()
		b.SetEndpoints("svc", nil)
		eventually(t, "what is too old stands in for nothing", func() bool {
			code, _, _ := get(t, c, "http://"+b.mesh+"/")
			return code == 503
		})
		b.serve(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, n.Add(1)) })
		eventually(t, "a newer one does", func() bool {
			_, want, _ := get(t, c, "http://"+b.mesh+"/")
			b.Close("svc", snapshot.Closed{Reason: hop.Stopped, Text: "stopped"})
			code, got, _ := get(t, c, "http://"+b.mesh+"/")
			b.serve(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, n.Add(1)) })
			return code == 200 && got == want
		})
	})
	t.Run("nothing of one caller is given to another", func(t *testing.T) {
		both := func(s *snapshot.Snapshot) {
			l := s.Listeners["web>svc"]
			l.Caller = "app"
			s.Listeners["app>svc"] = l
		}
		b := newBench(t, open, noHold, policy(snapshot.Policy{Retry: once, Fallback: &snapshot.Fallback{Cached: time.Hour}}), both)
		app := b.bind("app>svc")
		c := client(t, false)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/cookie" {
				w.Header().Set("Set-Cookie", "a=b")
			}
			io.WriteString(w, "secret")
		})
		ask := func(addr, path, authorization string) (int, string) {
			req, _ := http.NewRequest("GET", "http://"+addr+path, nil)
			if authorization != "" {
				req.Header.Set("Authorization", authorization)
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			return resp.StatusCode, string(body)
		}
		ask(b.mesh, "/", "")
		ask(b.mesh, "/private", "Bearer one")
		ask(b.mesh, "/cookie", "")
		b.SetEndpoints("svc", nil)
		for _, x := range []struct {
			addr, path, auth string
			want             int
		}{{b.mesh, "/", "", 200}, {app, "/", "", 503}, {b.edge, "/", "", 503}, {b.mesh, "/private", "Bearer two", 503}, {b.mesh, "/private", "Bearer one", 503}, {b.mesh, "/cookie", "", 503}} {
			if code, body := ask(x.addr, x.path, x.auth); code != x.want {
				t.Errorf("%+v: %d %q", x, code, body)
			}
		}
	})
	t.Run("a long answer", func(t *testing.T) {
		b := newBench(t, open, noHold, policy(snapshot.Policy{Retry: once, Fallback: &snapshot.Fallback{Cached: time.Hour}}))
		c := client(t, false)
		long := strings.Repeat("0123456789", 50000)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/sized":
				w.Header().Set("Content-Length", fmt.Sprint(len(long)))
				io.WriteString(w, long)
			case "/chunked":
				for i := 0; i < len(long); i += 100000 {
					io.WriteString(w, long[i:i+100000])
					http.NewResponseController(w).Flush()
				}
			case "/trailer":
				w.Header().Set("Trailer", "X-End")
				io.WriteString(w, long)
				w.Header().Set("X-End", "1")
			case "/too-long":
				for range 5 {
					io.WriteString(w, long)
				}
			}
		})
		for _, path := range []string{"/sized", "/chunked", "/trailer"} {
			if code, body, _ := get(t, c, "http://"+b.mesh+path); code != 200 || body != long {
				t.Fatalf("%s: %d, %d bytes", path, code, len(body))
			}
		}
		if code, body, _ := get(t, c, "http://"+b.mesh+"/too-long"); code != 200 || len(body) != 5*len(long) {
			t.Fatalf("too long: %d, %d bytes", code, len(body))
		}
		b.waitHop("all", func(r hop.Record) bool { return r.Path == "/too-long" })
		b.SetEndpoints("svc", nil)
		for _, path := range []string{"/sized", "/chunked"} {
			if code, body, _ := get(t, c, "http://"+b.mesh+path); code != 200 || body != long {
				t.Errorf("%s: %d, %d bytes, want %d", path, code, len(body), len(long))
			}
		}
		for _, path := range []string{"/trailer", "/too-long"} {
			if code, _, _ := get(t, c, "http://"+b.mesh+path); code != 503 {
				t.Errorf("%s: %d, want 503", path, code)
			}
		}
	})
}
