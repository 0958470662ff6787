package proxy

import (
	"bytes"
	"io"
	"net/http"
	"net/textproto"

	"stoa/internal/engine/flow"
)

// inject lets the next attempt meet the faults that are declared: there is an answer, or a
// refusal, or another attempt follows, or none of these and the attempt is made.
func (x *exchange) inject(out *http.Request, body *requestBody) (resp *http.Response, again bool, f *flow.Refusal) {
	ctx := out.Context()
	v := x.Inject()
	if !flow.Pause(ctx, v.Delay) {
		x.Stuck()
		return nil, false, flow.Gone(ctx, x.Up)
	}
	if !v.Over {
		return nil, false, nil
	}
	again, pause, g, f := x.Met(v, out.Header.Get("Content-Type"), !body.gone.Load(), repeatable(out))
	switch {
	case f != nil:
		return nil, false, f
	case !again:
		return responseOf(g), false, nil
	case !flow.Pause(ctx, pause):
		return nil, false, flow.Gone(ctx, x.Up)
	}
	return nil, true, nil
}

// responseOf is g as an answer of net/http.
func responseOf(g *flow.Given) *http.Response {
	h := make(http.Header, len(g.Fields))
	for _, f := range g.Fields {
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		h[name] = append(h[name], f.Value)
	}
	return &http.Response{StatusCode: g.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
		ContentLength: int64(len(g.Body)), Body: io.NopCloser(bytes.NewReader(g.Body))}
}
