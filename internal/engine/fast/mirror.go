package fast

import (
	"bytes"
	"io"

	"stoa/internal/engine/flow"
)

// mirrors says whether a copy of the request is sent, and whether it is the portable engine
// that must do so, since the body is not here whole.
func (r *request) mirrors() (up *flow.Upstream, bridge bool) {
	w := r.c.w
	q := &w.req
	if up = r.x.Mirror(); up == nil || q.Upgrade.Len > 0 {
		return nil, false
	}
	switch have := int64(w.w - w.r - q.Len); {
	case q.Chunked:
		return up, true
	case q.ContentLength > flow.MaxMirrored:
		r.x.P.Mirrored(up, "dropped")
		return nil, false
	case q.ContentLength > have:
		return up, true
	}
	return up, false
}

// mirror sends the copy.
func (r *request) mirror(up *flow.Upstream) {
	w := r.c.w
	var body []byte
	if n := w.req.ContentLength; n > 0 {
		body = bytes.Clone(w.in[w.r+w.req.Len:][:n])
	}
	hr := r.standard().WithContext(r.c.s.ctx)
	hr.Body = io.NopCloser(bytes.NewReader(nil))
	r.c.s.o.Mirror(hr, r.x, up, r.hit.Target(r.x.Rec.Path), body)
}
