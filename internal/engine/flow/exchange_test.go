package flow

import (
	"testing"
	"time"

	"stoa/internal/engine/deadline"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// said is a request by its fields.
type said map[string]string

func (s said) Header(name string) (string, bool) { v, ok := s[name]; return v, ok }
func (s said) Query() string                     { return "" }
func (s said) Client() string                    { return "192.0.2.1" }
func (s said) Told() Told {
	return Told{Timeout: s["Stoa-Timeout-Ms"], GRPC: s["Grpc-Timeout"], Priority: s["Stoa-Priority"]}
}

// plane has one listener inside ("in"), one outside ("out"), and upstream u of two endpoints.
func plane(t testing.TB, p snapshot.Policy, u snapshot.Upstream) *Plane {
	t.Helper()
	pl := New(Options{})
	u.Protocol = snapshot.HTTP1
	rules := []route.Rule{{Name: "all", Path: "/", Upstream: "u", Policy: "p"}}
	err := pl.Swap(&snapshot.Snapshot{
		Listeners: map[string]snapshot.Listener{"in": {Caller: "web", Protocol: snapshot.HTTP, Routes: rules}, "out": {Protocol: snapshot.HTTP, Routes: rules}},
		Upstreams: map[string]snapshot.Upstream{"u": u}, Policies: map[string]snapshot.Policy{"p": p},
	})
	if err != nil {
		t.Fatal(err)
	}
	pl.SetEndpoints("u", []snapshot.Endpoint{{ID: "a"}, {ID: "b"}})
	return pl
}

// arrive brings x as far as its rule.
func arrive(t testing.TB, x *Exchange, p *Plane, listener string, req Request) {
	t.Helper()
	x.Begin(p, time.Now(), listener, "HTTP/1.1")
	x.At(p.Table().Listeners[listener])
	x.Req = req
	x.Rec.Method, x.Rec.Host, x.Rec.Path = "GET", "u", "/"
	x.Trace("", false)
	var hit route.Hit
	if f := x.Find(p.Table().Listeners[listener], &hit); f != nil {
		t.Fatal(f)
	}
}

// The shorter of the route's time and the caller's counts, and who is outside says little.
func TestDeadlineAndPriority(t *testing.T) {
	p := plane(t, snapshot.Policy{Deadline: deadline.Config{Total: time.Second}, Priority: limit.Low}, snapshot.Upstream{})
	for _, c := range []struct {
		listener string
		req      said
		want     time.Duration
		priority limit.Priority
	}{
		{"in", said{}, time.Second, limit.Low},
		{"in", said{"Stoa-Timeout-Ms": "400", "Stoa-Priority": "critical"}, 400 * time.Millisecond, limit.Critical},
		{"in", said{"Stoa-Timeout-Ms": "4000"}, time.Second, limit.Low},
		{"in", said{"Grpc-Timeout": "300m", "Stoa-Timeout-Ms": "400"}, 300 * time.Millisecond, limit.Low},
		{"out", said{"Stoa-Timeout-Ms": "400", "Stoa-Priority": "critical"}, time.Second, limit.Low},
		{"out", said{"Grpc-Timeout": "300m"}, 300 * time.Millisecond, limit.Low},
	} {
		var x Exchange
		arrive(t, &x, p, c.listener, c.req)
		if got := x.Deadline().Sub(x.Rec.Start); got != c.want || x.priority != c.priority {
			t.Errorf("%s %v: %v %v, want %v %v", c.listener, c.req, got, x.priority, c.want, c.priority)
		}
		x.Finish()
	}
}

// Everything that an exchange takes is given back, however it ends.
func TestNothingIsKept(t *testing.T) {
	p := plane(t, snapshot.Policy{Retry: retry.Config{Base: time.Millisecond}}, snapshot.Upstream{})
	for name, end := range map[string]func(x *Exchange){
		"refused": func(x *Exchange) { x.Refuse(Left(nil), "", "") },
		"never begun": func(x *Exchange) {
			if e, f := x.Take(AtOnce); e == nil {
				t.Fatal(f)
			}
		},
		"answered": func(x *Exchange) {
			x.Take(AtOnce)
			x.Begun()
			x.Answering()
			x.Answered(AnswerHead{Status: 200, GRPC: -1})
			x.Rec.Status = 200
		},
		"a stream": func(x *Exchange) {
			x.Take(AtOnce)
			x.Begun()
			x.Answering()
			x.Answered(AnswerHead{Status: 200, GRPC: -1, ContentType: "text/event-stream"})
			if s := p.pool("u").limiter.Stats(Now()); s.InFlight != 0 {
				t.Errorf("a stream that began holds %d places", s.InFlight)
			}
		},
		"repeated": func(x *Exchange) {
			first, _ := x.Take(AtOnce)
			x.Begun()
			x.Answering()
			if again, _ := x.Answered(AnswerHead{Status: 503, GRPC: -1, Untouched: true, Safe: true}); !again {
				t.Error("not repeated")
			}
			if second, _ := x.Take(AtOnce); second == first {
				t.Error("repeated at the endpoint that failed")
			}
		},
		"abandoned": func(x *Exchange) { x.Take(AtOnce); x.Abandon() },
		"broken": func(x *Exchange) {
			x.Take(AtOnce)
			x.Begun()
			if _, f := x.Failed(Attempt{Failure: Broke}); f == nil || f.Reason != hop.Upstream {
				t.Errorf("%v", f)
			}
		},
	} {
		var x Exchange
		arrive(t, &x, p, "in", said{})
		if wait, f := x.Admit(AtOnce); wait || f != nil {
			t.Fatal(name, wait, f)
		}
		end(&x)
		x.Finish()
		x.Finish()
		u := p.pool("u")
		if s := u.limiter.Stats(Now()); s.InFlight != 0 || s.Waiting != 0 {
			t.Errorf("%s: %d places are kept", name, s.InFlight)
		}
		for _, e := range u.set.Load().eps {
			if n := e.member.Inflight(); n != 0 {
				t.Errorf("%s: endpoint %s holds %d", name, e.ID, n)
			}
		}
	}
}

// A hurry of the caller's own opens no breaker and ejects nobody.
func TestHurryIsNobodysFault(t *testing.T) {
	p := plane(t, snapshot.Policy{}, snapshot.Upstream{})
	for _, c := range []struct {
		req  said
		want int64
	}{{said{"Stoa-Timeout-Ms": "50"}, 0}, {said{}, 1}} {
		var x Exchange
		arrive(t, &x, p, "in", c.req)
		x.Admit(AtOnce)
		x.Take(AtOnce)
		x.Begun()
		x.Refuse(Late(x.Up, nil), "", "")
		x.Finish()
		if s := p.pool("u").breaker.State(Now()); s.Failed != c.want {
			t.Errorf("%v: %d failures at the breaker, want %d", c.req, s.Failed, c.want)
		}
	}
}

// What was learned of an upstream and spent of a rate outlives a snapshot.
func TestStateOutlivesSwap(t *testing.T) {
	p := plane(t, snapshot.Policy{}, snapshot.Upstream{})
	before := p.pool("u")
	eps := before.set.Load().eps
	s := *p.Table().Snapshot
	u := s.Upstreams["u"]
	u.Balance.By, u.Limit.Max = "least", 7
	s.Upstreams = map[string]snapshot.Upstream{"u": u}
	if err := p.Swap(&s); err != nil {
		t.Fatal(err)
	}
	after := p.pool("u")
	if after != before || after.set.Load().eps[0] != eps[0] {
		t.Error("the endpoints are others")
	}
	if n := after.limiter.Stats(Now()).Limit; n != 7 {
		t.Errorf("limit %d, want 7", n)
	}
}

// BenchmarkExchange is what the brain costs per request.
func BenchmarkExchange(b *testing.B) {
	p := plane(b, snapshot.Policy{}, snapshot.Upstream{})
	var x Exchange
	var hit route.Hit
	var req Request = said{}
	out := make([]byte, 0, 200)
	l := p.Table().Listeners["in"]
	b.ReportAllocs()
	for b.Loop() {
		x.Begin(p, time.Now(), "in", "HTTP/1.1")
		x.At(l)
		x.Req = req
		x.Rec.Method, x.Rec.Host, x.Rec.Path = "GET", "u", "/"
		x.Trace("", false)
		x.Find(l, &hit)
		x.Admit(AtOnce)
		x.Take(AtOnce)
		x.Begun()
		out = x.AppendRequest(out[:0])
		x.Answering()
		x.Answered(AnswerHead{Status: 200, GRPC: -1, ContentType: "text/plain"})
		x.Rec.Status = 200
		x.Finish()
	}
}
