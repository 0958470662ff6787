package flow

import (
	"strings"
	"testing"

	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// A browser keeps the cookie from scripts and from other sites, and brings it for the paths of its rule.
func TestCookieOfARule(t *testing.T) {
	credentials := snapshot.Policy{CORS: &snapshot.CORS{Origins: []string{"https://a.example"}, Credentials: true}}
	for _, c := range []struct {
		path   string
		kind   route.Kind
		policy snapshot.Policy
		plain  string
		secure string
	}{
		{"/orders", route.Prefix, snapshot.Policy{}, "; Path=/orders; HttpOnly; SameSite=Lax", "; Path=/orders; HttpOnly; SameSite=Lax; Secure"},
		{"/", route.Prefix, credentials, "; Path=/; HttpOnly; SameSite=Lax", "; Path=/; HttpOnly; SameSite=None; Secure"},
		{"/users/{id}/cart", route.Template, snapshot.Policy{}, "; Path=/users/; HttpOnly; SameSite=Lax", "; Path=/users/; HttpOnly; SameSite=Lax; Secure"},
		{"/{a}", route.Template, snapshot.Policy{}, "; Path=/; HttpOnly; SameSite=Lax", "; Path=/; HttpOnly; SameSite=Lax; Secure"},
		{"/a/b;v=1/c", route.Prefix, snapshot.Policy{}, "; Path=/a/; HttpOnly; SameSite=Lax", "; Path=/a/; HttpOnly; SameSite=Lax; Secure"},
	} {
		k := compileSticky(&route.Rule{Path: c.path, Kind: c.kind, Sticky: &route.Sticky{Issue: "at"}}, c.policy)
		if k.before != "at=" || k.plain != c.plain || k.secure != c.secure {
			t.Errorf("%s: %q %q, want %q %q", c.path, k.plain, k.secure, c.plain, c.secure)
		}
	}
	if compileSticky(&route.Rule{Path: "/", Sticky: &route.Sticky{Cookie: "a"}}, snapshot.Policy{}) != nil {
		t.Error("a cookie is issued where the service has one")
	}
}

// A seal tells nothing of its endpoint, and is no other's.
func TestSeals(t *testing.T) {
	seen := map[string]string{}
	for _, secret := range []string{"one", "two"} {
		for _, at := range [][2]string{{"u", "a"}, {"u", "b"}, {"v", "a"}, {"ua", ""}, {"", "ua"}} {
			seal := newSealer([]byte(secret), at[0]).of(at[1])
			who := secret + " " + strings.Join(at[:], "/")
			if len(seal) != sealLength || seen[seal] != "" {
				t.Errorf("%s has the seal %q of %s", who, seal, seen[seal])
			}
			seen[seal] = who
		}
	}
}

// The skew is the share of the busiest over the even one, and old requests are forgotten.
func TestSkew(t *testing.T) {
	eps := []*Endpoint{{}, {}, {}, {}}
	if got := skew(eps); got != 0 {
		t.Errorf("without requests: %v", got)
	}
	for i, n := range []int64{30, 30, 30, 30} {
		eps[i].stuck.Store(n)
	}
	if got := skew(eps); got != 1 {
		t.Errorf("even: %v", got)
	}
	for i, n := range []int64{97, 1, 1, 1} {
		eps[i].stuck.Store(n)
	}
	if got := skew(eps); got != 3.88 {
		t.Errorf("nearly all at one: %v", got)
	}
	for range 60 {
		skew(eps)
	}
	if n := eps[0].stuck.Load(); n != 0 {
		t.Errorf("%d are remembered for a minute", n)
	}
}

// What leads back costs no allocation, and little.
func BenchmarkStickyBack(b *testing.B) {
	rule := route.Rule{Name: "all", Path: "/", Upstream: "u", Sticky: &route.Sticky{Issue: "at"}}
	p := New(Options{})
	err := p.Swap(&snapshot.Snapshot{
		Listeners: map[string]snapshot.Listener{"in": {Caller: "web", Protocol: snapshot.HTTP, Routes: []route.Rule{rule}}},
		Upstreams: map[string]snapshot.Upstream{"u": {Protocol: snapshot.HTTP1}},
	})
	if err != nil {
		b.Fatal(err)
	}
	p.SetEndpoints("u", []snapshot.Endpoint{{ID: "a"}, {ID: "b"}, {ID: "c"}})
	req := said{"Cookie": "at=" + p.pool("u").set.Load().seals[1]}
	var x Exchange
	b.ReportAllocs()
	for b.Loop() {
		arrive(b, &x, p, "in", req)
		if e, _ := x.Take(AtOnce); e == nil || e.ID != "b" {
			b.Fatal(e)
		}
		x.Finish()
	}
}
