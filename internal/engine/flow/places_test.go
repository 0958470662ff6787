package flow

import (
	"testing"
	"time"

	"stoa/internal/engine/inject"
	"stoa/internal/engine/snapshot"
)

// What the limit learns of is how long a place is held. A fault that delays holds one, too: were it not
// counted, the limit would fall to what the service alone needs, and be what is short.
func TestThePlaceIsWhatIsMeasured(t *testing.T) {
	p := plane(t, snapshot.Policy{}, snapshot.Upstream{})
	p.SetFaults([]inject.Fault{{ID: "slow", Callee: "u", Percent: 100, Delay: 50 * time.Millisecond, Until: time.Now().Add(time.Hour).UnixNano()}})
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); { // until windows have been closed
		var x Exchange
		arrive(t, &x, p, "in", said{})
		if _, f := x.Admit(AtOnce); f != nil {
			t.Fatal(f)
		}
		v := x.Inject()
		x.entry -= int64(v.Delay) // it has passed
		x.Take(AtOnce)
		x.Begun()
		x.Answering()
		x.Answered(AnswerHead{Status: 200, GRPC: -1})
		x.Rec.Status = 200
		x.Finish()
		if p.pool("u").limiter.Stats(Now()).Usual >= 50*time.Millisecond {
			return
		}
	}
	t.Errorf("the usual time is %v, want what is held", p.pool("u").limiter.Stats(Now()).Usual)
}
