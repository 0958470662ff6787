package proxytest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testHeaders: what goes on, what does not, what is set.
func testHeaders(t *testing.T, open func(proxy.Options) Engine) {
	dump := func(w http.ResponseWriter, r *http.Request) {
		var names []string
		for k, v := range r.Header {
			names = append(names, fmt.Sprintf("%s=%s", strings.ToLower(k), strings.Join(v, "|")))
		}
		slices.Sort(names)
		fmt.Fprintf(w, "host=%s\n%s\n", r.Host, strings.Join(names, "\n"))
	}
	seen := func(t *testing.T, addr, lines string) map[string]string {
		t.Helper()
		got := raw(t, addr, "GET /h HTTP/1.1\r\nHost: svc.example\r\nConnection: close\r\n"+lines+"\r\n")
		if statusOf(got) != 200 {
			t.Fatalf("answer %q", got)
		}
		m := map[string]string{}
		_, body, _ := strings.Cut(got, "\r\n\r\n")
		for line := range strings.Lines(body) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			m[k] = v
		}
		return m
	}
	const identity = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: gopher\r\n" +
		"X-Forwarded-Host: evil\r\nX-Forwarded-Client-Cert: c\r\nx_forwarded_client-cert: c\r\nX-Real-IP: 6.6.6.6\r\nX_Real_IP: 6\r\nX-Envoy-Internal: true\r\nStoa-Caller: root\r\nStoa_Caller: root\r\n"

	t.Run("the edge strips identity and sets its own", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(dump)
		m := seen(t, b.edge, identity+"X-Other_One: kept\r\n")
		for k, want := range map[string]string{"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": "svc.example",
			"host": "svc.example", "x-other_one": "kept"} {
			if m[k] != want {
				t.Errorf("%s = %q, want %q", k, m[k], want)
			}
		}
		for k, v := range m {
			if strings.Contains(v, "6.6.6.6") || v == "evil" || v == "root" || v == "c" || k == "x-envoy-internal" {
				t.Errorf("%s = %q came through", k, v)
			}
		}
	})
	t.Run("the mesh believes its services", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(dump)
		m := seen(t, b.mesh, identity)
		if m["x-forwarded-for"] != "6.6.6.6" || m["forwarded"] == "" || m["stoa-caller"] != "" {
			t.Errorf("the service saw %v", m)
		}
	})
	t.Run("hop-by-hop fields stay on their hop", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "X-Secret")
			w.Header().Set("X-Secret", "1")
			w.Header().Set("Keep-Alive", "timeout=5")
			w.Header().Set("Proxy-Authenticate", "x")
			w.Header().Set("Stoa-Reason", "forged")
			dump(w, r)
		})
		m := seen(t, b.mesh, "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nTE: trailers, deflate\r\nUpgrade: h2c\r\n")
		for _, k := range []string{"x-hop", "keep-alive", "proxy-connection", "proxy-authorization", "connection", "upgrade", "transfer-encoding"} {
			if v, ok := m[k]; ok {
				t.Errorf("%s = %q came through", k, v)
			}
		}
		if m["te"] != "trailers" {
			t.Errorf("te = %q, want trailers", m["te"])
		}
		_, _, h := get(t, client(t, false), "http://"+b.mesh+"/")
		for _, k := range []string{"X-Secret", "Keep-Alive", "Proxy-Authenticate", "Stoa-Reason"} {
			if h.Get(k) != "" {
				t.Errorf("answer: %s = %q came through", k, h.Get(k))
			}
		}
	})
	t.Run("Connection may not name what identifies", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(dump)
		for _, name := range []string{"Host", "content-length", "X-Forwarded-For", "Authorization", "Stoa-Caller"} {
			got := raw(t, b.edge, "GET / HTTP/1.1\r\nHost: svc\r\nConnection: close, "+name+"\r\n\r\n")
			if statusOf(got) != 400 {
				t.Errorf("Connection: %s gave %q, want 400", name, got)
			}
		}
	})
	t.Run("nothing is added that did not come", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil
			w.Header()["Date"] = nil
			dump(w, r)
		})
		m := seen(t, b.mesh, "X-A: 1\r\nX-A: 2\r\n")
		delete(m, "traceparent")
		delete(m, "stoa-timeout-ms")
		if len(m) != 2 || m["x-a"] != "1|2" {
			t.Errorf("the service saw %v, want host and x-a", m)
		}
		got := raw(t, b.mesh, "GET / HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n\r\n")
		for _, k := range []string{"Content-Type", "Date", "Server", "Via"} {
			if strings.Contains(got, "\r\n"+k+":") {
				t.Errorf("%s was added to %q", k, got)
			}
		}
	})
	t.Run("Host of an upstream", func(t *testing.T) {
		b := newBench(t, open, upstream(func(u *snapshot.Upstream) { u.Host = "origin.example" }))
		b.serve(dump)
		if m := seen(t, b.mesh, ""); m["host"] != "origin.example" {
			t.Errorf("host = %q", m["host"])
		}
	})
	t.Run("trace", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(dump)
		const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		in, _ := hop.ParseTraceparent(parent)
		for _, c := range []struct {
			claim, lines string
			continued    bool
			state        string
		}{
			{"continued", "traceparent: " + parent + "\r\ntracestate: a=1\r\ntracestate: b=2\r\n", true, "a=1|b=2"},
			{"begun", "", false, ""},
			{"begun anew when invalid", "traceparent: 00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01\r\ntracestate: a=1\r\n", false, ""},
			{"begun anew when twice", "traceparent: " + parent + "\r\ntraceparent: " + parent + "\r\ntracestate: a=1\r\n", false, ""},
			{"with a state of too many", "traceparent: " + parent + "\r\ntracestate: a0=1" + strings.Repeat(",b=2", 32) + "\r\n", true, ""},
			{"state without parent", "tracestate: a=1\r\n", false, ""},
		} {
			m := seen(t, b.mesh, c.lines)
			out, ok := hop.ParseTraceparent(m["traceparent"])
			if !ok || (out.Trace == in.Trace) != c.continued || out.Span == in.Span || m["tracestate"] != c.state {
				t.Errorf("%s: the service saw traceparent %q, tracestate %q", c.claim, m["traceparent"], m["tracestate"])
			}
			b.waitHop(c.claim, func(r hop.Record) bool {
				return r.Trace == out.Trace && r.Span == out.Span && (r.Parent == in.Span) == c.continued
			})
		}
	})
	t.Run("unusual answers", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/204":
				w.WriteHeader(204)
			case "/304":
				w.Header().Set("ETag", `"x"`)
				w.WriteHeader(304)
			case "/head":
				w.Header().Set("Content-Length", "12345")
			case "/cookies":
				w.Header().Add("Set-Cookie", "a=1")
				w.Header().Add("Set-Cookie", "b=2")
				io.WriteString(w, "ok")
			}
		})
		for _, c := range []struct{ request, want, not string }{
			{"GET /204", "HTTP/1.1 204 ", "Content-Length"},
			{"GET /304", "HTTP/1.1 304 ", "Content-Length"},
			{"HEAD /head", "Content-Length: 12345\r\n", "Transfer-Encoding"},
			{"GET /cookies", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", "Transfer-Encoding"},
		} {
			got := raw(t, b.mesh, c.request+" HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n\r\n")
			if !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
				t.Errorf("%s: %q, want %q and no %s", c.request, got, c.want, c.not)
			}
		}
	})
	t.Run("no coding of what has no body", func(t *testing.T) { // RFC 9112, section 6.1
		b := newBench(t, open)
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: rawServer(t, func(c *rawConn) {
			for c.request() != nil {
				io.WriteString(c, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n")
			}
		})}})
		for _, kept := range []string{"", "Connection: close\r\n"} {
			c := dial(t, b.mesh)
			fmt.Fprintf(c, "GET /x HTTP/1.1\r\nHost: svc\r\n%s\r\n", kept)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != 204 || len(resp.TransferEncoding) > 0 || resp.Header.Get("X") != "y" {
				t.Errorf("%+v, %v", resp, err)
			}
		}
	})
}
