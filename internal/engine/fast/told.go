package fast

import (
	"strconv"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/retry"
)

// Told gives what the caller says of time and priority.
func (r *request) Told() (t flow.Told) {
	q := &r.c.w.req
	if q.Index(h1.GRPCTimeout) != 0 {
		t.GRPC = text(q.Value(r.b, h1.GRPCTimeout))
	}
	if q.Index(h1.StoaField) != 0 {
		for i := range q.Fields {
			switch f := &q.Fields[i]; {
			case f.ID != h1.StoaField:
			case sameName(f.Name.In(r.b), "Stoa-Timeout-Ms"):
				t.Timeout = text(f.Value.In(r.b))
			case sameName(f.Name.In(r.b), "Stoa-Priority"):
				t.Priority = text(f.Value.In(r.b))
			}
		}
	}
	if q.Index(h1.Identity) != 0 {
		t.Envoy, _ = r.Header("X-Envoy-Expected-Rq-Timeout-Ms")
	}
	return t
}

// advice reads what an answer says to a verdict.
func (r *request) advice(a *flow.AnswerHead, b []byte) {
	resp := &r.c.w.resp
	a.ContentType = text(resp.Value(b, h1.ContentType))
	a.RetryAfter, a.Pushback = text(resp.Value(b, h1.RetryAfter)), text(resp.Value(b, h1.GRPCRetryPushback))
	if v := resp.Value(b, h1.GRPCStatus); v != nil {
		if n, err := strconv.Atoi(text(v)); err == nil && n >= 0 {
			a.GRPC = n
		}
	}
	if resp.Index(h1.StoaField) == 0 {
		return
	}
	for i := range resp.Fields {
		if f := &resp.Fields[i]; f.ID == h1.StoaField && sameName(f.Name.In(b), retry.NoRetryField) {
			a.NoRetry = retry.ParseNoRetry(f.Value.In(b))
		}
	}
}
