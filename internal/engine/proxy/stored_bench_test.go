package proxy_test

import (
	"net"
	"testing"
	"time"

	"stoa/internal/engine/cache"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/snapshot"
)

// What a route pays for what it declares of kept answers and second attempts: compare with
// BareHop.
func BenchmarkDeclared(b *testing.B) {
	for _, e := range []proxy.Engine{"", proxy.Portable} {
		engine := map[proxy.Engine]string{"": "fast/", proxy.Portable: "portable/"}[e]
		for _, c := range []struct {
			name     string
			policy   snapshot.Policy
			cachable bool
		}{
			{"hit", snapshot.Policy{Cache: &cache.Config{}}, true},
			{"forwarded", snapshot.Policy{Cache: &cache.Config{}}, false},
			{"kept-warm", snapshot.Policy{Fallback: &snapshot.Fallback{Cached: time.Minute}}, false},
			{"static-fallback", snapshot.Policy{Fallback: &snapshot.Fallback{Static: &snapshot.Static{Body: "-"}}}, false},
			{"hedge", snapshot.Policy{Retry: retry.Config{HedgeAfter: "p95"}}, false},
		} {
			b.Run(engine+c.name, func(b *testing.B) {
				p := proxy.New(proxy.Options{Engine: e})
				s := bigSnapshot(1)
				s.Listeners["web>all"].Routes[0].Policy = "p"
				s.Policies = map[string]snapshot.Policy{"p": c.policy}
				if err := p.Swap(s); err != nil {
					b.Fatal(err)
				}
				at := bareService(b)
				if c.cachable {
					at = cachableService(b)
				}
				p.SetEndpoints("svc0", []snapshot.Endpoint{{ID: "1", Address: at}})
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

// cachableService answers one request of each connection.
func cachableService(b *testing.B) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 4<<10))
			c.Write([]byte("HTTP/1.1 200 OK\r\nCache-Control: max-age=10000\r\nContent-Length: 100\r\nConnection: close\r\n\r\n" + string(make([]byte, 100))))
			c.Close()
		}
	}()
	return ln.Addr().String()
}
