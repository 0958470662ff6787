// Command stoanode is Stoa's data plane as a node runs it, and nothing of the platform: the
// proxy with a snapshot (a gateway in clear text and one with TLS, two routes, two endpoints
// each), its meters, and the telemetry module that keeps traces, rates and access lines.
//
// What is on is what users have without asking; nothing is switched off to be measured.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"syscall"
	"time"

	"stoa/internal/engine/certs"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/meter"
	"stoa/internal/kernel/host"
	"stoa/internal/module/telemetry"
)

var (
	plain    = flag.String("plain", "", "address for HTTP/1.1 and HTTP/2 in clear text")
	secure   = flag.String("tls", "", "address for TLS")
	metrics  = flag.String("metrics", "", "address of GET /metrics")
	cert     = flag.String("cert", "", "certificate")
	key      = flag.String("key", "", "its key")
	webA     = flag.String("web-a", "", "an endpoint")
	webB     = flag.String("web-b", "", "an endpoint")
	echoA    = flag.String("echo-a", "", "an endpoint of HTTP/2 in clear text")
	echoB    = flag.String("echo-b", "", "an endpoint of HTTP/2 in clear text")
	engine   = flag.String("engine", "", "portable: on net/http; empty: Stoa's own")
	observed = flag.String("telemetry", "module", "who reads the hops: module (as in the platform), ring (a reader that drops them), none (no sink)")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	check(run(ctx))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "stoanode:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	registry := meter.New()
	sink, expose, err := observe(ctx, registry)
	if err != nil {
		return err
	}
	if e := proxy.Engine(*engine); e != "" && e != proxy.Portable {
		return fmt.Errorf("-engine %q: want %s, or nothing", e, proxy.Portable)
	}
	o := proxy.Options{Meters: registry, Sink: sink, Engine: proxy.Engine(*engine), Idle: 5 * time.Minute} // idle connections are held and measured
	p := proxy.New(o)
	if err := p.Swap(declared()); err != nil {
		return err
	}
	p.SetEndpoints("web", []snapshot.Endpoint{{ID: "web-a", Address: *webA}, {ID: "web-b", Address: *webB}})
	p.SetEndpoints("echo", []snapshot.Endpoint{{ID: "echo-a", Address: *echoA}, {ID: "echo-b", Address: *echoB}})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", expose)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	go func() { check(http.ListenAndServe(*metrics, mux)) }()
	return p.Run(ctx, func() {})
}

// declared is what a blueprint with two exposed services compiles to.
func declared() *snapshot.Snapshot {
	routes := []route.Rule{
		{Name: "web", Path: "/", Upstream: "web", Timeout: 30 * time.Second},
		{Name: "echo", Path: "/bench.Echo", Upstream: "echo", Timeout: 30 * time.Second},
	}
	return &snapshot.Snapshot{
		Version: snapshot.Version{Revision: 1},
		Listeners: map[string]snapshot.Listener{
			"gateway":     {Protocol: snapshot.HTTP, Address: *plain, Routes: routes},
			"gateway:tls": {Protocol: snapshot.HTTP, Address: *secure, Routes: routes, TLS: &certs.Config{Cert: *cert, Key: *key}},
		},
		Upstreams: map[string]snapshot.Upstream{
			"web":  {Protocol: snapshot.HTTP1},
			"echo": {Protocol: snapshot.H2C},
		},
	}
}

// observe gives the sink of hops, and what shows the meters. What it starts lives until ctx ends.
func observe(ctx context.Context, registry *meter.Registry) (hop.Sink, http.Handler, error) {
	expose := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = registry.Expose(w) }))
	switch *observed {
	case "none":
		return nil, expose, nil
	case "ring":
		ring := hop.NewRing(0)
		go func() {
			buf := make([]hop.Record, 256)
			for {
				n, err := ring.Read(ctx, buf)
				clear(buf[:n])
				if err != nil {
					return
				}
			}
		}()
		return ring, expose, nil
	case "module":
		m := telemetry.New(telemetry.Options{Meters: registry})
		var c host.Catalog
		m.Declare(&c)
		for _, part := range c.Parts {
			go func() { check(part.Run(ctx, func() {})) }()
		}
		return m.Sink(), expose, nil
	}
	return nil, nil, fmt.Errorf("-telemetry %q: want module, ring or none", *observed)
}
