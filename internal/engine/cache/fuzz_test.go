package cache

import (
	"strings"
	"testing"
)

// Whatever Cache-Control says, reading it ends, numbers are in range, and a no-store that
// stands outside of quotes is never missed.
func FuzzCacheControl(f *testing.F) {
	for _, s := range []string{"", "max-age=60", "no-store", "private=\"a, b\", max-age = 5", "max-age=\"5\\\"\"", "x=\"", "a=b\"c, no-store\", max-age=1", ",,,=,", "max-age=99999999999999999999",
		"max-stale", "no-cache=\"Set-Cookie\" x, public", "\"no-store\"", strings.Repeat("a,", 100) + "no-store"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := parseControl(Fields{{"cache-control", s}})
		for _, n := range []int64{c.maxAge, c.sMaxAge, c.minFresh, c.maxStale, c.staleIfError, c.staleWhileRevalidate} {
			if n < absent || n > forever {
				t.Fatalf("%q: %d is out of range", s, n)
			}
		}
		if !c.said {
			t.Fatalf("%q: not said", s)
		}
		if !strings.ContainsAny(s, `"`) {
			// Without quotes the grammar is a split at commas: read it again so.
			for d := range strings.SplitSeq(s, ",") {
				name, _, _ := strings.Cut(d, "=")
				if strings.EqualFold(strings.Trim(name, " \t"), "no-store") && !c.noStore && !c.broken {
					t.Fatalf("%q: no-store was missed", s)
				}
			}
		}
		// A directive added in front or behind, on a line of its own, always counts.
		for _, f := range []Fields{{{"Cache-Control", "no-store"}, {"Cache-Control", s}}, {{"Cache-Control", s}, {"Cache-Control", "no-store"}}} {
			if d := parseControl(f); !d.noStore {
				t.Fatalf("%q: no-store on a line of its own was missed", s)
			}
		}
		// More directives make nothing storable for longer.
		d := parseControl(Fields{{"Cache-Control", "max-age=7"}, {"Cache-Control", s}})
		if d.maxAge > 7 {
			t.Fatalf("%q made max-age=7 %d", s, d.maxAge)
		}
	})
}

// Whatever heads say, nothing panics, and what may not be stored is not.
func FuzzHeads(f *testing.F) {
	f.Add("GET", "/a", "Accept: x\nIf-None-Match: \"a\"", 200, "Cache-Control: max-age=5\nVary: Accept\nETag: \"a\"\nAge: 3")
	f.Add("GET", "/?", "Cookie: a", 301, "Location: //h/x\nExpires: Tue, 24 Nov 2026 12:00:00 GMT\nSet-Cookie: x")
	f.Add("POST", "/a", "", 201, "Location: ../%zz?\nContent-Location: http://h")
	f.Add("HEAD", "x", "Range: bytes=0-", 304, "Vary: *\nDate: Tue Nov 24 12:01:00 2026")
	f.Fuzz(func(t *testing.T, method, target, request string, code int, answer string) {
		fields := func(s string) (f Fields) {
			for l := range strings.SplitSeq(s, "\n") {
				name, value, _ := strings.Cut(l, ":")
				f = append(f, Field{name, strings.TrimSpace(value)})
			}
			return f
		}
		s, c := New(Bounds{}), &Config{StaleIfError: MaxStale}
		r := &Request{Method: method, Key: Key{"h", target}, Fields: fields(request)}
		a := &Answer{Status: code, Fields: fields(answer), Asked: noon, Came: noon + 5}
		l := s.Look(c, r, noon)
		if l.Entry != nil || l.Use == Serve {
			t.Fatal("served from nothing")
		}
		taken := s.Take(c, r, &l, a)
		_, cookie := a.Fields.First("Set-Cookie")
		_, auth := r.Fields.First("Authorization")
		if ctl := parseControl(a.Fields); taken.Do == Record && (cookie || method != "GET" || code == 206 || ctl.private || ctl.noStore && !ctl.mustUnderstand ||
			auth && !ctl.public && ctl.sMaxAge < 0 && !ctl.mustRevalidate) {
			t.Fatalf("%s %q %q: %d %q is stored", method, target, request, code, answer)
		}
		e := NewEntry(r, a)
		rec := NewRoom(Bounds{}).Record(e)
		rec.Write([]byte("body"))
		if e = rec.Finish(); e != nil {
			for _, at := range []int64{0, noon, noon + 1<<60} {
				e.Answer(nil, r, at)
				if e.Age(at) < 0 {
					t.Fatalf("age %d", e.Age(at))
				}
			}
			if taken.Do == Record && s.Put(e) == OK {
				if l := s.Look(c, r, noon+5); l.Entry != e && l.asked.why == OK {
					t.Fatalf("%q %q: stored and not found", request, answer)
				}
				e.freshened(r, a)
			}
		}
		s.Invalidate(r, a, noon+9, nil)
	})
}

// An entity tag is found in a list only as a member of it.
func FuzzMatches(f *testing.F) {
	f.Add(`"a", W/"b"`, `"b"`)
	f.Add(`*`, ``)
	f.Add(`"a`, `"a`)
	f.Fuzz(func(t *testing.T, list, tag string) {
		if matches(list, tag) && strings.Trim(list, " \t") != "*" && !strings.Contains(list, strings.TrimPrefix(tag, "W/")) {
			t.Fatalf("%q has %q", list, tag)
		}
	})
}

// The quick comparison of variants is the slow one.
func FuzzVariant(f *testing.F) {
	f.Add("accept-encoding", "gzip, BR", "gzip,br", false)
	f.Add("x", "a , b", "a,b", true)
	f.Add("x", "\"a , b\"", "a", false)
	f.Add("x", " ", "", false)
	f.Add("x", " ,", ",", false)
	f.Fuzz(func(t *testing.T, name, a, b string, twice bool) {
		name = strings.ToLower(name)
		one, two := Fields{{name, a}}, Fields{{name, b}}
		if twice {
			one = append(one, Field{name, b})
		}
		for _, f := range []Fields{one, two, nil} {
			for _, g := range []Fields{one, two, nil} {
				want := variantOf(g, name)
				if got := isVariant(f, name, want); got != (variantOf(f, name) == want) {
					t.Fatalf("%q against %q: %v", f, want, got)
				}
			}
		}
	})
}

// Reading a request is allowed to allocate nothing, nor is a look-up.
func TestLookDoesNotAllocate(t *testing.T) {
	s, c := filled(10), &Config{}
	for _, target := range []string{"/items/5", "/none"} {
		r := &Request{Method: "GET", Key: Key{"shop", target}, Fields: browser}
		if n := testing.AllocsPerRun(100, func() { s.Look(c, r, noon+second) }); n != 0 {
			t.Errorf("%s: %v allocations", target, n)
		}
	}
}
