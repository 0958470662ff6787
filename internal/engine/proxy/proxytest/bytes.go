package proxytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// targets are request targets that must leave as they came.
var targets = []string{
	"/", "/a%2Fb", "/a%2Fb/c%252F", "/a%25b", "/a;b=c", "/a;b?x=1;y=2", "/%C3%A9", "/a%20b", "/a+b?c+d=%2B",
	"/?", "/a?", "/a??", "/a?b?c", "/a?x=%zz", "/a?%2F..%2f", "/a?x=/../y", "/a/", "/:a@b/c,d", "/a=b&c",
	"/!$&'()*+,;=:@-._~", "/a?!$&'()*+,;=:@/?-._~[]{}|^`\"<>", "/...", "/a..b", "/.well-known/x", "/a%5Cb", "/a%3Fb%23",
	"/\"<>[]{}|^`",
}

// testBytes sends targets and bodies through that tempt a proxy to rewrite them.
func testBytes(t *testing.T, open func(proxy.Options) Engine) {
	for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
		t.Run("path and query as they came, "+string(proto), func(t *testing.T) {
			b := newBench(t, open, protocol(proto))
			b.serve(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "[%s]", r.RequestURI) })
			for _, target := range targets {
				got := raw(t, b.mesh, "GET "+target+" HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n\r\n")
				if !strings.Contains(got, "["+target+"]") {
					t.Errorf("%q came as %q", target, got)
				}
			}
		})
	}
	t.Run("a path that is not canonical is refused", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) { t.Errorf("%s was passed on", r.RequestURI) })
		for _, target := range []string{"//", "/a//b", "/a/../b", "/a/%2e%2E/b", "/.", "/a\\b", "/%00", "/%41", "/%61", "/%2", "/\xc3\xa9", "/a#b"} {
			got := raw(t, b.mesh, "GET "+target+" HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n\r\n")
			if statusOf(got) != 400 {
				t.Errorf("%q: %q, want 400", target, got)
			}
		}
	})
	t.Run("lower-case escapes are matched as upper-case ones and passed on as they came", func(t *testing.T) {
		b := newBench(t, open, rules(
			route.Rule{Name: "all", Path: "/", Upstream: "svc", Methods: []string{"POST"}},
			route.Rule{Name: "cafe", Path: "/caf%C3%A9", Upstream: "svc", StripPrefix: true}))
		b.serve(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "[%s]", r.RequestURI) })
		for _, target := range []string{"/caf%c3%a9/a%2fb?c=%2f", "/caf%C3%a9/a%2fb?c=%2f"} {
			got := raw(t, b.mesh, "GET "+target+" HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n\r\n")
			if !strings.Contains(got, "[/a%2fb?c=%2f]") {
				t.Errorf("%q came as %q", target, got)
			}
		}
	})
	t.Run("a relaxed route passes any path byte for byte", func(t *testing.T) {
		b := newBench(t, open, rules(route.Rule{Name: "all", Path: "/", Upstream: "svc", Relaxed: true}))
		b.serve(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "[%s]", r.RequestURI) })
		for _, target := range []string{"//", "//a/b", "/a//b?c", "/a/../b", "/a/%2e%2E/b", "/%41", "/%2f"} {
			got := raw(t, b.mesh, "GET "+target+" HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n\r\n")
			if !strings.Contains(got, "["+target+"]") {
				t.Errorf("%q came as %q", target, got)
			}
		}
	})
	t.Run("rewrite touches the prefix only", func(t *testing.T) {
		b := newBench(t, open, rules(
			route.Rule{Name: "strip", Path: "/strip", Upstream: "svc", StripPrefix: true},
			route.Rule{Name: "v2", Path: "/api", Upstream: "svc", Rewrite: "/v2"}))
		b.serve(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "[%s]", r.RequestURI) })
		for _, c := range [][2]string{{"/strip", "/"}, {"/strip/a%2Fb?c", "/a%2Fb?c"}, {"/api/a%2Fb/?", "/v2/a%2Fb/?"}} {
			if _, got, _ := get(t, client(t, false), "http://"+b.mesh+c[0]); got != "["+c[1]+"]" {
				t.Errorf("%s came as %s, want %s", c[0], got, c[1])
			}
		}
	})
	for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("bodies of any size both ways, %s, client h2=%v", proto, h2), func(t *testing.T) {
				b := newBench(t, open, protocol(proto))
				b.serve(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Seen-Length", fmt.Sprint(r.ContentLength))
					if r.ContentLength >= 0 {
						w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
					}
					http.NewResponseController(w).EnableFullDuplex()
					io.Copy(w, r.Body)
				})
				c := client(t, h2)
				for _, n := range []int{0, 1, 4095, 16384, 65535, 65536, 1 << 20} {
					for _, known := range []bool{true, false} {
						body := strings.Repeat("0123456789abcdef", n/16+1)[:n]
						req, _ := http.NewRequest("POST", "http://"+b.mesh+"/", io.MultiReader(strings.NewReader(body)))
						if known {
							req.ContentLength = int64(n)
							if n == 0 {
								req.Body = http.NoBody
							}
						}
						resp, err := c.Do(req)
						if err != nil {
							t.Fatalf("%d bytes, length known %v: %v", n, known, err)
						}
						got, err := io.ReadAll(resp.Body)
						resp.Body.Close()
						if err != nil || string(got) != body {
							t.Errorf("%d bytes, length known %v: got %d bytes, %v", n, known, len(got), err)
						}
						if known && resp.Header.Get("Seen-Length") != fmt.Sprint(n) {
							t.Errorf("%d bytes: the service saw Content-Length %s", n, resp.Header.Get("Seen-Length"))
						}
					}
				}
			})
		}
	}
}
