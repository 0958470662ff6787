package proxytest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/cache"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/inject"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// chained puts upstream back behind svc, which calls it at listener svc>back.
func chained(back snapshot.Policy) shape {
	return func(s *snapshot.Snapshot) {
		if s.Policies == nil {
			s.Policies = map[string]snapshot.Policy{}
		}
		s.Policies["back"] = back
		for _, caller := range []string{"svc", "other"} {
			s.Listeners[caller+">back"] = snapshot.Listener{Caller: caller, Protocol: snapshot.HTTP,
				Routes: []route.Rule{{Name: caller + ">back", Path: "/", Upstream: "back", Policy: "back"}}}
		}
		s.Upstreams["back"] = snapshot.Upstream{Protocol: snapshot.HTTP1}
	}
}

// testFollow: time and priority follow the trace, over a service that passes on its traceparent alone.
func testFollow(t *testing.T, open func(proxy.Options) Engine) {
	start := func(t *testing.T, edge, back snapshot.Policy) (b *bench, via map[string]string) {
		b = newBench(t, open, policy(edge), chained(back))
		via = map[string]string{"/svc": b.bind("svc>back"), "/other": b.bind("other>back")}
		last := server(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s", r.Header.Get("Stoa-Timeout-Ms"), r.Header.Get("Stoa-Priority"))
		})
		b.SetEndpoints("back", []snapshot.Endpoint{endpoint("back-1", last)})
		c := client(t, false)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			req, _ := http.NewRequestWithContext(r.Context(), "GET", "http://"+via[r.URL.Path], nil)
			trace := r.Header.Get("Traceparent")
			switch r.URL.Query().Get("trace") {
			case "own": // as tracing libraries do: a span of its own
				trace = trace[:36] + "00000000000000a1" + trace[52:]
			case "new":
				trace = hop.NewContext().Traceparent()
			case "none":
				trace = ""
			}
			if trace != "" {
				req.Header.Set("Traceparent", trace)
			}
			for _, name := range []string{"Stoa-Timeout-Ms", "Stoa-Priority"} {
				if v := r.URL.Query().Get(name); v != "" {
					req.Header.Set(name, v)
				}
			}
			resp, err := c.Do(req)
			if err != nil {
				w.WriteHeader(599)
				return
			}
			defer resp.Body.Close()
			w.WriteHeader(resp.StatusCode)
			io.Copy(w, resp.Body)
		})
		return b, via
	}
	const minute, hour = 60_000, 3600_000
	for _, c := range []struct {
		name, target string
		edge, back   snapshot.Policy
		from, to     int // milliseconds
		priority     string
	}{
		{"as it came", "/svc", snapshot.Policy{Deadline: deadline.Config{Total: 10 * time.Minute}, Priority: limit.Critical},
			snapshot.Policy{Deadline: deadline.Config{Total: time.Hour}}, 5 * minute, 10 * minute, "critical"},
		{"with a span of its own", "/svc?trace=own", snapshot.Policy{Deadline: deadline.Config{Total: 10 * time.Minute}, Priority: limit.Bulk},
			snapshot.Policy{Deadline: deadline.Config{Total: time.Hour}}, 5 * minute, 10 * minute, "bulk"},
		{"priority alone", "/svc", snapshot.Policy{Priority: limit.Low}, snapshot.Policy{Deadline: deadline.Config{Total: time.Hour}}, hour / 2, hour, "low"},
		{"never longer than the route", "/svc", snapshot.Policy{Deadline: deadline.Config{Total: time.Hour}},
			snapshot.Policy{Deadline: deadline.Config{Total: 10 * time.Minute}}, 5 * minute, 10 * minute, ""},
		{"what the service says itself", "/svc?Stoa-Timeout-Ms=1200000&Stoa-Priority=low",
			snapshot.Policy{Deadline: deadline.Config{Total: 10 * time.Minute}, Priority: limit.Critical},
			snapshot.Policy{Deadline: deadline.Config{Total: time.Hour}}, 12 * minute, 20 * minute, "low"},
		{"another trace", "/svc?trace=new", snapshot.Policy{Deadline: deadline.Config{Total: 10 * time.Minute}, Priority: limit.Critical},
			snapshot.Policy{Deadline: deadline.Config{Total: time.Hour}}, hour / 2, hour, ""},
		{"no trace", "/svc?trace=none", snapshot.Policy{Deadline: deadline.Config{Total: 10 * time.Minute}, Priority: limit.Critical},
			snapshot.Policy{Deadline: deadline.Config{Total: time.Hour}}, hour / 2, hour, ""},
		{"a service that the trace has not reached", "/other", snapshot.Policy{Deadline: deadline.Config{Total: 10 * time.Minute}, Priority: limit.Critical},
			snapshot.Policy{Deadline: deadline.Config{Total: time.Hour}}, hour / 2, hour, ""},
		{"a default is no bound", "/svc", snapshot.Policy{}, snapshot.Policy{Deadline: deadline.Config{Total: time.Hour}}, hour / 2, hour, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, _ := start(t, c.edge, c.back)
			for _, h2 := range []bool{false, true} {
				code, body, _ := get(t, client(t, h2), "http://"+b.edge+c.target)
				n, priority := 0, ""
				fmt.Sscanf(body, "%d %s", &n, &priority)
				if code != 200 || n <= c.from || n >= c.to || priority != c.priority {
					t.Errorf("h2=%v: %d, the last service was told %q; want %d to %d and %q", h2, code, body, c.from, c.to, c.priority)
				}
			}
		})
	}
	t.Run("it ends with the exchange", func(t *testing.T) {
		b, via := start(t, snapshot.Policy{Deadline: deadline.Config{Total: 10 * time.Minute}, Priority: limit.Critical}, snapshot.Policy{Deadline: deadline.Config{Total: time.Hour}})
		trace := hop.NewContext()
		line := "Traceparent: " + trace.Traceparent() + "\r\n"
		if code, _, _ := askAt(t, b.edge, "GET", line, "/svc"); code != 200 {
			t.Fatal(code)
		}
		eventually(t, "nothing is inherited", func() bool {
			_, _, text := ask(t, via["/svc"], "GET", line, "")
			n := 0
			fmt.Sscan(text, &n)
			return n > hour/2 && !strings.Contains(text, "critical")
		})
	})
	t.Run("no work for who has left", func(t *testing.T) {
		b, _ := start(t, snapshot.Policy{Deadline: deadline.Config{Total: 300 * time.Millisecond}, Retry: once}, snapshot.Policy{Deadline: deadline.Config{Total: time.Hour}})
		stuck := server(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		b.SetEndpoints("back", []snapshot.Endpoint{endpoint("back-2", stuck)})
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			// A client without a deadline, that outlives its own caller.
			conn := dial(t, b.bind("svc>back"))
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: back\r\nTraceparent: %s\r\n\r\n", r.Header.Get("Traceparent"))
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil {
				resp.Body.Close()
			}
		})
		eventually(t, "the call of the service ends", func() bool { // it may not come so far, on a busy machine
			ask(t, b.edge, "GET", "", "")
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, r := range b.hops {
				if r.Callee == "back" && r.Reason == hop.Deadline {
					return true
				}
			}
			return false
		})
	})
}

// testSeen: an answer that was kept is for who is seen by the service as the one was for whom it was made.
func testSeen(t *testing.T, open func(proxy.Options) Engine) {
	b := newBench(t, open, calm, policy(snapshot.Policy{Retry: once, Cache: &cache.Config{}, Fallback: &snapshot.Fallback{Cached: time.Hour}}))
	b.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Fail") != "" {
			w.WriteHeader(503)
			return
		}
		w.Header().Set("Cache-Control", "max-age=1000")
		fmt.Fprint(w, r.Host, " ", r.Header.Get("X-Forwarded-Host"))
	})
	from := func(addr, host, lines string) (string, string) {
		t.Helper()
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(raw(t, addr, "GET /c HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n"+lines+"\r\n"))), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body), resp.Header.Get("Cache-Status")
	}
	for _, addr := range []string{b.edge, b.mesh} {
		for _, host := range []string{"x:1337", "X", "x.", "x", "x:80"} {
			if body, status := from(addr, host, ""); !strings.HasPrefix(body, host+" ") || strings.Contains(status, "hit") {
				t.Errorf("edge=%v, %s is first asked for: %q, %s", addr == b.edge, host, body, status)
			}
		}
		for _, host := range []string{"x:1337", "X", "x.", "x", "x:80"} {
			if body, status := from(addr, host, ""); !strings.HasPrefix(body, host+" ") || !strings.Contains(status, "hit") {
				t.Errorf("edge=%v, %s again: %q, %s", addr == b.edge, host, body, status)
			}
			if body, _ := from(addr, host, "Cache-Control: no-cache\r\nX-Fail: 1\r\n"); !strings.HasPrefix(body, host+" ") {
				t.Errorf("edge=%v, in the place of a failure for %s: %q", addr == b.edge, host, body)
			}
		}
		if body, _ := from(addr, "x:99", "Cache-Control: no-cache\r\nX-Fail: 1\r\n"); strings.Contains(body, "x") {
			t.Errorf("edge=%v, %q stood in for another host", addr == b.edge, body)
		}
	}
	// Instances of one caller ask by listeners of their own.
	if body, _ := from(b.mesh, "127.0.0.1:1001", ""); !strings.HasPrefix(body, "127.0.0.1:1001 ") {
		t.Error(body)
	}
	for _, host := range []string{"127.0.0.1:1002", "localhost:1003", "[::1]:1004"} {
		if body, status := from(b.mesh, host, ""); !strings.HasPrefix(body, "127.0.0.1:1001 ") || !strings.Contains(status, "hit") {
			t.Errorf("another instance, by %s: %q, %s", host, body, status)
		}
	}
	if body, status := from(b.edge, "127.0.0.1:1001", ""); strings.Contains(status, "hit") {
		t.Errorf("a caller outside is no instance: %q", body)
	}
	if body, status := from(b.edge, "127.0.0.1:1002", ""); strings.Contains(status, "hit") {
		t.Errorf("a caller outside is no instance: %q", body)
	}
	// What changes the target does so for all spellings.
	askAt(t, b.edge, "POST", "Content-Length: 0\r\n", "/c")
	if resp := raw(t, b.edge, "POST /c HTTP/1.1\r\nHost: x:80\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"); statusOf(resp) != 200 {
		t.Fatal(resp)
	}
	for _, host := range []string{"x", "x:1337"} {
		if _, status := from(b.edge, host, ""); strings.Contains(status, "hit") {
			t.Errorf("%s is kept over a change: %s", host, status)
		}
	}
}

// testRefusedInTime: who has little time is told that nothing listens, not that it is slow.
func testRefusedInTime(t *testing.T, open func(proxy.Options) Engine) {
	b := newBench(t, open, policy(snapshot.Policy{Deadline: deadline.Config{Total: 500 * time.Millisecond}}))
	b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "dead", Address: closedPort(t)}})
	for _, h2 := range []bool{false, true} {
		code, body, h := get(t, client(t, h2), "http://"+b.mesh+"/")
		if code != 503 || h.Get("Stoa-Reason") != string(hop.Connect) || !strings.Contains(body, "connection refused") {
			t.Errorf("h2=%v: %d %s %q", h2, code, h.Get("Stoa-Reason"), body)
		}
	}
	b.waitHop("the refusal", func(r hop.Record) bool {
		return r.Reason == hop.Connect && r.Status == 503 && strings.Contains(r.Error, "refused")
	})
}

// testStuck: a delay as long as the time for a call is the service's timeout.
func testStuck(t *testing.T, open func(proxy.Options) Engine) {
	const total = 150 * time.Millisecond
	for proto, kind := range map[snapshot.Protocol]string{snapshot.HTTP1: "", snapshot.H2C: "application/grpc"} {
		for _, delay := range []time.Duration{total, total - 2*time.Millisecond, 10 * total} {
			t.Run(fmt.Sprint(proto, " ", delay, " ", kind), func(t *testing.T) {
				b := newBench(t, open, protocol(proto), policy(snapshot.Policy{Deadline: deadline.Config{Total: total}}),
					upstream(func(u *snapshot.Upstream) { u.Breaker.Least = 10 }))
				b.serve(func(w http.ResponseWriter, r *http.Request) {
					<-r.Context().Done() // what is left of the time is not enough
				})
				b.SetFaults([]inject.Fault{{ID: "slow", Callee: "svc", Percent: 100, Delay: delay, Until: soon()}})
				c := client(t, kind != "" || proto == snapshot.H2C)
				eventually(t, "the breaker opens", func() bool {
					codes := make(chan string)
					for range 8 { // together, or it takes long
						go func() {
							req, _ := http.NewRequest("GET", "http://"+b.mesh+"/", nil)
							if kind != "" {
								req.Method = "POST"
								req.Header.Set("Content-Type", kind)
							}
							resp, err := c.Do(req)
							if err != nil {
								codes <- err.Error()
								return
							}
							resp.Body.Close()
							codes <- resp.Header.Get("Stoa-Reason")
						}()
					}
					open := false
					for range 8 {
						open = <-codes == string(hop.Breaker) || open
					}
					return open
				})
			})
		}
	}
}

// testEdgeRepeats: undeclared, the gateway repeats what had no answer, and no answer, which may be passed on.
func testEdgeRepeats(t *testing.T, open func(proxy.Options) Engine) {
	for _, declared := range []bool{false, true} {
		p := snapshot.Policy{Priority: limit.Low}
		if declared {
			p.Retry.Attempts = 2
		}
		b := newBench(t, open, calm, policy(p))
		var seen atomic.Int64
		var status atomic.Int64
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			if seen.Add(1); status.Load() == 0 && seen.Load() == 1 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(int(max(status.Load(), 200)))
		})
		if code, _, _ := ask(t, b.edge, "GET", "", ""); code != 200 || seen.Load() != 2 {
			t.Errorf("declared=%v, a connection that broke: %d after %d requests at the service", declared, code, seen.Load())
		}
		for _, code := range []int{502, 503, 504} {
			for addr, repeated := range map[string]bool{b.edge: declared, b.mesh: true} {
				seen.Store(0)
				status.Store(int64(code))
				want := int64(1)
				if repeated {
					want = 2
				}
				if got, _, _ := ask(t, addr, "GET", "", ""); got != code || seen.Load() != want {
					t.Errorf("declared=%v, edge=%v: %d for %d, after %d requests at the service, want %d", declared, addr == b.edge, got, code, seen.Load(), want)
				}
			}
		}
	}
}

// testFaultsOver: what a fault opened tries again as soon as the fault is over, by itself or by a command.
func testFaultsOver(t *testing.T, open func(proxy.Options) Engine) {
	for _, cleared := range []bool{true, false} {
		b := newBench(t, open, policy(snapshot.Policy{Retry: once}), upstream(func(u *snapshot.Upstream) {
			u.Breaker.Least, u.Breaker.Open, u.Breaker.OpenMax = 10, 10*time.Minute, 10*time.Minute // longer than anybody waits here
		}))
		b.serve(func(w http.ResponseWriter, r *http.Request) {})
		f := inject.Fault{ID: "down", Callee: "svc", Percent: 100, Abort: 503, Until: soon()}
		if !cleared {
			f.Until = time.Now().Add(2 * time.Second).UnixNano()
		}
		b.SetFaults([]inject.Fault{f})
		eventually(t, "the breaker opens", func() bool {
			_, h, _ := ask(t, b.mesh, "GET", "", "")
			return h.Get("Stoa-Reason") == string(hop.Breaker)
		})
		if cleared {
			b.SetFaults(nil)
		}
		eventually(t, "calls pass again", func() bool {
			if !cleared {
				b.Look() // as every second
			}
			code, _, _ := ask(t, b.mesh, "GET", "", "")
			return code == 200
		})
	}
}

// testNobodyPicks: a caller outside that says which trace it is of does not say by that which side of a split it meets.
func testNobodyPicks(t *testing.T, open func(proxy.Options) Engine) {
	b := newBench(t, open, func(s *snapshot.Snapshot) {
		s.Upstreams["next"] = snapshot.Upstream{Protocol: snapshot.HTTP1}
		rules(route.Rule{Name: "all", Path: "/", Split: []route.Weighted{{Upstream: "svc", Weight: 50}, {Upstream: "next", Weight: 50}}})(s)
	})
	var seen [2]atomic.Int64
	for i, name := range []string{"svc", "next"} {
		s := server(t, func(http.ResponseWriter, *http.Request) { seen[i].Add(1) })
		b.SetEndpoints(name, []snapshot.Endpoint{endpoint(name, s)})
	}
	line := "Traceparent: " + hop.NewContext().Traceparent() + "\r\n"
	eventually(t, "both sides are met", func() bool {
		ask(t, b.edge, "GET", line, "")
		return seen[0].Load() > 0 && seen[1].Load() > 0
	})
	seen[0].Store(0)
	seen[1].Store(0)
	for range 20 { // inside, a trace stays with its side
		ask(t, b.mesh, "GET", line, "")
	}
	if seen[0].Load() > 0 && seen[1].Load() > 0 {
		t.Errorf("inside, one trace met both sides: %d and %d", seen[0].Load(), seen[1].Load())
	}
}

// testLate: who joins for less than an answer takes has waited for nothing, which is counted.
func testLate(t *testing.T, open func(proxy.Options) Engine) {
	b := newBench(t, open, policy(snapshot.Policy{Coalesce: time.Millisecond}))
	free := make(chan bool)
	b.serve(func(w http.ResponseWriter, r *http.Request) { <-free })
	c := client(t, false)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			resp, err := c.Get("http://" + b.mesh + "/")
			if err == nil {
				resp.Body.Close()
			}
		})
	}
	eventually(t, "one has waited in vain", func() bool { return b.total("stoa_proxy_cache_total", "callee=svc", "outcome=late") == 1 })
	close(free)
	all.Wait()
}
