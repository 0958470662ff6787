package proxytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/balance"
	"stoa/internal/engine/cache"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// testSticky: a cookie leads back to the instance that answered, as long as that is good.
func testSticky(t *testing.T, open func(proxy.Options) Engine) {
	rule := route.Rule{Name: "all", Path: "/", Upstream: "svc", Sticky: &route.Sticky{Issue: "at", Lasts: time.Hour}}
	even := upstream(func(u *snapshot.Upstream) { u.Balance.By = balance.RoundRobin })
	names := func(i int, w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, i) }
	// visit is one request with a cookie, "" for none; it gives the cookie to bring next.
	visit := func(t *testing.T, b *bench, cookie string) (next, who string, line []string) {
		t.Helper()
		lines := ""
		if cookie != "" {
			lines = "Cookie: theme=dark; at=" + cookie + "; x=1\r\n"
		}
		code, h, who := ask(t, b.edge, "GET", lines, "")
		if code != 200 {
			t.Fatalf("status %d %s", code, who)
		}
		line = h.Values("Set-Cookie")
		next = cookie
		for _, l := range line {
			if rest, ok := strings.CutPrefix(l, "at="); ok {
				next, _, _ = strings.Cut(rest, ";")
			}
		}
		return next, who, line
	}
	t.Run("who comes back meets the same instance", func(t *testing.T) {
		b := newBench(t, open, rules(rule), even)
		b.fleet(4, names)
		met := map[string]bool{}
		for range 8 {
			cookie, first, line := visit(t, b, "")
			if len(line) != 1 || !strings.HasSuffix(line[0], "; Path=/; HttpOnly; Max-Age=3600; SameSite=Lax") || len(cookie) != 22 {
				t.Fatalf("given %q", line)
			}
			met[first] = true
			for range 5 {
				next, who, line := visit(t, b, cookie)
				if who != first || next != cookie || len(line) != 0 {
					t.Fatalf("%s, then %s, given %q", first, who, line)
				}
			}
		}
		if len(met) != 4 {
			t.Errorf("%d of 4 instances were met", len(met))
		}
		if kept, made := b.total("stoa_proxy_sticky_total", "upstream=svc", "outcome=kept"), b.total("stoa_proxy_sticky_total", "outcome=new"); kept != 40 || made != 8 {
			t.Errorf("%v kept, %v new", kept, made)
		}
		eventually(t, "the skew is shown", func() bool {
			b.Look()
			skew := b.total("stoa_proxy_sticky_skew", "upstream=svc")
			return skew >= 1 && skew < 1.5
		})
	})
	t.Run("by HTTP/2", func(t *testing.T) {
		for _, to := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
			b := newBench(t, open, rules(rule), even, protocol(to))
			b.fleet(3, names)
			c := client(t, true)
			_, first, h := get(t, c, "http://"+b.edge+"/")
			line := h.Get("Set-Cookie")
			if !strings.HasPrefix(line, "at=") || !strings.HasSuffix(line, "; HttpOnly; Max-Age=3600; SameSite=Lax") {
				t.Fatalf("%s: given %q", to, line)
			}
			value, _, _ := strings.Cut(line, ";")
			for range 5 {
				req, _ := http.NewRequest("GET", "http://"+b.edge+"/", nil)
				req.Header.Set("Cookie", value)
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				who, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(who) != first || resp.Header.Get("Set-Cookie") != "" {
					t.Fatalf("%s: %s, then %s, given %q", to, first, who, resp.Header.Get("Set-Cookie"))
				}
			}
		}
	})
	t.Run("a cookie that nobody gave is none", func(t *testing.T) {
		b := newBench(t, open, rules(rule), even)
		b.fleet(2, names)
		good, _, _ := visit(t, b, "")
		for _, forged := range []string{"svc-0", "0", strings.Repeat("A", 22), good[:21] + "!", good + "A", strings.ToUpper(good), "\"" + good + "\""} {
			if next, _, line := visit(t, b, forged); forged != good && (len(line) != 1 || next == forged) {
				t.Errorf("%q was taken", forged)
			}
		}
	})
	t.Run("an instance that is gone", func(t *testing.T) {
		b := newBench(t, open, rules(rule), even)
		eps := b.fleet(3, names)
		cookie, first, _ := visit(t, b, "")
		var left []snapshot.Endpoint
		for i, e := range eps {
			if fmt.Sprint(i) != first {
				left = append(left, e)
			}
		}
		b.SetEndpoints("svc", left)
		next, second, line := visit(t, b, cookie)
		if second == first || len(line) != 1 || next == cookie {
			t.Fatalf("%s, then %s, given %q", first, second, line)
		}
		for range 4 {
			if _, who, line := visit(t, b, next); who != second || len(line) != 0 {
				t.Fatalf("%s, then %s", second, who)
			}
		}
		if n := b.total("stoa_proxy_sticky_total", "outcome=new"); n != 2 { // of a seal that no endpoint has it cannot be told
			t.Errorf("%v new", n)
		}
	})
	t.Run("an instance that fails", func(t *testing.T) {
		repeated := func(s *snapshot.Snapshot) { // of an answer, at the gateway, where that is declared
			policy(snapshot.Policy{Retry: retry.Config{Attempts: 2}})(s)
			r := rule
			r.Policy = "p"
			rules(r)(s)
		}
		b := newBench(t, open, repeated, even)
		var bad atomic.Int64
		bad.Store(-1)
		b.fleet(3, func(i int, w http.ResponseWriter, r *http.Request) {
			if bad.Load() == int64(i) {
				w.WriteHeader(503)
			}
			fmt.Fprint(w, i)
		})
		cookie, first, _ := visit(t, b, "")
		var i int64
		fmt.Sscan(first, &i)
		bad.Store(i)
		// The answer is another's from the first time on, since the failure is repeated elsewhere; and
		// once it is ejected, it is not even asked.
		eventually(t, "it is ejected", func() bool {
			if _, who, line := visit(t, b, cookie); who == first || len(line) != 1 {
				t.Fatalf("%s answered, given %q", who, line)
			}
			return b.total("stoa_proxy_ejections_total", "upstream=svc") == 1
		})
		retries := b.total("stoa_proxy_retries_total")
		for range 5 {
			visit(t, b, cookie)
		}
		if n := b.total("stoa_proxy_retries_total"); n != retries {
			t.Errorf("it was asked %v times though it is ejected", n-retries)
		}
		if b.total("stoa_proxy_sticky_total", "outcome=moved") < 6 {
			t.Error("moves were not counted")
		}
	})
	t.Run("an instance that refuses connections", func(t *testing.T) {
		b := newBench(t, open, rules(rule), even)
		eps := b.fleet(2, names)
		cookie, first, _ := visit(t, b, "")
		for i := range eps {
			if fmt.Sprint(i) == first {
				eps[i].Address = "127.0.0.1:1" // the same id: the cookie names it
			}
		}
		b.SetEndpoints("svc", eps)
		if next, who, _ := visit(t, b, cookie); who == first || next == cookie {
			t.Errorf("%s answered", who)
		}
	})
	t.Run("the side of a split", func(t *testing.T) {
		shape := func(weights ...int) shape {
			split := route.Rule{Name: "all", Path: "/", Sticky: &route.Sticky{Issue: "at"}}
			return func(s *snapshot.Snapshot) {
				for i, w := range weights {
					name := fmt.Sprint("v", i)
					s.Upstreams[name] = snapshot.Upstream{Protocol: snapshot.HTTP1}
					split.Split = append(split.Split, route.Weighted{Upstream: name, Weight: w})
				}
				rules(split)(s)
			}
		}
		b := newBench(t, open, shape(50, 50))
		for i := range 2 {
			b.SetEndpoints(fmt.Sprint("v", i), []snapshot.Endpoint{endpoint(fmt.Sprint("v", i), server(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, i) }))})
		}
		cookies := map[string]string{}
		eventually(t, "both sides are met", func() bool {
			cookie, who, _ := visit(t, b, "")
			cookies[who] = cookie
			return len(cookies) == 2
		})
		for who, cookie := range cookies {
			for range 6 {
				if _, got, _ := visit(t, b, cookie); got != who {
					t.Fatalf("%s, then %s", who, got)
				}
			}
		}
		if err := b.Swap(usual(shape(100, 0))); err != nil {
			t.Fatal(err)
		}
		if next, got, line := visit(t, b, cookies["1"]); got != "0" || next != cookies["0"] || len(line) != 1 {
			t.Errorf("a side without weight: %s answered, given %q", got, line)
		}
	})
	t.Run("after a start, and at another gateway", func(t *testing.T) {
		eps, secret := []snapshot.Endpoint(nil), []byte("0123456789abcdef0123456789abcdef")
		var cookie, first string
		for range 3 {
			b := newBench(t, open, rules(rule), even)
			b.SetSecret(secret)
			if eps == nil {
				eps = b.fleet(4, names)
				cookie, first, _ = visit(t, b, "")
			}
			b.SetEndpoints("svc", eps)
			for range 6 {
				if _, who, line := visit(t, b, cookie); who != first || len(line) != 0 {
					t.Fatalf("%s, then %s", first, who)
				}
			}
			b.SetSecret([]byte("another"))
			if _, _, line := visit(t, b, cookie); len(line) != 1 {
				t.Error("the cookie of another secret was taken")
			}
		}
	})
	t.Run("a kept answer brings none", func(t *testing.T) {
		cached := rule
		cached.Policy = "p"
		b := newBench(t, open, rules(cached), even, func(s *snapshot.Snapshot) {
			s.Policies = map[string]snapshot.Policy{"p": {Cache: &cache.Config{}}}
		})
		b.fleet(2, func(i int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=600")
			fmt.Fprint(w, i)
		})
		_, who, line := visit(t, b, "")
		if len(line) != 1 {
			t.Errorf("given %q", line)
		}
		if _, again, line := visit(t, b, ""); again != who || len(line) != 0 {
			t.Errorf("%s, then %s, given %q", who, again, line)
		}
	})
}
