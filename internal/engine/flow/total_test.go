package flow

import (
	"testing"
	"time"

	"stoa/internal/engine/deadline"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// plainRequest is a request that says nothing but the time it has.
type plainRequest struct{ timeout string }

func (plainRequest) Header(string) (string, bool) { return "", false }
func (plainRequest) Query() string                { return "" }
func (plainRequest) Client() string               { return "127.0.0.1" }
func (r plainRequest) Told() Told                 { return Told{Timeout: r.timeout} }

// A total that nobody asked for cuts no body that takes its time; one that was declared, or
// told by the caller, holds to the last byte.
func TestTotalOfLongBodies(t *testing.T) {
	for _, c := range []struct {
		claim    string
		declared time.Duration
		told     string
		length   int64
		cut      bool
	}{
		{"by default a short body is within it", 0, "", 1 << 10, true},
		{"by default a long body is not", 0, "", 1 << 20, false},
		{"nor one of unknown length", 0, "", -1, false},
		{"declared", time.Minute, "", 1 << 20, true},
		{"told", 0, "5000", -1, true},
	} {
		p := New(Options{})
		err := p.Swap(&snapshot.Snapshot{
			Listeners: map[string]snapshot.Listener{"a>b": {Caller: "a", Protocol: snapshot.HTTP, Routes: []route.Rule{{Name: "r", Path: "/", Upstream: "b", Policy: "p"}}}},
			Upstreams: map[string]snapshot.Upstream{"b": {Protocol: snapshot.HTTP1}},
			Policies:  map[string]snapshot.Policy{"p": {Deadline: deadline.Config{Total: c.declared}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		p.SetEndpoints("b", []snapshot.Endpoint{{ID: "1", Address: "127.0.0.1:1"}})
		var x Exchange
		x.Begin(p, time.Now(), "a>b", "HTTP/1.1")
		x.Req = plainRequest{c.told}
		x.Rec.Method, x.Rec.Path = "GET", "/"
		l := p.Table().Listeners["a>b"]
		x.At(l)
		x.Trace("", true)
		var hit route.Hit
		if f := x.Find(l, &hit); f != nil {
			t.Fatal(f)
		}
		if _, f := x.Admit(AtOnce); f != nil {
			t.Fatal(f)
		}
		if _, f := x.Take(AtOnce); f != nil {
			t.Fatal(f)
		}
		x.Begun()
		x.Answering()
		if again, _ := x.Answered(AnswerHead{Status: 200, GRPC: -1, Length: c.length}); again {
			t.Fatal("sent again")
		}
		if got := !x.Deadline().IsZero(); got != c.cut || c.cut != (x.Quiet() == 0) {
			t.Errorf("%s: deadline %v, quiet %v", c.claim, x.Deadline(), x.Quiet())
		}
		x.Finish()
	}
}
