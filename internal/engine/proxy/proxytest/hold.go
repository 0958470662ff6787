package proxytest

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

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
	for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
		t.Run("past one that died with kept connections, "+string(proto), func(t *testing.T) {
			b := newBench(t, open, protocol(proto))
			dead, alive := server(t, ok), server(t, ok)
			b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("dead", dead), endpoint("alive", alive)})
			c := client(t, false)
			for range 20 {
				get(t, c, "http://"+b.mesh+"/")
			}
			dead.Listener.Close()
			dead.CloseClientConnections()
			for range 20 { // these may be repeated, and let the proxy notice
				if code, body, _ := get(t, c, "http://"+b.mesh+"/"); code != 200 {
					t.Fatalf("GET: %d %q", code, body)
				}
			}
			for range 50 { // these may not
				resp, err := c.Post("http://"+b.mesh+"/", "text/plain", strings.NewReader("body"))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Fatalf("POST: %d", resp.StatusCode)
				}
			}
		})
	}
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
