package proxytest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
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
		b := newBench(t, open)
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

// testCall: requests from inside.
func testCall(t *testing.T, open func(proxy.Options) Engine) {
	t.Run("an answer of the service", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s", r.RequestURI, body, r.Header.Get("X-A"))
		})
		req, _ := http.NewRequest("POST", "http://any/a%2Fb?x;y", strings.NewReader("body"))
		req.Header.Set("X-A", "1")
		resp, o, err := b.Call(t.Context(), "stoa/events", "svc", req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if string(got) != "/a%2Fb?x;y body 1" || err != nil || resp.StatusCode != 500 {
			t.Errorf("%d %q, %v", resp.StatusCode, got, err)
		}
		if !o.Answered || o.Sent != proxy.Yes || o.Attempts != 1 || o.Endpoint != "svc-1" || o.Trace.IsZero() || o.Reason != "" {
			t.Errorf("outcome %+v", o)
		}
		resp.Body.Close()
		b.waitHop("the call", func(r hop.Record) bool {
			return r.Caller == "stoa/events" && r.Callee == "svc" && r.Status == 500 && r.In == 4 && r.Out == int64(len(got)) && r.Trace == o.Trace
		})
	})
	t.Run("how far it came", func(t *testing.T) {
		b := newBench(t, open, upstream(func(u *snapshot.Upstream) { u.Hold = -1 }))
		call := func(up string) (proxy.Outcome, error) {
			req, _ := http.NewRequest("POST", "http://svc/", strings.NewReader("body"))
			resp, o, err := b.Call(t.Context(), "stoa", up, req)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			return o, err
		}
		if o, err := call("nobody"); !fault.Is(err, fault.NotFound) || o.Sent != proxy.No || o.Answered {
			t.Errorf("unknown upstream: %+v, %v", o, err)
		}
		if o, err := call("svc"); !fault.Is(err, fault.Unavailable) || o.Sent != proxy.No || o.Reason != hop.NoEndpoint {
			t.Errorf("no endpoint: %+v, %v", o, err)
		}
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: closedPort(t)}})
		if o, err := call("svc"); !fault.Is(err, fault.Unavailable) || o.Sent != proxy.No || o.Attempts != 0 {
			t.Errorf("no connection: %+v, %v", o, err)
		}
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "b", Address: rawServer(t, func(c *rawConn) { c.request() })}})
		if o, err := call("svc"); !fault.Is(err, fault.Unknown) || o.Sent != proxy.Maybe || o.Answered {
			t.Errorf("broke before an answer: %+v, %v", o, err)
		}
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "c", Address: rawServer(t, func(c *rawConn) {
			c.request()
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
		})}})
		if o, err := call("svc"); err == nil || o.Sent != proxy.Yes || !o.Answered {
			t.Errorf("broke in the answer: %+v, %v; want an error of the body", o, err)
		}
		b.waitHop("the broken answer", func(r hop.Record) bool { return r.Reason == hop.Truncated })
	})
}

// testSite: files.
func testSite(t *testing.T, open func(proxy.Options) Engine) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	os.WriteFile(outside, []byte("secret"), 0o600)
	write := func(name, text string) {
		p := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(p), 0o700)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("index.html", "<h1>home</h1>")
	write("app.js", "code()")
	write("a b.txt", "blank")
	write("docs/index.html", "docs")
	write("empty/x.txt", "x")
	write(".env", "SECRET=1")
	write(".git/config", "x")
	write(".well-known/security.txt", "contact")
	os.Symlink(outside, filepath.Join(dir, "link"))
	site := func(s *snapshot.Snapshot) {
		s.Sites = map[string]snapshot.Site{
			"web": {Dir: dir, SPA: true, Digest: "sha256:0123456789abcdef0123"}, "plain": {Dir: dir, Cache: "max-age=60"}, "gone": {Dir: dir + "/none"}}
		l := s.Listeners["gateway"]
		l.Routes = []route.Rule{{Name: "web", Path: "/", Site: "web"}, {Name: "plain", Path: "/plain", Site: "plain", StripPrefix: true}, {Name: "gone", Path: "/gone", Site: "gone"}}
		s.Listeners["gateway"] = l
	}
	b := newBench(t, open, site)
	for _, c := range []struct {
		request, lines string
		status         int
		want           string
	}{
		{"GET /", "", 200, "<h1>home</h1>"},
		{"GET /app.js", "", 200, "code()"},
		{"GET /a%20b.txt", "", 200, "blank"},
		{"HEAD /app.js", "", 200, ""},
		{"GET /docs/", "", 200, "docs"},
		{"GET /docs?x", "", 301, "Location: ./docs/?x\r\n"},
		{"GET /orders/7", "", 200, "<h1>home</h1>"},
		{"GET /orders/7.5", "Accept: text/html\r\n", 200, "<h1>home</h1>"},
		{"GET /missing.js", "Accept: */*\r\n", 404, "no-route"},
		{"GET /plain/orders", "Accept: text/html\r\n", 404, ""},
		{"GET /plain/app.js", "", 200, "Cache-Control: max-age=60\r\n"},
		{"GET /plain/empty/", "", 404, ""},
		{"GET /.env", "Accept: text/html\r\n", 404, ""},
		{"GET /.git/config", "", 404, ""},
		{"GET /plain/.well-known/security.txt", "", 200, "contact"},
		{"GET /plain/link", "", 404, ""},
		{"GET /docs%2Findex.html", "", 404, ""},
		{"GET /a%5Cb", "", 404, ""},
		{"GET /../secret", "", 400, ""},
		{"POST /app.js", "Content-Length: 0\r\n", 405, "Allow: GET, HEAD\r\n"},
		{"GET /app.js", "Range: bytes=1-3\r\n", 206, "ode"},
		{"GET /app.js", "Range: bytes=99-\r\n", 416, ""},
		{"GET /gone/x", "", 503, "gone"},
	} {
		got := raw(t, b.edge, c.request+" HTTP/1.1\r\nHost: web\r\nConnection: close\r\n"+c.lines+"\r\n")
		if statusOf(got) != c.status || !strings.Contains(got, c.want) || strings.Contains(got, "secret\x00") || strings.Contains(got, "SECRET") {
			t.Errorf("%s %q: %q, want %d and %q", c.request, c.lines, got, c.status, c.want)
		}
	}
	_, _, h := get(t, client(t, false), "http://"+b.edge+"/app.js")
	tag := h.Get("ETag")
	if tag == "" || h.Get("Cache-Control") != "no-cache" || !strings.Contains(h.Get("Content-Type"), "javascript") {
		t.Errorf("header %v", h)
	}
	if got := raw(t, b.edge, "GET /app.js HTTP/1.1\r\nHost: web\r\nConnection: close\r\nIf-None-Match: "+tag+"\r\n\r\n"); statusOf(got) != 304 {
		t.Errorf("revalidation: %q", got)
	}
	b.waitHop("a file", func(r hop.Record) bool { return r.Callee == "web" && r.Status == 200 && r.Out == 6 && r.Route == "web" })
}

// testGateway: listeners with an address follow the snapshot.
func testGateway(t *testing.T, open func(proxy.Options) Engine) {
	b := newBench(t, open)
	b.serve(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("X-Forwarded-Host")) })
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan bool), make(chan error, 1)
	go func() { ended <- b.Run(ctx, func() { close(ready) }) }()
	<-ready
	at := func(addr string) shape {
		return func(s *snapshot.Snapshot) {
			l := s.Listeners["gateway"]
			l.Address = addr
			s.Listeners["gateway"] = l
		}
	}
	bound := func() string {
		for _, g := range b.Gateways() {
			if g.Name == "gateway" {
				return g.Bound
			}
		}
		return ""
	}
	swap := func(addr string) {
		t.Helper()
		if err := b.Swap(usual(at(addr))); err != nil {
			t.Fatal(err)
		}
	}
	swap("127.0.0.1:0")
	first := bound()
	if code, body, _ := get(t, client(t, false), "http://"+first+"/"); code != 200 || body != first {
		t.Errorf("%d %q", code, body)
	}
	swap("127.0.0.1:0")
	if bound() != first {
		t.Errorf("the same address was opened again: %s, then %s", first, bound())
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	swap(taken.Addr().String())
	if g := b.Gateways(); len(g) != 1 || g[0].Err == nil || fault.HintOf(g[0].Err) == "" {
		t.Errorf("a taken port: %+v", g)
	}
	if code, _, _ := get(t, client(t, false), "http://"+first+"/"); code != 200 {
		t.Errorf("the old address is closed while the new one cannot be opened: %d", code)
	}
	taken.Close()
	eventually(t, "the freed port is taken", func() bool { return bound() == taken.Addr().String() })
	eventually(t, "the old one is closed", func() bool {
		c, err := net.Dial("tcp", first)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	swap("")
	if bound() != "" {
		t.Errorf("still open at %s", bound())
	}
	swap("127.0.0.1:0")
	last := bound()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", last); err == nil {
		c.Close()
		t.Error("open after Run has returned")
	}
	if _, _, err := b.Bind("web>svc"); err == nil {
		t.Error("Bind after Run has returned")
	}
}

// testRecords: what is known afterwards.
func testRecords(t *testing.T, open func(proxy.Options) Engine) {
	b := newBench(t, open)
	b.serve(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(201)
		w.Write(bytes.Repeat([]byte("x"), 1000))
	})
	resp, err := client(t, false).Post("http://"+b.mesh+"/a%2Fb?q", "text/plain", strings.NewReader("0123456789"))
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	r := b.waitHop("the request", func(r hop.Record) bool { return r.Status == 201 })
	r.Start, r.Trace, r.Span = time.Time{}, hop.TraceID{}, hop.SpanID{}
	if r.Duration <= 0 || r.Head <= 0 || r.Head > r.Duration {
		t.Errorf("times: head %v, whole %v", r.Head, r.Duration)
	}
	r.Duration, r.Head, r.Address = 0, 0, ""
	want := hop.Record{Listener: "web>svc", Caller: "web", Callee: "svc", Route: "all", Protocol: "HTTP/1.1", Method: "POST", Host: b.mesh,
		Path: "/a%2Fb", Status: 201, GRPC: -1, Endpoint: "svc-1", Instance: "svc-1", Attempts: 1, In: 10, Out: 1000, Sampled: true}
	if r != want {
		t.Errorf("record %+v\nwant   %+v", r, want)
	}
	for s := range b.meters.Samples("stoa_proxy_requests_total", "stoa_proxy_request_duration_seconds") {
		if s.Label("caller") != "web" || s.Label("callee") != "svc" || s.Label("route") != "all" {
			t.Errorf("series %v", s.Values)
		}
		if s.Value+float64(s.Dist.Count) != 1 || s.Kind == "counter" && s.Label("class") != "2xx" {
			t.Errorf("%s%v = %g, %d", s.Name, s.Values, s.Value, s.Dist.Count)
		}
	}
}
