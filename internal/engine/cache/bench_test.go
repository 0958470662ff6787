package cache

import (
	"fmt"
	"testing"
)

// A browser's request on a cached route.
var browser = Fields{{"Host", "shop"}, {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"}, {"Accept", "text/html,application/xhtml+xml"}, {"Accept-Language", "en-US,en;q=0.5"},
	{"Accept-Encoding", "gzip, deflate, br"}, {"Connection", "keep-alive"}, {"Sec-Fetch-Mode", "navigate"}, {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}

func filled(n int) *Store {
	s := New(Bounds{})
	for i := range n {
		r := &Request{Method: "GET", Key: Key{"shop", fmt.Sprint("/items/", i)}, Fields: browser}
		a := &Answer{Status: 200, Fields: Fields{{"Cache-Control", "max-age=60"}, {"Vary", "Accept-Encoding"}, {"Content-Type", "text/html"}, {"Content-Length", "100"}, {"ETag", `"a"`}}, Asked: noon, Came: noon}
		rec := NewRoom(Bounds{}).Record(NewEntry(r, a))
		rec.Write(make([]byte, 100))
		s.Put(rec.Finish())
	}
	return s
}

func BenchmarkHit(b *testing.B) {
	s, c := filled(1000), &Config{}
	r := &Request{Method: "GET", Key: Key{"shop", "/items/500"}, Fields: browser}
	head := make(Fields, 0, 32)
	b.ReportAllocs()
	for b.Loop() {
		l := s.Look(c, r, noon+second)
		if l.Use != Serve {
			b.Fatal(l.Why)
		}
		l.Entry.Answer(head[:0], r, noon+second)
	}
}

func BenchmarkHitParallel(b *testing.B) {
	s, c := filled(1000), &Config{}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := &Request{Method: "GET", Key: Key{"shop", "/items/500"}, Fields: browser}
		head := make(Fields, 0, 32)
		for pb.Next() {
			l := s.Look(c, r, noon+second)
			l.Entry.Answer(head[:0], r, noon+second)
		}
	})
}

func BenchmarkMiss(b *testing.B) {
	s, c := filled(1000), &Config{}
	r := &Request{Method: "GET", Key: Key{"shop", "/none"}, Fields: browser}
	b.ReportAllocs()
	for b.Loop() {
		if l := s.Look(c, r, noon+second); l.Use != Forward {
			b.Fatal(l.Why)
		}
	}
}

func BenchmarkStore(b *testing.B) {
	s, c, room := filled(1000), &Config{}, NewRoom(Bounds{})
	r := &Request{Method: "GET", Key: Key{"shop", "/items/500"}, Fields: browser}
	a := &Answer{Status: 200, Fields: Fields{{"Cache-Control", "max-age=60"}, {"Vary", "Accept-Encoding"}, {"Content-Type", "text/html"}, {"Content-Length", "1000"}}, Asked: noon, Came: noon}
	body := make([]byte, 1000)
	b.ReportAllocs()
	for b.Loop() {
		l := Look{asked: r.read()}
		if s.Take(c, r, &l, a).Do != Record {
			b.Fatal("not stored")
		}
		rec := room.Record(NewEntry(r, a))
		rec.Write(body)
		s.Put(rec.Finish())
	}
}

func BenchmarkLastGoodRecent(b *testing.B) {
	g, room := NewLastGood(Bounds{}), NewRoom(Bounds{})
	r := &Request{Method: "GET", Key: Key{"shop", "/items/500"}, Fields: browser}
	a := &Answer{Status: 200, Fields: Fields{{"Content-Type", "text/html"}, {"Content-Length", "3"}}, Asked: noon, Came: noon}
	rec := room.Record(NewEntry(r, a))
	rec.Write([]byte("one"))
	g.Keep(rec.Finish())
	b.ReportAllocs()
	for b.Loop() {
		if w := g.Wants(r, a, 5*60*1e9); w != Recent {
			b.Fatal(w)
		}
	}
}
