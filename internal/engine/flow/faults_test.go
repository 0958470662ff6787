package flow

import (
	"testing"
	"time"

	"stoa/internal/engine/inject"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/snapshot"
)

// A delay takes of the attempt's own time; it ends with that, as a timeout of the attempt, and is
// not held against the endpoint.
func TestDelayIsOfTheAttempt(t *testing.T) {
	const per = 400 * time.Millisecond
	p := plane(t, snapshot.Policy{Retry: retry.Config{PerTry: per}}, snapshot.Upstream{})
	inject1 := func(d time.Duration) {
		p.SetFaults([]inject.Fault{{ID: "slow", Percent: 100, Delay: d, Until: time.Now().Add(time.Hour).UnixNano()}})
	}
	take := func(x *Exchange) *Endpoint {
		e, f := x.Take(AtOnce)
		if f != nil {
			t.Fatal(f)
		}
		x.Begun()
		return e
	}
	inject1(300 * time.Millisecond)
	var x Exchange
	arrive(t, &x, p, "in", said{})
	if v := x.Inject(); v.Delay != 300*time.Millisecond || v.Over {
		t.Errorf("within the attempt's time: %+v", v)
	}
	e := take(&x)
	if left := x.TryDeadline().Sub(timeOf(x.began)); left != 100*time.Millisecond {
		t.Errorf("%v are left for the service, want 100ms", left)
	}
	pause, f := x.Failed(Attempt{Failure: Slow, Untouched: true, Safe: true})
	if f != nil || pause > retry.DefaultBase {
		t.Errorf("not repeated: %v, %v", pause, f)
	}
	if n := e.host.Status(Now()); n.Failures != 0 {
		t.Errorf("held against the endpoint: %+v", n)
	}
	p.SetFaults(nil)
	take(&x)
	if left := x.TryDeadline().Sub(timeOf(x.began)); left != per {
		t.Errorf("the attempt after it has %v, want %v", left, per)
	}
	x.Finish()

	inject1(time.Minute)
	arrive(t, &x, p, "in", said{})
	v := x.Inject()
	if v.Delay != per || !v.Over {
		t.Errorf("beyond the attempt's time: %+v", v)
	}
	if again, _, g, f := x.Met(v, "", true, true); !again || g != nil || f != nil {
		t.Errorf("not repeated: %v %v", g, f)
	}
	x.Inject()
	if again, _, g, f := x.Met(v, "", true, true); again || g != nil || f == nil || f.Status != 504 {
		t.Errorf("after the last attempt: %v %v %v", again, g, f)
	}
	x.Finish()
	if h := p.FaultHits()["slow"]; h != (inject.Hits{Matched: 2, Delayed: 2}) {
		t.Errorf("%+v", h)
	}
}
