package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stoa/internal/engine/limit"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/rate"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

func benchProxy(b *testing.B, n int) (*proxy.Proxy, string) {
	s := service(b)
	p := proxy.New(proxy.Options{})
	if err := p.Swap(bigSnapshot(n)); err != nil {
		b.Fatal(err)
	}
	p.SetEndpoints("svc0", []snapshot.Endpoint{{ID: "1", Address: s.Listener.Addr().String()}})
	addr, release, err := p.Bind("web>all")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(release)
	return p, addr
}

// bigSnapshot has n routes over at most 1,000 services.
func bigSnapshot(n int) *snapshot.Snapshot {
	s := &snapshot.Snapshot{Listeners: map[string]snapshot.Listener{}, Upstreams: map[string]snapshot.Upstream{}}
	l := snapshot.Listener{Caller: "web", Protocol: snapshot.HTTP}
	for i := range n {
		up := fmt.Sprint("svc", i%1000)
		s.Upstreams[up] = snapshot.Upstream{Protocol: snapshot.HTTP1}
		l.Routes = append(l.Routes, route.Rule{Name: fmt.Sprint("r", i), Path: fmt.Sprintf("/svc%d/%d", i%1000, i), Upstream: up})
	}
	s.Listeners["web>all"] = l
	return s
}

// service answers 100 bytes.
func service(b *testing.B) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Write(make([]byte, 100))
	}))
	b.Cleanup(s.Close)
	return s
}

// drive sends b.N requests over 32 kept connections.
func drive(b *testing.B, url string) {
	b.SetParallelism(16)
	tr := &http.Transport{MaxIdleConnsPerHost: 64}
	b.Cleanup(tr.CloseIdleConnections)
	b.ReportAllocs()
	before := cpu()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, _ := http.NewRequest("GET", url, nil)
			resp, err := tr.RoundTrip(req)
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/1e3, "cpu-us/op")
}

// One hop over kept connections, service, proxy and client in one process: to compare
// with Direct (client and service alone) and ReverseProxy, not with other programs.
func BenchmarkHop(b *testing.B) {
	_, addr := benchProxy(b, 1)
	drive(b, "http://"+addr+"/svc0/0")
}

// The same with a client and a service of bare sockets, so that what is allocated is the
// proxy's: in both engines, and with all that can be declared of a route.
func BenchmarkBareHop(b *testing.B) {
	for _, e := range []proxy.Engine{"", proxy.Portable} {
		for _, declared := range []bool{false, true} {
			name := map[proxy.Engine]string{"": "fast", proxy.Portable: "portable"}[e] + map[bool]string{true: "/declared"}[declared]
			b.Run(name, func(b *testing.B) {
				p := proxy.New(proxy.Options{Engine: e})
				s := bigSnapshot(1)
				if declared {
					l := s.Listeners["web>all"]
					l.Routes[0].Policy = "p"
					l.Routes[0].Answer = &route.Edits{Set: []route.Field{{Name: "X-A", Value: "a"}}}
					s.Policies = map[string]snapshot.Policy{"p": {
						Rates:    []rate.Config{{Rate: rate.Rate{N: 1_000_000, Per: time.Second}, Per: "client"}},
						Priority: limit.Critical,
					}}
				}
				if err := p.Swap(s); err != nil {
					b.Fatal(err)
				}
				p.SetEndpoints("svc0", []snapshot.Endpoint{{ID: "1", Address: bareService(b)}, {ID: "2", Address: bareService(b)}})
				addr, release, err := p.Bind("web>all")
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(release)
				bare(b, addr)
			})
		}
	}
}

// bareService answers 100 bytes to each head.
func bareService(b *testing.B) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: text/plain\r\n\r\n" + strings.Repeat("x", 100))
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4<<10)
				n := 0
				for {
					k, err := c.Read(buf[n:])
					if err != nil {
						return
					}
					if n += k; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
						n = 0
						if _, err := c.Write(answer); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// bare sends b.N requests over 32 kept connections.
func bare(b *testing.B, addr string) {
	const conns = 32
	request := []byte("GET /svc0/0 HTTP/1.1\r\nHost: svc0\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	var all []net.Conn
	for range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
	}
	var left atomic.Int64
	turn := func(c net.Conn, buf []byte) bool {
		if _, err := c.Write(request); err != nil {
			b.Error(err)
			return false
		}
		for n := 0; ; {
			k, err := c.Read(buf[n:])
			if err != nil {
				b.Error(err)
				return false
			}
			n += k
			if head := bytes.Index(buf[:n], []byte("\r\n\r\n")); head > 0 && n == head+104 {
				if !bytes.HasPrefix(buf, []byte("HTTP/1.1 200 ")) {
					b.Errorf("%s", buf[:n])
					return false
				}
				return true
			}
		}
	}
	run := func(n int) {
		left.Store(int64(n))
		var wg sync.WaitGroup
		for _, c := range all {
			wg.Go(func() {
				buf := make([]byte, 4<<10)
				for left.Add(-1) >= 0 && turn(c, buf) {
				}
			})
		}
		wg.Wait()
	}
	run(20 * conns) // warm
	b.ReportAllocs()
	before := cpu()
	b.ResetTimer()
	run(b.N)
	b.StopTimer()
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/1e3, "cpu-us/op")
}

func BenchmarkDirect(b *testing.B) { drive(b, service(b).URL+"/svc0/0") }

func BenchmarkReverseProxy(b *testing.B) {
	to, _ := url.Parse(service(b).URL)
	tr := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	b.Cleanup(tr.CloseIdleConnections)
	front := httptest.NewServer(&httputil.ReverseProxy{Transport: tr, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.SetXForwarded()
	}})
	b.Cleanup(front.Close)
	drive(b, front.URL+"/svc0/0")
}

// cpu is the time of all threads of the process, user and system.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A whole snapshot put in force: 10,000 routes, 1,000 services.
func BenchmarkSwap10000(b *testing.B) {
	p := proxy.New(proxy.Options{})
	s := bigSnapshot(10000)
	for b.Loop() {
		if err := p.Swap(s); err != nil {
			b.Fatal(err)
		}
	}
}

// A change is in force when Swap returns: what a caller waits from Swap to the first
// answer by the new routes.
func BenchmarkChangeVisible(b *testing.B) {
	p, addr := benchProxy(b, 1000)
	c := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext}}
	s := bigSnapshot(1000)
	ctx := context.Background()
	b.ResetTimer()
	for b.Loop() {
		if err := p.Swap(s); err != nil {
			b.Fatal(err)
		}
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/svc0/0", nil)
		resp, err := c.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
