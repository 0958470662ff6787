package cache_test

import (
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/cache"
)

// start is Tue, 24 Nov 2026 12:00:00 GMT, when all tests begin.
var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).UnixNano()

func date(after int64) string {
	return time.Unix(0, start).Add(time.Duration(after) * time.Second).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
}

// lines reads "Name: value" per line.
func lines(s string) cache.Fields {
	var f cache.Fields
	for l := range strings.SplitSeq(s, "\n") {
		if name, value, ok := strings.Cut(l, ":"); ok {
			f = append(f, cache.Field{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
		}
	}
	return f
}

// made is an answer of the service.
type made struct {
	code int
	head string
	body string
	down bool // there is no answer at all
}

// given is what a caller gets.
type given struct {
	code   int
	body   string
	head   cache.Fields
	status string // Cache-Status
}

// world is a proxy as the package comment draws it, in front of a service that is a func.
type world struct {
	t       *testing.T
	c       cache.Config
	s       *cache.Store
	room    *cache.Room
	host    string
	class   string
	now     int64
	asked   int          // how often the service was
	last    cache.Fields // what it was asked with
	service func(method, target string, f cache.Fields) made
	refresh func() // left by a stale answer that is to be refreshed
}

func newWorld(t *testing.T, answers ...made) *world {
	w := &world{t: t, s: cache.New(cache.Bounds{}), room: cache.NewRoom(cache.Bounds{}), host: "shop", now: start}
	w.service = func(string, string, cache.Fields) made {
		if len(answers) == 0 {
			return made{code: 200, body: "unexpected"}
		}
		a := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		return a
	}
	return w
}

func (w *world) after(seconds int64) *world { w.now = start + seconds*int64(time.Second); return w }

func (w *world) get(target, head string) given { return w.ask("GET", target, head) }

func (w *world) ask(method, target, head string) given {
	w.t.Helper()
	r := &cache.Request{Method: method, Key: cache.Key{Host: w.host, Target: target}, Class: w.class, Fields: lines(head)}
	l := w.s.Look(&w.c, r, w.now)
	st := cache.Status{Forwarded: l.Why}
	switch l.Use {
	case cache.Refuse:
		return given{code: 504}
	case cache.Serve:
		if l.Refresh {
			w.refresh = func() {
				get := *r
				get.Method = "GET"
				w.forward(&get, &l, &st)
			}
		}
		st.Hit, st.Entry = true, l.Entry
		return w.give(l.Entry, r, st)
	}
	return w.forward(r, &l, &st)
}

func (w *world) forward(r *cache.Request, l *cache.Look, st *cache.Status) given {
	w.t.Helper()
	out := append(cache.Fields(nil), r.Fields...)
	if c := l.Conditions(nil); len(c) > 0 {
		out = nil
		for _, f := range r.Fields {
			if f.Name != "If-None-Match" && f.Name != "If-Modified-Since" {
				out = append(out, f)
			}
		}
		out = append(out, c...)
	}
	for try := 0; ; try++ {
		w.asked++
		w.last = out
		m := w.service(r.Method, r.Key.Target, out)
		if m.down {
			if e := l.Failed(&w.c, w.now); e != nil {
				st.Entry, st.Detail = e, "stale-if-error"
				return w.give(e, r, *st)
			}
			return given{code: 503}
		}
		a := &cache.Answer{Status: m.code, Fields: lines(m.head), Asked: w.now, Came: w.now}
		w.s.Invalidate(r, a, w.now, nil)
		t := w.s.Take(&w.c, r, l, a)
		st.Code = m.code
		switch t.Do {
		case cache.Again:
			if try > 0 {
				w.t.Fatal("asked to forward again twice")
			}
			out = r.Fields
			continue
		case cache.Answered:
			st.Entry = t.Entry
			if t.Why == cache.Stale {
				st.Detail = "stale-if-error"
			}
			return w.give(t.Entry, r, *st)
		case cache.Record:
			rec := w.room.Record(cache.NewEntry(r, a))
			for i := range m.body {
				rec.Write([]byte(m.body[i : i+1]))
			}
			if e := rec.Finish(); e != nil {
				st.Stored = w.s.Put(e) == cache.OK
			}
		default:
			if t.Why == cache.OK {
				w.t.Error("passed for no reason")
			}
		}
		if r.Method == "HEAD" || m.code == 304 {
			m.body = ""
		}
		return given{m.code, m.body, a.Fields, string(st.Append(nil, w.now))}
	}
}

func (w *world) give(e *cache.Entry, r *cache.Request, st cache.Status) given {
	code, head, body := e.Answer(nil, r, w.now)
	return given{code, string(body), head, string(st.Append(nil, w.now))}
}

// want fails unless the caller got body from where: "hit", "stale", "forward".
func (g given) want(t *testing.T, name, body string, hit bool) {
	t.Helper()
	if g.body != body || strings.Contains(g.status, "; hit") != hit {
		t.Errorf("%s: %d %q (%s), want %q, hit %v", name, g.code, g.body, g.status, body, hit)
	}
}
