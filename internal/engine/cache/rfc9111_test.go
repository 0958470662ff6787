package cache_test

import (
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/cache"
)

// Section 3: what is stored. The second request, a second later, hits or not.
func TestSection3Storing(t *testing.T) {
	for _, c := range []struct {
		name    string
		request string // head
		code    int
		answer  string
		hit     bool
	}{
		{"max-age", "", 200, "Cache-Control: max-age=60", true},
		{"in any case", "", 200, "cache-CONTROL: Max-Age=60", true},
		{"says nothing: no heuristics", "", 200, "Last-Modified: " + date(-86400), false},
		{"public alone is no freshness", "", 200, "Cache-Control: public", false},
		{"no-store", "", 200, "Cache-Control: max-age=60, no-store", false},
		{"no-store on a line of its own", "", 200, "Cache-Control: max-age=60\nCache-Control: no-store", false},
		{"private", "", 200, "Cache-Control: private, max-age=60", false},
		{"private field: counts as all", "", 200, "Cache-Control: private=\"X-User\", max-age=60", false},
		{"must-understand, understood", "", 200, "Cache-Control: no-store, must-understand, max-age=60", true},
		{"must-understand, not understood", "", 299, "Cache-Control: no-store, must-understand, max-age=60", false},
		{"quote without end may hide no-store", "", 200, "Cache-Control: max-age=60, x=\"y, no-store", false},
		{"comma in a quote is none", "", 200, "Cache-Control: x=\"y, no-store\", max-age=60", true},
		{"request no-store", "Cache-Control: no-store", 200, "Cache-Control: max-age=60", false},
		{"204", "", 204, "Cache-Control: max-age=60", true},
		{"206", "", 206, "Cache-Control: max-age=60\nContent-Range: bytes 0-1/4", false},
		{"200 with Content-Range", "", 200, "Cache-Control: max-age=60\nContent-Range: bytes 0-1/4", false},
		{"304 not asked for", "", 304, "Cache-Control: max-age=60", false},
		{"301", "", 301, "Cache-Control: max-age=60", true},
		{"404", "", 404, "Cache-Control: max-age=60", true},
		{"400 shuts others out", "", 400, "Cache-Control: max-age=60", false},
		{"431", "", 431, "Cache-Control: max-age=60", false},
		{"403", "", 403, "Cache-Control: max-age=60", false},
		{"500", "", 500, "Cache-Control: max-age=60", false},
		{"503", "", 503, "Cache-Control: max-age=60", false},
		{"599", "", 599, "Cache-Control: max-age=60", false},
		{"Set-Cookie", "", 200, "Cache-Control: public, max-age=60\nSet-Cookie: a=b", false},
		{"fallback of another hop", "", 200, "Cache-Control: max-age=60\nStoa-Fallback: cached; age=3", false},
		{"injected fault", "", 404, "Cache-Control: max-age=60\nStoa-Injected: x", false},
		{"upgrade", "Upgrade: websocket", 200, "Cache-Control: max-age=60", false},
		// 3.5
		{"Authorization", "Authorization: Basic x", 200, "Cache-Control: max-age=60", false},
		{"Authorization, public", "Authorization: Basic x", 200, "Cache-Control: max-age=60, public", true},
		{"Authorization, s-maxage", "Authorization: Basic x", 200, "Cache-Control: s-maxage=60", true},
		{"Authorization, must-revalidate", "Authorization: Basic x", 200, "Cache-Control: max-age=60, must-revalidate", true},
		{"Authorization is not opened by Vary", "Authorization: Basic x", 200, "Cache-Control: max-age=60\nVary: Authorization", false},
		// ours
		{"Cookie", "Cookie: a=b", 200, "Cache-Control: max-age=60", false},
		{"Cookie, public", "Cookie: a=b", 200, "Cache-Control: max-age=60, public", true},
		{"Cookie, varied on", "Cookie: a=b", 200, "Cache-Control: max-age=60\nVary: cookie", true},
	} {
		w := newWorld(t, made{c.code, c.answer, "one", false}, made{c.code, c.answer, "two", false})
		w.get("/a", c.request)
		g := w.after(1).get("/a", c.request)
		if hit := strings.Contains(g.status, "hit"); hit != c.hit {
			t.Errorf("%s: %s, want hit %v", c.name, g.status, c.hit)
		}
	}
}

// What was stored for a caller without credentials is not given to one with them, and the
// other way round, unless the answer says it is for all.
func TestCredentialsAreApart(t *testing.T) {
	for _, secret := range []string{"Authorization: Bearer x", "Cookie: session=1"} {
		w := newWorld(t, made{200, "Cache-Control: max-age=60", "anonymous", false}, made{200, "Cache-Control: max-age=60", "mine", false})
		w.get("/a", "")
		w.get("/a", secret).want(t, secret, "mine", false)
		w.get("/a", "").want(t, "without again", "anonymous", true)

		w = newWorld(t, made{200, "Cache-Control: max-age=60, public", "all", false})
		w.get("/a", secret)
		w.get("/a", "").want(t, "public", "all", true)
	}
}

// Section 3.1: what is kept of a head.
func TestSection31KeptFields(t *testing.T) {
	w := newWorld(t, made{200, `Cache-Control: max-age=60
Connection: X-Hop, close
X-Hop: 1
Keep-Alive: timeout=5
Transfer-Encoding: chunked
Trailer: X-Sum
Proxy-Authenticate: Basic
Age: 5
Stoa-Reason: x
traceresponse: 00-1
X-Own: 1
X-Own: 2
Content-Type: text/plain`, "hello", false})
	w.get("/a", "")
	g := w.after(2).get("/a", "")
	want := lines("Cache-Control: max-age=60\nX-Own: 1\nX-Own: 2\nContent-Type: text/plain\nDate: " + date(0) + "\nContent-Length: 5\nAge: 7")
	if len(g.head) != len(want) {
		t.Fatalf("got %v\nwant %v", g.head, want)
	}
	for i := range want {
		if g.head[i] != want[i] {
			t.Errorf("field %d is %v, want %v", i, g.head[i], want[i])
		}
	}
}

// Section 4.2: freshness and age. The answer is asked for again after so many seconds.
func TestSection42Freshness(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer string
		after  int64
		hit    bool
	}{
		{"just fresh", "Cache-Control: max-age=60", 59, true},
		{"stale at its lifetime", "Cache-Control: max-age=60", 60, false},
		{"max-age=0", "Cache-Control: max-age=0\nETag: \"a\"", 0, false},
		{"s-maxage before max-age", "Cache-Control: max-age=10, s-maxage=60", 30, true},
		{"s-maxage shorter", "Cache-Control: max-age=60, s-maxage=10", 30, false},
		{"max-age before Expires", "Cache-Control: max-age=60\nExpires: " + date(-1), 30, true},
		{"Expires", "Expires: " + date(60), 59, true},
		{"Expires reached", "Expires: " + date(60), 60, false},
		{"Expires counts from Date", "Date: " + date(-100) + "\nExpires: " + date(-40), 1, false},
		{"Expires 0", "Expires: 0\nETag: \"a\"", 0, false},
		{"Expires, RFC 850", "Expires: Tuesday, 24-Nov-26 12:01:00 GMT", 30, true},
		{"Expires, asctime", "Expires: Tue Nov 24 12:01:00 2026", 30, true},
		{"Expires in another zone is none", "Expires: Tue, 24 Nov 2026 13:01:00 EST", 30, false},
		{"twice, different: the stricter", "Cache-Control: max-age=60, max-age=10", 30, false},
		{"quoted", "Cache-Control: max-age=\"60\"", 30, true},
		{"signed is stale", "Cache-Control: max-age=+60", 30, false},
		{"below zero is stale", "Cache-Control: max-age=-60", 0, false},
		{"fraction is stale", "Cache-Control: max-age=60.5", 30, false},
		{"no number is stale", "Cache-Control: max-age=a", 30, false},
		{"empty is stale", "Cache-Control: max-age=", 30, false},
		{"garbage after the number is stale", "Cache-Control: max-age=60 x", 30, false},
		{"huge", "Cache-Control: max-age=99999999999999999999999", 1 << 30, true},
		{"garbage after the quote is stale", "Cache-Control: max-age=\"60\" x", 30, false},
		{"another quote after the quote is stale", "Cache-Control: max-age=\"60\"\"1\"", 30, false},
		{"another name that ends so", "Cache-Control: x-max-age=60", 30, false},
		{"Age of upstream counts", "Cache-Control: max-age=60\nAge: 50", 15, false},
		{"Age of upstream, still fresh", "Cache-Control: max-age=60\nAge: 50", 5, true},
		{"Age that is none", "Cache-Control: max-age=60\nAge: x", 30, true},
		{"Age twice: the first", "Cache-Control: max-age=60\nAge: 1, 80", 30, true},
		{"Date in the past is age", "Cache-Control: max-age=60\nDate: " + date(-50), 15, false},
		{"Date in the future is none", "Cache-Control: max-age=60\nDate: " + date(50), 59, true},
		{"Date unreadable", "Cache-Control: max-age=60\nDate: yesterday", 59, true},
		{"no-cache is never used unasked", "Cache-Control: no-cache, max-age=60\nETag: \"a\"", 1, false},
		{"no-cache with a field counts as all", "Cache-Control: no-cache=\"X\", max-age=60\nETag: \"a\"", 1, false},
		{"Pragma of an answer means nothing", "Pragma: no-cache\nCache-Control: max-age=60", 1, true},
	} {
		w := newWorld(t, made{200, c.answer, "one", false}, made{200, "", "two", false})
		w.get("/a", "")
		g := w.after(c.after).get("/a", "")
		if hit := g.body == "one"; hit != c.hit {
			t.Errorf("%s: %q after %d s (%s), want hit %v", c.name, g.body, c.after, g.status, c.hit)
		}
	}
}

// The time an answer was under way is part of its age: it may have been made when it was asked for.
func TestAgeCountsTheWay(t *testing.T) {
	r := &cache.Request{Method: "GET", Key: cache.Key{Host: "h", Target: "/"}}
	a := &cache.Answer{Status: 200, Fields: lines("Age: 3"), Asked: start, Came: start + int64(7*time.Second)}
	if got := cache.NewEntry(r, a).Age(a.Came) / int64(time.Second); got != 10 {
		t.Errorf("age %d, want 3 + 7", got)
	}
	if got := cache.NewEntry(r, a).Age(start - int64(time.Hour)); got != 0 {
		t.Errorf("age %d with the clock set back, want 0", got)
	}
}

// Section 4.2.4 and RFC 5861: stale use. The service is down or fails after so many seconds.
func TestSection424Stale(t *testing.T) {
	down, fails, tooMany := made{down: true}, made{503, "", "sorry", false}, made{429, "", "sorry", false}
	for _, c := range []struct {
		name    string
		c       cache.Config
		answer  string
		request string
		after   int64
		then    made
		want    string // the body
	}{
		{"without a word, not even when down", cache.Config{}, "Cache-Control: max-age=10", "", 20, down, ""},
		{"stale-if-error, down", cache.Config{}, "Cache-Control: max-age=10, stale-if-error=60", "", 20, down, "one"},
		{"stale-if-error, 503", cache.Config{}, "Cache-Control: max-age=10, stale-if-error=60", "", 20, fails, "one"},
		{"stale-if-error, 429 is an answer", cache.Config{}, "Cache-Control: max-age=10, stale-if-error=60", "", 20, tooMany, "sorry"},
		{"stale-if-error over", cache.Config{}, "Cache-Control: max-age=10, stale-if-error=60", "", 70, down, ""},
		{"the request allows it", cache.Config{}, "Cache-Control: max-age=10", "Cache-Control: stale-if-error=60", 20, down, "one"},
		{"the request cannot if the answer forbids", cache.Config{}, "Cache-Control: max-age=10, must-revalidate", "Cache-Control: stale-if-error=60", 20, down, ""},
		{"the route allows it", cache.Config{StaleIfError: time.Minute}, "Cache-Control: max-age=10", "", 20, fails, "one"},
		{"the answer's word before the route's", cache.Config{StaleIfError: time.Minute}, "Cache-Control: max-age=10, stale-if-error=5", "", 20, fails, "sorry"},
		{"the route cannot if must-revalidate", cache.Config{StaleIfError: time.Minute}, "Cache-Control: max-age=10, must-revalidate", "", 20, fails, "sorry"},
		{"nor proxy-revalidate", cache.Config{StaleIfError: time.Minute}, "Cache-Control: max-age=10, proxy-revalidate", "", 20, fails, "sorry"},
		{"nor s-maxage", cache.Config{StaleIfError: time.Minute}, "Cache-Control: s-maxage=10", "", 20, fails, "sorry"},
		{"s-maxage that allows it", cache.Config{}, "Cache-Control: s-maxage=10, stale-if-error=60", "", 20, fails, "one"},
		{"nor no-cache", cache.Config{StaleIfError: time.Minute}, "Cache-Control: no-cache\nETag: \"a\"", "", 1, fails, "sorry"},
		{"nor no-cache, though it be fresh", cache.Config{StaleIfError: time.Minute}, "Cache-Control: no-cache, max-age=60\nETag: \"a\"", "", 1, fails, "sorry"},
		{"a reload that fails gets the fresh one", cache.Config{StaleIfError: time.Minute}, "Cache-Control: max-age=10", "Cache-Control: no-cache", 5, fails, "one"},
		{"the route's bound on freshness", cache.Config{MaxAge: 5 * time.Second}, "Cache-Control: max-age=10", "", 7, fails, "sorry"},
	} {
		w := newWorld(t, made{200, c.answer, "one", false}, c.then)
		w.c = c.c
		w.get("/a", "")
		g := w.after(c.after).get("/a", c.request)
		if g.body != c.want || w.asked != 2 {
			t.Errorf("%s: %d %q (%s) after %d requests, want %q after 2", c.name, g.code, g.body, g.status, w.asked, c.want)
		}
	}
}

// RFC 5861, section 3: a stale answer at once, a new one behind it, by one caller.
func TestStaleWhileRevalidate(t *testing.T) {
	w := newWorld(t, made{200, "Cache-Control: max-age=10, stale-while-revalidate=30\nETag: \"a\"", "one", false},
		made{304, "Cache-Control: max-age=10, stale-while-revalidate=30\nETag: \"a\"", "", false}, made{200, "Cache-Control: max-age=10", "two", false})
	w.get("/a", "")
	g := w.after(20).get("/a", "")
	if g.body != "one" || w.asked != 1 || w.refresh == nil || !strings.Contains(g.status, "hit; ttl=-10") {
		t.Fatalf("%+v asked %d", g, w.asked)
	}
	first := w.refresh
	w.refresh = nil
	if w.get("/a", ""); w.refresh != nil {
		t.Error("two callers refresh one entry")
	}
	first()
	if v, _ := w.last.First("If-None-Match"); v != `"a"` {
		t.Errorf("the refresh had no condition: %v", w.last)
	}
	w.get("/a", "").want(t, "refreshed", "one", true)
	if w.asked != 2 || w.refresh != nil {
		t.Errorf("asked %d times, refresh left %v", w.asked, w.refresh != nil)
	}
	w.after(29).get("/a", "").want(t, "fresh again until 30", "one", true)
	w.refresh = nil
	w.after(31).get("/a", "").want(t, "stale again", "one", true)
	w.refresh()
	w.get("/a", "").want(t, "changed", "two", true)
	w.after(200)
	w.get("/a", "").want(t, "past both windows", "two", false)

	// Who was told to refresh and did not is relieved.
	w = newWorld(t, made{200, "Cache-Control: max-age=10", "one", false})
	w.c.StaleWhileRevalidate = time.Hour
	w.get("/a", "")
	for _, s := range []struct {
		after int64
		told  bool
	}{{10, true}, {19, false}, {20, true}, {21, false}} {
		w.refresh = nil
		if w.after(s.after).get("/a", ""); (w.refresh != nil) != s.told {
			t.Errorf("after %d s: told %v, want %v", s.after, w.refresh != nil, s.told)
		}
	}
}

// Section 4.3: validation.
func TestSection43Validation(t *testing.T) {
	for _, c := range []struct {
		name         string
		answer       string
		request      string // of the second
		tag, since   string // what the service is asked with
		then         made
		code         int
		body         string
		nextHit      bool // a third request is served unasked
		nextHeadName string
		nextHead     string
	}{
		{"tag", "Cache-Control: max-age=10\nETag: \"a\"", "", `"a"`, "", made{304, "Cache-Control: max-age=10", "", false}, 200, "one", true, "", ""},
		{"weak tag", "Cache-Control: max-age=10\nETag: W/\"a\"", "", `W/"a"`, "", made{304, "Cache-Control: max-age=10\nETag: \"a\"", "", false}, 200, "one", true, "ETag", `"a"`},
		{"date", "Cache-Control: max-age=10\nLast-Modified: " + date(-99), "", "", date(-99), made{304, "", "", false}, 200, "one", true, "", ""},
		{"both", "Cache-Control: max-age=10\nETag: \"a\"\nLast-Modified: " + date(-99), "", `"a"`, date(-99), made{304, "", "", false}, 200, "one", true, "", ""},
		{"bad date is no validator", "Cache-Control: max-age=10\nLast-Modified: x", "", "", "", made{200, "", "two", false}, 200, "two", false, "", ""},
		{"no validator", "Cache-Control: max-age=10", "", "", "", made{200, "Cache-Control: max-age=10", "two", false}, 200, "two", true, "", ""},
		{"changed", "Cache-Control: max-age=10\nETag: \"a\"", "", `"a"`, "", made{200, "Cache-Control: max-age=10\nETag: \"b\"", "two", false}, 200, "two", true, "ETag", `"b"`},
		{"gone", "Cache-Control: max-age=10\nETag: \"a\"", "", `"a"`, "", made{404, "", "two", false}, 404, "two", false, "", ""},
		{"new head", "Cache-Control: max-age=10\nETag: \"a\"\nX-N: 1\nX-Stays: y", "", `"a"`, "", made{304, "X-N: 2", "", false}, 200, "one", true, "X-N", "2"},
		{"a 304 cannot change how the body is read", "Cache-Control: max-age=10\nETag: \"a\"\nContent-Encoding: gzip", "", `"a"`, "", made{304, "Content-Encoding: br\nContent-Length: 99", "", false}, 200, "one", true, "Content-Encoding", "gzip"},
		{"a 304 that forbids storing", "Cache-Control: max-age=10\nETag: \"a\"", "", `"a"`, "", made{304, "Cache-Control: no-store", "", false}, 200, "one", false, "", ""},
		{"a 304 with a cookie", "Cache-Control: max-age=10\nETag: \"a\"", "", `"a"`, "", made{304, "Set-Cookie: a=b", "", false}, 200, "one", false, "", ""},
		{"the caller's tag is replaced, then compared: same", "Cache-Control: max-age=10\nETag: \"a\"", `If-None-Match: "x", "a"`, `"a"`, "", made{304, "", "", false}, 304, "", true, "", ""},
		{"the caller's tag is replaced, then compared: other", "Cache-Control: max-age=10\nETag: \"a\"", `If-None-Match: "x"`, `"a"`, "", made{304, "", "", false}, 200, "one", true, "", ""},
		{"nothing of ours: the caller's goes through", "Cache-Control: max-age=10", `If-None-Match: "x"`, `"x"`, "", made{304, "Cache-Control: max-age=10", "", false}, 304, "", false, "", ""},
	} {
		w := newWorld(t, made{200, c.answer, "one", false}, c.then, made{200, "", "three", false})
		w.get("/a", "")
		g := w.after(20).get("/a", c.request)
		tag, _ := w.last.First("If-None-Match")
		since, _ := w.last.First("If-Modified-Since")
		if tag != c.tag || since != c.since {
			t.Errorf("%s: asked with %q, %q, want %q, %q", c.name, tag, since, c.tag, c.since)
		}
		if g.code != c.code || g.body != c.body || w.asked != 2 {
			t.Errorf("%s: %d %q (%s), want %d %q", c.name, g.code, g.body, g.status, c.code, c.body)
		}
		g = w.after(25).get("/a", "")
		if hit := strings.Contains(g.status, "hit"); hit != c.nextHit {
			t.Errorf("%s: then %s, want hit %v", c.name, g.status, c.nextHit)
		}
		if c.nextHeadName != "" {
			if v := g.head.Joined(c.nextHeadName); v != c.nextHead {
				t.Errorf("%s: then %s is %q, want %q", c.name, c.nextHeadName, v, c.nextHead)
			}
		}
		if n := len(g.head); c.nextHit {
			if l := g.head.Joined("Content-Length"); l != "3" || n == 0 {
				t.Errorf("%s: then Content-Length is %q", c.name, l)
			}
		}
	}
}

// A 304 for an answer that is not the stored one: the service is asked for the whole.
func TestForeign304(t *testing.T) {
	w := newWorld(t, made{200, "Cache-Control: max-age=10\nETag: \"a\"", "one", false}, made{304, "ETag: \"b\"", "", false}, made{200, "Cache-Control: max-age=10\nETag: \"b\"", "two", false})
	w.get("/a", "")
	w.after(20).get("/a", "").want(t, "asked again", "two", false)
	if _, ok := w.last.First("If-None-Match"); ok || w.asked != 3 {
		t.Errorf("asked %d times, last with %v", w.asked, w.last)
	}
}

// Section 4.3.2: the caller's own conditions, answered from a fresh entry.
func TestSection432Conditions(t *testing.T) {
	tagged := "Cache-Control: max-age=60\nETag: W/\"a\"\nLast-Modified: " + date(-100) + "\nContent-Type: text/plain\nX-Own: 1\nVary: Accept"
	for _, c := range []struct {
		name, answer, request string
		code                  int
	}{
		{"none", tagged, "", 200},
		{"tag", tagged, `If-None-Match: "a"`, 304},
		{"weak tag", tagged, `If-None-Match: W/"a"`, 304},
		{"in a list", tagged, `If-None-Match: "x,\"", W/"b" ,"a"`, 304},
		{"on the second line", tagged, "If-None-Match: \"x\"\nIf-None-Match: \"a\"", 304},
		{"any", tagged, "If-None-Match: *", 304},
		{"other tag", tagged, `If-None-Match: "b"`, 200},
		{"part of a tag", tagged, `If-None-Match: "aa"`, 200},
		{"without quotes", tagged, "If-None-Match: a", 200},
		{"quote without end", tagged, `If-None-Match: "a`, 200},
		{"tag before date", tagged, "If-None-Match: \"b\"\nIf-Modified-Since: " + date(0), 200},
		{"date", tagged, "If-Modified-Since: " + date(-100), 304},
		{"date before", tagged, "If-Modified-Since: " + date(-101), 200},
		{"date that is none", tagged, "If-Modified-Since: x", 200},
		{"no Last-Modified: Date", "Cache-Control: max-age=60", "If-Modified-Since: " + date(0), 304},
		{"no Last-Modified: before Date", "Cache-Control: max-age=60", "If-Modified-Since: " + date(-1), 200},
		{"no tag", "Cache-Control: max-age=60", `If-None-Match: "a"`, 200},
	} {
		w := newWorld(t, made{200, c.answer, "one", false})
		w.get("/a", "Accept: x")
		g := w.after(5).get("/a", "Accept: x\n"+c.request)
		if g.code != c.code || !strings.Contains(g.status, "hit") {
			t.Errorf("%s: %d (%s), want %d", c.name, g.code, g.status, c.code)
		}
		if g.code == 304 {
			for _, f := range g.head {
				if f.Name == "Content-Type" || f.Name == "X-Own" || f.Name == "Content-Length" {
					t.Errorf("%s: the 304 has %v", c.name, f)
				}
			}
			if g.body != "" || g.head.Joined("Age") != "5" || g.head.Joined("Cache-Control") == "" {
				t.Errorf("%s: 304 %v %q", c.name, g.head, g.body)
			}
		}
	}
	// A condition is about a 2xx.
	w := newWorld(t, made{404, "Cache-Control: max-age=60\nETag: \"a\"", "no", false})
	w.get("/a", "")
	if g := w.get("/a", `If-None-Match: "a"`); g.code != 404 {
		t.Errorf("404 with a condition that holds: %d", g.code)
	}
}

// Section 4.3.5 and HEAD: answered from GET, never stored, and it may tell that GET has changed.
func TestSection435Head(t *testing.T) {
	w := newWorld(t, made{200, "Cache-Control: max-age=60\nContent-Length: 5", "", false}, made{200, "Cache-Control: max-age=60", "hello", false})
	w.ask("HEAD", "/a", "").want(t, "HEAD first", "", false)
	w.get("/a", "").want(t, "GET is not answered from HEAD", "hello", false)
	g := w.ask("HEAD", "/a", "")
	g.want(t, "HEAD from GET", "", true)
	if l := g.head.Joined("Content-Length"); l != "5" {
		t.Errorf("Content-Length of HEAD is %q", l)
	}
	for _, c := range []struct {
		name, answer string
		hit          bool
	}{
		{"agrees", "Content-Length: 5\nETag: \"a\"", true},
		{"says less", "", true},
		{"another length", "Content-Length: 6", false},
		{"another tag", "ETag: \"b\"", false},
		{"another date", "Last-Modified: " + date(-5), false},
	} {
		w := newWorld(t, made{200, "Cache-Control: max-age=60\nETag: \"a\"", "hello", false}, made{200, c.answer, "", false}, made{200, "", "new", false})
		w.get("/a", "")
		w.ask("HEAD", "/a", "Cache-Control: no-cache")
		g := w.get("/a", "")
		if hit := g.body == "hello"; hit != c.hit {
			t.Errorf("%s: GET after it %q (%s), want hit %v", c.name, g.body, g.status, c.hit)
		}
	}
}

// Section 4.4: invalidation.
func TestSection44Invalidation(t *testing.T) {
	for _, c := range []struct {
		name, method, target string
		code                 int
		answer               string
		gone                 bool // what was stored under /a?x=1
	}{
		{"POST", "POST", "/a?x=1", 200, "", true},
		{"PUT 204", "PUT", "/a?x=1", 204, "", true},
		{"DELETE", "DELETE", "/a?x=1", 200, "", true},
		{"303", "POST", "/a?x=1", 303, "Location: /b", true},
		{"a method nobody knows", "BREW", "/a?x=1", 200, "", true},
		{"GET", "GET", "/a?x=1", 200, "", false},
		{"OPTIONS", "OPTIONS", "/a?x=1", 200, "", false},
		{"failed", "POST", "/a?x=1", 500, "", false},
		{"refused", "POST", "/a?x=1", 409, "", false},
		{"another target", "POST", "/a", 200, "", false},
		{"Location", "POST", "/b", 201, "Location: /a?x=1", true},
		{"Location, whole", "POST", "/b", 201, "Location: https://SHOP/a?x=1#top", true},
		{"Location, without scheme", "POST", "/b", 201, "Location: //shop/a?x=1", true},
		{"Location, relative", "POST", "/b/c", 201, "Location: ../a?x=1", true},
		{"Location, query", "POST", "/a", 201, "Location: ?x=1", true},
		{"Content-Location", "POST", "/b", 200, "Content-Location: /a?x=1", true},
		{"Location elsewhere", "POST", "/b", 201, "Location: https://evil/a?x=1", false},
		{"Location elsewhere by user", "POST", "/b", 201, "Location: https://shop@evil/a?x=1", false},
		{"Location on another port", "POST", "/b", 201, "Location: https://shop:8443/a?x=1", false},
		{"Location of a scheme", "POST", "/b", 201, "Location: mailto:a", false},
	} {
		w := newWorld(t, made{200, "Cache-Control: max-age=60", "one", false}, made{c.code, c.answer, "done", false}, made{200, "", "two", false})
		w.get("/a?x=1", "")
		w.after(1).ask(c.method, c.target, "")
		g := w.after(2).get("/a?x=1", "")
		if gone := !strings.Contains(g.status, "hit"); gone != c.gone {
			t.Errorf("%s: then %q (%s), want gone %v", c.name, g.body, g.status, c.gone)
		}
	}
}

// Section 4.4 by time: what was asked for before the change is not stored after it; every
// class is reached.
func TestInvalidationReachesWhatIsOnItsWay(t *testing.T) {
	w := newWorld(t)
	k := cache.Key{Host: "shop", Target: "/a"}
	store := func(class string, asked int64) cache.Why {
		r := &cache.Request{Method: "GET", Key: k, Class: class}
		e := cache.NewEntry(r, &cache.Answer{Status: 200, Fields: lines("Cache-Control: max-age=60"), Asked: asked, Came: start + 10})
		return w.s.Put(w.room.Record(e).Finish())
	}
	if a, b := store("x", start), store("y", start); a != cache.OK || b != cache.OK {
		t.Fatal(a, b)
	}
	forgotten := ""
	w.s.Invalidate(&cache.Request{Method: "POST", Key: k, Class: "z"}, &cache.Answer{Status: 200, Fields: lines("Location: /b")}, start+5, func(k cache.Key) { forgotten += k.Target })
	if n, bytes := w.s.Count(); n != 0 || bytes != 0 || forgotten != "/a/b" {
		t.Errorf("%d entries of %d bytes are left, forgotten %q", n, bytes, forgotten)
	}
	if got := store("x", start+4); got != cache.Outdated {
		t.Errorf("asked for before the change: %v", got)
	}
	if got := store("x", start+5); got != cache.Outdated {
		t.Errorf("asked for as it changed: %v", got)
	}
	if got := store("x", start+6); got != cache.OK {
		t.Errorf("asked for after the change: %v", got)
	}
	if got := store("x", start+5-int64(2*time.Hour)); got == cache.Outdated {
		t.Error("a clock that was set back stops storing for as long")
	}
}

// Section 5.2.1: what requests say. The answer is fresh for 60 s and was stored 30 s ago.
func TestSection521RequestDirectives(t *testing.T) {
	for _, c := range []struct {
		name    string
		c       cache.Config
		answer  string
		request string
		after   int64
		code    int
		body    string
	}{
		{"nothing", cache.Config{}, "max-age=60", "", 30, 200, "one"},
		{"no-cache", cache.Config{}, "max-age=60", "Cache-Control: no-cache", 30, 200, "two"},
		{"Pragma", cache.Config{}, "max-age=60", "Pragma: no-cache", 30, 200, "two"},
		{"Pragma next to Cache-Control", cache.Config{}, "max-age=60", "Pragma: no-cache\nCache-Control: max-age=50", 30, 200, "one"},
		{"no-store goes past", cache.Config{}, "max-age=60", "Cache-Control: no-store", 30, 200, "two"},
		{"max-age", cache.Config{}, "max-age=60", "Cache-Control: max-age=30", 30, 200, "one"},
		{"max-age exceeded", cache.Config{}, "max-age=60", "Cache-Control: max-age=29", 30, 200, "two"},
		{"max-age=0", cache.Config{}, "max-age=60", "Cache-Control: max-age=0", 30, 200, "two"},
		{"max-age unreadable", cache.Config{}, "max-age=60", "Cache-Control: max-age=x", 30, 200, "two"},
		{"min-fresh", cache.Config{}, "max-age=60", "Cache-Control: min-fresh=30", 30, 200, "one"},
		{"min-fresh not met", cache.Config{}, "max-age=60", "Cache-Control: min-fresh=31", 30, 200, "two"},
		{"min-fresh unreadable", cache.Config{}, "max-age=60", "Cache-Control: min-fresh=x", 30, 200, "two"},
		{"max-stale", cache.Config{}, "max-age=60", "Cache-Control: max-stale=10", 70, 200, "one"},
		{"max-stale exceeded", cache.Config{}, "max-age=60", "Cache-Control: max-stale=10", 71, 200, "two"},
		{"max-stale, any", cache.Config{}, "max-age=60", "Cache-Control: max-stale", 7000, 200, "one"},
		{"max-stale unreadable", cache.Config{}, "max-age=60", "Cache-Control: max-stale=x", 70, 200, "two"},
		{"max-stale forbidden", cache.Config{}, "max-age=60, must-revalidate", "Cache-Control: max-stale", 70, 200, "two"},
		{"max-stale forbidden to shared caches", cache.Config{}, "s-maxage=60", "Cache-Control: max-stale", 70, 200, "two"},
		{"only-if-cached", cache.Config{}, "max-age=60", "Cache-Control: only-if-cached", 30, 200, "one"},
		{"only-if-cached, stale", cache.Config{}, "max-age=60", "Cache-Control: only-if-cached", 60, 504, ""},
		{"reloads ignored: no-cache", cache.Config{IgnoreReload: true}, "max-age=60", "Cache-Control: no-cache", 30, 200, "one"},
		{"reloads ignored: max-age", cache.Config{IgnoreReload: true}, "max-age=60", "Cache-Control: max-age=0", 30, 200, "one"},
		{"reloads ignored: stale all the same", cache.Config{IgnoreReload: true}, "max-age=60", "Cache-Control: no-cache", 60, 200, "two"},
		{"range", cache.Config{}, "max-age=60", "Range: bytes=0-1", 30, 200, "two"},
		{"If-Range without a range", cache.Config{}, "max-age=60", "If-Range: \"a\"", 30, 200, "one"},
		{"If-Match", cache.Config{}, "max-age=60", "If-Match: \"a\"", 30, 200, "two"},
		{"If-Unmodified-Since", cache.Config{}, "max-age=60", "If-Unmodified-Since: " + date(0), 30, 200, "two"},
		{"unreadable", cache.Config{}, "max-age=60", "Cache-Control: x=\"", 30, 200, "two"},
	} {
		w := newWorld(t, made{200, "Cache-Control: " + c.answer, "one", false}, made{200, "", "two", false})
		w.c = c.c
		w.get("/a", "")
		g := w.after(c.after).get("/a", c.request)
		if g.code != c.code || g.body != c.body {
			t.Errorf("%s: %d %q (%s), want %d %q", c.name, g.code, g.body, g.status, c.code, c.body)
		}
	}
	w := newWorld(t)
	if g := w.get("/a", "Cache-Control: only-if-cached"); g.code != 504 || w.asked != 0 {
		t.Errorf("only-if-cached without an entry: %d, asked %d times", g.code, w.asked)
	}
}
