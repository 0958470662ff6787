package flow

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"stoa/internal/engine/cache"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/inject"
)

// faultSet are the faults in force, and what of them each callee may meet.
type faultSet struct {
	set   *inject.Set
	ends  int64    // when the last is over, ns since 1970
	rules sync.Map // *inject.Rules by callee, as they are asked for
}

// SetFaults says which faults are injected from now on, in the place of those before; each
// ends by itself at its Until. What inject.Fault.Check would refuse is left out.
func (p *Plane) SetFaults(faults []inject.Fault) {
	now := time.Now().UnixNano()
	defer p.faultsEnd(append([]inject.Fault{}, faults...), now)
	set := inject.Compile(faults, now)
	set.Follow(p.counted.Swap(set))
	if set == nil {
		p.faults.Store(nil)
		return
	}
	s := &faultSet{set: set}
	for _, f := range faults {
		s.ends = max(s.ends, min(f.Until, now+int64(inject.MaxAhead)))
	}
	p.faults.Store(s)
}

// faultsEnd lets the breakers of services try at once whose faults are over: those of the last call that are not
// among faults (nil: all are), and those whose time has come. Else a service that is well again is refused for up to a minute.
func (p *Plane) faultsEnd(faults []inject.Fault, now int64) {
	p.faultsMu.Lock()
	old := p.injected
	if faults == nil { // the same as before
		faults = old
	}
	p.injected = nil
	in := make(map[string]bool, len(faults))
	for _, f := range faults {
		if f.Until > now {
			in[f.ID] = true
			p.injected = append(p.injected, f)
		}
	}
	p.faultsMu.Unlock()
	for _, f := range old {
		if in[f.ID] {
			continue
		}
		for _, u := range p.cur.Load().upstreams {
			if f.Callee == "" || f.Callee == u.Service {
				p.retry(u.pool)
			}
		}
	}
}

// expire is faultsEnd for what ended by itself.
func (p *Plane) expire() {
	p.faultsMu.Lock()
	some := len(p.injected) > 0
	p.faultsMu.Unlock()
	if some {
		p.faultsEnd(nil, time.Now().UnixNano())
	}
}

// retry lets the breakers of u try at once.
func (p *Plane) retry(u *pool) {
	p.upsMu.Lock()
	hasty := u.hasty
	p.upsMu.Unlock()
	now := Now()
	u.breaker.Retry(now)
	for _, h := range hasty {
		h.breaker.Retry(now)
	}
}

// FaultHits gives what each fault of the last SetFaults has done so far, by its id.
func (p *Plane) FaultHits() map[string]inject.Hits { return p.counted.Load().Hits() }

// Faulty says whether any fault is in force: then each attempt begins with Inject.
func (p *Plane) Faulty() bool { return p.faults.Load() != nil }

// Fault is what an attempt meets: the engine waits for Delay, tells Stuck if the wait did not
// come to its end, and asks Met instead of Take if the attempt is Over.
type Fault struct {
	Delay time.Duration
	Over  bool // it is aborted, or the time for it runs out while it waits

	abort int // status; 0: too slow
	id    string
}

// Inject says what the next attempt of x meets. A delay is a part of the attempt's time: it ends
// with that at the latest, and what is left of it is for the service.
func (x *Exchange) Inject() Fault {
	v := x.decideFault()
	f := Fault{Delay: v.Delay, Over: v.Abort != 0, abort: v.Abort, id: v.ID}
	room := x.policy.retry.Try(none)
	if v.Delay > 0 && x.deadline != deadline.Never { // it may be the time for the whole that runs out
		room = min(room, x.left(Now()))
	}
	if v.Delay > 0 && v.Delay >= room {
		f.Delay, f.Over, f.abort = room, true, 0
	}
	x.delayed = f.Delay
	return f
}

// Stuck notes that the time for x ran out, or its caller left, while a fault delayed it: as
// if the service had the request and did not answer. So it is held against the service.
func (x *Exchange) Stuck() { x.Begun() }

func (x *Exchange) decideFault() inject.Verdict {
	s := x.P.faults.Load()
	if s == nil {
		return inject.Verdict{}
	}
	now := time.Now().UnixNano()
	if now >= s.ends {
		x.P.faults.CompareAndSwap(s, nil)
		return inject.Verdict{}
	}
	rules, ok := s.rules.Load(x.Rec.Callee)
	if !ok {
		rules, _ = s.rules.LoadOrStore(x.Rec.Callee, s.set.Of(x.Rec.Callee))
	}
	caller := x.Rec.Caller
	if x.Edge {
		caller = inject.Outside
	}
	var header func(string) (string, bool)
	if x.Req != nil {
		header = x.Req.Header
	}
	v := rules.(*inject.Rules).Decide(now, caller, x.Rec.Route, header, rand.Uint64())
	if v.Injected() {
		x.Rec.Injected = v.ID
		name := v.ID
		if !x.candid() {
			name = "yes" // a name may tell of a service
		}
		x.Mark("Stoa-Injected", name)
		kind := "delay"
		if v.Abort != 0 {
			kind = "abort"
		}
		x.P.marks.injected.With(x.Rec.Callee, kind).Add(1)
	}
	return v
}

// Met judges an attempt that a fault ended as it would one that the service did, without an
// endpoint that it could be held against: another follows after a pause, or g or f is
// the answer. Untouched and safe are those of an AnswerHead.
func (x *Exchange) Met(v Fault, contentType string, untouched, safe bool) (again bool, pause time.Duration, g *Given, f *Refusal) {
	x.Begun()
	if v.abort == 0 {
		pause, f = x.Failed(Attempt{Failure: Slow, Untouched: untouched, Safe: safe})
		return f == nil, pause, nil, f
	}
	x.Answering()
	a := AnswerHead{Status: v.abort, GRPC: -1, Untouched: untouched, Safe: safe, Injected: true}
	grpc := IsGRPC(contentType)
	if grpc {
		a.Status, a.GRPC = 200, inject.GRPC(v.abort)
	}
	if again, pause = x.Answered(a); again {
		return true, pause, nil, nil
	}
	text := fmt.Sprintf("%d: an injected fault", v.abort)
	if x.candid() {
		text = fmt.Sprintf("%d: injected by fault %s", v.abort, v.id)
	}
	if grpc {
		g = given(200, "application/grpc", "", true)
		g.Fields = cache.Fields{{Name: "Content-Type", Value: "application/grpc"},
			{Name: "Grpc-Status", Value: strconv.Itoa(a.GRPC)}, {Name: "Grpc-Message", Value: grpcMessage(text)}}
		return false, 0, g, nil
	}
	g = given(v.abort, "text/plain; charset=utf-8", text+"\n", x.Rec.Method == "HEAD")
	g.Fields = append(g.Fields, cache.Field{Name: "Cache-Control", Value: "no-store"})
	return false, 0, g, nil
}
