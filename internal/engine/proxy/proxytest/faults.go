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
	"stoa/internal/engine/inject"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// policy gives the rule of everything this policy.
func policy(p snapshot.Policy) shape {
	return func(s *snapshot.Snapshot) {
		rules(route.Rule{Name: "all", Path: "/", Upstream: "svc", Policy: "p"})(s)
		if s.Policies == nil {
			s.Policies = map[string]snapshot.Policy{}
		}
		s.Policies["p"] = p
	}
}

// once is the policy under which no attempt follows the first.
var once = retry.Config{Attempts: 1}

// soon is an end of faults that no test waits for.
func soon() int64 { return time.Now().Add(time.Hour).UnixNano() }

// total sums a counter over the series whose labels hold all of want, as "callee=svc".
func (b *bench) total(name string, want ...string) float64 {
	sum := 0.0
	for s := range b.meters.Samples(name) {
		fits := true
		for _, w := range want {
			label, value, _ := strings.Cut(w, "=")
			fits = fits && s.Label(label) == value
		}
		if fits {
			sum += s.Value
		}
	}
	return sum
}

// testFaults: what is injected is an answer of the service to the caller's side, and marked.
func testFaults(t *testing.T, open func(proxy.Options) Engine) {
	start := func(t *testing.T, shapes ...shape) (*bench, *atomic.Int64) {
		b := newBench(t, open, append([]shape{policy(snapshot.Policy{Retry: once})}, shapes...)...)
		var seen atomic.Int64
		b.serve(func(w http.ResponseWriter, r *http.Request) { seen.Add(1); io.WriteString(w, "ok") })
		return b, &seen
	}
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("abort, client h2=%v", h2), func(t *testing.T) {
			b, seen := start(t)
			b.SetFaults([]inject.Fault{{ID: "broken", Callee: "svc", Percent: 100, Abort: 503, Until: soon()}})
			c := client(t, h2)
			code, body, h := get(t, c, "http://"+b.mesh+"/")
			if code != 503 || h.Get("Stoa-Injected") != "broken" || h.Get("Stoa-Reason") != "" || !strings.Contains(body, "broken") || seen.Load() != 0 {
				t.Errorf("%d %q %v after %d requests at the service", code, body, h, seen.Load())
			}
			b.waitHop("the aborted call", func(r hop.Record) bool {
				return r.Status == 503 && r.Injected == "broken" && r.Failed() && r.Attempts == 1 && r.Endpoint == ""
			})
			if n := b.total("stoa_proxy_injected_total", "callee=svc", "kind=abort"); n != 1 {
				t.Errorf("%g counted, want 1", n)
			}
			resp, err := c.Head("http://" + b.mesh + "/")
			if err != nil || resp.StatusCode != 503 {
				t.Errorf("HEAD: %v, %v", resp, err)
			}
			resp, err = c.Post("http://"+b.mesh+"/", "text/plain", strings.NewReader("body"))
			if err != nil || resp.StatusCode != 503 {
				t.Errorf("POST: %v, %v", resp, err)
			}
			b.SetFaults(nil)
			if code, body, h := get(t, c, "http://"+b.mesh+"/"); code != 200 || body != "ok" || h.Get("Stoa-Injected") != "" {
				t.Errorf("afterwards: %d %q %v", code, body, h)
			}
		})
	}
	t.Run("delay", func(t *testing.T) {
		b, seen := start(t)
		const d = 30 * time.Millisecond
		b.SetFaults([]inject.Fault{{ID: "slow", Percent: 100, Delay: d, Until: soon()}})
		begin := time.Now()
		code, body, h := get(t, client(t, false), "http://"+b.mesh+"/")
		if code != 200 || body != "ok" || h.Get("Stoa-Injected") != "slow" || time.Since(begin) < d {
			t.Errorf("%d %q %v after %v", code, body, h, time.Since(begin))
		}
		r := b.waitHop("the slow call", func(r hop.Record) bool { return r.Injected == "slow" })
		if r.Failed() || r.Head < d || seen.Load() != 1 {
			t.Errorf("record %+v", r)
		}
	})
	t.Run("a delay ends with its caller", func(t *testing.T) {
		b, seen := start(t)
		b.SetFaults([]inject.Fault{{ID: "slow", Percent: 100, Delay: inject.MaxDelay, Until: soon()}})
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+b.mesh+"/", nil)
		go func() {
			eventually(t, "the call met the fault", func() bool { return b.total("stoa_proxy_injected_total") == 1 })
			cancel()
		}()
		if _, err := client(t, false).Do(req); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		b.waitHop("the cancelled call", func(r hop.Record) bool { return r.Reason == hop.Cancelled })
		if seen.Load() != 0 {
			t.Error("it was sent all the same")
		}
	})
	t.Run("a delay outlasts no deadline", func(t *testing.T) {
		b, _ := start(t, rules(route.Rule{Name: "all", Path: "/", Upstream: "svc", Policy: "p", Timeout: 50 * time.Millisecond}))
		b.SetFaults([]inject.Fault{{ID: "slow", Percent: 100, Delay: inject.MaxDelay, Until: soon()}})
		code, _, h := get(t, client(t, false), "http://"+b.mesh+"/")
		if code != 504 || h.Get("Stoa-Injected") != "slow" || h.Get("Stoa-Reason") != "deadline" {
			t.Errorf("%d %v", code, h)
		}
	})
	t.Run("to the caller's side it is an answer of the service", func(t *testing.T) {
		b, seen := start(t, policy(snapshot.Policy{Retry: retry.Config{PerTry: 20 * time.Millisecond}}))
		c := client(t, false)
		b.SetFaults([]inject.Fault{{ID: "slow", Percent: 100, Delay: inject.MaxDelay, Until: soon()}})
		if code, _, h := get(t, c, "http://"+b.mesh+"/"); code != 504 || h.Get("Stoa-Reason") != "deadline" {
			t.Errorf("too slow for an attempt: %d %v", code, h)
		}
		if h := b.FaultHits()["slow"]; h != (inject.Hits{Matched: 2, Delayed: 2}) {
			t.Errorf("it did %+v", h)
		}
		b.waitHop("both attempts", func(r hop.Record) bool { return r.Attempts == 2 && r.Reason == hop.Deadline && r.Injected == "slow" })
		b.SetFaults([]inject.Fault{{ID: "broken", Percent: 100, Abort: 503, Until: soon()}})
		if code, _, _ := get(t, c, "http://"+b.mesh+"/"); code != 503 {
			t.Errorf("aborted twice: %d", code)
		}
		if h := b.FaultHits()["broken"]; h != (inject.Hits{Matched: 2, Aborted: 2}) {
			t.Errorf("it did %+v", h)
		}
		b.waitHop("both attempts", func(r hop.Record) bool { return r.Attempts == 2 && r.Injected == "broken" })
		eventually(t, "the breaker opens", func() bool {
			_, _, h := get(t, c, "http://"+b.mesh+"/")
			return h.Get("Stoa-Reason") == "breaker"
		})
		if seen.Load() != 0 {
			t.Errorf("%d requests at the service", seen.Load())
		}
	})
	t.Run("who is chosen", func(t *testing.T) {
		b, _ := start(t)
		c := client(t, false)
		ask := func(addr, header string) int {
			req, _ := http.NewRequest("GET", "http://"+addr+"/", nil)
			if header != "" {
				req.Header.Set("X-Test", header)
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			return resp.StatusCode
		}
		b.SetFaults([]inject.Fault{
			{ID: "a", Caller: "web", Header: inject.Header{Name: "x-test", Value: "1"}, Percent: 100, Abort: 500, Until: soon()},
			{ID: "b", Caller: inject.Outside, Route: "all", Percent: 100, Abort: 501, Until: soon()},
			{ID: "c", Callee: "other", Percent: 100, Abort: 502, Until: soon()},
			{ID: "d", Percent: 0, Abort: 503, Until: soon()},
		})
		for _, x := range []struct {
			addr, header string
			want         int
		}{{b.mesh, "", 200}, {b.mesh, "2", 200}, {b.mesh, "1", 500}, {b.edge, "", 501}} {
			if got := ask(x.addr, x.header); got != x.want {
				t.Errorf("at %s with %q: %d, want %d", x.addr, x.header, got, x.want)
			}
		}
	})
	t.Run("they end by themselves", func(t *testing.T) {
		b, _ := start(t)
		b.SetFaults([]inject.Fault{{ID: "short", Percent: 100, Abort: 404, Until: time.Now().Add(200 * time.Millisecond).UnixNano()}})
		c := client(t, false)
		eventually(t, "calls pass again", func() bool {
			code, _, _ := get(t, c, "http://"+b.mesh+"/")
			return code == 200
		})
	})
	t.Run("a call from inside", func(t *testing.T) {
		b, seen := start(t)
		b.SetFaults([]inject.Fault{{ID: "broken", Caller: "stoa", Percent: 100, Abort: 503, Until: soon()}})
		req, _ := http.NewRequest("POST", "http://svc/", strings.NewReader("body"))
		resp, o, err := b.Call(t.Context(), "stoa", "svc", req)
		if err != nil || resp.StatusCode != 503 || resp.Header.Get("Stoa-Injected") != "broken" || !o.Answered || seen.Load() != 0 {
			t.Fatalf("%v, %+v, %v", resp, o, err)
		}
		resp.Body.Close()
	})
	t.Run("a caller of gRPC", func(t *testing.T) {
		b, _ := start(t, protocol(snapshot.H2C))
		b.SetFaults([]inject.Fault{{ID: "broken", Percent: 100, Abort: 503, Until: soon()}})
		req, _ := http.NewRequest("POST", "http://"+b.mesh+"/svc/Echo", strings.NewReader("x"))
		req.Header.Set("Content-Type", "application/grpc")
		resp, err := client(t, true).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != 200 || resp.Header.Get("Grpc-Status") != "14" || resp.Header.Get("Stoa-Injected") != "broken" || n != 0 || err != nil {
			t.Errorf("%d %v, %d bytes, %v", resp.StatusCode, resp.Header, n, err)
		}
		b.waitHop("the aborted call", func(r hop.Record) bool { return r.GRPC == 14 && r.Failed() && r.Injected == "broken" })
	})
}
