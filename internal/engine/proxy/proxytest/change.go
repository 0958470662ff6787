package proxytest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/balance"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// load keeps n callers busy until all of total requests are done or stop is closed.
func load(t *testing.T, addr string, n int, total int64, each func(code int, err error)) (wait func()) {
	var left atomic.Int64
	left.Store(total)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			c := client(t, false)
			for left.Add(-1) >= 0 {
				resp, err := c.Get("http://" + addr + "/")
				if err != nil {
					each(0, err)
					continue
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				each(resp.StatusCode, err)
			}
		})
	}
	return wg.Wait
}

// testChange: hot change loses nothing.
func testChange(t *testing.T, open func(proxy.Options) Engine) {
	t.Run("endpoints replaced one by one under load: none of 10,000 fails", func(t *testing.T) {
		b := newBench(t, open)
		var eps []snapshot.Endpoint
		running := map[string]*httptest.Server{}
		next := 0
		add := func() {
			next++
			id := fmt.Sprint("svc-", next)
			s := server(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, id) })
			running[id] = s
			eps = append(eps, endpoint(id, s))
		}
		add()
		add()
		b.SetEndpoints("svc", eps)
		var failed, done atomic.Int64
		wait := load(t, b.mesh, 8, 10000, func(code int, err error) {
			done.Add(1)
			if code != 200 || err != nil {
				failed.Add(1)
				t.Errorf("request failed: %d %v", code, err)
			}
		})
		replaced := 0
		for done.Load() < 9500 && !t.Failed() {
			add()
			b.SetEndpoints("svc", eps)
			old := eps[0]
			eps = append([]snapshot.Endpoint(nil), eps[1:]...)
			b.SetEndpoints("svc", eps)
			if err := b.Drained(t.Context(), old.ID); err != nil {
				t.Error(err)
				break
			}
			running[old.ID].CloseClientConnections()
			running[old.ID].Close()
			if err := b.Swap(usual()); err != nil { // routes change all the while
				t.Error(err)
				break
			}
			replaced++
			at := done.Load() + 100
			eventually(t, "the load goes on", func() bool { return done.Load() >= min(at, 10000) })
		}
		wait()
		if replaced < 10 {
			t.Errorf("only %d replacements during the load", replaced)
		}
		t.Logf("%d of %d failed over %d replacements", failed.Load(), done.Load(), replaced)
	})
	t.Run("an endpoint killed under load: only what it held may fail", func(t *testing.T) {
		b := newBench(t, open)
		var held atomic.Int64
		work := func(w http.ResponseWriter, r *http.Request) {
			held.Add(1)
			defer held.Add(-1)
			select {
			case <-time.After(time.Millisecond): // some work
			case <-r.Context().Done():
			}
			io.WriteString(w, "ok")
		}
		victim, other := server(t, work), server(t, work)
		b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("victim", victim), endpoint("other", other)})
		const callers = 8
		var failed, done atomic.Int64
		wait := load(t, b.mesh, callers, 4000, func(code int, err error) {
			done.Add(1)
			if code != 200 || err != nil {
				failed.Add(1)
			}
		})
		eventually(t, "some load", func() bool { return done.Load() > 500 })
		victim.Listener.Close()
		victim.CloseClientConnections()
		eventually(t, "load after the kill", func() bool { return done.Load() > 1500 })
		b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("other", other)}) // somebody noticed
		wait()
		if failed.Load() > callers {
			t.Errorf("%d requests failed, the dead endpoint can have held %d", failed.Load(), callers)
		}
	})
	t.Run("a request in flight keeps its endpoint and its routes", func(t *testing.T) {
		b := newBench(t, open)
		began, finish := make(chan bool), make(chan bool)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
			began <- true
			<-finish
			io.WriteString(w, "done")
		})
		got := make(chan string, 1)
		go func() { _, body, _ := get(t, client(t, false), "http://"+b.mesh+"/"); got <- body }()
		<-began
		b.SetEndpoints("svc", nil)
		if err := b.Swap(&snapshot.Snapshot{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := b.Drained(ctx, "svc-1"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("Drained while a request is in flight: %v", err)
		}
		close(finish)
		if body := <-got; body != "done" {
			t.Errorf("body %q", body)
		}
		if err := b.Drained(t.Context(), "svc-1"); err != nil {
			t.Error(err)
		}
	})
	t.Run("a listener that is released finishes what it has", func(t *testing.T) {
		b := newBench(t, open)
		began, finish := make(chan bool), make(chan bool)
		b.serve(func(w http.ResponseWriter, r *http.Request) { began <- true; <-finish; io.WriteString(w, "done") })
		addr, release, err := b.Bind("web>svc")
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 1)
		go func() { _, body, _ := get(t, client(t, false), "http://"+addr+"/"); got <- body }()
		<-began
		released := make(chan bool)
		go func() { release(); close(released) }()
		eventually(t, "nothing new is taken", func() bool {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		close(finish)
		if body := <-got; body != "done" {
			t.Errorf("body %q", body)
		}
		<-released
	})
	t.Run("load is balanced", func(t *testing.T) {
		b := newBench(t, open, upstream(func(u *snapshot.Upstream) { u.Balance.By = balance.Least }))
		var counts [3]atomic.Int64
		var eps []snapshot.Endpoint
		for i := range counts {
			s := server(t, func(w http.ResponseWriter, r *http.Request) { counts[i].Add(1) })
			eps = append(eps, endpoint(fmt.Sprint("svc-", i), s))
		}
		b.SetEndpoints("svc", eps)
		load(t, b.mesh, 4, 1500, func(int, error) {})()
		for i := range counts {
			if n := counts[i].Load(); n < 300 || n > 700 {
				t.Errorf("endpoint %d got %d of 1500", i, n)
			}
		}
	})
}
