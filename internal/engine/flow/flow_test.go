package flow

import (
	"testing"

	"stoa/internal/engine/snapshot"
)

// Two different endpoints are compared, and of them the less busy is taken; one that refused
// lately is passed over.
func TestPick(t *testing.T) {
	p := New(Options{})
	p.SetEndpoints("u", []snapshot.Endpoint{{ID: "a"}, {ID: "b"}})
	x := &Exchange{P: p, Up: &Upstream{Name: "u", Service: "u", pool: p.pool("u")}, policy: never}
	set := p.pool("u").set.Load()
	for range 3 {
		set.eps[0].member.Begin()
	}
	x.until, x.now = Now()+1e12, Now()
	for range 100 {
		if e, _, _ := x.await(AtOnce); e == nil || e.ID != "b" {
			t.Fatalf("picked %v", e)
		}
	}
	set.eps[1].member.Refused(x.now)
	if e, _, _ := x.await(AtOnce); e == nil || e.ID != "a" {
		t.Errorf("picked %v, though b refused lately", e)
	}
	set.eps[0].member.Suspect(x.now + 1e12)
	set.eps[1].member.Suspect(x.now + 1e12)
	if e, wait, f := x.await(AtOnce); e != nil || !wait || f != nil {
		t.Errorf("picked %v, %v, %v; want to wait", e, wait, f)
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
