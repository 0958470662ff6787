package proxytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/cache"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// asker asks with fields.
type asker struct {
	t *testing.T
	c *http.Client
}

type told struct {
	code   int
	body   string
	header http.Header
}

func (a asker) ask(method, url string, fields ...string) told {
	a.t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := a.c.Do(req)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatalf("%s %s: body: %v", method, url, err)
	}
	return told{resp.StatusCode, string(body), resp.Header}
}

// testCache: answers by RFC 9111, where a route declares it.
func testCache(t *testing.T, open func(proxy.Options) Engine) {
	cached := func(c cache.Config) shape { return policy(snapshot.Policy{Retry: once, Cache: &c}) }
	// start gives a service whose answer counts requests, with the Cache-Control of the query.
	start := func(t *testing.T, shapes ...shape) (*bench, *atomic.Int64) {
		b := newBench(t, open, append([]shape{cached(cache.Config{})}, shapes...)...)
		var n atomic.Int64
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			for name, v := range r.URL.Query() {
				h[http.CanonicalHeaderKey(name)] = v
			}
			fmt.Fprint(w, n.Add(1), r.Header.Get("Accept"))
		})
		return b, &n
	}
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("a hit, client h2=%v", h2), func(t *testing.T) {
			b, n := start(t)
			a := asker{t, client(t, h2)}
			url := "http://" + b.mesh + "/a?cache-control=max-age%3D1000&etag=%22v1%22"
			if got := a.ask("GET", url); got.code != 200 || got.body != "1" || !strings.Contains(got.header.Get("Cache-Status"), "fwd=uri-miss") {
				t.Fatalf("the first: %+v", got)
			}
			b.waitHop("the first", func(r hop.Record) bool { return r.Attempts == 1 })
			for range 3 {
				got := a.ask("GET", url)
				if got.code != 200 || got.body != "1" || !strings.Contains(got.header.Get("Cache-Status"), "stoa; hit") || got.header.Get("Age") == "" ||
					got.header.Get("Etag") != `"v1"` || got.header.Get("Content-Length") != "1" {
					t.Fatalf("a hit: %+v", got)
				}
			}
			b.waitHop("a hit", func(r hop.Record) bool {
				return r.Attempts == 0 && r.Status == 200 && r.Out == 1 && r.Endpoint == "" && !r.Failed()
			})
			if got := a.ask("HEAD", url); got.code != 200 || got.body != "" || got.header.Get("Content-Length") != "1" {
				t.Errorf("HEAD: %+v", got)
			}
			if got := a.ask("GET", url, "If-None-Match", `"v1"`); got.code != 304 || got.body != "" {
				t.Errorf("who has it already: %+v", got)
			}
			if got := a.ask("GET", url, "Cache-Control", "no-cache"); got.body != "2" {
				t.Errorf("who wants a newer one: %+v", got)
			}
			if n.Load() != 2 {
				t.Errorf("%d requests at the service, want 2", n.Load())
			}
			if got := b.total("stoa_proxy_cache_total", "callee=svc", "outcome=hit"); got != 5 {
				t.Errorf("%g hits counted, want 5", got)
			}
		})
	}
	t.Run("what is not kept", func(t *testing.T) {
		b, _ := start(t)
		a := asker{t, client(t, false)}
		for _, c := range []struct {
			query, field, value string
			kept                bool
		}{
			{"", "", "", false}, // nothing is guessed
			{"cache-control=no-store,max-age%3D100", "", "", false},
			{"cache-control=private,max-age%3D100", "", "", false},
			{"cache-control=max-age%3D100&set-cookie=a%3Db", "", "", false},
			{"cache-control=max-age%3D100&vary=*", "", "", false},
			{"cache-control=max-age%3D100", "Authorization", "Bearer x", false},
			{"cache-control=max-age%3D100", "Cookie", "a=b", false},
			{"cache-control=max-age%3D100", "Range", "bytes=0-0", false},
			{"cache-control=public,max-age%3D100", "Authorization", "Bearer x", true},
			{"expires=" + strings.ReplaceAll(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), " ", "+"), "", "", true},
		} {
			var fields []string
			if c.field != "" {
				fields = []string{c.field, c.value}
			}
			url := "http://" + b.mesh + "/?" + c.query
			first := a.ask("GET", url, fields...).body
			if second := a.ask("GET", url, fields...).body; (first == second) != c.kept {
				t.Errorf("%s with %v: first %s, then %s; kept is to be %v", c.query, fields, first, second, c.kept)
			}
		}
	})
	t.Run("not by other routes", func(t *testing.T) {
		b, _ := start(t, policy(snapshot.Policy{Retry: once}))
		a := asker{t, client(t, false)}
		url := "http://" + b.mesh + "/?cache-control=max-age%3D100"
		if x, y := a.ask("GET", url), a.ask("GET", url); x.body == y.body || y.header.Get("Cache-Status") != "" {
			t.Errorf("%+v, then %+v", x, y)
		}
	})
	t.Run("one caller gets nothing of another", func(t *testing.T) {
		b, _ := start(t, func(s *snapshot.Snapshot) {
			l := s.Listeners["web>svc"]
			l.Caller = "app"
			s.Listeners["app>svc"] = l
		})
		a := asker{t, client(t, false)}
		seen := map[string]string{}
		for _, addr := range []string{b.mesh, b.edge, b.bind("app>svc")} {
			for range 2 {
				body := a.ask("GET", "http://"+addr+"/?cache-control=max-age%3D100").body
				if by := seen[body]; by != "" && by != addr {
					t.Errorf("%s got what was made for %s", addr, by)
				}
				seen[body] = addr
			}
		}
		if len(seen) != 3 {
			t.Errorf("answers %v, want three", seen)
		}
	})
	t.Run("variants", func(t *testing.T) {
		b, n := start(t)
		a := asker{t, client(t, false)}
		url := "http://" + b.mesh + "/?cache-control=max-age%3D100&vary=accept"
		for range 2 {
			for _, accept := range []string{"text/a", "text/b"} {
				if got := a.ask("GET", url, "Accept", accept); !strings.HasSuffix(got.body, accept) {
					t.Errorf("asked for %s, got %q", accept, got.body)
				}
			}
		}
		if n.Load() != 2 {
			t.Errorf("%d requests at the service, want 2", n.Load())
		}
	})
	t.Run("asked whether it still holds", func(t *testing.T) {
		b := newBench(t, open, cached(cache.Config{}))
		var asks, fulls atomic.Int64
		var tag atomic.Value
		tag.Store(`"1"`)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			asks.Add(1)
			w.Header().Set("Cache-Control", "max-age=0")
			w.Header().Set("Etag", tag.Load().(string))
			if v := r.Header.Get("If-None-Match"); v == tag.Load() {
				w.WriteHeader(304)
				return
			} else if v != "" {
				w.Header().Set("X-Asked", v)
			}
			fulls.Add(1)
			io.WriteString(w, "body of "+tag.Load().(string))
		})
		a := asker{t, client(t, false)}
		url := "http://" + b.mesh + "/"
		a.ask("GET", url)
		got := a.ask("GET", url)
		if got.code != 200 || got.body != `body of "1"` || fulls.Load() != 1 || asks.Load() != 2 || !strings.Contains(got.header.Get("Cache-Status"), "fwd-status=304") {
			t.Errorf("%+v after %d requests, %d with a body", got, asks.Load(), fulls.Load())
		}
		// The condition of the caller is not the one that is asked with, and is answered to the caller.
		if got := a.ask("GET", url, "If-None-Match", `"0"`); got.code != 200 || got.body != `body of "1"` || fulls.Load() != 1 {
			t.Errorf("with another tag: %+v", got)
		}
		if got := a.ask("GET", url, "If-None-Match", `"1"`); got.code != 304 || got.body != "" || fulls.Load() != 1 {
			t.Errorf("with the tag: %+v", got)
		}
		tag.Store(`"2"`)
		if got := a.ask("GET", url); got.code != 200 || got.body != `body of "2"` || got.header.Get("X-Asked") != `"1"` {
			t.Errorf("a newer one: %+v", got)
		}
		if n := b.total("stoa_proxy_cache_total", "outcome=revalidated"); n != 3 {
			t.Errorf("%g revalidated, want 3", n)
		}
	})
	t.Run("a 304 of something else is asked for again, whole", func(t *testing.T) {
		b := newBench(t, open, cached(cache.Config{}))
		var n atomic.Int64
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=0")
			w.Header().Set("Etag", fmt.Sprintf(`"%d"`, n.Add(1)))
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(304)
				return
			}
			fmt.Fprint(w, "whole")
		})
		a := asker{t, client(t, false)}
		a.ask("GET", "http://"+b.mesh+"/")
		if got := a.ask("GET", "http://"+b.mesh+"/"); got.code != 200 || got.body != "whole" || n.Load() != 3 {
			t.Errorf("%+v after %d requests, want 200 after 3", got, n.Load())
		}
	})
	t.Run("what may have changed is forgotten", func(t *testing.T) {
		b, _ := start(t)
		a := asker{t, client(t, false)}
		url := "http://" + b.mesh + "/?cache-control=max-age%3D100"
		first := a.ask("GET", url).body
		if got := a.ask("GET", url).body; got != first {
			t.Fatalf("%s, then %s", first, got)
		}
		resp, err := a.c.Post(url, "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if got := a.ask("GET", url).body; got == first {
			t.Error("the old answer after a POST")
		}
	})
	t.Run("a stale one for a failure", func(t *testing.T) {
		for _, c := range []struct {
			name   string
			config cache.Config
			query  string
		}{{"by the answer", cache.Config{}, "cache-control=max-age%3D0,stale-if-error%3D1000"}, {"by the route", cache.Config{StaleIfError: time.Hour}, "cache-control=max-age%3D0&etag=%221%22"}} {
			b, _ := start(t, cached(c.config), upstream(func(u *snapshot.Upstream) { u.Hold = -1 }))
			a := asker{t, client(t, false)}
			url := "http://" + b.mesh + "/?" + c.query
			first := a.ask("GET", url).body
			b.waitHop("the first", func(r hop.Record) bool { return r.Status == 200 })
			check := func(how string) {
				got := a.ask("GET", url)
				if got.code != 200 || got.body != first || !strings.Contains(got.header.Get("Cache-Status"), "stale-if-error") || !strings.HasPrefix(got.header.Get("Stoa-Fallback"), "cached") {
					t.Errorf("%s, %s: %+v", c.name, how, got)
				}
			}
			b.SetEndpoints("svc", nil)
			check("no endpoint")
			b.serve(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
			check("500")
			b.waitHop("the failure", func(r hop.Record) bool { return r.Fallback == "cached" && r.Failed() })
		}
	})
	t.Run("a stale one while a newer is asked for", func(t *testing.T) {
		b, _ := start(t, cached(cache.Config{StaleWhileRevalidate: time.Hour}))
		a := asker{t, client(t, false)}
		url := "http://" + b.mesh + "/?cache-control=max-age%3D0&etag=%221%22"
		first := a.ask("GET", url).body
		if got := a.ask("GET", url); got.body != first || !strings.Contains(got.header.Get("Cache-Status"), "hit") {
			t.Errorf("%+v, want the stale %s", got, first)
		}
		eventually(t, "the newer one is there", func() bool { return a.ask("GET", url).body != first })
	})
	t.Run("a stored one or none", func(t *testing.T) {
		b, n := start(t)
		a := asker{t, client(t, false)}
		url := "http://" + b.mesh + "/?cache-control=max-age%3D100"
		if got := a.ask("GET", url, "Cache-Control", "only-if-cached"); got.code != 504 || n.Load() != 0 {
			t.Errorf("%+v after %d requests", got, n.Load())
		}
		a.ask("GET", url)
		if got := a.ask("GET", url, "Cache-Control", "only-if-cached"); got.code != 200 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("bodies", func(t *testing.T) {
		b := newBench(t, open, cached(cache.Config{}))
		long := strings.Repeat("0123456789", 60000)
		var n atomic.Int64
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			w.Header().Set("Cache-Control", "max-age=100")
			switch r.URL.Path {
			case "/chunked":
				for i := 0; i < len(long); i += 50000 {
					io.WriteString(w, long[i:i+50000])
					http.NewResponseController(w).Flush()
				}
			case "/sized":
				w.Header().Set("Content-Length", fmt.Sprint(len(long)))
				io.WriteString(w, long)
			case "/empty":
			case "/204":
				w.WriteHeader(204)
			}
		})
		a := asker{t, client(t, false)}
		for path, want := range map[string]string{"/chunked": long, "/sized": long, "/empty": "", "/204": ""} {
			n.Store(0)
			for i := range 3 {
				if got := a.ask("GET", "http://"+b.mesh+path); got.body != want || got.code > 204 {
					t.Errorf("%s, time %d: %d, %d bytes", path, i+1, got.code, len(got.body))
				}
			}
			if n.Load() != 1 {
				t.Errorf("%s: %d requests at the service, want 1", path, n.Load())
			}
		}
	})
	t.Run("half an answer is not kept", func(t *testing.T) {
		b := newBench(t, open, cached(cache.Config{}))
		var n atomic.Int64
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: rawServer(t, func(c *rawConn) {
			if c.request() == nil {
				return
			}
			if n.Add(1) == 1 {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole")
		})}})
		c := client(t, false)
		resp, err := c.Get("http://" + b.mesh + "/")
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%q and no error", body)
		}
		resp.Body.Close()
		b.waitHop("the half", func(r hop.Record) bool { return r.Reason == hop.Truncated })
		for range 2 {
			if got := (asker{t, c}).ask("GET", "http://"+b.mesh+"/"); got.body != "whole" || n.Load() != 2 {
				t.Errorf("%+v after %d requests", got, n.Load())
			}
		}
	})
}
