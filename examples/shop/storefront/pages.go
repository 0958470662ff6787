package main

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed web
var web embed.FS

// The page runs its own scripts and styles and talks to the host it came from: nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Pages serves the files of web. Every path that is no file and has no extension is a
// place in the page, and is answered with index.html.
type Pages struct{ files map[string]file }

type file struct {
	body  []byte
	media string
	etag  string
}

// LoadPages reads the files that were built into this program.
func LoadPages() (*Pages, error) {
	p := &Pages{files: map[string]file{}}
	err := fs.WalkDir(web, "web", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := web.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		p.files[strings.TrimPrefix(name, "web")] = file{body, mediaOf(name), `"` + hex.EncodeToString(sum[:8]) + `"`}
		return nil
	})
	return p, err
}

func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "There are only pages here.", http.StatusMethodNotAllowed)
		return
	}
	f, ok := p.files[r.URL.Path]
	if !ok {
		if path.Ext(r.URL.Path) != "" || strings.HasPrefix(r.URL.Path, "/api/") {
			http.NotFound(w, r)
			return
		}
		f = p.files["/index.html"]
	}
	h.Set("Content-Type", f.media)
	h.Set("Cache-Control", "no-cache") // kept, but asked for: a new release shows at once
	h.Set("ETag", f.etag)
	if strings.Contains(r.Header.Get("If-None-Match"), f.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(f.body) // net/http leaves the body of an answer to HEAD out
}

// mediaOf does not ask the machine, whose tables differ.
func mediaOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}
