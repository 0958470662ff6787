package route

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLocation(t *testing.T) {
	for _, c := range []struct {
		claim             string
		rule              Rule
		host, path, query string
		want              string
	}{
		{"to https", Rule{Path: "/", Redirect: &Redirect{Scheme: "https"}}, "shop.example:8080", "/a%2Fb", "x=1", "https://shop.example/a%2Fb?x=1"},
		{"to https, another port", Rule{Path: "/", Redirect: &Redirect{Scheme: "https", Port: 8443}}, "[::1]:8080", "/", "", "https://[::1]:8443/"},
		{"the usual port", Rule{Path: "/", Redirect: &Redirect{Scheme: "https", Port: 443}}, "a", "/", "", "https://a/"},
		{"another host", Rule{Path: "/", Redirect: &Redirect{Host: "new.example"}}, "old.example", "/a", "", "//new.example/a"},
		{"another path", Rule{Path: "/old", Redirect: &Redirect{Path: "/new"}}, "a", "/old/x", "y", "/new?y"},
		{"a prefix moved", Rule{Path: "/old", Rewrite: "/new", Redirect: &Redirect{}}, "a", "/old/x", "", "/new/x"},
		{"a prefix taken away", Rule{Path: "/old/", StripPrefix: true, Redirect: &Redirect{Scheme: "http", Host: "b"}}, "a", "/old", "", "http://b/"},
		{"variables", Rule{Path: "/o/{id}/{p...}", Kind: Template, Redirect: &Redirect{Path: "/p/{p}/of/{id}"}}, "a", "/o/1/x/y", "", "/p/x/y/of/1"},
		{"a host that ends the authority", Rule{Path: "/", Redirect: &Redirect{Scheme: "https"}}, "a/b", "/", "", ""},
		{"no host", Rule{Path: "/", Redirect: &Redirect{Scheme: "https"}}, "", "/", "", ""},
	} {
		c.rule.Name = "r"
		h := compile(t, c.rule).Match("", "GET", c.path)
		if h.Rule == nil {
			t.Fatalf("%s: no match", c.claim)
		}
		if got, ok := h.Location(c.host, c.path, c.query); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %v, want %q", c.claim, got, ok, c.want)
		}
	}
}

// A redirect that leads to itself is reported, unless another rule takes what it leads to.
func TestCircle(t *testing.T) {
	moved := Rule{Name: "moved", Path: "/", Redirect: &Redirect{Path: "/app"}}
	_, conflicts := Compile([]Rule{moved})
	if len(conflicts) != 1 || !strings.Contains(conflicts[0].Error(), "GET / leads to /app") {
		t.Errorf("alone: %v", conflicts)
	}
	compile(t, moved, up("app", "/app", Prefix))
	moved.Redirect = &Redirect{Scheme: "https"}
	compile(t, moved)
}

func TestChoose(t *testing.T) {
	r := Rule{Name: "orders", Split: []Weighted{{"v1", 90}, {"v2", 10}, {"v0", 0}}}
	count := [3]int{}
	var chosen []int
	for hash := range uint64(20000) {
		i := r.Choose(hash)
		if i != r.Choose(hash) {
			t.Fatalf("hash %d changed its side", hash)
		}
		count[i]++
		chosen = append(chosen, i)
	}
	if count[0] < 17700 || count[0] > 18300 || count[2] != 0 {
		t.Errorf("90, 10, 0 give %v of 20000", count)
	}
	r.Split = []Weighted{{"v1", 50}, {"v2", 50}}
	other := r
	other.Name = "carts"
	together := 0
	for hash := range uint64(20000) {
		if i := r.Choose(hash); i == 0 && chosen[hash] == 1 {
			t.Fatalf("hash %d went back to v1 when v2 got more weight", hash)
		} else if i == other.Choose(hash) {
			together++
		}
	}
	if together < 9500 || together > 10500 {
		t.Errorf("two rules chose the same side %d times of 20000, want about half", together)
	}
	if i := (&Rule{}).Choose(1); i != -1 {
		t.Errorf("without a split: %d", i)
	}
}

func TestMirrorTakes(t *testing.T) {
	m := &Mirror{Upstream: "shadow", Percent: 5}
	n := 0
	for hash := range uint64(20000) {
		if m.Takes("GET", hash) {
			n++
		}
	}
	if n < 850 || n > 1150 {
		t.Errorf("5 %% of 20000 are %d", n)
	}
	m.Percent = 100
	if !m.Takes("HEAD", 3) || m.Takes("POST", 3) {
		t.Error("want HEAD copied, POST not")
	}
	m.Unsafe = true
	if !m.Takes("POST", 3) || (*Mirror)(nil).Takes("GET", 1) {
		t.Error("want POST copied when unsafe, nothing without a mirror")
	}
}

func TestStickyKey(t *testing.T) {
	for _, c := range []struct {
		s    *Sticky
		f    Field
		want string
	}{
		{&Sticky{Header: "X-User"}, Field{"x-user", "ann"}, "ann"},
		{&Sticky{Header: "X-User"}, Field{"X-User", ""}, ""},
		{&Sticky{Cookie: "s"}, Field{"Cookie", "a=b; s=1=2; s=3"}, "1=2"},
		{&Sticky{Cookie: "s"}, Field{"Cookie", "ss=1;s=2 "}, "2"},
		{&Sticky{Cookie: "s"}, Field{"Cookie", "s; s"}, ""},
		{&Sticky{Cookie: "s"}, Field{"X", "s=1"}, ""},
		{nil, Field{"Cookie", "s=1"}, ""},
	} {
		if got, ok := c.s.Key(&Sample{Headers: []Field{c.f}}); got != c.want || ok != (c.want != "") {
			t.Errorf("%+v of %+v: %q, %v, want %q", c.s, c.f, got, ok, c.want)
		}
	}
}

func TestDrops(t *testing.T) {
	e := &Edits{Set: []Field{{"X-A", "1"}}, Add: []Field{{"X-B", "1"}}, Remove: []string{"x-c"}}
	for name, want := range map[string]bool{"x-a": true, "X-B": false, "X-C": true, "X": false} {
		if e.Drops(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestUpstreams(t *testing.T) {
	r := Rule{Split: []Weighted{{"a", 1}, {"b", 0}}, Mirror: &Mirror{Upstream: "c", Percent: 1}}
	if got := r.Upstreams(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%v", got)
	}
}

func TestCheckActions(t *testing.T) {
	u := func(f func(*Rule)) Rule {
		r := Rule{Name: "r", Path: "/a", Upstream: "u"}
		f(&r)
		return r
	}
	edit := func(name string) Rule {
		return u(func(r *Rule) { r.Request = &Edits{Set: []Field{{name, "1"}}} })
	}
	for _, c := range []struct {
		claim string
		rule  Rule
		want  string // field, "" for nothing wrong
	}{
		{"all that goes with an upstream", u(func(r *Rule) {
			r.Request, r.Answer = &Edits{Remove: []string{"X-A"}}, &Edits{Add: []Field{{"Set-Cookie", "a=b"}, {"Set-Cookie", "c=d"}}}
			r.Mirror, r.Sticky, r.Policy = &Mirror{Upstream: "m", Percent: 0.1}, &Sticky{Cookie: "s"}, "p"
		}), ""},
		{"upstream and split", u(func(r *Rule) { r.Split = []Weighted{{"v", 1}} }), "upstream"},
		{"upstream and redirect", u(func(r *Rule) { r.Redirect = &Redirect{Path: "/b"} }), "upstream"},
		{"no weight", u(func(r *Rule) { r.Upstream, r.Split = "", []Weighted{{"v", 0}} }), "split"},
		{"negative weight", u(func(r *Rule) { r.Upstream, r.Split = "", []Weighted{{"v", 2}, {"w", -1}} }), "split[1].weight"},
		{"one side twice", u(func(r *Rule) { r.Upstream, r.Split = "", []Weighted{{"v", 2}, {"v", 1}} }), "split[1].upstream"},
		{"scheme", u(func(r *Rule) { r.Upstream, r.Redirect = "", &Redirect{Scheme: "javascript"} }), "redirect.scheme"},
		{"host with port", u(func(r *Rule) { r.Upstream, r.Redirect = "", &Redirect{Host: "a:1"} }), "redirect.host"},
		{"port", u(func(r *Rule) { r.Upstream, r.Redirect = "", &Redirect{Port: 65536} }), "redirect.port"},
		{"code", u(func(r *Rule) { r.Upstream, r.Redirect = "", &Redirect{Path: "/b", Code: 200} }), "redirect.code"},
		{"path to another host", u(func(r *Rule) { r.Upstream, r.Redirect = "", &Redirect{Path: "//b"} }), "redirect.path"},
		{"relaxed redirect", u(func(r *Rule) { r.Upstream, r.Redirect, r.Relaxed = "", &Redirect{Path: "/b"}, true }), "relaxed"},
		{"mirror of a redirect", u(func(r *Rule) {
			r.Upstream, r.Redirect, r.Mirror = "", &Redirect{Path: "/b"}, &Mirror{Upstream: "m", Percent: 1}
		}), "mirror"},
		{"0 percent", u(func(r *Rule) { r.Mirror = &Mirror{Upstream: "m"} }), "mirror.percent"},
		{"sticky by nothing", u(func(r *Rule) { r.Sticky = &Sticky{} }), "sticky"},
		{"sticky by both", u(func(r *Rule) { r.Sticky = &Sticky{Cookie: "a", Header: "b"} }), "sticky"},
		{"sticky by a key and a cookie of ours", u(func(r *Rule) { r.Sticky = &Sticky{Header: "a", Issue: "b"} }), "sticky"},
		{"a cookie of ours", u(func(r *Rule) { r.Sticky = &Sticky{Issue: "b", Lasts: time.Hour} }), ""},
		{"a cookie of which browsers want more", u(func(r *Rule) { r.Sticky = &Sticky{Issue: "__Host-b"} }), "sticky.issue"},
		{"the service's cookie lasts", u(func(r *Rule) { r.Sticky = &Sticky{Cookie: "b", Lasts: time.Hour} }), "sticky.lasts"},
		{"longer than browsers keep it", u(func(r *Rule) { r.Sticky = &Sticky{Issue: "b", Lasts: 401 * 24 * time.Hour} }), "sticky.lasts"},
		{"value that breaks the head", u(func(r *Rule) { r.Answer = &Edits{Add: []Field{{"X", "a\r\nb"}}} }), "answer.add[0].value"},
		{"set twice", u(func(r *Rule) { r.Answer = &Edits{Set: []Field{{"X", "a"}, {"x", "b"}}} }), "answer.set[1].name"},
		{"set and removed", u(func(r *Rule) { r.Answer = &Edits{Set: []Field{{"X", "a"}}, Remove: []string{"x"}} }), "answer.remove[0]"},
		{"name with a space", edit("X A"), "request.set[0].name"},
		{"framing", edit("content-length"), "request.set[0].name"},
		{"framing in another spelling", edit("Transfer_Encoding"), "request.set[0].name"},
		{"one connection", edit("Connection"), "request.set[0].name"},
		{"host", edit("HOST"), "request.set[0].name"},
		{"who calls", edit("X_Forwarded-For"), "request.set[0].name"},
		{"ours", edit("Stoa-Reason"), "request.set[0].name"},
		{"the trace", edit("Traceparent"), "request.set[0].name"},
	} {
		var got []string
		c.rule.Check(func(path, text, hint string) { got = append(got, path) })
		if c.want == "" && len(got) > 0 || c.want != "" && !slices.Contains(got, c.want) {
			t.Errorf("%s: told of %v, want %q", c.claim, got, c.want)
		}
	}
}
