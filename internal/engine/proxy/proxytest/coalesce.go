package proxytest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/cache"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testCoalesce: callers that ask for the same at one time share one request. Who comes when
// cannot be seen from outside, so the tests try with longer and longer answers.
func testCoalesce(t *testing.T, open func(proxy.Options) Engine) {
	const callers = 10
	shared := policy(snapshot.Policy{Retry: once, Coalesce: patience})
	// round asks n times at once and gives the answers.
	round := func(t *testing.T, c *http.Client, url string, n int, change func(int, *http.Request)) []told {
		out := make([]told, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				req, _ := http.NewRequest("GET", url, nil)
				if change != nil {
					change(i, req)
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Error(err)
				}
				out[i] = told{resp.StatusCode, string(body), resp.Header}
			})
		}
		wg.Wait()
		return out
	}
	for _, h2 := range []bool{false, true} {
		for _, p := range []struct {
			name string
			with shape
		}{{"", shared}, {" and a cache", policy(snapshot.Policy{Retry: once, Coalesce: patience, Cache: &cache.Config{}})}} {
			t.Run(fmt.Sprintf("one request%s, client h2=%v", p.name, h2), func(t *testing.T) {
				b := newBench(t, open, p.with)
				var seen, hold atomic.Int64
				b.serve(func(w http.ResponseWriter, r *http.Request) {
					n := seen.Add(1)
					takes(r, time.Duration(hold.Load()))
					fmt.Fprint(w, "answer ", n)
				})
				c := client(t, h2)
				hold.Store(int64(10 * time.Millisecond))
				eventually(t, "all shared one", func() bool {
					before := seen.Load()
					hold.Store(hold.Load() * 2)
					for _, got := range round(t, c, "http://"+b.mesh+"/", callers, nil) {
						if got.code != 200 || len(got.body) < 8 {
							t.Fatalf("%+v", got)
						}
					}
					return seen.Load() == before+1
				})
				if n := b.total("stoa_proxy_cache_total", "outcome=shared"); n < callers-1 {
					t.Errorf("%g counted as shared, want at least %d", n, callers-1)
				}
			})
		}
	}
	t.Run("who asked first may leave", func(t *testing.T) {
		b := newBench(t, open, shared)
		var seen, hold atomic.Int64
		came := make(chan bool, 64)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			seen.Add(1)
			came <- true
			takes(r, time.Duration(hold.Load()))
			io.WriteString(w, "ok")
		})
		c := client(t, false)
		hold.Store(int64(20 * time.Millisecond))
		eventually(t, "the other got what the first had asked for", func() bool {
			hold.Store(hold.Load() * 2)
			before := seen.Load()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+b.mesh+"/", nil)
			first := make(chan error, 1)
			go func() {
				resp, err := c.Do(req)
				if err == nil {
					resp.Body.Close()
				}
				first <- err
			}()
			<-came
			time.AfterFunc(time.Duration(hold.Load()/2), cancel)
			got := (asker{t, c}).ask("GET", "http://"+b.mesh+"/")
			err := <-first
			if got.code != 200 || got.body != "ok" {
				t.Fatalf("the other: %+v", got)
			}
			return err != nil && seen.Load() == before+1
		})
	})
	t.Run("all leave, and the service sees it", func(t *testing.T) {
		b := newBench(t, open, shared)
		began, ended := make(chan bool, 64), make(chan bool, 64)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			began <- true
			<-r.Context().Done()
			ended <- true
		})
		ctx, cancel := context.WithCancel(t.Context())
		c := client(t, false)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+b.mesh+"/", nil)
				if resp, err := c.Do(req); err == nil {
					resp.Body.Close()
				}
			})
		}
		<-began
		cancel()
		wg.Wait()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("the service goes on")
		}
	})
	t.Run("failures are not shared", func(t *testing.T) {
		b := newBench(t, open, shared)
		var seen atomic.Int64
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			if seen.Add(1)%2 == 1 {
				w.WriteHeader(500)
				return
			}
			io.WriteString(w, "ok")
		})
		bad := 0
		for _, got := range round(t, client(t, false), "http://"+b.mesh+"/", callers, nil) {
			if got.code != 200 {
				bad++
			}
		}
		if n := seen.Load(); int64(bad) > (n+1)/2 {
			t.Errorf("%d failures for %d requests at the service", bad, n)
		}
	})
	for name, how := range map[string]struct {
		answer func(http.ResponseWriter)
		ask    func(int, *http.Request)
	}{
		"a cookie is set":            {func(w http.ResponseWriter) { w.Header().Set("Set-Cookie", "a=b") }, nil},
		"it is private":              {func(w http.ResponseWriter) { w.Header().Set("Cache-Control", "private") }, nil},
		"there are credentials":      {nil, func(i int, r *http.Request) { r.Header.Set("Authorization", fmt.Sprint("Bearer ", i)) }},
		"it varies":                  {func(w http.ResponseWriter) { w.Header().Set("Vary", "X-I") }, func(i int, r *http.Request) { r.Header.Set("X-I", fmt.Sprint(i)) }},
		"there is no room":           {func(w http.ResponseWriter) { w.Header().Set("Content-Length", "2000000") }, nil},
		"there is no room, unknowns": {func(w http.ResponseWriter) { w.Write(make([]byte, 1<<20)) }, nil},
	} {
		t.Run("none is shared if "+name, func(t *testing.T) {
			b := newBench(t, open, shared)
			var seen atomic.Int64
			b.serve(func(w http.ResponseWriter, r *http.Request) {
				n := seen.Add(1)
				if how.answer != nil {
					how.answer(w)
				}
				s := fmt.Sprintf("%d for %s%s", n, r.Header.Get("Authorization"), r.Header.Get("X-I"))
				if w.Header().Get("Content-Length") != "" {
					s += string(make([]byte, 2000000-len(s)))
				}
				io.WriteString(w, s)
			})
			mine := map[string]bool{}
			for i, got := range round(t, client(t, false), "http://"+b.mesh+"/", callers, how.ask) {
				if got.code != 200 || mine[got.body] {
					t.Errorf("caller %d: %d, %.40q, which another got, too", i, got.code, got.body)
				}
				mine[got.body] = true
			}
			if seen.Load() != callers {
				t.Errorf("%d requests at the service, want %d", seen.Load(), callers)
			}
		})
	}
}
