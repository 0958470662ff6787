package proxytest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// testBrowsers: what answers say to browsers, by declaration.
func testBrowsers(t *testing.T, open func(proxy.Options) Engine) {
	guarded := func(p snapshot.Policy) shape {
		return func(s *snapshot.Snapshot) {
			s.Policies = map[string]snapshot.Policy{"p": p}
			l := s.Listeners["gateway"]
			l.Routes = []route.Rule{
				{Name: "guarded", Path: "/g", Methods: []string{"GET", "PUT"}, Upstream: "svc", Policy: "p"},
				{Name: "all", Path: "/", Upstream: "svc"},
			}
			s.Listeners["gateway"] = l
		}
	}
	cors := &snapshot.CORS{Origins: []string{"https://shop.example", "https://*.parts.example"}, Headers: []string{"X-Cart"}, Expose: []string{"X-Total"}, Credentials: true}
	service := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://its-own.example")
		w.Header().Set("X-Total", "7")
		w.Header().Set("X-Frame-Options", "SAMEORIGIN")
		fmt.Fprint(w, r.Method)
	}
	t.Run("an origin that may, and one that may not", func(t *testing.T) {
		b := newBench(t, open, guarded(snapshot.Policy{CORS: cors}))
		b.serve(service)
		for _, c := range []struct{ origin, allowed string }{
			{"https://shop.example", "https://shop.example"}, {"https://a.parts.example", "https://a.parts.example"}, {"https://a.b.parts.example", "https://a.b.parts.example"},
			{"https://parts.example", ""}, {"http://shop.example", ""}, {"https://shop.example.evil.example", ""}, {"https://evilparts.example", ""},
			{"https://evil.example/.parts.example", ""}, {"null", ""},
		} {
			code, h, body := askAt(t, b.edge, "GET", "Origin: "+c.origin+"\r\n", "/g/x")
			if got := h.Get("Access-Control-Allow-Origin"); code != 200 || body != "GET" || got != c.allowed || !slices.Contains(h["Vary"], "Origin") {
				t.Errorf("%s: %d %q, allowed %q, want %q; %v", c.origin, code, body, got, c.allowed, h)
			}
			if c.allowed != "" && (h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Access-Control-Expose-Headers") != "X-Total") {
				t.Errorf("%s: %v", c.origin, h)
			}
		}
		if _, h, _ := askAt(t, b.edge, "GET", "", "/g/x"); h.Get("Access-Control-Allow-Origin") != "" || !slices.Contains(h["Vary"], "Origin") {
			t.Errorf("without an origin: %v", h)
		}
	})
	t.Run("a preflight is answered without the service", func(t *testing.T) {
		b := newBench(t, open, guarded(snapshot.Policy{CORS: cors}))
		b.serve(func(w http.ResponseWriter, r *http.Request) { t.Errorf("the service got %s", r.Method) })
		lines := "Origin: https://shop.example\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-cart\r\n"
		code, h, body := askAt(t, b.edge, "OPTIONS", lines, "/g/x")
		if code != 204 || body != "" || h.Get("Access-Control-Allow-Methods") != "GET, PUT" || h.Get("Access-Control-Allow-Headers") != "X-Cart" ||
			h.Get("Access-Control-Max-Age") != "600" || h.Get("Access-Control-Allow-Origin") != "https://shop.example" || h.Get("Content-Length") != "" {
			t.Errorf("%d %q %v", code, body, h)
		}
		code, h, _ = askAt(t, b.edge, "OPTIONS", strings.Replace(lines, "shop", "evil", 1), "/g/x")
		if code != 403 || h.Get("Stoa-Reason") != "origin" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("another origin: %d %v", code, h)
		}
	})
	t.Run("a refusal can be read by the page, too", func(t *testing.T) {
		b := newBench(t, open, guarded(snapshot.Policy{CORS: cors}), upstream(func(u *snapshot.Upstream) { u.Hold = -1 }))
		code, h, _ := askAt(t, b.edge, "GET", "Origin: https://shop.example\r\n", "/g/x")
		if code != 503 || h.Get("Access-Control-Allow-Origin") != "https://shop.example" {
			t.Errorf("%d %v", code, h)
		}
	})
	t.Run("security fields, where the service has none of its own", func(t *testing.T) {
		b := newBench(t, open, guarded(snapshot.Policy{Secure: &snapshot.Secure{NoSniff: true, Frames: "DENY", Referrer: "no-referrer", ContentPolicy: "default-src 'self'", HSTS: 3600e9}}))
		b.serve(service)
		code, h, _ := askAt(t, b.edge, "GET", "", "/g/x")
		if code != 200 || h.Get("X-Content-Type-Options") != "nosniff" || !slices.Equal(h["X-Frame-Options"], []string{"SAMEORIGIN"}) ||
			h.Get("Referrer-Policy") != "no-referrer" || h.Get("Content-Security-Policy") != "default-src 'self'" || h.Get("Strict-Transport-Security") != "" {
			t.Errorf("%d %v", code, h)
		}
		if _, h, _ := askAt(t, b.edge, "GET", "", "/other"); h.Get("Referrer-Policy") != "" {
			t.Errorf("a route that declares nothing: %v", h)
		}
	})
}

// askAt sends one request for a path and reads its answer.
func askAt(t *testing.T, addr, method, lines, path string) (status int, head http.Header, text string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(raw(t, addr, method+" "+path+" HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n"+lines+"\r\n"))), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}
