package certs_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/certs"
)

func TestRedirect(t *testing.T) {
	for _, c := range []struct {
		host, target string
		port         int
		want         string // "": refused
	}{
		{"shop.example", "/", 443, "https://shop.example/"},
		{"shop.example:80", "/a%2Fb?x=1;y&z=%25", 443, "https://shop.example/a%2Fb?x=1;y&z=%25"},
		{"shop.example:8080", "/a", 8443, "https://shop.example:8443/a"},
		{"Shop.Example.", "//evil.example/", 443, "https://Shop.Example.//evil.example/"},
		{"127.0.0.1:8080", "/", 8443, "https://127.0.0.1:8443/"},
		{"[::1]:8080", "/", 8443, "https://[::1]:8443/"},
		{"[::1]", "/", 443, "https://[::1]/"},
		{"shop.example:", "/", 443, "https://shop.example/"},
		{"", "/", 443, ""},
		{"shop.example", "", 443, ""},
		{"shop.example", "*", 443, ""},
		{"shop.example", "http://evil.example/", 443, ""},
		{"shop.example", "/a b", 443, ""},
		{"shop.example", "/a\r\nX: y", 443, ""},
		{"shop.example", "/a\x00", 443, ""},
		{"shop.example", "/\\evil.example", 443, ""},
		{"shop.example", "/\xc3\xa4", 443, ""},
		{"shop.example", "/a#b", 443, ""},
		{"shop.example", "/", 0, ""},
		{"shop.example", "/", 65536, ""},
		{"user@evil.example", "/", 443, ""},
		{"evil.example/", "/", 443, ""},
		{"evil.example?", "/", 443, ""},
		{"a\r\nb", "/", 443, ""},
		{"shop.example:80:80", "/", 443, ""},
		{"shop.example:8o", "/", 443, ""},
		{"::1", "/", 443, ""},
		{"[::1", "/", 443, ""},
		{"[fe80::1%25eth0]", "/", 443, ""},
		{"[127.0.0.1]", "/", 443, ""},
		{"127.1", "/", 443, ""},
	} {
		got, ok := certs.Redirect(c.host, c.target, c.port)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("Redirect(%q, %q, %d) = %q, %v; want %q", c.host, c.target, c.port, got, ok, c.want)
		}
	}
}

// Whatever comes in, a location leads to the host that was asked for, with the target as it was.
func FuzzRedirect(f *testing.F) {
	f.Add("shop.example:80", "/a?b", 443)
	f.Add("[::1]:1", "//x", 8443)
	f.Add("127.0.0.1", "/%zz", 8443)
	f.Fuzz(func(t *testing.T, host, target string, port int) {
		got, ok := certs.Redirect(host, target, port)
		if !ok {
			if got != "" {
				t.Fatalf("refused, and yet %q", got)
			}
			return
		}
		if strings.ContainsAny(got, "\r\n\x00 \t\\#") {
			t.Fatalf("Redirect(%q, %q) = %q", host, target, got)
		}
		if !strings.HasSuffix(got, target) {
			t.Fatalf("Redirect(%q, %q) = %q: the target has changed", host, target, got)
		}
		u, err := url.Parse(strings.TrimSuffix(got, target))
		if err != nil || u.Scheme != "https" || u.User != nil || u.Path != "" {
			t.Fatalf("Redirect(%q, %q) = %q: %v", host, target, got, err)
		}
		if h := u.Hostname(); !strings.HasPrefix(strings.TrimPrefix(host, "["), h) {
			t.Fatalf("Redirect(%q, %q) = %q leads to %q", host, target, got, h)
		}
	})
}

func TestHSTS(t *testing.T) {
	year := 365 * 24 * time.Hour
	for _, c := range []struct {
		h    certs.HSTS
		host string
		want string
		bad  string // fields
	}{
		{certs.HSTS{}, "shop.example", "", ""},
		{certs.HSTS{MaxAge: time.Hour}, "shop.example:8443", "max-age=3600", ""},
		{certs.HSTS{MaxAge: year, Subdomains: true}, "shop.example", "max-age=31536000; includeSubDomains", ""},
		{certs.HSTS{MaxAge: year, Subdomains: true, Preload: true}, "shop.example", "max-age=31536000; includeSubDomains; preload", ""},
		{certs.HSTS{MaxAge: year}, "localhost:8443", "", ""},
		{certs.HSTS{MaxAge: year}, "a.LOCALHOST.", "", ""},
		{certs.HSTS{MaxAge: year}, "127.0.0.1", "", ""},
		{certs.HSTS{MaxAge: year}, "[::1]:8443", "", ""},
		{certs.HSTS{MaxAge: year}, "", "", ""},
		{certs.HSTS{MaxAge: -time.Hour}, "shop.example", "", "maxAge"},
		{certs.HSTS{MaxAge: 3 * year}, "", "", "maxAge"},
		{certs.HSTS{MaxAge: time.Millisecond}, "shop.example", "", "maxAge"},
		{certs.HSTS{Subdomains: true, Preload: true}, "shop.example", "", "subdomains preload"},
		{certs.HSTS{MaxAge: year, Preload: true}, "", "", "preload"},
	} {
		if got := c.h.Value(c.host); got != c.want {
			t.Errorf("%+v for %q: %q, want %q", c.h, c.host, got, c.want)
		}
		var bad []string
		c.h.Check(func(path, _, hint string) { bad = append(bad, path) })
		if got := strings.Join(bad, " "); got != c.bad {
			t.Errorf("%+v: problems at %q, want %q", c.h, got, c.bad)
		}
	}
}
