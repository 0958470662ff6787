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
	p := New(Options{Sink: hop.SinkFunc(func(r *hop.Record) { rec = r.Clone() })})
	if err := p.Swap(&snapshot.Snapshot{Listeners: map[string]snapshot.Listener{"broken": {Protocol: snapshot.HTTP}}}); err != nil {
		t.Fatal(err)
	}
	b, err := p.bind("broken", "127.0.0.1:0", true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.release()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = nil // as no server makes one
	b.ServeHTTP(w, r)
	if w.Code != 502 || w.Header().Get("Stoa-Reason") != string(hop.Defect) || rec.Reason != hop.Defect || rec.Status != 502 {
		t.Errorf("%d %v, record %+v", w.Code, w.Header(), rec)
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
