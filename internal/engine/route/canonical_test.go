package route

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	pathBytes = regexp.MustCompile(`^/([!-\[\]-~]|%[0-9A-F]{2})*$`)
	needless  = regexp.MustCompile(`%(00|2D|2E|5F|7E|3[0-9]|[46][1-9A-F]|[57][0-9A])|[?#]`)
	broken    = regexp.MustCompile(`%([^0-9A-F]|.[^0-9A-F]|.?$)`)
)

// plainlyCanonical reads the words of Canonical.
func plainlyCanonical(raw string) bool {
	if !pathBytes.MatchString(raw) || needless.MatchString(raw) || broken.MatchString(raw) {
		return false
	}
	segs := strings.Split(raw[1:], "/")
	return !slices.Contains(segs, ".") && !slices.Contains(segs, "..") && !slices.Contains(segs[:len(segs)-1], "")
}

// A canonical path reads the same to everybody: to the definition, and to net/url.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"", "/", "/a", "/a/", "//", "/a/.", "/..", "/.a", "/a.", "/a/..b/", "/%2F", "/%2f", "/%41", "/%", "/a%2", "/\\", "/\x80", "/a b", "/%00", "/%7E", "/{x}", "/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		err := Canonical(raw)
		if (err == nil) != plainlyCanonical(raw) {
			t.Errorf("Canonical(%q) = %v, by definition %v", raw, err, plainlyCanonical(raw))
		}
		spelt := Spelt(raw)
		if len(spelt) != len(raw) || Spelt(spelt) != spelt || Canonical(raw) == nil && spelt != raw {
			t.Errorf("Spelt(%q) = %q", raw, spelt)
		}
		if err != nil {
			return
		}
		u, perr := url.ParseRequestURI(raw)
		if perr != nil || u.RawQuery != "" || u.Host != "" {
			t.Fatalf("%q is canonical, and to net/url %+v, %v", raw, u, perr)
		}
		if decoded := unescapePath(raw); u.Path != decoded {
			t.Errorf("%q: net/url reads %q, we %q", raw, u.Path, decoded)
		}
	})
}

func unescapePath(s string) string {
	return plainUnescape(strings.ReplaceAll(s, "+", "%2B"))
}

func BenchmarkCanonical(b *testing.B) {
	for _, c := range []struct{ name, path string }{
		{"30 bytes", "/api/v1/orders/12345/items/678"},
		{"30 bytes, escape", "/api/v1/orders/a%2Fb/items/678"},
		{"100 bytes", "/" + strings.Repeat("segments/", 11)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if Canonical(c.path) != nil {
					b.Fatal("not canonical")
				}
			}
		})
		b.Run(c.name+", Spelt", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if Spelt(c.path) == "" {
					b.Fatal("empty")
				}
			}
		})
	}
}

func TestCleanHost(t *testing.T) {
	for host, want := range map[string]string{
		"": "", "a": "a", "A.b:80": "a.b", "a.b.": "a.b", "a.b.:80": "a.b", "[::1]:80": "::1", "[::1]": "::1", "[": "[", ":80": "",
	} {
		if got := CleanHost(host); got != want {
			t.Errorf("CleanHost(%q) = %q, want %q", host, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { CleanHost("shop.example.:8080") }); n != 0 {
		t.Errorf("a lower-case host costs %g allocations", n)
	}
}

// What browsers and curl send and has one reading passes; what is read in two ways does not.
func TestWhatBrowsersSend(t *testing.T) {
	for _, path := range []string{"/a|b", "/a^b", "/a[b]", "/a'b", "/caf%c3%a9", "/a%2fb", "/a%5cb", `/a"b`, "/a{b}", "/a<b>", "/a`b"} {
		if err := Canonical(Spelt(path)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{`/a\b`, "/a%", "/a%zz", "/a%00", "/caf\xc3\xa9", "/a b", "/a\x01"} {
		if Canonical(Spelt(path)) == nil {
			t.Errorf("%q passes", path)
		}
	}
}
