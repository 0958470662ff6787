package proxytest

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// testSplit: several versions behind one rule.
func testSplit(t *testing.T, open func(proxy.Options) Engine) {
	start := func(t *testing.T, r route.Rule) (*bench, *[3]atomic.Int64) {
		r.Name, r.Path = "all", "/"
		b := newBench(t, open, rules(r), func(s *snapshot.Snapshot) {
			for i := range 3 {
				s.Upstreams[fmt.Sprint("v", i)] = snapshot.Upstream{Protocol: snapshot.HTTP1}
			}
		})
		var seen [3]atomic.Int64
		for i := range seen {
			s := server(t, func(w http.ResponseWriter, r *http.Request) {
				seen[i].Add(1)
				fmt.Fprint(w, "v", i)
			})
			b.SetEndpoints(fmt.Sprint("v", i), []snapshot.Endpoint{endpoint(fmt.Sprint("v", i), s)})
		}
		return b, &seen
	}
	t.Run("by weight", func(t *testing.T) {
		b, seen := start(t, route.Rule{Split: []route.Weighted{{Upstream: "v0", Weight: 80}, {Upstream: "v1", Weight: 20}, {Upstream: "v2", Weight: 0}}})
		c := client(t, false)
		for range 500 {
			get(t, c, "http://"+b.mesh+"/")
		}
		if n := seen[1].Load(); n < 40 || n > 180 || seen[2].Load() != 0 || seen[0].Load()+n != 500 {
			t.Errorf("80, 20 and 0 of a hundred got %d, %d and %d", seen[0].Load(), n, seen[2].Load())
		}
		b.waitHop("one of the other version", func(r hop.Record) bool { return r.Callee == "v1" && r.Endpoint == "v1" })
	})
	t.Run("one trace meets one version", func(t *testing.T) {
		b, _ := start(t, route.Rule{Split: []route.Weighted{{Upstream: "v0", Weight: 50}, {Upstream: "v1", Weight: 50}}})
		_, _, first := ask(t, b.mesh, "GET", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n", "")
		for range 10 {
			if _, _, got := ask(t, b.mesh, "GET", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01\r\n", ""); got != first {
				t.Fatalf("%s, then %s", first, got)
			}
		}
	})
	t.Run("a sticky key meets one version", func(t *testing.T) {
		for _, c := range []struct {
			sticky route.Sticky
			line   string
		}{{route.Sticky{Header: "X-User"}, "X-User: %d\r\n"}, {route.Sticky{Cookie: "user"}, "Cookie: a=1; user=%d\r\n"}} {
			b, seen := start(t, route.Rule{Sticky: &c.sticky, Split: []route.Weighted{{Upstream: "v0", Weight: 50}, {Upstream: "v1", Weight: 50}}})
			for user := range 20 {
				_, _, first := ask(t, b.mesh, "GET", fmt.Sprintf(c.line, user), "")
				for range 3 {
					if _, _, got := ask(t, b.mesh, "GET", fmt.Sprintf(c.line, user), ""); got != first {
						t.Fatalf("user %d met %s, then %s", user, first, got)
					}
				}
			}
			if seen[0].Load() == 0 || seen[1].Load() == 0 {
				t.Errorf("all users met one version: %d and %d", seen[0].Load(), seen[1].Load())
			}
		}
	})
}

// testEdits: redirects, and edits of header fields.
func testEdits(t *testing.T, open func(proxy.Options) Engine) {
	t.Run("redirect", func(t *testing.T) {
		b := newBench(t, open, rules(
			route.Rule{Name: "old", Path: "/x", Redirect: &route.Redirect{Path: "/new", Code: 301}},
			route.Rule{Name: "all", Path: "/", Redirect: &route.Redirect{Scheme: "https", Port: 8443}}))
		code, h, body := ask(t, b.edge, "GET", "", "")
		if code != 301 || h.Get("Location") != "/new" || h.Get("Stoa-Reason") != "" || body != "" {
			t.Errorf("%d %v %q", code, h, body)
		}
		code, _, h = get(t, client(t, false), "http://"+b.edge+"/a%2Fb?q=1")
		if code != 307 || h.Get("Location") != "https://127.0.0.1:8443/a%2Fb?q=1" {
			t.Errorf("%d %v", code, h)
		}
		b.waitHop("it", func(r hop.Record) bool { return r.Status == 301 && r.Reason == "" && r.Route == "old" })
	})
	t.Run("fields of request and answer", func(t *testing.T) {
		edits := func(add string) *route.Edits {
			return &route.Edits{
				Set:    []route.Field{{Name: "X-Set", Value: "ours"}},
				Add:    []route.Field{{Name: "X-Add", Value: add}},
				Remove: []string{"X-Gone"},
			}
		}
		for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
			b := newBench(t, open, rules(route.Rule{Name: "all", Path: "/", Upstream: "svc", Request: edits("in"), Answer: edits("out")}), protocol(proto))
			b.serve(func(w http.ResponseWriter, r *http.Request) {
				for _, name := range []string{"X-Set", "X-Add", "X-Gone"} {
					w.Header().Add(name, "service's")
				}
				fmt.Fprintln(w, r.Header["X-Set"], r.Header["X-Add"], r.Header["X-Gone"], r.Header["X-Kept"])
			})
			code, h, body := ask(t, b.mesh, "GET", "x-set: theirs\r\nx-gone: 1\r\nx-kept: 1\r\nx-add: theirs\r\nX-Set: again\r\n", "")
			if code != 200 || body != "[ours] [theirs in] [] [1]\n" {
				t.Errorf("%s: the service saw %s", proto, body)
			}
			if got := strings.Join(h["X-Set"], ",") + " " + strings.Join(h["X-Add"], ",") + " " + strings.Join(h["X-Gone"], ","); got != "ours service's,out " {
				t.Errorf("%s: the caller saw %q", proto, got)
			}
		}
	})
}
