package fast

import (
	"net/http"

	"stoa/internal/engine/cache"
	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
)

// recall asks what is kept of answers: over says that the request is, or that the portable
// engine is to answer it.
func (r *request) recall() (over bool, f *flow.Refusal) {
	x, q := r.x, &r.c.w.req
	if q.Upgrade.Len > 0 {
		return false, nil
	}
	fields := make(cache.Fields, 0, len(q.Fields))
	for i := range q.Fields {
		f := &q.Fields[i]
		if f.ID == h1.Cookie || r.stays(f) {
			fields = append(fields, cache.Field{Name: text(f.Name.In(r.b)), Value: text(f.Value.In(r.b))})
		}
	}
	r.memo = x.Recall(text(q.Origin().In(r.b)), fields, q.HasBody())
	if r.memo == nil {
		return false, nil
	}
	g, refresh := r.memo.Look()
	if refresh {
		r.c.s.o.Refresh(r.standard().WithContext(r.c.s.ctx), x, r.memo, r.hit.Target(x.Rec.Path))
	}
	if g != nil {
		r.give(g)
		return true, nil
	}
	if r.memo.Joins() {
		return true, errBridge // who shares an answer must be able to outlive its connection
	}
	return false, nil
}

// took judges the head of an answer that could be kept, or in whose place something else may
// stand. Unless it is over, or comes again, it is to be forwarded.
func (r *request) took(uc *upConn) (over, again bool, f *flow.Refusal) {
	w := r.c.w
	resp, b := &w.resp, w.up[w.ur:w.uw]
	fields := make(cache.Fields, 0, len(resp.Fields))
	for i := range resp.Fields {
		f := &resp.Fields[i]
		fields = append(fields, cache.Field{Name: text(f.Name.In(b)), Value: text(f.Value.In(b))})
	}
	v := r.memo.Took(resp.Status, fields)
	switch {
	case v.Again || v.Give != nil || v.Refusal != nil:
		uc.close()
		r.unwatch()
	case v.Record:
		r.tape = true
		if resp.Chunked {
			w.taped.Answer = true
			w.taped.Reset()
		}
	}
	switch {
	case v.Again:
		return false, true, nil
	case v.Give != nil:
		r.give(v.Give)
		return true, false, nil
	}
	return v.Refusal != nil, false, v.Refusal
}

// record writes what passes of the body to the memo.
func (r *request) record(in []byte) {
	w := r.c.w
	for r.tape && len(in) > 0 {
		data, n := in, len(in)
		if w.resp.Chunked {
			var err error
			if data, n, err = w.taped.NextData(in); err != nil || n == 0 && len(data) == 0 {
				return
			}
		}
		in = in[n:]
		if len(data) > 0 && !r.memo.Write(data) {
			r.tape = false
		}
	}
}

// recorded ends it. An answer with trailers is not kept.
func (r *request) recorded(kind h1.Body, whole bool) {
	if kind == h1.InChunks {
		for range r.c.w.taped.Trailers {
			whole = false
		}
	}
	r.memo.End(whole)
	r.tape = false
}

// instead ends the memo. Where f would be the answer it looks for something that stands in,
// and gives nil if it has answered.
func (r *request) instead(f *flow.Refusal) *flow.Refusal {
	m := r.memo
	defer m.Close()
	if f == nil || r.begun || r.c.gone.Load() {
		return f
	}
	g, up := m.Failed(f)
	switch {
	case g != nil:
		r.give(g)
	case up != nil:
		target := r.hit.Target(r.x.Rec.Path)
		r.begun = true
		r.keep = r.c.bridge(r, func(w http.ResponseWriter, hr *http.Request) {
			r.c.s.o.Elsewhere(w, hr, r.x, m, up, target, f)
		}) && r.keep
	default:
		return f
	}
	return nil
}
