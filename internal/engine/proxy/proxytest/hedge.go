package proxytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/snapshot"
)

// testHedge: a second attempt beside a slow first one.
func testHedge(t *testing.T, open func(proxy.Options) Engine) {
	hedged := func(after string) shape {
		return policy(snapshot.Policy{Retry: retry.Config{HedgeAfter: after}})
	}
	generous := upstream(func(u *snapshot.Upstream) { u.Budget.Floor = 1000 })
	// halves gives two endpoints, of which slow gets no answer for who asks and left says that its caller left.
	halves := func(t *testing.T, b *bench) (slow *atomic.Int64, left chan bool) {
		slow, left = new(atomic.Int64), make(chan bool, 1000)
		bad := server(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/fast" {
				io.WriteString(w, "fast")
				return
			}
			slow.Add(1)
			<-r.Context().Done()
			left <- true
		})
		good := server(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok "+r.Method+r.Header.Get("X-A")) })
		b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("slow", bad), endpoint("good", good)})
		return slow, left
	}
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("the slow one is left, client h2=%v", h2), func(t *testing.T) {
			b := newBench(t, open, hedged("5ms"), generous)
			slow, left := halves(t, b)
			a := asker{t, client(t, h2)}
			eventually(t, "one of both was slow", func() bool {
				if got := a.ask("GET", "http://"+b.mesh+"/", "X-A", "1"); got.code != 200 || got.body != "ok GET1" {
					t.Fatalf("%+v", got)
				}
				return slow.Load() > 0
			})
			select {
			case <-left:
			case <-time.After(patience):
				t.Fatal("the slow one was not cancelled")
			}
			b.waitHop("the hedged call", func(r hop.Record) bool { return r.Attempts == 2 && r.Endpoint == "good" && r.Status == 200 })
			if n := b.total("stoa_proxy_hedges_total", "callee=svc", "outcome=won"); n < 1 {
				t.Errorf("%g won", n)
			}
			for _, id := range []string{"slow", "good"} { // places are given back
				b.SetEndpoints("svc", nil)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				if err := b.Drained(ctx, id); err != nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	t.Run("the first may be sooner", func(t *testing.T) {
		b := newBench(t, open, hedged("1ms"), generous)
		var n atomic.Int64
		h := func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1)%2 == 0 { // the second of a call
				<-r.Context().Done()
				return
			}
			takes(r, 20*time.Millisecond)
			io.WriteString(w, strings.Repeat("x", 100000))
		}
		b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("1", server(t, h)), endpoint("2", server(t, h))})
		a := asker{t, client(t, false)}
		eventually(t, "a second lost", func() bool {
			if got := a.ask("GET", "http://"+b.mesh+"/"); got.code != 200 || len(got.body) != 100000 {
				t.Fatalf("%d, %d bytes", got.code, len(got.body))
			}
			return b.total("stoa_proxy_hedges_total", "outcome=lost") > 0
		})
		b.waitHop("the call", func(r hop.Record) bool { return r.Attempts == 2 && r.Status == 200 })
	})
	t.Run("a failure waits for the other", func(t *testing.T) {
		b := newBench(t, open, hedged("1ms"), generous)
		both := make(chan bool, 2)
		var n atomic.Int64
		h := func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				<-both // the second is under way
				w.WriteHeader(503)
				return
			}
			both <- true
			takes(r, 20*time.Millisecond)
			io.WriteString(w, "ok")
		}
		b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("1", server(t, h)), endpoint("2", server(t, h))})
		if got := (asker{t, client(t, false)}).ask("GET", "http://"+b.mesh+"/"); got.code != 200 || got.body != "ok" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("what has no second", func(t *testing.T) {
		b := newBench(t, open, hedged("1ms"), generous)
		var n atomic.Int64
		h := func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			takes(r, 20*time.Millisecond)
			io.WriteString(w, "ok")
		}
		one := server(t, h)
		b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("1", one)})
		a := asker{t, client(t, false)}
		a.ask("GET", "http://"+b.mesh+"/")
		if n.Load() != 1 {
			t.Errorf("%d requests to the only endpoint", n.Load())
		}
		b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("1", one), endpoint("2", server(t, h))})
		for _, method := range []string{"POST", "PUT", "DELETE"} {
			n.Store(0)
			if a.ask(method, "http://"+b.mesh+"/"); n.Load() != 1 {
				t.Errorf("%s: %d requests", method, n.Load())
			}
		}
		n.Store(0)
		req, _ := http.NewRequest("GET", "http://"+b.mesh+"/", strings.NewReader("body"))
		if resp, err := a.c.Do(req); err != nil || n.Load() != 1 {
			t.Errorf("a body: %d requests, %v", n.Load(), err)
		} else {
			resp.Body.Close()
		}
	})
	t.Run("within the budget", func(t *testing.T) {
		b := newBench(t, open, hedged("1ms"), upstream(func(u *snapshot.Upstream) { u.Budget.Floor, u.Budget.Percent = -1, 10 }))
		h := func(w http.ResponseWriter, r *http.Request) {
			takes(r, 5*time.Millisecond)
			io.WriteString(w, "ok")
		}
		b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("1", server(t, h)), endpoint("2", server(t, h))})
		a := asker{t, client(t, false)}
		for range 100 {
			a.ask("GET", "http://"+b.mesh+"/")
		}
		sent := b.total("stoa_proxy_hedges_total", "outcome=won") + b.total("stoa_proxy_hedges_total", "outcome=lost")
		if refused := b.total("stoa_proxy_hedges_total", "outcome=refused"); sent > 10 || refused == 0 {
			t.Errorf("%g hedges of 100 calls, %g refused", sent, refused)
		}
	})
	t.Run("after the usual time", func(t *testing.T) {
		b := newBench(t, open, hedged("p95"), generous)
		slow, _ := halves(t, b)
		a := asker{t, client(t, false)}
		eventually(t, "one was slow, and left", func() bool {
			for range 40 {
				a.ask("GET", "http://"+b.mesh+"/fast")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			before := slow.Load()
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+b.mesh+"/", nil)
			resp, err := a.c.Do(req)
			if err != nil {
				return false // nothing is known yet
			}
			resp.Body.Close()
			return resp.StatusCode == 200 && slow.Load() > before
		})
	})
	t.Run("both end with their caller", func(t *testing.T) {
		b := newBench(t, open, hedged("1ms"), generous)
		came, left := make(chan bool, 4), make(chan bool, 4)
		h := func(w http.ResponseWriter, r *http.Request) { came <- true; <-r.Context().Done(); left <- true }
		b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("1", server(t, h)), endpoint("2", server(t, h))})
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+b.mesh+"/", nil)
		go func() { <-came; <-came; cancel() }()
		if _, err := client(t, false).Do(req); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		for range 2 {
			select {
			case <-left:
			case <-time.After(patience):
				t.Fatal("an attempt goes on")
			}
		}
		b.waitHop("the cancelled call", func(r hop.Record) bool { return r.Reason == hop.Cancelled && r.Attempts == 2 })
	})
}

// takes makes an answer take a while.
func takes(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}
