package proxy

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/snapshot"
)

// A panic of ours is one request's 502, with a record, and not the end of the node.
func TestPanicIsAnswered(t *testing.T) {
	var rec hop.Record
	p := New(Options{Sink: hop.SinkFunc(func(r *hop.Record) { rec = *r })})
	c := p.compile(&snapshot.Snapshot{})
	c.listeners["broken"] = &listener{name: "broken", none: p.meters.series("", "", "")} // no table
	p.cur.Store(c)
	b, err := p.bind("broken", "127.0.0.1:0", true)
	if err != nil {
		t.Fatal(err)
	}
	defer b.release()
	w := httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 502 || w.Header().Get("Stoa-Reason") != string(hop.Defect) || rec.Reason != hop.Defect || rec.Status != 502 {
		t.Errorf("%d %v, record %+v", w.Code, w.Header(), rec)
	}
}

// Two different endpoints are compared, and of them the less busy is taken.
func TestPick(t *testing.T) {
	p := New(Options{})
	p.SetEndpoints("u", []snapshot.Endpoint{{ID: "a"}, {ID: "b"}})
	set := p.pool("u").set.Load()
	set.eps[0].inflight.Store(3)
	for range 100 {
		if e, _ := set.pick(1); e.ID != "b" {
			t.Fatalf("picked %s, which holds %d", e.ID, e.inflight.Load())
		}
	}
	set.eps[1].suspect.Store(10)
	if e, _ := set.pick(5); e == nil || e.ID != "a" {
		t.Errorf("picked %v, though b refused lately", e)
	}
	set.eps[0].suspect.Store(20)
	if e, again := set.pick(5); e != nil || again != 10 {
		t.Errorf("picked %v, again at %d; want none and 10", e, again)
	}
}

// Pools of services that are gone are forgotten, those that are waited for are not.
func TestPoolsAreForgotten(t *testing.T) {
	p := New(Options{})
	s := &snapshot.Snapshot{Upstreams: map[string]snapshot.Upstream{"a": {Protocol: snapshot.HTTP1}}}
	p.SetEndpoints("early", []snapshot.Endpoint{{ID: "1"}})
	for range 2 {
		if err := p.Swap(s); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.ups) != 2 {
		t.Errorf("%d pools, want a and early", len(p.ups))
	}
	p.SetEndpoints("early", nil)
	if err := p.Swap(&snapshot.Snapshot{}); err != nil || len(p.ups) != 0 {
		t.Errorf("%d pools, %v; want none", len(p.ups), err)
	}
}

func TestSplitTarget(t *testing.T) {
	for _, c := range []struct {
		in, path, query string
		force           bool
	}{
		{"/a?b", "/a", "b", false}, {"/a?", "/a", "", true}, {"/a", "/a", "", false}, {"/a?b?c", "/a", "b?c", false},
		{"http://h/a?b", "/a", "b", false}, {"http://h", "/", "", false}, {"http://h?q", "/", "q", false},
		{"/http://x", "/http://x", "", false}, {"*", "*", "", false}, {"h:443", "h:443", "", false},
	} {
		path, query, force := splitTarget(c.in)
		if path != c.path || query != c.query || force != c.force {
			t.Errorf("splitTarget(%q) = %q %q %v, want %q %q %v", c.in, path, query, force, c.path, c.query, c.force)
		}
	}
}
