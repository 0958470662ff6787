// Command goproxy is the peer that everyone can write in Go: httputil.ReverseProxy, with the
// features that Stoa has on. X-Forwarded-For, a request id, power of two choices over two
// servers, a counter by class and a histogram.
package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"stoa/internal/ground/meter"
)

func main() {
	plain := flag.String("plain", "", "address for HTTP/1.1 in clear text")
	secure := flag.String("tls", "", "address for TLS")
	grpc := flag.String("grpc", "", "address for HTTP/2 in clear text")
	metrics := flag.String("metrics", "", "address of GET /metrics")
	cert := flag.String("cert", "", "certificate")
	key := flag.String("key", "", "its key")
	webA := flag.String("web-a", "", "an endpoint")
	webB := flag.String("web-b", "", "an endpoint")
	echoA := flag.String("echo-a", "", "an endpoint of HTTP/2 in clear text")
	echoB := flag.String("echo-b", "", "an endpoint of HTTP/2 in clear text")
	flag.Parse()

	registry := meter.New()
	web := newProxy(registry, "web", new(http.Protocols), *webA, *webB)
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	echo := newProxy(registry, "echo", &h2c, *echoA, *echoB)
	go func() { check(http.ListenAndServe(*metrics, exposition(registry))) }()
	go func() { check(server(*grpc, echo, &h2c).ListenAndServe()) }()
	go func() {
		var both http.Protocols
		both.SetHTTP1(true)
		both.SetHTTP2(true)
		s := server(*secure, web, &both)
		s.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS13}
		check(s.ListenAndServeTLS(*cert, *key))
	}()
	var h1 http.Protocols
	h1.SetHTTP1(true)
	check(server(*plain, web, &h1).ListenAndServe())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "goproxy:", err)
		os.Exit(1)
	}
}

func server(addr string, h http.Handler, p *http.Protocols) *http.Server {
	return &http.Server{Addr: addr, Handler: h, Protocols: p, IdleTimeout: 5 * time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
}

func exposition(r *meter.Registry) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", meter.ContentType)
		_ = r.Expose(w) // the caller has gone
	})
}

// An endpoint is one server and the requests it has in hand.
type endpoint struct {
	url    *url.URL
	active atomic.Int64
}

type chosen struct{} // the context's key of the endpoint

// newProxy balances over two endpoints, with buffers that are used again.
func newProxy(registry *meter.Registry, name string, p *http.Protocols, addrs ...string) http.Handler {
	var eps []*endpoint
	for _, a := range addrs {
		eps = append(eps, &endpoint{url: &url.URL{Scheme: "http", Host: a}})
	}
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConns:        2048,
		MaxIdleConnsPerHost: 512, // the default of 2 would measure new connections
		IdleConnTimeout:     5 * time.Minute,
		DisableCompression:  true,
	}
	if p.UnencryptedHTTP2() {
		t.Protocols = p
	}
	requests := registry.Counter(meter.Desc{Name: "goproxy_requests_total", Help: "Requests by class.", Labels: []string{"upstream", "class"}})
	duration := registry.Histogram(meter.Desc{Name: "goproxy_request_duration_seconds", Unit: "seconds", Help: "How long.", Labels: []string{"upstream"}}).With(name)
	good, bad := requests.With(name, "2xx"), requests.With(name, "other")
	proxy := &httputil.ReverseProxy{
		Transport:  t,
		BufferPool: &buffers{},
		ErrorLog:   log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(r.In.Context().Value(chosen{}).(*endpoint).url)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
			r.Out.Header.Set("X-Request-Id", requestID())
		},
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode/100 == 2 {
				good.Add(1)
			} else {
				bad.Add(1)
			}
			return nil
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		e := eps[rand.IntN(len(eps))]
		if o := eps[rand.IntN(len(eps))]; o.active.Load() < e.active.Load() {
			e = o
		}
		e.active.Add(1)
		defer e.active.Add(-1)
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), chosen{}, e)))
		duration.Observe(int64(time.Since(began)))
	})
}

func requestID() string {
	var b [16]byte
	for i := 0; i < len(b); i += 8 {
		v := rand.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	return hex.EncodeToString(b[:])
}

// buffers is a pool of copy buffers of the size that ReverseProxy would make.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
