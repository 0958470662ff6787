package cache_test

import (
	"testing"
	"time"

	"stoa/internal/engine/cache"
)

// What may stand in for a failure, and what may be shared by callers that asked together.
func TestKeepableAndSharable(t *testing.T) {
	for _, c := range []struct {
		name, method, request string
		code                  int
		answer                string
		keep, share           cache.Why
	}{
		{"says nothing", "GET", "", 200, "", cache.OK, cache.OK},
		{"fresh", "GET", "", 200, "Cache-Control: max-age=5", cache.OK, cache.OK},
		{"stale when it comes", "GET", "", 200, "Cache-Control: max-age=0", cache.OK, cache.NoStore},
		{"expired", "GET", "", 200, "Expires: 0", cache.OK, cache.NoStore},
		{"no-cache", "GET", "", 200, "Cache-Control: no-cache", cache.NoStore, cache.NoStore},
		{"must-revalidate", "GET", "", 200, "Cache-Control: max-age=5, must-revalidate", cache.NoStore, cache.OK},
		{"proxy-revalidate", "GET", "", 200, "Cache-Control: max-age=5, proxy-revalidate", cache.NoStore, cache.OK},
		{"s-maxage", "GET", "", 200, "Cache-Control: s-maxage=5", cache.OK, cache.OK},
		{"no-store", "GET", "", 200, "Cache-Control: no-store", cache.NoStore, cache.NoStore},
		{"private", "GET", "", 200, "Cache-Control: private", cache.Private, cache.Private},
		{"cookie", "GET", "", 200, "Set-Cookie: a=b", cache.Cookie, cache.Cookie},
		{"credentials", "GET", "Authorization: x", 200, "", cache.Secret, cache.Secret},
		{"credentials, public", "GET", "Authorization: x", 200, "Cache-Control: public", cache.OK, cache.OK},
		{"session", "GET", "Cookie: x=y", 200, "", cache.Secret, cache.Secret},
		{"not found", "GET", "", 404, "Cache-Control: max-age=5", cache.Code, cache.Code},
		{"part", "GET", "", 206, "Content-Range: bytes 0-1/2", cache.Code, cache.Code},
		{"failed", "GET", "", 500, "", cache.Code, cache.Code},
		{"degraded", "GET", "", 200, "Stoa-Fallback: static", cache.Degraded, cache.Degraded},
		{"varies on all", "GET", "", 200, "Vary: *", cache.VaryAny, cache.VaryAny},
		{"HEAD", "HEAD", "", 200, "", cache.NoBody, cache.NoBody},
		{"POST", "POST", "", 200, "", cache.Method, cache.Method},
		{"no-store asked", "GET", "Cache-Control: no-store", 200, "", cache.NoReuse, cache.NoReuse},
		{"another host", "GET", "X-Forwarded-Host: evil", 200, "", cache.Unkeyed, cache.Unkeyed},
	} {
		r := &cache.Request{Method: c.method, Key: cache.Key{Host: "h", Target: "/"}, Fields: lines(c.request)}
		a := &cache.Answer{Status: c.code, Fields: lines(c.answer), Asked: start, Came: start}
		if keep, share := cache.Keepable(r, a), cache.Sharable(r, a); keep != c.keep || share != c.share {
			t.Errorf("%s: keep %v, share %v; want %v, %v", c.name, keep, share, c.keep, c.share)
		}
	}
}

// The last good answer is found for the same class and variant, within its age, and says how old it is.
func TestLastGood(t *testing.T) {
	g, room := cache.NewLastGood(cache.Bounds{}), cache.NewRoom(cache.Bounds{})
	at := func(s int64) int64 { return start + s*int64(time.Second) }
	request := func(class, head string) *cache.Request {
		return &cache.Request{Method: "GET", Key: cache.Key{Host: "catalog", Target: "/items?x"}, Class: class, Fields: lines(head)}
	}
	keep := func(r *cache.Request, head, body string, now int64) cache.Why {
		a := &cache.Answer{Status: 200, Fields: lines(head), Asked: now, Came: now}
		if w := g.Wants(r, a, 5*time.Minute); w != cache.OK {
			return w
		}
		rec := room.Record(cache.NewEntry(r, a))
		rec.Write([]byte(body))
		return g.Keep(rec.Finish())
	}
	if w := keep(request("orders", "Accept: a"), "Vary: Accept", "one", at(0)); w != cache.OK {
		t.Fatal(w)
	}
	for _, c := range []struct {
		name string
		r    *cache.Request
		now  int64
		want bool
	}{
		{"same", request("orders", "Accept: a"), at(37), true},
		{"at its age", request("orders", "Accept: a"), at(300), true},
		{"past its age", request("orders", "Accept: a"), at(300) + 1, false},
		{"another class", request("web", "Accept: a"), at(37), false},
		{"another variant", request("orders", "Accept: b"), at(37), false},
		{"with credentials", request("orders", "Accept: a\nAuthorization: x"), at(37), false},
		{"a part", request("orders", "Accept: a\nRange: bytes=0-0"), at(37), false},
		{"who wants nothing stored gets what is", request("orders", "Accept: a\nCache-Control: no-store"), at(37), true},
		{"no-cache is no reason to fail", request("orders", "Accept: a\nCache-Control: no-cache"), at(37), true},
		{"unsafe", &cache.Request{Method: "POST", Key: cache.Key{Host: "catalog", Target: "/items?x"}, Class: "orders", Fields: lines("Accept: a")}, at(37), false},
		{"HEAD", &cache.Request{Method: "HEAD", Key: cache.Key{Host: "catalog", Target: "/items?x"}, Class: "orders", Fields: lines("Accept: a")}, at(37), true},
	} {
		e := g.Find(c.r, 5*time.Minute, c.now)
		if (e != nil) != c.want {
			t.Errorf("%s: found %v, want %v", c.name, e != nil, c.want)
		}
	}
	e := g.Find(request("orders", "Accept: a"), 5*time.Minute, at(37))
	if got := e.Fallback(at(37)); got != "cached; age=37" {
		t.Errorf("mark %q", got)
	}
	if code, head, body := e.Answer(nil, request("orders", ""), at(37)); code != 200 || string(body) != "one" || head.Joined("Age") != "37" {
		t.Errorf("%d %v %q", code, head, body)
	}
	// It is kept warm, but not copied for every success.
	if w := keep(request("orders", "Accept: a"), "Vary: Accept", "two", at(1)-1); w != cache.Recent {
		t.Errorf("within the second: %v", w)
	}
	if w := keep(request("orders", "Accept: a"), "Vary: Accept", "two", at(1)); w != cache.OK {
		t.Errorf("after it: %v", w)
	}
	if e := g.Find(request("orders", "Accept: a"), 5*time.Minute, at(37)); string(e.Body()) != "two" || e.Status() != 200 {
		t.Errorf("then %d %q", e.Status(), e.Body())
	}
	if n, _ := g.Count(); n != 1 {
		t.Errorf("%d answers", n)
	}
	if room.Used() != 0 {
		t.Errorf("%d bytes are still being recorded", room.Used())
	}
}
