package proxytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/balance"
	"stoa/internal/engine/breaker"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// calm takes breaker and outlier detection out of a test that is about something else.
var calm = upstream(func(u *snapshot.Upstream) { u.Breaker.Off, u.Outliers.Off = true, true })

// fleet starts n services and makes them the endpoints svc-0 and so on.
func (b *bench) fleet(n int, h func(i int, w http.ResponseWriter, r *http.Request)) (eps []snapshot.Endpoint) {
	for i := range n {
		s := server(b.t, func(w http.ResponseWriter, r *http.Request) { h(i, w, r) })
		eps = append(eps, endpoint(fmt.Sprint("svc-", i), s))
	}
	b.SetEndpoints("svc", eps)
	return eps
}

// ask sends a request of raw lines and gives status, head and body of the answer.
func ask(t *testing.T, addr, method, lines, body string) (status int, head http.Header, text string) {
	t.Helper()
	if body != "" {
		lines += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	got := raw(t, addr, method+" /x HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n"+lines+"\r\n"+body)
	top, text, _ := strings.Cut(got, "\r\n\r\n")
	head = http.Header{}
	for line := range strings.Lines(top) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			head.Add(k, strings.TrimSpace(v))
		}
	}
	return statusOf(got), head, text
}

// testRetry: a failure that another attempt cures is not the caller's, and repeats are few.
func testRetry(t *testing.T, open func(proxy.Options) Engine) {
	// halves: endpoint 0 fails, endpoint 1 echoes the body.
	halves := func(t *testing.T, shapes ...shape) (*bench, *[2]atomic.Int64) {
		turns := upstream(func(u *snapshot.Upstream) { u.Balance.By = balance.RoundRobin }) // else one failure is all it gets
		b := newBench(t, open, append([]shape{calm, turns}, shapes...)...)
		var seen [2]atomic.Int64
		b.fleet(2, func(i int, w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			seen[i].Add(1)
			if i == 0 {
				w.WriteHeader(503)
			}
			w.Write(body)
		})
		return b, &seen
	}
	t.Run("on another endpoint", func(t *testing.T) {
		for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
			b, seen := halves(t, protocol(proto))
			for range 40 {
				if code, _, _ := ask(t, b.mesh, "GET", "", ""); code != 200 {
					t.Fatalf("%s: status %d, want 200 from the one that works", proto, code)
				}
			}
			if seen[0].Load() > 0 {
				b.waitHop("a repeat", func(r hop.Record) bool { return r.Attempts == 2 && r.Status == 200 && r.Endpoint == "svc-1" })
			}
		}
	})
	t.Run("with its body, if it was kept", func(t *testing.T) {
		b, seen := halves(t)
		for i := 0; seen[0].Load() < 3; i++ {
			body := strings.Repeat("x", i*97%1000+1)
			if code, _, got := ask(t, b.mesh, "PUT", "", body); code != 200 || got != body {
				t.Fatalf("PUT of %d bytes: %d with %d bytes", len(body), code, len(got))
			}
			if i > 10000 {
				t.Fatal("the failing one is never asked")
			}
		}
	})
	t.Run("never what may not be repeated", func(t *testing.T) {
		b, seen := halves(t)
		failed := int64(0)
		for range 60 {
			if code, _, _ := ask(t, b.mesh, "POST", "", "body"); code == 503 {
				failed++
			}
		}
		if n := seen[0].Load() + seen[1].Load(); n != 60 || failed != seen[0].Load() {
			t.Errorf("60 POSTs were %d requests, of %d that failed the caller saw %d", n, seen[0].Load(), failed)
		}
	})
	t.Run("unless it has a key, or its route says so", func(t *testing.T) {
		b, _ := halves(t)
		for range 20 {
			if code, _, got := ask(t, b.mesh, "POST", "Idempotency-Key: k\r\n", "body"); code != 200 || got != "body" {
				t.Fatalf("POST with a key: %d %q", code, got)
			}
		}
		b, _ = halves(t, policy(snapshot.Policy{Retry: retry.Config{Unsafe: true}}))
		for range 20 {
			if code, _, got := ask(t, b.mesh, "POST", "", "body"); code != 200 || got != "body" {
				t.Fatalf("POST by an unsafe route: %d %q", code, got)
			}
		}
	})
	t.Run("a service's own verdict is final", func(t *testing.T) {
		b := newBench(t, open, calm)
		var seen atomic.Int64
		b.serve(func(w http.ResponseWriter, r *http.Request) { seen.Add(1); w.WriteHeader(500) })
		if code, h, _ := ask(t, b.mesh, "GET", "", ""); code != 500 || seen.Load() != 1 || h.Get("Stoa-Retry") != "" {
			t.Errorf("%d after %d requests, %v", code, seen.Load(), h)
		}
	})
	t.Run("what broke is repeated before its head, not after", func(t *testing.T) {
		b := newBench(t, open, calm)
		var seen atomic.Int64
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: rawServer(t, func(c *rawConn) {
			if c.request() == nil {
				return
			}
			switch seen.Add(1) {
			case 1: // closes
			case 2:
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
			}
		})}})
		if resp, err := client(t, false).Get("http://" + b.mesh + "/"); err == nil {
			if got, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("%d %q, and no error", resp.StatusCode, got)
			}
			resp.Body.Close()
		}
		if seen.Load() != 2 {
			t.Errorf("%d requests, want 2", seen.Load())
		}
		b.waitHop("it", func(r hop.Record) bool { return r.Reason == hop.Truncated && r.Attempts == 2 })
	})
	t.Run("an attempt that hangs is given up for another", func(t *testing.T) {
		for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
			b := newBench(t, open, calm, protocol(proto), policy(snapshot.Policy{Retry: retry.Config{PerTry: 500 * time.Millisecond, Attempts: 5}}))
			var hung atomic.Int64
			b.serve(func(w http.ResponseWriter, r *http.Request) {
				if hung.Add(1) == 1 {
					<-r.Context().Done()
					return
				}
				io.WriteString(w, "ok")
			})
			if code, _, got := ask(t, b.mesh, "GET", "", ""); code != 200 || got != "ok" || hung.Load() < 2 {
				t.Errorf("%s: %d %q after %d requests", proto, code, got, hung.Load())
			}
		}
	})
	t.Run("within the budget, while all fails", func(t *testing.T) {
		b := newBench(t, open, calm, upstream(func(u *snapshot.Upstream) {
			u.Budget = retry.BudgetConfig{Floor: -1, Window: time.Minute}
		}))
		var seen atomic.Int64
		b.serve(func(w http.ResponseWriter, r *http.Request) { seen.Add(1); w.WriteHeader(503) })
		c := client(t, false)
		const calls = 300
		for range calls {
			if code, _, _ := get(t, c, "http://"+b.mesh+"/"); code != 503 {
				t.Fatalf("status %d", code)
			}
		}
		if n := seen.Load(); n <= calls || n > calls*12/10 {
			t.Errorf("%d calls were %d requests, want some repeats and at most a fifth", calls, n)
		}
		if n := b.total("stoa_proxy_retries_refused_total", "callee=svc", "why=budget"); n < calls/2 {
			t.Errorf("%g calls were counted as not repeated for the budget", n)
		}
	})
	t.Run("the hops before are told, and told by those behind", func(t *testing.T) {
		b := newBench(t, open, calm)
		var seen atomic.Int64
		var says atomic.Value
		says.Store("")
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			seen.Add(1)
			if v := says.Load().(string); v != "" {
				w.Header().Set("Stoa-Retry", v)
			}
			w.WriteHeader(503)
		})
		if code, h, _ := ask(t, b.mesh, "GET", "", ""); code != 503 || seen.Load() != 2 || h.Get("Stoa-Retry") != "no" {
			t.Errorf("repeated in vain: %d after %d requests, Stoa-Retry %q", code, seen.Load(), h.Get("Stoa-Retry"))
		}
		says.Store("no")
		if code, h, _ := ask(t, b.mesh, "GET", "", ""); code != 503 || seen.Load() != 3 || h.Get("Stoa-Retry") != "no" {
			t.Errorf("told not to: %d after %d requests, Stoa-Retry %q", code, seen.Load(), h.Get("Stoa-Retry"))
		}
		if _, h, _ := ask(t, b.edge, "GET", "", ""); h.Get("Stoa-Retry") != "" {
			t.Errorf("outside was told Stoa-Retry: %q", h.Get("Stoa-Retry"))
		}
	})
	t.Run("when the service says so", func(t *testing.T) {
		b := newBench(t, open, calm)
		var seen atomic.Int64
		var after atomic.Value
		after.Store("3600")
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			if seen.Add(1)%2 == 1 {
				w.Header().Set("Retry-After", after.Load().(string))
				w.WriteHeader(429)
			}
		})
		if code, h, _ := ask(t, b.mesh, "GET", "", ""); code != 429 || h.Get("Retry-After") != "3600" {
			t.Errorf("in an hour: %d, Retry-After %q", code, h.Get("Retry-After"))
		}
		seen.Store(0)
		after.Store("0")
		if code, _, _ := ask(t, b.mesh, "GET", "", ""); code != 200 || seen.Load() != 2 {
			t.Errorf("at once: %d after %d requests", code, seen.Load())
		}
	})
}

// testHaste: who waits less than others opens a breaker of its own.
func testHaste(t *testing.T, open func(proxy.Options) Engine) {
	b := newBench(t, open, upstream(func(u *snapshot.Upstream) { u.Breaker.Least = 5 }), func(s *snapshot.Snapshot) {
		l := s.Listeners["web>svc"]
		l.Routes = []route.Rule{{Name: "all", Path: "/", Upstream: "svc", Policy: "hasty"}}
		s.Listeners["web>svc"] = l
		s.Policies = map[string]snapshot.Policy{"hasty": {Deadline: deadline.Config{Total: 20 * time.Millisecond}, Retry: once}}
	})
	b.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Slow") != "" {
			<-r.Context().Done()
		}
	})
	eventually(t, "the breaker of the hasty opens", func() bool {
		code, h, _ := ask(t, b.mesh, "GET", "X-Slow: 1\r\n", "")
		return code == 503 && h.Get("Stoa-Reason") == string(hop.Breaker)
	})
	for range 20 {
		if code, h, _ := ask(t, b.edge, "GET", "", ""); code != 200 {
			t.Fatalf("who waits longer got %d %s", code, h.Get("Stoa-Reason"))
		}
	}
	eventually(t, "the gauges show it", func() bool {
		b.Look()
		return b.total("stoa_proxy_timeout_breaker_state", "upstream=svc", "timeout=20ms") != 0 && b.total("stoa_proxy_breaker_state", "upstream=svc") == 0
	})
}

// testBreaker: a service that fails as a whole is left alone, and found again.
func testBreaker(t *testing.T, open func(proxy.Options) Engine) {
	b := newBench(t, open, upstream(func(u *snapshot.Upstream) {
		u.Breaker = breaker.Config{Open: 200 * time.Millisecond, OpenMax: 200 * time.Millisecond, Least: 10}
	}))
	var seen atomic.Int64
	var works atomic.Bool
	b.serve(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if !works.Load() {
			w.WriteHeader(500)
		}
	})
	for range 9 {
		if code, _, _ := ask(t, b.mesh, "GET", "", ""); code != 500 {
			t.Fatalf("too early: %d", code)
		}
	}
	var h http.Header
	eventually(t, "the breaker opens", func() bool {
		before := seen.Load()
		code, head, _ := ask(t, b.mesh, "POST", "Expect: 100-continue\r\n", "never sent")
		h = head
		return code == 503 && head.Get("Stoa-Reason") == string(hop.Breaker) && seen.Load() == before
	})
	if h.Get("Retry-After") == "" || h.Get("Stoa-Retry") != "no" {
		t.Errorf("refused with %v", h)
	}
	b.waitHop("the refusal", func(r hop.Record) bool { return r.Reason == hop.Breaker && r.Attempts == 0 })
	if b.total("stoa_proxy_shed_total", "upstream=svc", "why=breaker") == 0 {
		t.Error("no refusal was counted")
	}
	works.Store(true)
	row := 0
	eventually(t, "it closes", func() bool {
		if code, _, _ := ask(t, b.mesh, "GET", "", ""); code == 200 {
			row++
		} else {
			row = 0
		}
		return row == 20
	})
	eventually(t, "the gauge shows it", func() bool {
		ask(t, b.mesh, "GET", "", "")
		return b.total("stoa_proxy_breaker_state", "upstream=svc") == 0
	})
}
