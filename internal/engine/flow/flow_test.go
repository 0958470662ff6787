package flow

import (
	"testing"

	"stoa/internal/engine/snapshot"
)

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
