package flow

import (
	"fmt"
	"testing"
	"time"

	"stoa/internal/engine/breaker"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/meter"
)

// planeOf has a listener for each policy, all of which lead to u.
func planeOf(t testing.TB, policies map[string]snapshot.Policy, meters ...*meter.Registry) *Plane {
	t.Helper()
	s := &snapshot.Snapshot{Listeners: map[string]snapshot.Listener{}, Policies: policies,
		Upstreams: map[string]snapshot.Upstream{"u": {Protocol: snapshot.HTTP1, Breaker: breaker.Config{Least: 10}}}}
	for name := range policies {
		s.Listeners[name] = snapshot.Listener{Caller: name, Protocol: snapshot.HTTP, Routes: []route.Rule{{Name: "all", Path: "/", Upstream: "u", Policy: name}}}
	}
	o := Options{}
	if len(meters) > 0 {
		o.Meters = meters[0]
	}
	p := New(o)
	if err := p.Swap(s); err != nil {
		t.Fatal(err)
	}
	p.SetEndpoints("u", []snapshot.Endpoint{{ID: "a"}, {ID: "b"}})
	return p
}

// call makes one call that ends as end says, and gives the text of the refusal if it is not let through.
func call(t testing.TB, p *Plane, listener string, end func(*Exchange)) string {
	t.Helper()
	var x Exchange
	arrive(t, &x, p, listener, said{})
	defer x.Finish()
	if _, f := x.Admit(AtOnce); f != nil {
		x.Refuse(f, "", "")
		if f.Reason != hop.Breaker {
			t.Fatal(f)
		}
		return f.Text
	}
	if e, f := x.Take(AtOnce); e == nil {
		t.Fatal(f)
	}
	x.Begun()
	end(&x)
	return ""
}

func late(x *Exchange) { x.Refuse(Late(x.Up, nil), "", "") }

func answers(status, grpc int) func(*Exchange) {
	return func(x *Exchange) {
		x.Answering()
		x.Answered(AnswerHead{Status: status, GRPC: grpc})
		x.Rec.Status, x.Rec.GRPC = status, grpc
	}
}

// Who waits less than others sees timeouts that others do not: they open their breaker and no other's.
// What fails for all is told to all.
func TestBreakersByPatience(t *testing.T) {
	policies := map[string]snapshot.Policy{
		"hasty":  {Deadline: deadline.Config{Total: 100 * time.Millisecond}, Retry: retry.Config{Attempts: 1}},
		"same":   {Retry: retry.Config{Attempts: 1, PerTry: 100 * time.Millisecond}},
		"longer": {Deadline: deadline.Config{Total: 2 * time.Second}, Retry: retry.Config{Attempts: 1}},
		"usual":  {Retry: retry.Config{Attempts: 1}},
	}
	open := func(p *Plane) (who string) {
		for _, name := range []string{"hasty", "same", "longer", "usual"} {
			if call(t, p, name, answers(200, -1)) != "" {
				who += name + " "
			}
		}
		return who
	}
	for _, c := range []struct {
		claim string
		from  string
		end   func(*Exchange)
		want  string
	}{
		{"the timeouts of the hasty", "hasty", late, "hasty same "},
		{"of who waits longer than they", "longer", late, "longer "},
		{"of who waits longest", "usual", late, "hasty same longer usual "},
		{"answers that a service had no time for", "hasty", answers(504, -1), "hasty same "},
		{"the same by gRPC", "hasty", answers(200, 4), "hasty same "},
		{"errors", "hasty", answers(500, -1), "hasty same longer usual "},
		{"no answer", "longer", func(x *Exchange) { x.Refuse(&Refusal{Reason: hop.Upstream, Status: 502}, "", "") }, "hasty same longer usual "},
		{"good answers", "hasty", answers(200, -1), ""},
	} {
		p := planeOf(t, policies)
		for range 20 {
			call(t, p, c.from, c.end)
		}
		if got := open(p); got != c.want {
			t.Errorf("%s: refused are %q, want %q", c.claim, got, c.want)
		}
	}
}

// Each opening of a breaker is counted, once: of all, and of those in a hurry.
func TestOpeningsAreCounted(t *testing.T) {
	reg := meter.New()
	p := planeOf(t, map[string]snapshot.Policy{
		"hasty": {Deadline: deadline.Config{Total: 100 * time.Millisecond}, Retry: retry.Config{Attempts: 1}},
		"usual": {Retry: retry.Config{Attempts: 1}},
	}, reg)
	openings := func() (text string) {
		for range 2 { // the second look finds nothing new
			for _, u := range p.ups {
				u.due.Store(0)
			}
			p.Look()
		}
		for s := range reg.Samples("stoa_proxy_breaker_openings_total") {
			text += fmt.Sprintf("%q %v ", s.Values, s.Value)
		}
		return text
	}
	for range 20 {
		call(t, p, "hasty", late)
	}
	if got, want := openings(), `["u" "100ms"] 1 `; got != want {
		t.Errorf("after the timeouts of the hasty %s, want %s", got, want)
	}
	for range 20 {
		call(t, p, "usual", answers(500, -1))
	}
	if got, want := openings(), `["u" ""] 1 ["u" "100ms"] 1 `; got != want {
		t.Errorf("after errors %s, want %s", got, want)
	}
}

// A breaker of one patience outlives snapshots that have it, and shows; where all wait equally
// long there is one breaker, and the same as ever.
func TestBreakersOfPatienceStay(t *testing.T) {
	policies := map[string]snapshot.Policy{"hasty": {Deadline: deadline.Config{Total: 100 * time.Millisecond}}, "usual": {}}
	p := planeOf(t, policies)
	for range 20 {
		call(t, p, "hasty", late)
	}
	s := *p.Table().Snapshot
	s.Policies = map[string]snapshot.Policy{"hasty": policies["hasty"], "usual": {Deadline: deadline.Config{Total: time.Second}}}
	if err := p.Swap(&s); err != nil {
		t.Fatal(err)
	}
	if text := call(t, p, "hasty", late); text != "u does not answer within 100ms, and is left alone for a while by who waits no longer" {
		t.Errorf("after a swap: %q", text)
	}
	p.pool("u").due.Store(0)
	p.Look()
	gauge := p.meters.hasty.With("u", "100ms")
	if gauge.Value() != float64(breaker.Open) || p.meters.breaker.With("u").Value() != float64(breaker.Closed) {
		t.Errorf("shown as %v", gauge.Value())
	}
	s.Policies = map[string]snapshot.Policy{"hasty": {}, "usual": {}}
	if err := p.Swap(&s); err != nil || p.pool("u").hasty != nil {
		t.Fatalf("%v, %v", err, p.pool("u").hasty)
	}
	if text := call(t, p, "hasty", late); text != "" {
		t.Errorf("who waits as long as all is refused: %s", text)
	}
}
