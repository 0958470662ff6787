package h2proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

const patience = 30 * time.Second

// open gives the address of a listener that leads to the service at addr.
func open(t testing.TB, p snapshot.Protocol, addr string) string {
	t.Helper()
	px := proxy.New(proxy.Options{Drain: time.Second})
	err := px.Swap(&snapshot.Snapshot{
		Version:   snapshot.Version{Revision: 1, Serial: 1},
		Listeners: map[string]snapshot.Listener{"web>svc": {Caller: "web", Protocol: snapshot.HTTP, Routes: []route.Rule{{Name: "all", Path: "/", Upstream: "svc"}}}},
		Upstreams: map[string]snapshot.Upstream{"svc": {Protocol: p}},
	})
	if err != nil {
		t.Fatal(err)
	}
	px.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: addr}})
	at, release, err := px.Bind("web>svc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return at
}

func client(t testing.TB) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// service serves h over HTTP/1.1 and HTTP/2.
func service(t testing.TB, h http.HandlerFunc) string {
	srv := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	ln := listen(t)
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return ln.Addr().String()
}

// A body that was sent already is sent again where the service has not looked at it, also of a
// method that nobody would repeat, and at whatever size of what was kept.
func TestRefusedBodiesAreSentAgain(t *testing.T) {
	for _, size := range []int{1, 20000, 60000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			ln := listen(t)
			var refused atomic.Bool
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						c.SetDeadline(time.Now().Add(patience))
						io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
						fr := http2.NewFramer(c, c)
						fr.WriteSettings()
						got := map[uint32]int{}
						for {
							f, err := fr.ReadFrame()
							if err != nil {
								return
							}
							d, ok := f.(*http2.DataFrame)
							if !ok {
								continue
							}
							if n := len(d.Data()); n > 0 {
								got[d.StreamID] += n
								fr.WriteWindowUpdate(0, uint32(n))
							}
							switch {
							case !d.StreamEnded():
							case refused.CompareAndSwap(false, true):
								fr.WriteRSTStream(d.StreamID, http2.ErrCodeRefusedStream)
							default:
								var b bytes.Buffer
								enc := hpack.NewEncoder(&b)
								enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
								enc.WriteField(hpack.HeaderField{Name: "x-got", Value: fmt.Sprint(got[d.StreamID])})
								fr.WriteHeaders(http2.HeadersFrameParam{StreamID: d.StreamID, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: true})
							}
						}
					}()
				}
			}()
			resp, err := client(t).Post("http://"+open(t, snapshot.H2C, ln.Addr().String())+"/", "text/plain", strings.NewReader(strings.Repeat("x", size)))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 || resp.Header.Get("X-Got") != fmt.Sprint(size) {
				t.Errorf("status %d, the service got %s of %d bytes", resp.StatusCode, resp.Header.Get("X-Got"), size)
			}
		})
	}
}

// Many callers at once, both ways, over both protocols: each gets its own.
func TestManyStreams(t *testing.T) {
	for _, p := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
		t.Run(string(p), func(t *testing.T) {
			at := open(t, p, service(t, func(w http.ResponseWriter, r *http.Request) {
				http.NewResponseController(w).EnableFullDuplex()
				w.Header().Set("X-Who", r.Header.Get("X-Who"))
				w.Header().Set("Trailer", "X-End")
				io.Copy(w, r.Body)
				w.Header().Set("X-End", r.Header.Get("X-Who"))
			}))
			c := client(t)
			var wg sync.WaitGroup
			for i := range 40 {
				wg.Go(func() {
					for round := range 5 {
						who := fmt.Sprintf("%d/%d", i, round)
						body := strings.Repeat(who+" ", (i*round)%50*300)
						req, _ := http.NewRequest("POST", "http://"+at+"/", strings.NewReader(body))
						req.Header.Set("X-Who", who)
						resp, err := c.Do(req)
						if err != nil {
							t.Errorf("%s: %v", who, err)
							return
						}
						got, err := io.ReadAll(resp.Body)
						resp.Body.Close()
						if err != nil || string(got) != body || resp.Header.Get("X-Who") != who || resp.Trailer.Get("X-End") != who {
							t.Errorf("%s: %d of %d bytes, %q, trailer %v, %v", who, len(got), len(body), resp.Header.Get("X-Who"), resp.Trailer, err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// What HTTP/1.1 would read otherwise reaches no service.
func TestWhatHTTP1ReadsOtherwiseIsRefused(t *testing.T) {
	var seen atomic.Int64
	at := open(t, snapshot.HTTP1, service(t, func(http.ResponseWriter, *http.Request) { seen.Add(1) }))
	for name, fields := range map[string][]string{
		"a space in the path":          {":path", "/a HTTP/1.1\r\nx: y"},
		"a fragment":                   {":path", "/a#b"},
		"a byte of 0xe4 in the path":   {":path", "/\xe4"},
		"a path without a slash":       {":path", "a"},
		"an authority with a user":     {":authority", "a@b"},
		"an authority with a path":     {":authority", "svc/x"},
		"another host":                 {"host", "other"},
		"a line feed in a value":       {"x-a", "b\nc: d"},
		"a name with a colon":          {"x-a: b", "c"},
		"content_length":               {"content_length", "3"},
		"transfer-encoding":            {"transfer-encoding", "chunked"},
		"transfer_encoding":            {"transfer_encoding", "chunked"},
		"connection":                   {"connection", "x-a"},
		"two lengths":                  {"content-length", "3", "content-length", "4"},
		"a length of 010":              {"content-length", "010"},
		"a method with a space":        {":method", "GET /x HTTP/1.1"},
		"CONNECT with a path":          {":method", "CONNECT"},
		"an unknown pseudo field":      {":protocol", "websocket"},
		"a length without a body, one": {"content-length", "5"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			io.WriteString(c, http2.ClientPreface)
			fr := http2.NewFramer(c, c)
			fr.AllowIllegalWrites = true
			fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
			fr.WriteSettings()
			all := map[string]string{":method": "GET", ":scheme": "http", ":authority": "svc", ":path": "/"}
			var rest []hpack.HeaderField
			for i := 0; i < len(fields); i += 2 {
				if _, ok := all[fields[i]]; ok {
					all[fields[i]] = fields[i+1]
				} else {
					rest = append(rest, hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
				}
			}
			var b bytes.Buffer
			enc := hpack.NewEncoder(&b)
			for _, n := range []string{":method", ":scheme", ":authority", ":path"} {
				enc.WriteField(hpack.HeaderField{Name: n, Value: all[n]})
			}
			for _, f := range rest {
				enc.WriteField(f)
			}
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: true})
			for {
				f, err := fr.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				switch f := f.(type) {
				case *http2.RSTStreamFrame:
					return
				case *http2.MetaHeadersFrame:
					if s := f.PseudoValue("status"); s != "400" && s != "405" {
						t.Errorf("answered with %s", s)
					}
					return
				}
			}
		})
	}
	if n := seen.Load(); n != 0 {
		t.Errorf("%d of them reached the service", n)
	}
}

// A slow reader holds its own stream back, and no other; what is held of it is bounded by its window.
func TestSlowReaderHoldsBackOnlyItself(t *testing.T) {
	for _, p := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
		t.Run(string(p), func(t *testing.T) {
			var sent atomic.Int64
			at := open(t, p, service(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/large" {
					return
				}
				b := make([]byte, 32<<10)
				for range (24 << 20) / len(b) {
					if n, err := w.Write(b); err != nil {
						return
					} else {
						sent.Add(int64(n))
					}
				}
			}))
			c := client(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+at+"/large", nil)
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			for range 20 {
				small, err := c.Get("http://" + at + "/small")
				if err != nil {
					t.Fatal(err)
				}
				small.Body.Close()
			}
			if n := sent.Load(); n > 18<<20 {
				t.Errorf("%d bytes left the service for a caller that reads none", n)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			if n != 24<<20 || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
}

// benchmark measures one request after the other, client and service included.
func benchmark(b *testing.B, p snapshot.Protocol) {
	at := open(b, p, service(b, func(w http.ResponseWriter, r *http.Request) {}))
	c := client(b)
	b.ReportAllocs()
	for b.Loop() {
		resp, err := c.Get("http://" + at + "/")
		if err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
}

func BenchmarkToHTTP1(b *testing.B) { benchmark(b, snapshot.HTTP1) }
func BenchmarkToHTTP2(b *testing.B) { benchmark(b, snapshot.H2C) }
