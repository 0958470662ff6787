package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// importance is a kind of request to an overloaded service.
type importance struct {
	clients             int
	asked, served, shed atomic.Int64
}

// Of more than a service can do the least important goes first: with two places and fifty
// callers, bulk and normal requests are refused, and critical ones are all served. When the
// load is gone, bulk is served again.
func TestOverloadShedsTheCriticalLast(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// Two calls of 50 ms at a time: forty a second, on any machine.
	write(t, dir, "stoa.yaml", fmt.Sprintf(`kind: System
name: till
---
kind: Service
name: till
run: {command: [%s]}
traffic: {concurrency: {max: 2, queue: 8, wait: 30s}}
expose:
  - {path: /checkout, stripPrefix: true, priority: critical, timeout: 2m}
  - {path: /shelf, stripPrefix: true}
  - {path: /export, stripPrefix: true, priority: bulk}
health: {ready: /readyz}
`, serverBin))
	p := prepare(t)
	p.start("dev", dir)
	p.ready()

	kinds := map[string]*importance{"checkout": {clients: 2}, "shelf": {clients: 16}, "export": {clients: 32}}
	left := make(chan struct{})
	var all sync.WaitGroup
	leave := sync.OnceFunc(func() { close(left); all.Wait() })
	t.Cleanup(leave)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 50}}
	var mu sync.Mutex
	odd := map[string]int{} // answers that are neither; guarded by mu
	ask := func(name string, k *importance) (served bool) {
		k.asked.Add(1)
		resp, err := client.Get(p.gateway + "/" + name + "/slow?ms=50")
		if err == nil {
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			reason := resp.Header.Get("Stoa-Reason")
			switch {
			case resp.StatusCode == http.StatusOK:
				k.served.Add(1)
				return true
			case resp.StatusCode == http.StatusServiceUnavailable && (reason == "limit" || reason == "shed") && resp.Header.Get("Retry-After") != "":
				k.shed.Add(1)
				return false
			}
			err = fmt.Errorf("%s: %d %s %.200s", name, resp.StatusCode, reason, b)
		}
		mu.Lock()
		defer mu.Unlock()
		odd[err.Error()]++
		return false
	}
	for name, k := range kinds {
		for range k.clients {
			all.Go(func() {
				for {
					select {
					case <-left:
						return
					default:
						if !ask(name, k) {
							pause() // a caller that was refused asks again, but not at once
						}
					}
				}
			})
		}
	}
	until(t, "checkout goes on and the rest is shed", func() bool {
		return kinds["checkout"].served.Load() >= 100 && kinds["export"].shed.Load() >= 100 && kinds["shelf"].shed.Load() >= 10
	})
	until(t, "stoa top tells who is refused", func() bool {
		out := p.must("top")
		return strings.Contains(out, "till") && strings.Contains(out, "refused")
	})
	leave()
	for name, k := range kinds {
		t.Logf("%s: %d asked, %d served, %d shed", name, k.asked.Load(), k.served.Load(), k.shed.Load())
	}
	if n := kinds["checkout"].shed.Load(); n > 0 {
		t.Errorf("%d critical requests were refused while others were served", n)
	}
	if len(odd) > 0 {
		t.Errorf("other answers than served and refused: %v", odd)
	}
	m := p.meters()
	shed := func(priority string) float64 {
		return m.sum("stoa_proxy_shed_total", `upstream="till"`, `priority="`+priority+`"`)
	}
	if shed("critical") != 0 || int64(shed("bulk")) != kinds["export"].shed.Load() || int64(shed("normal")) != kinds["shelf"].shed.Load() {
		t.Errorf("the series say %.0f critical, %.0f normal and %.0f bulk requests were shed", shed("critical"), shed("normal"), shed("bulk"))
	}
	row := 0
	until(t, "all is normal once the load is gone", func() bool {
		if ask("export", kinds["export"]) {
			row++
		} else {
			row = 0
		}
		return row == 20
	})
	if v := p.meters().sum("stoa_proxy_waiting_requests", `upstream="till"`); v != 0 {
		t.Errorf("%.0f requests wait when nobody asks", v)
	}
}
