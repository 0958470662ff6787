package proxytest

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"stoa/internal/engine/balance"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testOutliers: one bad endpoint of several is found, and left alone.
func testOutliers(t *testing.T, open func(proxy.Options) Engine) {
	bad := func(t *testing.T, status int, shapes ...shape) (*bench, *http.Client, *[4]atomic.Int64) {
		b := newBench(t, open, append(shapes, policy(snapshot.Policy{Retry: once}))...)
		var seen [4]atomic.Int64
		b.fleet(4, func(i int, w http.ResponseWriter, r *http.Request) {
			seen[i].Add(1)
			if i == 0 {
				w.WriteHeader(status)
			}
		})
		return b, client(t, false), &seen
	}
	for _, status := range []int{500, 503} {
		t.Run(fmt.Sprint("one that fails at once draws no load, ", status), func(t *testing.T) {
			b, c, seen := bad(t, status)
			for range 500 {
				get(t, c, "http://"+b.mesh+"/")
			}
			if n := seen[0].Load(); n > 100 {
				t.Errorf("%d of 500 requests went to the one that fails", n)
			}
		})
		t.Run(fmt.Sprint("and is ejected, ", status), func(t *testing.T) {
			b, c, seen := bad(t, status, upstream(func(u *snapshot.Upstream) { u.Balance.By = balance.RoundRobin }))
			eventually(t, "it is ejected", func() bool {
				get(t, c, "http://"+b.mesh+"/")
				return b.total("stoa_proxy_ejections_total", "upstream=svc") == 1
			})
			before := seen[0].Load()
			for range 200 {
				if code, _, _ := get(t, c, "http://"+b.mesh+"/"); code != 200 {
					t.Fatalf("status %d after it was ejected", code)
				}
			}
			if seen[0].Load() != before {
				t.Error("it was asked though it is ejected")
			}
			eventually(t, "the gauge shows it", func() bool {
				b.Look()
				return b.total("stoa_proxy_ejected_endpoints", "upstream=svc") == 1
			})
		})
	}
	t.Run("what fails everywhere is nobody's fault", func(t *testing.T) {
		b := newBench(t, open, policy(snapshot.Policy{Retry: once}), upstream(func(u *snapshot.Upstream) { u.Breaker.Off = true }))
		b.fleet(3, func(i int, w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
		c := client(t, false)
		for range 300 {
			get(t, c, "http://"+b.mesh+"/")
		}
		if n := b.total("stoa_proxy_ejections_total"); n > 1 { // the first may seem alone
			t.Errorf("%g were ejected", n)
		}
	})
}

// testBalance: the policies of the balancer, as a caller can see them.
func testBalance(t *testing.T, open func(proxy.Options) Engine) {
	counts := func(t *testing.T, c balance.Config, requests int, header func(i int) string) (b *bench, n []int64) {
		b = newBench(t, open, upstream(func(u *snapshot.Upstream) { u.Balance = c }))
		var seen [4]atomic.Int64
		b.fleet(4, func(i int, w http.ResponseWriter, r *http.Request) { seen[i].Add(1) })
		cl := client(t, false)
		for i := range requests {
			req, _ := http.NewRequest("GET", "http://"+b.mesh+"/", nil)
			req.Header.Set("X-Tenant", header(i))
			resp, err := cl.Do(req)
			if err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
			resp.Body.Close()
		}
		for i := range seen {
			n = append(n, seen[i].Load())
		}
		return b, n
	}
	same := func(int) string { return "same" }
	t.Run("round robin takes turns", func(t *testing.T) {
		_, n := counts(t, balance.Config{By: balance.RoundRobin, SlowStart: -1}, 40, same)
		for i := range n {
			if n[i] != 10 {
				t.Fatalf("shares %v, want 10 each", n)
			}
		}
	})
	for _, by := range []string{balance.Ring, balance.Maglev} {
		t.Run(by+" keeps a key at one endpoint, over a swap", func(t *testing.T) {
			b, n := counts(t, balance.Config{By: by, Key: "header:X-Tenant"}, 20, same)
			if err := b.Swap(usual(upstream(func(u *snapshot.Upstream) { u.Balance = balance.Config{By: by, Key: "header:X-Tenant"} }))); err != nil {
				t.Fatal(err)
			}
			with := 0
			for i := range n {
				if n[i] > 0 {
					with++
				}
			}
			if with != 1 {
				t.Errorf("one key met %v", n)
			}
			_, n = counts(t, balance.Config{By: by, Key: "header:X-Tenant"}, 40, func(i int) string { return fmt.Sprint("t", i) })
			if n[0] == 40 || n[1] == 40 || n[2] == 40 || n[3] == 40 {
				t.Errorf("40 keys met %v", n)
			}
		})
	}
}
