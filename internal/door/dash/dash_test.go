package dash_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"stoa/internal/door/dash"
)

func get(t *testing.T, method, path string, head ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	w := httptest.NewRecorder()
	dash.Handler().ServeHTTP(w, r)
	return w.Result()
}

// A file that is unchanged is not sent again; one that is asked for by something else than GET is refused.
func TestHandler(t *testing.T) {
	page := get(t, "GET", "/")
	etag := page.Header.Get("ETag")
	tests := []struct {
		name, method, path string
		head               []string
		status             int
		kind               string
	}{
		{"the page", "GET", "/", nil, 200, "text/html; charset=utf-8"},
		{"a module", "GET", "/assets/app.js", nil, 200, "text/javascript; charset=utf-8"},
		{"a style sheet", "GET", "/assets/page.css", nil, 200, "text/css; charset=utf-8"},
		{"a picture", "GET", "/assets/stoa.svg", nil, 200, "image/svg+xml"},
		{"a head", "HEAD", "/", nil, 200, "text/html; charset=utf-8"},
		{"unchanged", "GET", "/", []string{"If-None-Match", etag}, 304, ""},
		{"unchanged, weakly, among others", "GET", "/", []string{"If-None-Match", `"x", W/` + etag}, 304, ""},
		{"changed", "GET", "/", []string{"If-None-Match", `"x"`}, 200, "text/html; charset=utf-8"},
		{"a change", "POST", "/", nil, 405, "application/json"},
		{"a test", "GET", "/assets/layout.test.mjs", nil, 404, "application/json"},
		{"what node needs", "GET", "/assets/package.json", nil, 404, "application/json"},
		{"the way out", "GET", "/assets/../dash.go", nil, 404, "application/json"},
		{"nothing", "GET", "/nothing", nil, 404, "application/json"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			res := get(t, c.method, c.path, c.head...)
			if res.StatusCode != c.status || res.Header.Get("Content-Type") != c.kind {
				t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, res.StatusCode, res.Header.Get("Content-Type"), c.status, c.kind)
			}
			if got := res.Header.Get("Content-Security-Policy"); got != dash.Policy {
				t.Errorf("%s %s: policy %q", c.method, c.path, got)
			}
			if body, _ := io.ReadAll(res.Body); (c.method == "HEAD" || c.status == 304) && len(body) > 0 {
				t.Errorf("%s %s: %d bytes of body", c.method, c.path, len(body))
			}
		})
	}
}

func files(t *testing.T, pattern string) map[string]string {
	t.Helper()
	names, err := filepath.Glob("static/" + pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no file static/%s: %v", pattern, err)
	}
	out := map[string]string{}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(n)] = string(b)
	}
	return out
}

// Whatever a file names is there, so that no page is blank.
func TestReferences(t *testing.T) {
	page := files(t, "index.html")["index.html"]
	for _, m := range regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		if res := get(t, "GET", "/"+m[1]); res.StatusCode != 200 {
			t.Errorf("index.html names %s: %d", m[1], res.StatusCode)
		}
	}
	for name, text := range files(t, "*.js") {
		for _, m := range regexp.MustCompile(`from "\./([^"]+)"`).FindAllStringSubmatch(text, -1) {
			if res := get(t, "GET", "/assets/"+m[1]); res.StatusCode != 200 {
				t.Errorf("%s imports %s: %d", name, m[1], res.StatusCode)
			}
		}
	}
}

// What the policy would block is not written: inline script and style, markup from strings, other origins.
func TestPolicyIsKept(t *testing.T) {
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\("style"|<script>| style=| on[a-z]+="|@import|url\(|https?://[a-z0-9]`)
	allowed := regexp.MustCompile(`http://www\.w3\.org/2000/svg`)
	for _, pattern := range []string{"*.js", "*.css", "*.html", "*.svg"} {
		for name, text := range files(t, pattern) {
			for i, line := range strings.Split(text, "\n") {
				if m := forbidden.FindString(allowed.ReplaceAllString(line, "")); m != "" {
					t.Errorf("%s:%d has %q", name, i+1, m)
				}
			}
		}
	}
}

// Operations lists what the modules ask for, no more and no less.
func TestOperations(t *testing.T) {
	asks := regexp.MustCompile(`\b(?:call|follow)\("([a-z.]+)"`)
	acts := regexp.MustCompile(`button\("([a-z]+)",`)
	found := map[string]bool{}
	for _, text := range files(t, "*.js") {
		for _, m := range append(asks.FindAllStringSubmatch(text, -1), acts.FindAllStringSubmatch(text, -1)...) {
			found[m[1]] = true
		}
	}
	var got []string
	for name := range found {
		got = append(got, name)
	}
	slices.Sort(got)
	if want := dash.Operations(); !slices.Equal(got, want) {
		t.Errorf("the modules ask for %v, Operations says %v", got, want)
	}
}

// The page stays light: everything together, unpacked, as it is sent on loopback.
func TestWeight(t *testing.T) {
	const most = 160 << 10
	sum := 0
	for _, pattern := range []string{"*.js", "*.css", "*.html", "*.svg"} {
		for _, text := range files(t, pattern) {
			sum += len(text)
		}
	}
	if sum > most {
		t.Errorf("the page weighs %d bytes, want at most %d", sum, most)
	}
	t.Logf("%d bytes", sum)
}
