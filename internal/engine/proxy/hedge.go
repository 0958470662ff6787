package proxy

import (
	"context"
	"net/http"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/retry"
)

// tried is an attempt that is over, or an answer that has begun.
type tried struct {
	resp *http.Response
	a    attempted
	err  error
}

// good says whether the answer is one that no other attempt could better.
func (d *tried) good() bool {
	return d != nil && d.err == nil && d.resp.StatusCode < 500 && d.resp.StatusCode != http.StatusTooManyRequests
}

func (d *tried) drop() {
	if d.err == nil {
		d.resp.Body.Close()
	}
}

// attemptHedged makes an attempt, and another beside it on another endpoint if it is slow and the
// route says so. The first good answer counts, the other attempt is cancelled.
func (x *exchange) attemptHedged(out *http.Request, e *flow.Endpoint, body *requestBody, length int64, again bool) (*http.Response, attempted, error) {
	var after time.Duration
	if body.from == nil && retry.Safe(out.Method) && upgradeOf(out.Header) == "" {
		after = x.HedgeAfter()
	}
	if after == 0 {
		return x.attempt(out, e, body, length, again)
	}
	first, cancelFirst := begin(x, out, e)
	t := time.NewTimer(after)
	defer t.Stop()
	select {
	case d := <-first:
		return d.resp, d.a, d.err
	case <-t.C:
	}
	flowY, e2 := x.Second()
	if flowY == nil {
		d := <-first
		return d.resp, d.a, d.err
	}
	y := &exchange{p: x.p, Exchange: *flowY}
	second, cancelSecond := begin(y, out, e2)
	var d1, d2 *tried
	for !d1.good() && !d2.good() && (d1 == nil || d2 == nil) {
		select {
		case d1 = <-first:
		case d2 = <-second:
		}
	}
	if !d1.good() && d2.good() {
		cancelFirst(nil)
		if d1 == nil {
			d1 = <-first
		}
		d1.drop()
		x.Won(&y.Exchange)
		return d2.resp, d2.a, d2.err
	}
	cancelSecond(nil)
	if d2 == nil {
		d2 = <-second
	}
	d2.drop()
	x.Lost(&y.Exchange)
	return d1.resp, d1.a, d1.err
}

// begin makes an attempt on a goroutine of its own, which ends soon after cancel; it gives one tried.
func begin(x *exchange, out *http.Request, e *flow.Endpoint) (<-chan *tried, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(out.Context()) // which ends it, if nobody does before
	done := make(chan *tried, 1)
	go func() {
		resp, a, err := x.attempt(out.WithContext(ctx), e, &requestBody{}, 0, true)
		done <- &tried{resp, a, err}
	}()
	return done, cancel
}
