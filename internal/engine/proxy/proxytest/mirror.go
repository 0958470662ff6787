package proxytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// testMirror: copies of requests go elsewhere, and nobody waits for what comes of them.
func testMirror(t *testing.T, open func(proxy.Options) Engine) {
	mirrored := func(percent float64, unsafe bool) shape {
		return func(s *snapshot.Snapshot) {
			rules(route.Rule{Name: "all", Path: "/", Upstream: "svc", Mirror: &route.Mirror{Upstream: "next", Percent: percent, Unsafe: unsafe}})(s)
			s.Upstreams["next"] = snapshot.Upstream{Protocol: snapshot.HTTP1, Hold: -1}
		}
	}
	type copied struct{ line, host, body, trace string }
	// start gives a bench and what its mirror got.
	start := func(t *testing.T, s shape, status int) (*bench, func() []copied) {
		b := newBench(t, open, s)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprint(w, "svc ", len(body))
		})
		var mu sync.Mutex
		var got []copied
		next := server(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			got = append(got, copied{r.Method + " " + r.RequestURI + " " + r.Header.Get("X-A"), r.Host, string(body), r.Header.Get("Traceparent")})
			mu.Unlock()
			w.WriteHeader(status)
			io.WriteString(w, "next")
		})
		b.SetEndpoints("next", []snapshot.Endpoint{endpoint("next-1", next)})
		return b, func() []copied {
			mu.Lock()
			defer mu.Unlock()
			return append([]copied(nil), got...)
		}
	}
	send := func(t *testing.T, c *http.Client, method, url string, body io.Reader) {
		t.Helper()
		req, _ := http.NewRequest(method, url, body)
		req.Header.Set("X-A", "1")
		req.Host = "shop.example"
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || !strings.HasPrefix(string(got), "svc") || err != nil {
			t.Fatalf("%s: %d %q, %v", method, resp.StatusCode, got, err)
		}
	}
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("safe requests, client h2=%v", h2), func(t *testing.T) {
			b, got := start(t, mirrored(100, false), 500)
			c := client(t, h2)
			send(t, c, "POST", "http://"+b.mesh+"/p", strings.NewReader("body"))
			send(t, c, "GET", "http://"+b.mesh+"/a%2Fb?x", nil)
			eventually(t, "the copy came", func() bool { return len(got()) == 1 })
			r := b.waitHop("the request", func(r hop.Record) bool { return r.Callee == "svc" && r.Method == "GET" })
			m := b.waitHop("its copy", func(r hop.Record) bool { return r.Callee == "next" && r.Caller == "mirror" && r.Status == 500 })
			if x := got()[0]; x.line != "GET /a%2Fb?x 1" || x.host != "shop.example-shadow" || m.Trace != r.Trace || m.Parent != r.Span || !strings.Contains(x.trace, r.Trace.String()) {
				t.Errorf("copy %+v of the trace %s, its record %+v", x, r.Trace, m)
			}
			eventually(t, "it is counted", func() bool { return b.total("stoa_proxy_mirrored_total", "mirror=next", "outcome=sent") == 1 })
		})
		t.Run(fmt.Sprintf("bodies, client h2=%v", h2), func(t *testing.T) {
			b, got := start(t, mirrored(100, true), 200)
			c := client(t, h2)
			small, large := strings.Repeat("0123456789", 6000), strings.Repeat("0123456789", 10000)
			for i, body := range []string{"", "x", small} {
				send(t, c, "POST", "http://"+b.mesh+"/", strings.NewReader(body))
				eventually(t, "the copy came", func() bool { return len(got()) == i+1 })
				if x := got()[i]; x.body != body {
					t.Errorf("a copy of %d bytes, want %d", len(x.body), len(body))
				}
			}
			send(t, c, "POST", "http://"+b.mesh+"/", io.MultiReader(strings.NewReader(small))) // in chunks
			eventually(t, "the copy came", func() bool { return len(got()) == 4 })
			if x := got()[3]; x.body != small {
				t.Errorf("a copy of %d bytes, want %d", len(x.body), len(small))
			}
			send(t, c, "POST", "http://"+b.mesh+"/", strings.NewReader(large))
			send(t, c, "POST", "http://"+b.mesh+"/", io.MultiReader(strings.NewReader(large)))
			eventually(t, "those that are too large are counted", func() bool {
				return b.total("stoa_proxy_mirrored_total", "outcome=dropped") == 2
			})
			if n := len(got()); n != 4 {
				t.Errorf("%d copies, want 4", n)
			}
		})
	}
	t.Run("a share", func(t *testing.T) {
		b, got := start(t, mirrored(30, false), 200)
		c := client(t, false)
		for range 300 {
			send(t, c, "GET", "http://"+b.mesh+"/", nil)
		}
		eventually(t, "copies came", func() bool {
			return len(got()) > 0 && b.total("stoa_proxy_mirrored_total") == float64(len(got()))
		})
		if n := len(got()); n < 30 || n > 180 {
			t.Errorf("%d of 300 were copied, want about 90", n)
		}
	})
	t.Run("nobody waits, and there is a bound", func(t *testing.T) {
		b := newBench(t, open, mirrored(100, false))
		b.serve(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "svc") })
		var stuck atomic.Int64
		b.SetEndpoints("next", []snapshot.Endpoint{endpoint("next-1", server(t, func(w http.ResponseWriter, r *http.Request) {
			stuck.Add(1)
			<-r.Context().Done()
		}))})
		c := client(t, false)
		for range 100 {
			send(t, c, "GET", "http://"+b.mesh+"/", nil)
		}
		eventually(t, "some are dropped", func() bool { return b.total("stoa_proxy_mirrored_total", "outcome=dropped") >= 1 })
		if n := stuck.Load(); n > 64 {
			t.Errorf("%d copies at one time", n)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		b, _ := start(t, mirrored(100, false), 200)
		b.SetEndpoints("next", nil)
		send(t, client(t, false), "GET", "http://"+b.mesh+"/", nil)
		eventually(t, "it is counted", func() bool { return b.total("stoa_proxy_mirrored_total", "outcome=failed") == 1 })
	})
}
