package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/snapshot"
)

// serveSite answers from a directory. Files are opened through os.Root, so no path and no
// symbolic link leads out of it. It is opened for each request, since a build may
// replace the directory. There is no listing; names that begin with a dot do not exist,
// but below /.well-known (RFC 8615).
func serveSite(w http.ResponseWriter, r *http.Request, site *snapshot.Site, target string, x *exchange) *flow.Refusal {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return &flow.Refusal{Reason: hop.NoMethod, Status: 405, Text: r.Method + " on files", Allow: []string{"GET", "HEAD"}}
	}
	root, err := os.OpenRoot(site.Dir)
	if err != nil {
		return &flow.Refusal{Reason: hop.NoEndpoint, Status: 503, Text: "the files of " + x.Rec.Callee + " are not there", Err: err,
			Hint: "Build them; see stoa why " + x.Rec.Callee}
	}
	defer root.Close()
	missing := &flow.Refusal{Reason: hop.NoRoute, Status: 404, Text: "no such file"}
	name, ok := siteName(target)
	if !ok {
		return missing
	}
	f, st, err := openFile(root, name)
	if err == errIsDir && !strings.HasSuffix(target, "/") {
		if _, _, err := openFile(root, path.Join(name, "index.html")); err == nil {
			return redirectToDir(w, r, x)
		}
	}
	if err == errIsDir {
		f, st, err = openFile(root, path.Join(name, "index.html"))
	}
	if err != nil && site.SPA && wantsPage(r, name) {
		f, st, err = openFile(root, "index.html")
	}
	if err != nil {
		missing.Err = err
		return missing
	}
	defer f.Close()
	h := w.Header()
	h.Set("ETag", fmt.Sprintf(`"%s%x-%x"`, short(site.Digest), st.Size(), st.ModTime().UnixNano()))
	h.Set("Cache-Control", "no-cache")
	if site.Cache != "" {
		h.Set("Cache-Control", site.Cache)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	cw := &countingWriter{ResponseWriter: w, rec: &x.Rec}
	http.ServeContent(cw, r, st.Name(), st.ModTime(), f)
	return nil
}

func short(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	if len(digest) > 16 {
		digest = digest[:16]
	}
	if digest != "" {
		digest += "-"
	}
	return digest
}

// siteName turns a canonical raw path into a name below the root.
func siteName(raw string) (string, bool) {
	p, err := url.PathUnescape(raw)
	if err != nil || strings.ContainsAny(p, "\x00\\") || strings.Count(p, "/") != strings.Count(raw, "/") {
		return "", false
	}
	p = strings.Trim(p, "/")
	for i, seg := range strings.Split(p, "/") {
		if strings.HasPrefix(seg, ".") && !(i == 0 && seg == ".well-known") {
			return "", false
		}
	}
	if p == "" {
		p = "."
	}
	return p, true
}

var errIsDir = errors.New("is a directory")

func openFile(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	// Asked before it is opened: opening a named pipe would wait for its writer.
	st, err := root.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if st.IsDir() {
		return nil, nil, errIsDir
	}
	if !st.Mode().IsRegular() {
		return nil, nil, errors.New("not a regular file")
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	if st, err = f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, nil, errors.Join(err, errors.New("not a regular file"))
	}
	return f, st, nil
}

// wantsPage says whether a path without a file may be a page of the application: the
// caller asks for HTML, or takes anything and the name has no extension.
func wantsPage(r *http.Request, name string) bool {
	accept := r.Header.Get("Accept")
	if strings.Contains(accept, "text/html") {
		return true
	}
	return (accept == "" || strings.Contains(accept, "*/*")) && !strings.Contains(path.Base(name), ".")
}

func redirectToDir(w http.ResponseWriter, r *http.Request, x *exchange) *flow.Refusal {
	p, query, _ := splitTarget(r.RequestURI)
	to := "./" + path.Base(p) + "/" // relative: whatever stands before it stays; ./ since it may hold a colon
	if query != "" {
		to += "?" + query
	}
	w.Header()["Location"] = []string{to}
	x.Rec.Status = http.StatusMovedPermanently
	w.WriteHeader(x.Rec.Status)
	return nil
}

// countingWriter notes status and bytes.
type countingWriter struct {
	http.ResponseWriter
	rec *hop.Record
}

func (w *countingWriter) WriteHeader(code int) {
	w.rec.Status = code
	w.ResponseWriter.WriteHeader(code)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	if w.rec.Status == 0 {
		w.rec.Status = 200
	}
	n, err := w.ResponseWriter.Write(p)
	w.rec.Out += int64(n)
	return n, err
}
