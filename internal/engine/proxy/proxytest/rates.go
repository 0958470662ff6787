package proxytest

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/rate"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// testRates: no more than declared, and who is refused knows when to come again.
func testRates(t *testing.T, open func(proxy.Options) Engine) {
	hourly := func(n int64, per rate.Per) shape {
		return policy(snapshot.Policy{Rates: []rate.Config{{Rate: rate.Rate{N: n, Per: time.Hour}, Per: per, Legacy: true}}})
	}
	serve := func(b *bench) *atomic.Int64 {
		var seen atomic.Int64
		b.serve(func(w http.ResponseWriter, r *http.Request) { seen.Add(1) })
		return &seen
	}
	t.Run("429 with when to come again", func(t *testing.T) {
		b := newBench(t, open, hourly(2, ""))
		seen := serve(b)
		for i, left := range []string{"1", "0"} {
			code, h, _ := ask(t, b.edge, "GET", "", "")
			if code != 200 || h.Get("RateLimit-Policy") != `"default";q=2;w=3600` || len(h.Values("RateLimit")) != 1 ||
				h.Get("X-RateLimit-Remaining") != left || h.Get("Retry-After") != "" {
				t.Errorf("request %d: %d %v", i, code, h)
			}
		}
		code, h, _ := ask(t, b.edge, "POST", "", "body")
		wait, _ := strconv.Atoi(h.Get("Retry-After"))
		if code != 429 || h.Get("Stoa-Reason") != string(hop.Rate) || wait < 1700 || wait > 1800 || len(h.Values("Retry-After")) != 1 ||
			len(h.Values("RateLimit")) != 1 || h.Get("X-RateLimit-Remaining") != "0" {
			t.Errorf("the third: %d %v", code, h)
		}
		if seen.Load() != 2 {
			t.Errorf("the service had %d requests", seen.Load())
		}
		b.waitHop("the refusal", func(r hop.Record) bool { return r.Reason == hop.Rate && r.Status == 429 && !r.Failed() })
		if b.total("stoa_proxy_rate_limited_total", "listener=gateway", "route=all") != 1 {
			t.Error("it was not counted")
		}
		if err := b.Swap(usual(hourly(2, ""))); err != nil {
			t.Fatal(err)
		}
		if code, _, _ := ask(t, b.edge, "GET", "", ""); code != 429 {
			t.Errorf("after a swap: %d", code)
		}
		if code, _, _ := ask(t, b.mesh, "GET", "", ""); code != 200 {
			t.Errorf("at another listener: %d", code)
		}
	})
	t.Run("each its own", func(t *testing.T) {
		b := newBench(t, open, hourly(1, "header:X-Key"))
		serve(b)
		for _, c := range []struct {
			line string
			want int
		}{{"X-Key: a\r\n", 200}, {"X-Key: b\r\n", 200}, {"X-Key: a\r\n", 429}, {"", 200}, {"", 429}} {
			if code, _, _ := ask(t, b.mesh, "GET", c.line, ""); code != c.want {
				t.Errorf("%q: %d, want %d", c.line, code, c.want)
			}
		}
		b = newBench(t, open, hourly(1, "client"))
		serve(b)
		for _, want := range []int{200, 429} {
			if code, _, _ := ask(t, b.edge, "GET", "", ""); code != want {
				t.Errorf("by client: %d, want %d", code, want)
			}
		}
	})
	t.Run("all of several, or nothing is spent", func(t *testing.T) {
		b := newBench(t, open, policy(snapshot.Policy{Rates: []rate.Config{
			{Rate: rate.Rate{N: 3, Per: time.Hour}}, {Rate: rate.Rate{N: 1, Per: time.Hour}, Per: "header:X-Key"}}}))
		seen := serve(b)
		for _, c := range []struct {
			key  string
			want int
		}{{"a", 200}, {"a", 429}, {"a", 429}, {"a", 429}, {"b", 200}, {"c", 200}, {"d", 429}} {
			if code, _, _ := ask(t, b.edge, "GET", "X-Key: "+c.key+"\r\n", ""); code != c.want {
				t.Errorf("%s: %d, want %d", c.key, code, c.want)
			}
		}
		if seen.Load() != 3 {
			t.Errorf("the service had %d requests", seen.Load())
		}
	})
	t.Run("a gRPC caller is told so", func(t *testing.T) {
		b := newBench(t, open, hourly(1, ""))
		serve(b)
		ask(t, b.mesh, "POST", "", "")
		_, h, _ := ask(t, b.mesh, "POST", "Content-Type: application/grpc\r\n", "")
		if h.Get("Grpc-Status") != "8" || h.Get("RateLimit") == "" {
			t.Errorf("%v", h)
		}
	})
	t.Run("files, too", func(t *testing.T) {
		dir := t.TempDir()
		b := newBench(t, open, rules(route.Rule{Name: "files", Path: "/", Site: "s"}), func(s *snapshot.Snapshot) {
			s.Sites = map[string]snapshot.Site{"s": {Dir: dir}}
			for name, l := range s.Listeners {
				l.Routes[0].Policy = "p"
				s.Listeners[name] = l
			}
			s.Policies = map[string]snapshot.Policy{"p": {Rates: []rate.Config{{Rate: rate.Rate{N: 1, Per: time.Hour}}}}}
		})
		for _, want := range []int{404, 429} {
			if code, _, _ := ask(t, b.edge, "GET", "", ""); code != want {
				t.Errorf("%d, want %d", code, want)
			}
		}
	})
}
