// Package dash is the dashboard: the page at / of the admin address, and its files.
//
// The page is plain ES modules and style sheets, embedded as they are written; nothing
// is built and nothing is fetched from elsewhere (docs/adr/0009). It is a client of the
// admin API like any other: what it shows comes from /v1/NAME, asked with the session
// cookie that POST /session gives for the token in a login link:
//
//	http://127.0.0.1:7070/#login=TOKEN    the fragment never reaches a server or a log
//
// The files hold no secret and are served to anyone who may reach the address; who may
// ask the API is decided by httpapi, which this handler is handed to.
//
// The parts, in static/:
//
//	app.js      what the page knows, when it asks, what is selected
//	api.js      calls, streams and failures
//	layout.js   where everything on the map lies (pure)   map.js, view.js, dots.js draw it
//	format.js   how numbers, times and states are said (pure)
//	guards.js   what protects a service, and what of it is not as at rest (pure)
//	services.js detail.js guardpane.js logs.js traces.js theme.js dom.js
//
// A limit to know: the page asks once a second; a change is seen that much later.
package dash

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"stoa/api/fault"
)

// Tests (*.test.mjs) and what node needs to run them are not part of the page.
//
//go:embed static/index.html static/*.js static/*.css static/*.svg
var static embed.FS

// Policy is the Content-Security-Policy of the page: its own files and its own API.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Operations are those that the page asks for, by name, sorted. A test of whoever
// composes the platform can hold them against the operation table.
func Operations() []string {
	return []string{"faults", "logs", "map", "restart", "start", "status", "stop", "top", "trace", "traces", "why"}
}

// A file is an embedded file with what its answer says.
type file struct {
	body []byte
	kind string // Content-Type
	etag string
}

// Handler serves the page at / and its files at /assets/. It answers GET and HEAD, may
// be called concurrently and opens nothing.
func Handler() http.Handler {
	files := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", Policy)
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		f, ok := files[r.URL.Path]
		switch {
		case !ok:
			refuse(w, fault.New(fault.NotFound, r.URL.Path, "there is no such page").WithHint("Open /, the dashboard."), http.StatusNotFound)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			head.Set("Allow", "GET, HEAD")
			refuse(w, fault.New(fault.Invalid, r.URL.Path, "a page is read by GET, not by %s", r.Method), http.StatusMethodNotAllowed)
		default:
			// no-cache: kept by the browser, and asked for each time with its ETag.
			head.Set("Cache-Control", "no-cache")
			head.Set("ETag", f.etag)
			if matches(r.Header.Get("If-None-Match"), f.etag) {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			head.Set("Content-Type", f.kind)
			head.Set("Content-Length", fmt.Sprint(len(f.body)))
			if r.Method == http.MethodGet {
				w.Write(f.body) // a reader who is gone is not told
			}
		}
	})
}

func refuse(w http.ResponseWriter, f *fault.Error, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(fault.Encode(f), '\n'))
}

// matches says whether an If-None-Match names etag. Comparison is weak: RFC 9110, section 13.1.2.
func matches(header, etag string) bool {
	return slices.ContainsFunc(strings.Split(header, ","), func(s string) bool {
		s = strings.TrimSpace(s)
		return s == "*" || strings.TrimPrefix(s, "W/") == etag
	})
}

// load reads the embedded files. Types are given here, not by the machine's own table, which may lack them.
func load() map[string]file {
	kinds := map[string]string{
		".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
	}
	entries, err := static.ReadDir("static")
	if err != nil {
		panic(err) // embedded: cannot be absent
	}
	files := map[string]file{}
	for _, e := range entries {
		body, err := static.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		kind, ok := kinds[path.Ext(e.Name())]
		if !ok {
			panic("dash: no type is known for " + e.Name())
		}
		sum := sha256.Sum256(body)
		f := file{body: body, kind: kind, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
		if e.Name() == "index.html" {
			files["/"] = f
			continue
		}
		files["/assets/"+e.Name()] = f
	}
	return files
}
