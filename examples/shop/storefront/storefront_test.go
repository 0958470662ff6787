package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/shop/internal/serve"
)

func get(t *testing.T, h http.Handler, method, target string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func pages(t *testing.T) *Pages {
	t.Helper()
	p, err := LoadPages()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPages(t *testing.T) {
	p := pages(t)
	for _, c := range []struct {
		method, target string
		status         int
		media          string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/products/lamp", 200, "text/html; charset=utf-8"},
		{"GET", "/orders/ord_1?new", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/js/main.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/style.css", 200, "text/css; charset=utf-8"},
		{"GET", "/mark.svg", 200, "image/svg+xml"},
		{"GET", "/nothing.js", 404, ""},
		{"GET", "/api/nothing", 404, ""},
		{"POST", "/", 405, ""},
	} {
		res := get(t, p, c.method, c.target)
		if res.StatusCode != c.status || c.media != "" && res.Header.Get("Content-Type") != c.media {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.target, res.StatusCode, res.Header.Get("Content-Type"), c.status, c.media)
		}
		if policy := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s %s: policy %q, want a strict one", c.method, c.target, policy)
		}
	}
	etag := get(t, p, "GET", "/").Header.Get("ETag")
	if res := get(t, p, "GET", "/", "If-None-Match", etag); res.StatusCode != http.StatusNotModified {
		t.Errorf("asked again with its ETag: %d, want 304", res.StatusCode)
	}
}

// What the policy would block is not written in the first place, and what a module imports is there.
func TestPagesKeepTheirPolicy(t *testing.T) {
	p := pages(t)
	inline := regexp.MustCompile(`<script(?:>| [^>]*>[^<])|<style| style=| on[a-z]+="|https?://`)
	for _, name := range []string{"/index.html"} {
		if found := inline.Find(p.files[name].body); found != nil {
			t.Errorf("%s has %q in it", name, found)
		}
	}
	imports := regexp.MustCompile(`from "\./([^"]+)"`)
	for name, f := range p.files {
		for _, m := range imports.FindAllSubmatch(f.body, -1) {
			if _, ok := p.files["/js/"+string(m[1])]; !ok {
				t.Errorf("%s imports %s, which is not there", name, m[1])
			}
		}
	}
}

type shelf map[string]int

func (s shelf) Available(context.Context, []string) (map[string]int, error) {
	if s == nil {
		return nil, errors.New("away")
	}
	return s, nil
}

func TestBackend(t *testing.T) {
	var trace string
	shipping := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trace = r.Header.Get("traceparent")
		switch r.URL.Query().Get("country") {
		case "XX":
			w.WriteHeader(422)
		case "GR":
			if r.URL.Query().Get("grams") == "1" {
				w.Header().Set("Stoa-Fallback", "cached; age=37")
			}
		case "":
			w.WriteHeader(500)
		}
		io.WriteString(w, `{"asked":"`+r.URL.RequestURI()+`"}`)
	}))
	defer shipping.Close()
	backend := func(s shelf) http.Handler {
		return serve.Traced(Backend{Stock: s, Rates: Rates{shipping.URL, serve.Client(5 * time.Second)}, Log: slog.New(slog.DiscardHandler)}.Handler())
	}
	for _, c := range []struct {
		name, target string
		stock        shelf
		status       int
		body         string // part of it
	}{
		{"stock", "/bff/stock?skus=lamp", shelf{"lamp": 3}, 200, `{"stock":{"lamp":3}}`},
		{"stock of nothing", "/bff/stock?skus=,", shelf{}, 422, `"skus"`},
		{"stock, and the warehouse is away", "/bff/stock?skus=lamp", nil, 200, `{"degraded":"The warehouse does not answer.","stock":{}}`},
		{"rates", "/bff/rates?country=GR&grams=520", nil, 200, `/rates?country=GR&grams=520`},
		{"rates that stand in say so", "/bff/rates?country=GR&grams=1", nil, 200, `{"asked":"/rates?country=GR&grams=1","degraded":"The carrier`},
		{"nothing is smuggled into the question", "/bff/rates?country=GR%26grams%3D1", nil, 200, `/rates?country=GR%26grams%3D1&grams=`},
		{"a country that there is not", "/bff/rates?country=XX", nil, 422, ``},
		{"rates, and the carrier is broken", "/bff/rates", nil, 503, `"unavailable"`},
		{"nothing", "/bff/other", nil, 404, `"not_found"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
			res := get(t, backend(c.stock), "GET", c.target, "traceparent", parent)
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != c.status || !strings.Contains(string(body), c.body) {
				t.Errorf("%s: %d %s, want %d with %s", c.target, res.StatusCode, body, c.status, c.body)
			}
			if strings.HasPrefix(c.target, "/bff/rates") && trace != parent {
				t.Errorf("%s: traceparent %q went on, want %q", c.target, trace, parent)
			}
		})
	}
}
