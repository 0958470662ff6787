package fast

import (
	"bytes"
	"net/http"
	"strconv"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/hop"
)

// retime makes the head anew for another attempt, which has less time left.
func (r *request) retime() {
	body := bytes.Clone(r.head[r.headEnd:])
	out := r.appendHead(r.c.w.out[:0])
	r.headEnd = len(out)
	out = append(out, body...)
	r.c.w.out, r.head = out, out
}

// appendHead appends the head to send on.
func (r *request) appendHead(out []byte) []byte {
	c, x, w := r.c, r.x, r.c.w
	q, b := &w.req, r.b
	out = append(out, q.Method.In(b)...)
	out = append(out, ' ')
	if rule := x.Route.Rule; !rule.StripPrefix && rule.Rewrite == "" {
		out = append(out, q.Origin().In(b)...)
	} else {
		out = append(out, r.hit.Target(x.Rec.Path)...)
		if q.HasQuery {
			out = append(append(out, '?'), q.Query.In(b)...)
		}
	}
	out = append(out, " HTTP/1.1\r\nHost: "...)
	switch {
	case x.Up.Host != "":
		out = append(out, x.Up.Host...)
	case q.Host.Len == 0: // HTTP/1.0
		out = append(out, x.Up.Service...)
	default:
		out = append(out, q.Host.In(b)...)
	}
	out = append(out, "\r\n"...)

	// Lines that stay leave in the runs in which they came.
	from, to := 0, 0
	edits := x.EditsRequest()
	for i := range q.Fields {
		f := &q.Fields[i]
		line := f.Line()
		if edits && x.DropsRequest(text(f.Name.In(b))) {
			continue
		}
		if r.stays(f) {
			if int(line.Off) != to {
				out = append(out, b[from:to]...)
				from = int(line.Off)
			}
			to = int(line.End())
			continue
		}
		if f.ID == h1.Cookie {
			out = append(out, b[from:to]...)
			from, to = 0, 0
			out = appendCookies(out, f.Value.In(b))
		}
	}
	out = append(out, b[from:to]...)
	if q.TETrailers {
		out = append(out, "TE: trailers\r\n"...)
	}
	if q.Chunked {
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	}
	if q.Upgrade.Len > 0 {
		out = append(append(append(out, "Connection: Upgrade\r\nUpgrade: "...), q.Upgrade.In(b)...), "\r\n"...)
	}
	if x.Edge {
		out = append(append(append(out, "X-Forwarded-For: "...), c.client...), "\r\n"...)
		if c.tls != nil {
			out = append(out, "X-Forwarded-Proto: https\r\n"...)
		} else {
			out = append(out, "X-Forwarded-Proto: http\r\n"...)
		}
		out = append(append(append(out, "X-Forwarded-Host: "...), q.Host.In(b)...), "\r\n"...)
	}
	if r.memo != nil {
		for _, f := range r.memo.Conditions(nil) {
			out = appendField(out, f.Name, f.Value)
		}
	}
	out = append(out, "traceparent: "...)
	out = r.span.AppendTraceparent(out)
	out = append(out, "\r\n"...)
	out = x.AppendRequest(out)
	return append(out, "\r\n"...)
}

// build makes the head to send on, and puts as much of the body behind it as was read.
// It takes both out of the read buffer, whose bytes stay as they are.
func (r *request) build() *flow.Refusal {
	x, w := r.x, r.c.w
	q := &w.req
	out := r.appendHead(w.out[:0])
	r.headEnd = len(out)
	start := w.r
	body := w.in[w.r+q.Len : w.w]
	w.r = w.w
	r.whole = true
	switch {
	case q.Chunked:
		w.chunks.Reset()
		for len(body) > 0 && !w.chunks.Done() {
			pass, n, err := w.chunks.Next(body)
			if err != nil {
				w.out = out[:0]
				w.r, r.whole = start, false // nothing was taken: refuse looks at it, too
				e := err.(*h1.Error)
				return &flow.Refusal{Reason: hop.BadRequest, Status: e.Status, Text: e.Text}
			}
			out = append(out, pass...)
			body = body[n:]
		}
		x.Rec.In = w.chunks.Data()
		r.sized, r.whole = -1, w.chunks.Done()
		w.r = w.w - len(body)
	case q.ContentLength > 0:
		n := min(int64(len(body)), q.ContentLength)
		out = append(out, body[:n]...)
		w.r = w.w - len(body) + int(n)
		x.Rec.In = n
		r.sized = q.ContentLength - n
		r.whole = r.sized == 0
	default:
		w.r = w.w - len(body)
	}
	w.out, r.head = out, out
	return nil
}

// stays says whether a field is sent on as it came.
func (r *request) stays(f *h1.Field) bool {
	if f.Hop {
		return false
	}
	switch f.ID {
	case h1.Host, h1.Traceparent, h1.StoaField:
		return false
	case h1.Tracestate:
		return r.own
	case h1.IfNoneMatch, h1.IfModifiedSince:
		return r.memo == nil || !r.memo.Validates()
	case h1.Identity:
		return !r.x.Edge
	case h1.Cookie:
		return !r.x.Edge || !bytes.Contains(f.Value.In(r.b), []byte(flow.PrivateCookies))
	}
	return true
}

// appendCookies appends a Cookie line without Stoa's own; nothing if none is left.
func appendCookies(out, value []byte) []byte {
	start := len(out)
	for pair := range bytes.SplitSeq(value, []byte{';'}) {
		pair = bytes.TrimSpace(pair)
		if len(pair) == 0 || bytes.HasPrefix(pair, []byte(flow.PrivateCookies)) {
			continue
		}
		if len(out) == start {
			out = append(out, "Cookie: "...)
		} else {
			out = append(out, "; "...)
		}
		out = append(out, pair...)
	}
	if len(out) > start {
		out = append(out, "\r\n"...)
	}
	return out
}

// appendLine appends the status line of an answer of the proxy.
func appendLine(out []byte, status int) []byte {
	out = append(out, "HTTP/1.1 "...)
	out = appendInt(out, status)
	out = append(out, ' ')
	out = append(out, http.StatusText(status)...)
	return append(out, "\r\n"...)
}

func appendInt(out []byte, n int) []byte { return strconv.AppendInt(out, int64(n), 10) }

// appendStatus appends the status line of an answer as it came, as one of HTTP/1.1.
func appendStatus(out []byte, resp *h1.Response, b []byte) []byte {
	out = append(out, "HTTP/1.1 "...)
	out = appendInt(out, resp.Status)
	out = append(out, ' ')
	out = append(out, resp.Reason.In(b)...)
	return append(out, "\r\n"...)
}

// appendFields appends the fields of an answer that are sent on; x is nil for an interim one,
// which is not edited.
func appendFields(out []byte, resp *h1.Response, b []byte, x *flow.Exchange) []byte {
	from, to := 0, 0
	edits := x != nil && x.EditsAnswer()
	for i := range resp.Fields {
		f := &resp.Fields[i]
		if f.Hop || f.ID == h1.StoaField || edits && x.DropsAnswer(text(f.Name.In(b))) {
			continue
		}
		line := f.Line()
		if int(line.Off) != to {
			out = append(out, b[from:to]...)
			from = int(line.Off)
		}
		to = int(line.End())
	}
	return append(out, b[from:to]...)
}
