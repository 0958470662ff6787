package cache_test

import (
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/cache"
)

// What makes two requests different, and what must not: the second asks for what the first stored.
func TestKey(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second string // target, with a head after a space
		answer        string
		hit           bool
	}{
		{"same", "/a?x=1&y=2", "/a?x=1&y=2", "", true},
		{"order of the query", "/a?x=1&y=2", "/a?y=2&x=1", "", false},
		{"separator of the query", "/a?x=1;y=2", "/a?x=1&y=2", "", false},
		{"empty query", "/a", "/a?", "", false},
		{"slash at the end", "/a", "/a/", "", false},
		{"two slashes", "/a/b", "/a//b", "", false},
		{"escaped slash", "/a/b", "/a%2Fb", "", false},
		{"case of an escape", "/a%2fb", "/a%2Fb", "", false},
		{"needless escape", "/ab", "/a%62", "", false},
		{"case of the path", "/a", "/A", "", false},
		{"dot", "/a", "/./a", "", false},
		{"client's address", "/a", "/a X-Forwarded-For: 1.2.3.4", "", true},
		{"Vary, same", "/a Accept-Encoding: gzip", "/a Accept-Encoding: gzip", "Vary: Accept-Encoding", true},
		{"Vary, other coding", "/a Accept-Encoding: gzip", "/a Accept-Encoding: br", "Vary: Accept-Encoding", false},
		{"Vary, none and one", "/a", "/a Accept-Encoding: gzip", "Vary: Accept-Encoding", false},
		{"Vary, one and none", "/a Accept-Encoding: gzip", "/a", "Vary: Accept-Encoding", false},
		{"Vary, none twice", "/a", "/a", "Vary: Accept-Encoding", true},
		{"Vary, none and empty", "/a", "/a X-V:", "Vary: X-V", false},
		{"Vary, white space", "/a Accept-Encoding: gzip, br", "/a Accept-Encoding: gzip,br", "Vary: accept-encoding", true},
		{"Vary, case of a coding", "/a Accept-Encoding: GZIP", "/a Accept-Encoding: gzip", "Vary: Accept-Encoding", true},
		{"Vary, case of another", "/a X-V: A", "/a X-V: a", "Vary: X-V", false},
		{"Vary, order", "/a Accept-Encoding: gzip, br", "/a Accept-Encoding: br, gzip", "Vary: Accept-Encoding", false},
		{"Vary, in two lines", "/a X-V: a, b", "/a X-V: a|X-V: b", "Vary: X-V", true},
		{"Vary, quoted white space", "/a X-V: \"a , b\"", "/a X-V: \"a, b\"", "Vary: X-V", false},
		{"Vary on two, the second differs", "/a X-V: a|X-W: b", "/a X-V: a|X-W: c", "Vary: X-V, X-W", false},
		{"Vary on two lines", "/a X-V: a|X-W: b", "/a X-V: a|X-W: c", "Vary: X-V|Vary: X-W", false},
		{"Vary on what differs not", "/a X-V: a|X-W: b", "/a X-V: a|X-W: c", "Vary: X-V", true},
		{"Vary on all", "/a", "/a", "Vary: *", false},
		{"Vary on all among others", "/a", "/a", "Vary: X-V, *", false},
		{"Vary on too much", "/a", "/a", "Vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", false},
	} {
		w := newWorld(t, made{200, "Cache-Control: max-age=60\n" + strings.ReplaceAll(c.answer, "|", "\n"), "one", false}, made{200, "", "two", false})
		ask := func(s string) given {
			target, head, _ := strings.Cut(s, " ")
			return w.get(target, strings.ReplaceAll(head, "|", "\n"))
		}
		ask(c.first)
		if g := ask(c.second); (g.body == "one") != c.hit {
			t.Errorf("%s: %s then %s gave %q (%s), want hit %v", c.name, c.first, c.second, g.body, g.status, c.hit)
		}
	}
}

// Hosts and classes are apart, and never told apart by what a caller writes.
func TestHostAndClass(t *testing.T) {
	w := newWorld(t, made{200, "Cache-Control: max-age=60", "one", false}, made{200, "Cache-Control: max-age=60", "two", false}, made{200, "", "three", false})
	w.get("/a", "")
	w.host = "other"
	w.get("/a", "").want(t, "another host", "two", false)
	w.host, w.class = "shop", "orders"
	w.get("/a", "").want(t, "another class", "three", false)
	w.class = ""
	w.get("/a", "").want(t, "the first again", "one", true)
}

// A header that frameworks take for another host, path or method neither gets a stored
// answer nor leaves one behind.
func TestPoisoning(t *testing.T) {
	for _, head := range []string{
		"X-Forwarded-Host: evil", "x-forwarded-host: evil", "X-Forwarded-Host: shop, evil", "X-Forwarded-Host: shop\nX-Forwarded-Host: evil", "X-Host: evil", "X-Original-Host: evil",
		"X-Forwarded-Proto: http", "X-Forwarded-Scheme: nothttps", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /evil", "X-Forwarded-Server: evil", "Forwarded: for=1;host=evil", "Forwarded: proto=http",
		"X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-HTTP-Method-Override: POST", "X-HTTP-Method: DELETE", "X-Method-Override: PUT",
		"Range: bytes=0-0", "Upgrade: h2c",
	} {
		w := newWorld(t)
		w.service = func(_, _ string, f cache.Fields) made {
			for _, l := range f {
				if strings.Contains(head, l.Value) {
					return made{200, "Cache-Control: public, max-age=60", "evil", false}
				}
			}
			return made{200, "Cache-Control: public, max-age=60", "good", false}
		}
		w.get("/a", head).want(t, head, "evil", false)
		w.get("/a", "").want(t, "after "+head, "good", false)
		w.get("/a", "").want(t, "stored", "good", true)
		w.get("/a", head).want(t, "again "+head, "evil", false)
		w.get("/a", "").want(t, "still", "good", true)
	}
	w := newWorld(t, made{200, "Cache-Control: max-age=60", "one", false})
	w.get("/a", "X-Forwarded-Host: shop\nForwarded: for=1.2.3.4\nX-Forwarded-For: 1.2.3.4")
	w.get("/a", "").want(t, "what says no more than the key", "one", true)

	// A GET with a body may mean anything.
	r := &cache.Request{Method: "GET", Key: cache.Key{Host: "shop", Target: "/a"}, Body: true}
	if l := w.s.Look(&w.c, r, w.now); l.Use != cache.Bypass || l.Why != cache.Bypassed {
		t.Errorf("GET with a body: %v, %v", l.Use, l.Why)
	}
}

// Answers to other methods are not stored, whatever they say.
func TestOtherMethods(t *testing.T) {
	for _, m := range []string{"POST", "PUT", "OPTIONS", "QUERY", "get", "HEAD"} {
		w := newWorld(t, made{200, "Cache-Control: max-age=60", "one", false}, made{200, "", "two", false})
		w.ask(m, "/a", "")
		if g := w.get("/a", ""); g.body != "two" {
			t.Errorf("GET after %s: %q (%s)", m, g.body, g.status)
		}
	}
}

// Of several variants each gets its own, and the newest of those that fit wins.
func TestVariants(t *testing.T) {
	w := newWorld(t)
	w.service = func(_, _ string, f cache.Fields) made {
		lang, _ := f.First("Accept-Language")
		return made{200, "Cache-Control: max-age=60\nVary: Accept-Language", lang, false}
	}
	for i, lang := range []string{"de", "fr", "en"} {
		w.after(int64(i)).get("/a", "Accept-Language: "+lang).want(t, lang, lang, false)
	}
	for _, lang := range []string{"en", "de", "fr"} {
		w.get("/a", "Accept-Language: "+lang).want(t, lang, lang, true)
	}
	if n, _ := w.s.Count(); n != 3 {
		t.Errorf("%d entries", n)
	}
	// A reload replaces its own variant alone.
	w.get("/a", "Accept-Language: de\nCache-Control: no-cache")
	if n, _ := w.s.Count(); n != 3 {
		t.Errorf("%d entries after a reload", n)
	}
	// Variants of one key are bounded: a caller may invent values.
	for i := range 200 {
		w.get("/a", "Accept-Language: x"+strings.Repeat("y", i))
	}
	if n, _ := w.s.Count(); n != 32 {
		t.Errorf("%d variants of one key", n)
	}
	w.get("/a", "Accept-Language: x"+strings.Repeat("y", 199)).want(t, "the last", "x"+strings.Repeat("y", 199), true)
	w.ask("DELETE", "/a", "")
	if n, bytes := w.s.Count(); n != 0 || bytes != 0 {
		t.Errorf("%d entries of %d bytes after DELETE", n, bytes)
	}
}

// An answer without Vary that is newer than variants goes before them.
func TestNewestVariantWins(t *testing.T) {
	w := newWorld(t, made{200, "Cache-Control: max-age=60\nVary: X-V", "varied", false}, made{200, "Cache-Control: max-age=60", "plain", false})
	w.get("/a", "X-V: 1")
	w.after(1).get("/a", "X-V: 2").want(t, "another value", "plain", false)
	w.get("/a", "X-V: 1").want(t, "what both fit", "plain", true)
}

// Status lines as RFC 9211 has them.
func TestCacheStatus(t *testing.T) {
	w := newWorld(t, made{200, "Cache-Control: max-age=10, stale-if-error=60\nETag: \"a\"", "one", false}, made{304, "Cache-Control: max-age=10, stale-if-error=60", "", false}, made{503, "", "", false})
	for _, c := range []struct {
		after                int64
		method, target, head string
		want                 string
	}{
		{0, "GET", "/a", "", "stoa; fwd=uri-miss; fwd-status=200; stored"},
		{3, "GET", "/a", "", "stoa; hit; ttl=7"},
		{12, "GET", "/a", "", "stoa; fwd=stale; fwd-status=304; ttl=10"},
		{30, "GET", "/a", "", "stoa; fwd=stale; fwd-status=503; ttl=-8; detail=stale-if-error"},
		{30, "GET", "/a", "Cache-Control: no-cache", "stoa; fwd=request; fwd-status=503; ttl=-8; detail=stale-if-error"},
		{30, "POST", "/a", "", "stoa; fwd=method; fwd-status=503"},
		{30, "GET", "/b", "Range: bytes=0-1", "stoa; fwd=bypass; fwd-status=503"},
		{30, "GET", "/a", "X-Host: x", "stoa; fwd=bypass; fwd-status=503; detail=unkeyed-header"},
		{30, "GET", "/a", "Authorization: x", "stoa; fwd=vary-miss; fwd-status=503"},
	} {
		if g := w.after(c.after).ask(c.method, c.target, c.head); g.status != c.want {
			t.Errorf("%s %s %q after %d s: %q, want %q", c.method, c.target, c.head, c.after, g.status, c.want)
		}
	}
	e := cache.NewEntry(&cache.Request{}, &cache.Answer{Status: 200, Fields: lines("Cache-Control: max-age=10"), Asked: start, Came: start})
	for after, want := range map[time.Duration]string{9500 * time.Millisecond: "stoa; hit; ttl=0", 10*time.Second + 1: "stoa; hit; ttl=-1", 11 * time.Second: "stoa; hit; ttl=-1"} {
		if got := string(cache.Status{Hit: true, Entry: e}.Append(nil, start+int64(after))); got != want {
			t.Errorf("after %s: %q, want %q", after, got, want)
		}
	}
	s := cache.Status{Forwarded: cache.URIMiss, Collapsed: true}
	if got := string(s.Append(nil, start)); got != "stoa; fwd=uri-miss; collapsed" {
		t.Errorf("collapsed: %q", got)
	}
}

// Every reason has a word of its own.
func TestWhyHasWords(t *testing.T) {
	seen := map[string]bool{}
	for w := cache.OK; w <= cache.NoBody; w++ {
		if s := w.String(); s == "" || s == "unknown" || seen[s] {
			t.Errorf("reason %d is %q", w, s)
		} else {
			seen[s] = true
		}
	}
	if cache.Why(200).String() != "unknown" {
		t.Error("a reason nobody knows has a word")
	}
}

func TestCheckNamesTheField(t *testing.T) {
	var got []string
	bad := func(path, text, hint string) { got = append(got, path) }
	cache.Config{}.Check(bad)
	cache.Config{StaleIfError: cache.MaxStale, StaleWhileRevalidate: time.Second, MaxAge: time.Second}.Check(bad)
	cache.Bounds{}.Check(bad)
	cache.Bounds{Entry: 1, Total: 1}.Check(bad)
	if len(got) != 0 {
		t.Errorf("good ones: %q", got)
	}
	cache.Config{StaleIfError: -1, StaleWhileRevalidate: cache.MaxStale + 1, MaxAge: -1}.Check(bad)
	cache.Bounds{Entry: -1, Total: -1}.Check(bad)
	cache.Bounds{Total: 1}.Check(bad)
	if s := strings.Join(got, " "); s != "staleIfError staleWhileRevalidate maxAge entry total entry" {
		t.Errorf("reported %q", s)
	}
}
