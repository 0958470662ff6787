package proxytest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testLimits: a service gets no more than it can take, and the important go first.
func testLimits(t *testing.T, open func(proxy.Options) Engine) {
	limited := func(c limit.Config) shape {
		return upstream(func(u *snapshot.Upstream) { c.Adaptive = limit.Off; u.Limit = c })
	}
	// gate is a service whose requests end one by one.
	gate := func(b *bench) (began chan string, end chan bool) {
		began, end = make(chan string, 16), make(chan bool, 16)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			began <- r.Header.Get("X-Name")
			select {
			case <-end:
			case <-r.Context().Done():
			}
		})
		return began, end
	}
	type answer struct {
		name string
		code int
		h    http.Header
	}
	call := func(t *testing.T, b *bench, answers chan answer, name, lines string) {
		t.Helper()
		go func() {
			code, h, _ := ask(t, b.mesh, "GET", lines+"X-Name: "+name+"\r\n", "")
			answers <- answer{name, code, h}
		}()
	}
	t.Run("one too many is refused, before its body is read", func(t *testing.T) {
		b := newBench(t, open, limited(limit.Config{Max: 1, Queue: -1}))
		began, end := gate(b)
		answers := make(chan answer, 1)
		call(t, b, answers, "first", "")
		<-began
		got := raw(t, b.mesh, "POST / HTTP/1.1\r\nHost: svc\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
		if statusOf(got) != 503 || !strings.Contains(got, "Stoa-Reason: limit\r\n") || !strings.Contains(got, "Retry-After: 1\r\n") || !strings.Contains(got, "Stoa-Retry: no\r\n") {
			t.Errorf("%q", got)
		}
		b.waitHop("the refusal", func(r hop.Record) bool { return r.Reason == hop.Limit && r.Attempts == 0 && r.In == 0 })
		end <- true
		if a := <-answers; a.code != 200 {
			t.Errorf("the first: %d", a.code)
		}
		end <- true
		if code, _, _ := ask(t, b.mesh, "GET", "", ""); code != 200 {
			t.Errorf("afterwards: %d", code)
		}
	})
	t.Run("the gauges go on without requests", func(t *testing.T) {
		b := newBench(t, open, limited(limit.Config{Max: 5}))
		began, end := gate(b)
		ctx, stop := context.WithCancel(t.Context())
		ready, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- b.Run(ctx, func() { close(ready) }) }()
		<-ready
		inflight := func(n float64) func() bool {
			return func() bool { return b.total("stoa_proxy_inflight_requests", "upstream=svc") == n }
		}
		answers := make(chan answer, 1)
		call(t, b, answers, "only", "")
		<-began
		eventually(t, "what is in flight is shown, though nothing ends", inflight(1))
		end <- true
		<-answers
		eventually(t, "and that it is not any more, though nothing comes", inflight(0))
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Run("one waits for a place", func(t *testing.T) {
		b := newBench(t, open, limited(limit.Config{Max: 1, Wait: patience}))
		began, end := gate(b)
		answers := make(chan answer, 2)
		call(t, b, answers, "first", "")
		<-began
		call(t, b, answers, "second", "")
		b.waits(1)
		end <- true
		if a := <-answers; a.name != "first" || a.code != 200 {
			t.Errorf("%s: %d", a.name, a.code)
		}
		if name := <-began; name != "second" {
			t.Errorf("%s came", name)
		}
		end <- true
		if a := <-answers; a.code != 200 {
			t.Errorf("%s: %d", a.name, a.code)
		}
	})
	t.Run("who leaves while waiting takes no place", func(t *testing.T) {
		b := newBench(t, open, limited(limit.Config{Max: 1, Wait: patience}))
		began, end := gate(b)
		answers := make(chan answer, 2)
		call(t, b, answers, "first", "")
		<-began
		c := dial(t, b.mesh)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: svc\r\n\r\n")
		b.waits(1)
		c.Close()
		b.waitHop("it", func(r hop.Record) bool { return r.Reason == hop.Cancelled })
		end <- true
		<-answers
		call(t, b, answers, "third", "")
		if name := <-began; name != "third" {
			t.Errorf("%q came", name)
		}
		end <- true
		<-answers
	})
	t.Run("the critical push the bulk out", func(t *testing.T) {
		b := newBench(t, open, limited(limit.Config{Max: 1, Queue: 1, Wait: patience}))
		began, end := gate(b)
		answers := make(chan answer, 3)
		call(t, b, answers, "first", "")
		<-began
		call(t, b, answers, "bulk", "Stoa-Priority: bulk\r\n")
		b.waits(1)
		call(t, b, answers, "critical", "Stoa-Priority: critical\r\n")
		if a := <-answers; a.name != "bulk" || a.code != 503 || a.h.Get("Stoa-Reason") != string(hop.Shed) {
			t.Errorf("%s: %d %s, want bulk to be shed", a.name, a.code, a.h.Get("Stoa-Reason"))
		}
		if b.total("stoa_proxy_shed_total", "upstream=svc", "why=shed", "priority=bulk") != 1 {
			t.Error("it was not counted")
		}
		end <- true
		<-answers
		if name := <-began; name != "critical" {
			t.Errorf("%s came next", name)
		}
		end <- true
		if a := <-answers; a.code != 200 {
			t.Errorf("%s: %d", a.name, a.code)
		}
	})
	t.Run("a stream gives its place back with its head", func(t *testing.T) {
		b := newBench(t, open, limited(limit.Config{Max: 1, Queue: -1}))
		var first atomic.Bool
		first.Store(true)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			if first.Swap(false) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, "data: x\n\n")
				http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}
		})
		resp, err := client(t, false).Get("http://" + b.mesh + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if code, _, _ := ask(t, b.mesh, "GET", "", ""); code != 200 {
			t.Errorf("beside a stream: %d", code)
		}
	})
	t.Run("the edge says how important a request is, and nobody outside", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header["Stoa-Priority"]) })
		for _, c := range []struct {
			claim, addr, line string
			edge              limit.Priority
			want              string
		}{
			{"the edge's", b.edge, "", limit.Critical, "[critical]"},
			{"not what outside says", b.edge, "Stoa-Priority: critical\r\n", limit.Normal, "[]"},
			{"nor in another spelling", b.edge, "stoa_priority: critical\r\n", limit.Low, "[low]"},
			{"inside it is kept", b.mesh, "Stoa-Priority: bulk\r\n", limit.Critical, "[bulk]"},
			{"inside the rule's, if nothing is said", b.mesh, "", limit.Low, "[low]"},
			{"inside, nonsense is nothing", b.mesh, "Stoa-Priority: first\r\n", limit.Normal, "[]"},
		} {
			if err := b.Swap(usual(policy(snapshot.Policy{Priority: c.edge}))); err != nil {
				t.Fatal(err)
			}
			if _, _, got := ask(t, c.addr, "GET", c.line, ""); got != c.want {
				t.Errorf("%s: %s, want %s", c.claim, got, c.want)
			}
		}
	})
	t.Run("who waits for a service to start holds no place", func(t *testing.T) {
		b := newBench(t, open, limited(limit.Config{Max: 2, Wait: patience}), upstream(func(u *snapshot.Upstream) { u.Hold = patience }))
		const calls = 6
		answers := make(chan answer, calls)
		for range calls {
			call(t, b, answers, "x", "")
		}
		var most, now atomic.Int64
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.AfterFunc(time.Millisecond, func() {})
			now.Add(-1)
		})
		served := 0
		for range calls {
			if a := <-answers; a.code == 200 {
				served++
			}
		}
		if served < 4 || most.Load() > 2 { // 2 at once and 2 in the queue at least
			t.Errorf("%d of %d served, %d at once", served, calls, most.Load())
		}
	})
}

// waits waits until n requests wait for a place at svc.
func (b *bench) waits(n int) {
	b.t.Helper()
	eventually(b.t, fmt.Sprint(n, " wait"), func() bool {
		b.Look()
		return b.total("stoa_proxy_waiting_requests", "upstream=svc") == float64(n)
	})
}
