package proxytest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// testSite: files.
func testSite(t *testing.T, open func(proxy.Options) Engine) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	os.WriteFile(outside, []byte("secret"), 0o600)
	write := func(name, text string) {
		p := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(p), 0o700)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("index.html", "<h1>home</h1>")
	write("app.js", "code()")
	write("a b.txt", "blank")
	write("docs/index.html", "docs")
	write("empty/x.txt", "x")
	write(".env", "SECRET=1")
	write(".git/config", "x")
	write(".well-known/security.txt", "contact")
	os.Symlink(outside, filepath.Join(dir, "link"))
	site := func(s *snapshot.Snapshot) {
		s.Sites = map[string]snapshot.Site{
			"web": {Dir: dir, SPA: true, Digest: "sha256:0123456789abcdef0123"}, "plain": {Dir: dir, Cache: "max-age=60"}, "gone": {Dir: dir + "/none"}}
		l := s.Listeners["gateway"]
		l.Routes = []route.Rule{{Name: "web", Path: "/", Site: "web"}, {Name: "plain", Path: "/plain", Site: "plain", StripPrefix: true}, {Name: "gone", Path: "/gone", Site: "gone"}}
		s.Listeners["gateway"] = l
	}
	b := newBench(t, open, site)
	for _, c := range []struct {
		request, lines string
		status         int
		want           string
	}{
		{"GET /", "", 200, "<h1>home</h1>"},
		{"GET /app.js", "", 200, "code()"},
		{"GET /a%20b.txt", "", 200, "blank"},
		{"HEAD /app.js", "", 200, ""},
		{"GET /docs/", "", 200, "docs"},
		{"GET /docs?x", "", 301, "Location: ./docs/?x\r\n"},
		{"GET /orders/7", "", 200, "<h1>home</h1>"},
		{"GET /orders/7.5", "Accept: text/html\r\n", 200, "<h1>home</h1>"},
		{"GET /missing.js", "Accept: */*\r\n", 404, "no-route"},
		{"GET /plain/orders", "Accept: text/html\r\n", 404, ""},
		{"GET /plain/app.js", "", 200, "Cache-Control: max-age=60\r\n"},
		{"GET /plain/empty/", "", 404, ""},
		{"GET /.env", "Accept: text/html\r\n", 404, ""},
		{"GET /.git/config", "", 404, ""},
		{"GET /plain/.well-known/security.txt", "", 200, "contact"},
		{"GET /plain/link", "", 404, ""},
		{"GET /docs%2Findex.html", "", 404, ""},
		{"GET /a%5Cb", "", 404, ""},
		{"GET /../secret", "", 400, ""},
		{"POST /app.js", "Content-Length: 0\r\n", 405, "Allow: GET, HEAD\r\n"},
		{"GET /app.js", "Range: bytes=1-3\r\n", 206, "ode"},
		{"GET /app.js", "Range: bytes=99-\r\n", 416, ""},
		{"GET /gone/x", "", 503, "gone"},
	} {
		got := raw(t, b.edge, c.request+" HTTP/1.1\r\nHost: web\r\nConnection: close\r\n"+c.lines+"\r\n")
		if statusOf(got) != c.status || !strings.Contains(got, c.want) || strings.Contains(got, "secret\x00") || strings.Contains(got, "SECRET") {
			t.Errorf("%s %q: %q, want %d and %q", c.request, c.lines, got, c.status, c.want)
		}
	}
	_, _, h := get(t, client(t, false), "http://"+b.edge+"/app.js")
	tag := h.Get("ETag")
	if tag == "" || h.Get("Cache-Control") != "no-cache" || !strings.Contains(h.Get("Content-Type"), "javascript") {
		t.Errorf("header %v", h)
	}
	if got := raw(t, b.edge, "GET /app.js HTTP/1.1\r\nHost: web\r\nConnection: close\r\nIf-None-Match: "+tag+"\r\n\r\n"); statusOf(got) != 304 {
		t.Errorf("revalidation: %q", got)
	}
	b.waitHop("a file", func(r hop.Record) bool { return r.Callee == "web" && r.Status == 200 && r.Out == 6 && r.Route == "web" })
}
