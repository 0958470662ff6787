package proxytest

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"stoa/api/fault"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return ln.Addr().String()
}

// testRefusals: an answer of the proxy says that it is one, why, and what to do.
func testRefusals(t *testing.T, open func(proxy.Options) Engine) {
	noHold := upstream(func(u *snapshot.Upstream) { u.Hold = -1 })
	for _, c := range []struct {
		claim  string
		path   string
		shapes []shape
		eps    func(*testing.T) []snapshot.Endpoint
		status int
		reason hop.Reason
		text   string
	}{
		{"no endpoint", "/", []shape{noHold}, nil, 503, hop.NoEndpoint, "svc"},
		{"no connection", "/", []shape{noHold}, func(t *testing.T) []snapshot.Endpoint {
			return []snapshot.Endpoint{{ID: "a", Address: closedPort(t)}, {ID: "b", Address: closedPort(t)}}
		}, 503, hop.Connect, "svc"},
		{"no route", "/x", []shape{rules(route.Rule{Name: "a", Path: "/a", Upstream: "svc"})}, nil, 404, hop.NoRoute, "/x"},
		{"no method", "/a", []shape{rules(route.Rule{Name: "a", Path: "/a", Methods: []string{"POST"}, Upstream: "svc"})}, nil, 405, hop.NoMethod, "GET"},
		{"bad path", "/a/../b", nil, nil, 400, hop.BadPath, ".."},
		{"connection broken", "/", nil, func(t *testing.T) []snapshot.Endpoint {
			return []snapshot.Endpoint{{ID: "a", Address: rawServer(t, func(c *rawConn) { c.request() })}}
		}, 502, hop.Upstream, "svc"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			b := newBench(t, open, c.shapes...)
			if c.eps != nil {
				b.SetEndpoints("svc", c.eps(t))
			}
			for _, accept := range []string{"*/*", "application/json"} {
				got := raw(t, b.mesh, "GET "+c.path+" HTTP/1.1\r\nHost: svc\r\nAccept: "+accept+"\r\nConnection: close\r\n\r\n")
				head, body, _ := strings.Cut(got, "\r\n\r\n")
				if statusOf(got) != c.status || !strings.Contains(head, "Stoa-Reason: "+string(c.reason)) || !strings.Contains(body, c.text) || !strings.Contains(body, string(c.reason)) {
					t.Errorf("accept %s: %q; want %d, %s and %q", accept, got, c.status, c.reason, c.text)
				}
				if accept != "*/*" && !json.Valid([]byte(body)) {
					t.Errorf("not JSON: %q", body)
				}
				if strings.Contains(body, "127.0.0.1") {
					t.Errorf("an address leaked: %q", body)
				}
			}
			b.waitHop(c.claim, func(r hop.Record) bool { return r.Reason == c.reason && r.Status == c.status && !r.Trace.IsZero() })
		})
	}
	t.Run("405 lists what is allowed", func(t *testing.T) {
		b := newBench(t, open, rules(route.Rule{Name: "a", Path: "/a", Methods: []string{"POST", "PUT"}, Upstream: "svc"}))
		if _, _, h := get(t, client(t, false), "http://"+b.mesh+"/a"); h.Get("Allow") != "POST, PUT" {
			t.Errorf("Allow: %q", h.Get("Allow"))
		}
	})
	t.Run("a snapshot with a problem is refused as a whole", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
		bad := usual(rules(route.Rule{Name: "a", Path: "/", Upstream: "nobody"}))
		if err := b.Swap(bad); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("Swap: %v", err)
		}
		if code, _, _ := get(t, client(t, false), "http://"+b.mesh+"/"); code != 200 {
			t.Errorf("the snapshot before it is gone: %d", code)
		}
	})
}
