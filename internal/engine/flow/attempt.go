package flow

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"time"

	"stoa/internal/engine/breaker"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/outlier"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/snapshot"
)

// maxAttempts bounds the attempts of one request: connections that did not come about
// are tried again until the hold is over, each with a pause once every endpoint has
// refused.
const maxAttempts = 64

// MayRetry says whether an attempt may be followed by another though the service has seen the
// request, so that it is worth keeping what was sent of the body. safe: the request may be
// repeated, by its method or its key.
func (x *Exchange) MayRetry(safe bool) bool { return safe || x.policy.retry.Unsafe() }

// Take gives an endpoint for the next attempt, with a place on it that Finish or a
// verdict to try again gives back. It waits until one is ready or the hold is over;
// ctx may be nil, then nil and no refusal say that there would be a wait.
func (x *Exchange) Take(ctx context.Context) (*Endpoint, *Refusal) {
	if x.attempts++; x.attempts > 1 || x.now == 0 || x.P.Faulty() { // a fault may have held it
		x.now = Now()
	}
	if f := x.late(x.now); f != nil {
		if x.delayed != 0 { // a fault took what was left
			x.Stuck()
		}
		return nil, x.unreached(f)
	}
	for {
		e, wait, f := x.await(ctx)
		if f != nil {
			return nil, x.unreached(f)
		}
		if wait {
			x.attempts--
			return nil, nil
		}
		if !e.acquire() { // it drains, so there is a newer set
			x.P.release(e)
			continue
		}
		x.held = e
		x.Rec.Endpoint, x.Rec.Address, x.Rec.Instance = e.ID, e.Address, e.Instance
		return e, nil
	}
}

// await gives an endpoint that may be asked, without a place on it, as soon as there is one.
// wait says that it would take a while, for a nil ctx.
func (x *Exchange) await(ctx context.Context) (e *Endpoint, wait bool, f *Refusal) {
	if x.until == 0 {
		x.until = nowAt(x.Rec.Start) + int64(OrDefault(x.Up.Hold, snapshot.DefaultHold))
		x.key = x.balanceKey()
	}
	u := x.Up.pool
	began := int64(0)
	now := x.now
	for {
		set := u.set.Load()
		i, again := x.wantedIn(set, now), int64(0)
		if i < 0 {
			i, again = set.balance.Pick(now, x.key, &x.tried)
		}
		if i >= 0 {
			if began != 0 {
				x.Rec.Held += time.Duration(now - began)
			}
			return set.eps[i], false, nil
		}
		if c := set.closed; c != nil {
			return nil, false, &Refusal{Reason: c.Reason, Status: 503, Text: c.Text, Hint: c.Hint}
		}
		if now = Now(); now >= x.until {
			return nil, false, noEndpoint(x.Up, len(set.eps))
		}
		if ctx == nil {
			return nil, true, nil
		}
		if began == 0 {
			began = now
			if u.held.Add(1) > int64(x.P.o.MaxHeld) {
				u.held.Add(-1)
				return nil, false, &Refusal{Reason: hop.Overload, Status: 503,
					Text: "too many calls wait for " + x.Up.Service, Hint: "See why it is not ready: stoa why " + x.Up.Service}
			}
			defer u.held.Add(-1)
		}
		sleep := x.until - now
		if again > 0 {
			sleep = min(sleep, again-now)
		}
		t := time.NewTimer(max(time.Duration(sleep), time.Millisecond))
		select {
		case <-set.replaced:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, false, Gone(ctx, x.Up)
		}
		t.Stop()
		now = Now()
	}
}

// unreached is f, with the reason why no connection came about where one was tried: who was to be
// told that there is no endpoint, or that time ran out, is told that nothing listens.
func (x *Exchange) unreached(f *Refusal) *Refusal {
	switch {
	case x.dialErr == nil:
	case f.Reason == hop.NoEndpoint:
		f.Reason, f.Err = hop.Connect, x.dialErr
	case f.Reason == hop.Deadline:
		f.Err = x.dialErr
		if x.Sent == No && refused(x.dialErr) {
			f.Reason, f.Status = hop.Connect, 503
			f.Text, f.Hint = "connection refused: nothing listens for "+x.Up.Service, "See its state: stoa why "+x.Up.Service
		}
	}
	return f
}

// refused says whether nobody listens where the connection was to go.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func noEndpoint(u *Upstream, known int) *Refusal {
	f := &Refusal{Reason: hop.NoEndpoint, Status: 503, Text: u.Service + " has no ready endpoint", Hint: "See its state: stoa why " + u.Service}
	if known > 0 {
		f.Reason, f.Text = hop.Connect, "no connection to "+u.Service+" at any endpoint"
	}
	return f
}

// giveBack gives the place on the endpoint back.
func (x *Exchange) giveBack() {
	if x.held != nil {
		x.P.release(x.held)
		x.held = nil
	}
}

// Failure says how an attempt ended that brought no answer.
type Failure int

// The failures.
const (
	Broke      Failure = iota // the connection broke
	Dial                      // no connection came about
	Untrusted                 // the other side did not prove who it is, or spoke no TLS
	Unsendable                // the request cannot be sent on
	Slow                      // no answer began within the bound of the upstream, or of the attempt
	Garbled                   // what came is no answer
)

// Attempt is an attempt that brought no answer.
type Attempt struct {
	Failure   Failure
	Reused    bool // on a kept connection
	Answered  bool // a byte of answer came
	Untouched bool // the body can be sent again: unread, or kept whole
	Safe      bool // the request may be repeated: by its method, or its key
	Err       error
}

// Failed says what follows: another attempt after a pause, or a refusal. Before another
// attempt the place on the endpoint has been given back.
func (x *Exchange) Failed(a Attempt) (pause time.Duration, f *Refusal) {
	service := x.Up.Service
	o := retry.Outcome{GRPC: -1, BodyGone: !a.Untouched}
	switch {
	case a.Failure == Untrusted:
		x.report(outlier.Local, Now())
		return 0, &Refusal{Reason: hop.Connect, Status: 502, Text: "no trusted connection to " + service, Err: a.Err,
			Hint: "Check the certificate of its origin: stoa why " + service}
	case a.Failure == Unsendable:
		return 0, &Refusal{Reason: hop.BadRequest, Status: 502, Text: "the request cannot be sent on", Err: a.Err}
	case a.Failure == Dial:
		// Nothing was sent: it is tried elsewhere, or again here, within the hold, at no cost
		// to the budget. This is how a service comes up.
		now := Now()
		x.held.member.Refused(now)
		x.report(outlier.Local, now)
		x.dialErr = a.Err
		if x.attempts >= maxAttempts || OrDefault(x.Up.Hold, snapshot.DefaultHold) == 0 && x.onlyRefused(now) {
			return 0, &Refusal{Reason: hop.Connect, Status: 503, Text: "no connection to " + service, Err: a.Err,
				Hint: "See its state: stoa why " + service}
		}
		x.giveBack()
		return 0, nil
	case a.Failure == Slow:
		o.Event = retry.TimedOut
		f = &Refusal{Reason: hop.Deadline, Status: 504, Text: service + " did not begin to answer in time", Err: a.Err}
	case a.Failure == Garbled || a.Answered:
		o.Event = retry.Broken
		f = &Refusal{Reason: hop.BadAnswer, Status: 502, Text: service + " gave an answer that cannot be read", Err: a.Err}
	default:
		o.Event = retry.Reset
		if a.Reused {
			o.Event = retry.Stale
		}
		f = &Refusal{Reason: hop.Upstream, Status: 502, Text: "the connection to " + service + " broke before an answer",
			Err: a.Err, Hint: "It may have happened. See why it broke: stoa why " + service}
	}
	v := x.decide(&o, a.Safe)
	if !v.Free && (x.delayed == 0 || a.Failure != Slow) { // a fault is not the endpoint's
		x.report(outlier.Local, Now())
	}
	if !v.Again {
		f.NoRetry = v.Tell
		return 0, f
	}
	x.again(v)
	return v.After, nil
}

// decide asks the policy whether another attempt is made.
func (x *Exchange) decide(o *retry.Outcome, safe bool) retry.Verdict {
	u, now := x.Up.pool, Now()
	x.run.Repeatable = x.MayRetry(safe)
	if x.passed && (u.breaker.Blocked(x.pass) || x.hasty != nil && x.hasty.breaker.Blocked(x.hastyPass)) {
		x.P.meters.unrepeated.With(x.Up.Service, string(hop.Breaker)).Add(1)
		return retry.Verdict{}
	}
	v := x.policy.retry.Decide(&x.run, o, x.left(now), now, u.budget, rand.Uint64())
	if !v.Again && v.Why != retry.Final && v.Why != retry.Begun {
		x.P.meters.unrepeated.With(x.Up.Service, v.Why.String()).Add(1)
	}
	return v
}

// again makes x ready for another attempt.
func (x *Exchange) again(v retry.Verdict) {
	x.delayed = 0
	x.Fresh = v.Free // the kept connection died as we sent: others of its age may have, too
	if !v.Free && x.held != nil {
		x.tried.Add(x.held.member)
	}
	x.giveBack()
}

// AnswerHead is what a verdict on an answer reads of its head.
type AnswerHead struct {
	Status      int
	GRPC        int // grpc-status, -1 if there is none
	Untouched   bool
	Safe        bool
	ContentType string
	Length      int64 // of the body; -1: not known
	RetryAfter  string
	Pushback    string // grpc-retry-pushback-ms
	NoRetry     bool   // Stoa-Retry: no
	Injected    bool   // it is ours, by a fault: it says nothing of an endpoint, and none is held
}

// Answered says whether the answer whose head came is relayed, or the request sent again
// after a pause. Before another attempt the place on the endpoint has been given back.
func (x *Exchange) Answered(a AnswerHead) (again bool, pause time.Duration) {
	result := outlier.Success
	switch {
	case a.GRPC >= 0:
		result = ofGRPC(a.GRPC)
	case a.Status >= 502 && a.Status <= 504:
		result = outlier.Gateway
	case a.Status >= 500:
		result = outlier.Failure
	}
	if !a.Injected && (a.GRPC >= 0 || !IsGRPC(a.ContentType)) { // gRPC's status comes at the end
		x.report(result, x.headAt)
	}
	x.overloaded = false
	if result != outlier.Success || a.Status == 429 || a.GRPC == 8 || a.NoRetry {
		o := retry.Outcome{Event: retry.Answered, Status: a.Status, GRPC: a.GRPC, NoRetry: a.NoRetry, BodyGone: !a.Untouched}
		if a.RetryAfter != "" {
			o.RetryAfter = retry.ParseRetryAfter([]byte(a.RetryAfter), time.Now())
		}
		if a.Pushback != "" {
			o.Pushback = retry.ParsePushback([]byte(a.Pushback))
		}
		x.overloaded = a.Status == 429 || a.GRPC == 8 || a.Status == 503 && o.RetryAfter.Said
		v := x.decide(&o, a.Safe)
		if v.Again {
			x.again(v)
			return true, v.After
		}
		x.tell = v.Tell
	}
	switch {
	case a.Status == 101 || isStream(a.ContentType):
		x.streams(a)
	case !x.bounded && (a.Length < 0 || a.Length > shortBody):
		x.deadline, x.quiet = deadline.Never, x.policy.quiet
	}
	return false, 0
}

// shortBody is the length of a body to which a total that is a default applies, too: it passes
// at once.
const shortBody = 64 << 10

// ofGRPC is what a grpc-status says of the endpoint.
func ofGRPC(status int) outlier.Result {
	switch status {
	case 14: // UNAVAILABLE
		return outlier.Gateway
	case 2, 4, 13, 15: // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, DATA_LOSS
		return outlier.Failure
	}
	return outlier.Success
}

// ended reports an attempt of which Answered could not judge.
func (x *Exchange) ended(now int64) {
	if x.held == nil || x.reported || x.began == 0 {
		return
	}
	switch rec := &x.Rec; {
	case rec.Reason == "" && x.headAt != 0 && rec.GRPC >= 0:
		x.report(ofGRPC(rec.GRPC), x.headAt)
	case rec.Reason == hop.Deadline && !x.short && x.delayed == 0, rec.Reason == hop.Truncated:
		x.report(outlier.Local, now)
	}
}

// streams makes x a stream from its head on: it has no total, only a time without traffic,
// and what is judged of it is judged now.
func (x *Exchange) streams(a AnswerHead) {
	x.deadline, x.quiet = deadline.Never, x.policy.quiet
	x.unbind()
	x.Rec.Status = a.Status
	if a.GRPC < 0 && IsGRPC(a.ContentType) && !x.pass.Trial() && (x.hasty == nil || !x.hastyPass.Trial()) {
		x.leave(x.headAt) // most are no streams, and end with a status
		return
	}
	x.settle(x.headAt)
}

// isStream says whether answers of a Content-Type end when somebody likes, not when all was said.
func isStream(contentType string) bool {
	const events = "text/event-stream"
	return IsGRPC(contentType) || len(contentType) >= len(events) && contentType[:len(events)] == events
}

// report tells the endpoint of the attempt how it ended.
func (x *Exchange) report(r outlier.Result, now int64) {
	e := x.held
	if e == nil || x.reported {
		return
	}
	x.reported = true
	u := x.Up.pool
	if x.began != 0 {
		e.member.Observe(now, time.Duration(now-x.began), r != outlier.Success)
	}
	if u.detector.Report(&e.host, r) {
		x.P.consider(u, e, now)
	}
}

// settle tells breaker and limiter how the call ended, once.
func (x *Exchange) settle(now int64) {
	x.leave(now)
	if !x.passed {
		return
	}
	x.passed = false
	u, rec := x.Up.pool, &x.Rec
	o := breaker.Outcome{Status: rec.Status, GRPC: rec.GRPC, Took: time.Duration(x.headAt - x.began)}
	switch rec.Reason {
	case "":
	case hop.Connect, hop.Upstream, hop.BadAnswer, hop.Truncated:
		o.Broken = true
	case hop.Deadline: // a caller that is in a hurry says nothing of the service
		o.Broken, o.Gone = !x.short && x.Sent != No, true
	case hop.Cancelled:
		o.Gone = true
	default:
		o.Ours = true
	}
	r := u.breaker.Judge(o)
	if h := x.hasty; h != nil {
		h.breaker.Done(x.hastyPass, r, now)
		if r == breaker.Bad && x.tooSlow() {
			r = breaker.Ignored // of who waits longer it is not known
		}
	}
	u.breaker.Done(x.pass, r, now)
}

// leave gives the place at the limiter back.
func (x *Exchange) leave(now int64) {
	if !x.placed {
		return
	}
	x.placed = false
	// As long as the place was held: with what a fault delays and what failed before. Else the limit is for
	// shorter calls than there are, and falls until it, and not the service, is what is short.
	took, o := time.Duration(x.headAt-x.entry), limit.Ignored
	switch rec := &x.Rec; {
	case rec.Injected != "" && x.held == nil: // no service was asked
	case x.overloaded, rec.Reason == hop.Deadline && x.Sent != No && !x.short:
		o = limit.Dropped
	case rec.Reason == "" && rec.Status < 500 && x.headAt != 0 && rec.GRPC <= 0:
		o = limit.OK
	}
	x.Up.pool.limiter.Leave(now, took, o)
}

// onlyRefused says whether every endpoint is one that refused lately.
func (x *Exchange) onlyRefused(now int64) bool {
	i, _ := x.Up.pool.set.Load().balance.Pick(now, x.key, &x.tried)
	return i < 0
}

// Connected notes that a connection was made for the attempt.
func (x *Exchange) Connected() {
	x.now = Now()
	x.held.member.Connected()
}

// Begun notes that the request was begun on a connection, right after Take or Connected.
func (x *Exchange) Begun() {
	x.Rec.Attempts++
	x.Sent = max(x.Sent, Maybe)
	x.began, x.headAt, x.reported = x.now, 0, false
}

// Answering notes that an answer began.
func (x *Exchange) Answering() {
	x.Sent = Yes
	x.headAt = Now()
	x.Rec.Head = time.Duration(x.headAt - nowAt(x.Rec.Start))
}
