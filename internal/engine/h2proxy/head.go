package h2proxy

import (
	"bytes"
	"strconv"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
	"stoa/internal/engine/h2"
	"stoa/internal/engine/h2/hpack"
)

// how says how a field is compressed: secrets never enter a table that others may probe, and
// values that do not come again do not push out those that do. RFC 7541, section 7.1.
func how(id h1.ID, value []byte) hpack.How {
	switch id {
	case h1.Authorization, h1.Cookie, h1.SetCookie:
		return hpack.Never
	case h1.ContentLength, h1.Date, h1.ETag, h1.LastModified, h1.Expires, h1.Age, h1.Traceparent, h1.Tracestate, h1.GRPCTimeout, h1.GRPCMessage,
		h1.IfNoneMatch, h1.IfModifiedSince, h1.IfMatch, h1.IfUnmodifiedSince, h1.IfRange, h1.Range, h1.ContentRange, h1.Location, h1.RetryAfter,
		h1.XRequestID, h1.IdempotencyKey, h1.XIdempotencyKey, h1.Identity, h1.StoaField, h1.RateLimit:
		return hpack.Plain
	case h1.Other:
		if len(value) > 64 {
			return hpack.Plain
		}
	}
	return hpack.Index
}

func (w *work) reset() { w.fields, w.text = w.fields[:0], w.text[:0] }

func (w *work) field(name, value []byte, h hpack.How) {
	w.fields = append(w.fields, h2.Field{Name: name, Value: value, How: h})
}

// lower keeps a name of any case in lower case.
func (w *work) lower(name string) []byte {
	from := len(w.text)
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		w.text = append(w.text, c)
	}
	return w.text[from:len(w.text):len(w.text)]
}

// add adds a field whose name may be of any case.
func (w *work) add(name string, value []byte) {
	n := w.lower(name)
	w.field(n, value, how(h1.Identify(n), value))
}

func (w *work) addLength(n int64) {
	from := len(w.text)
	w.text = strconv.AppendInt(w.text, n, 10)
	w.field(bytesOf("content-length"), w.text[from:len(w.text):len(w.text)], hpack.Plain)
}

// lines adds the lines that were appended to w.text from from on, as flow writes them.
func (w *work) lines(from int) {
	in := w.text[from:]
	for len(in) > 0 {
		end := bytes.Index(in, bytesOf("\r\n"))
		colon := bytes.IndexByte(in, ':')
		if end < 0 || colon < 0 || colon > end {
			return
		}
		name, value := in[:colon:colon], bytes.TrimLeft(in[colon+1:end:end], " ")
		for i, c := range name {
			if 'A' <= c && c <= 'Z' {
				name[i] = c | 0x20
			}
		}
		w.field(name, value, how(h1.Identify(name), value))
		in = in[end+2:]
	}
}

var digits = func() (t [1000]string) {
	for i := range t {
		t[i] = strconv.Itoa(i)
	}
	return t
}()

// start begins the head of an answer.
func (w *work) start(status int) {
	w.reset()
	w.field(bytesOf(":status"), bytesOf(digits[status%1000]), hpack.Index)
}

// target gives what is asked of the service.
func (w *work) target() []byte {
	if rule := w.x.Route.Rule; !rule.StripPrefix && rule.Rewrite == "" {
		return bytesOf(w.path)
	}
	from := len(w.text)
	w.text = append(w.text, w.hit.Target(w.x.Rec.Path)...)
	if len(w.path) > len(w.x.Rec.Path) {
		w.text = append(w.text, w.path[len(w.x.Rec.Path):]...)
	}
	return w.text[from:len(w.text):len(w.text)]
}

func (w *work) authority() []byte {
	h := w.s.Head
	switch {
	case w.x.Up.Host != "":
		return bytesOf(w.x.Up.Host)
	case len(h.Authority) == 0:
		return bytesOf(w.x.Up.Service)
	}
	return h.Authority
}

// passed calls each for the fields of the request that are sent on, in order.
func (w *work) passed(each func(id h1.ID, name, value []byte, never bool)) {
	h, x := w.s.Head, &w.x
	edits := x.EditsRequest()
	for i := h.First; i < h.Len(); i++ {
		name, value := h.At(i)
		id := h1.Identify(name)
		if edits && x.DropsRequest(text(name)) {
			continue
		}
		if !w.stays(id, value) {
			if id == h1.Cookie {
				if value = w.cookies(value); len(value) > 0 {
					each(id, name, value, true)
				}
			}
			continue
		}
		each(id, name, value, h.Never(i))
	}
}

// cookies gives a cookie field without Stoa's own.
func (w *work) cookies(value []byte) []byte {
	from := len(w.text)
	for pair := range bytes.SplitSeq(value, []byte{';'}) {
		pair = bytes.TrimSpace(pair)
		if len(pair) == 0 || bytes.HasPrefix(pair, bytesOf(flow.PrivateCookies)) {
			continue
		}
		if len(w.text) > from {
			w.text = append(w.text, "; "...)
		}
		w.text = append(w.text, pair...)
	}
	return w.text[from:len(w.text):len(w.text)]
}

// head2 makes the head of the request as HTTP/2 has it.
func (w *work) head2() {
	x := &w.x
	w.reset()
	w.field(bytesOf(":method"), bytesOf(x.Rec.Method), hpack.Index)
	w.field(bytesOf(":scheme"), bytesOf("http"), hpack.Index)
	w.field(bytesOf(":authority"), w.authority(), hpack.Index)
	path := w.target()
	h := hpack.Plain
	if len(path) <= 64 && bytes.IndexByte(path, '?') < 0 { // as gRPC's methods are
		h = hpack.Index
	}
	w.field(bytesOf(":path"), path, h)
	w.passed(func(id h1.ID, name, value []byte, never bool) {
		h := how(id, value)
		if never {
			h = hpack.Never
		}
		w.field(name, value, h)
	})
	if x.Edge {
		w.field(bytesOf("x-forwarded-for"), bytesOf(w.c.Client), hpack.Index)
		scheme := "http"
		if w.c.TLS != nil {
			scheme = "https"
		}
		w.field(bytesOf("x-forwarded-proto"), bytesOf(scheme), hpack.Index)
		w.field(bytesOf("x-forwarded-host"), w.s.Head.Authority, hpack.Index)
	}
	from := len(w.text)
	w.text = w.span.AppendTraceparent(w.text)
	w.field(bytesOf("traceparent"), w.text[from:len(w.text):len(w.text)], hpack.Plain)
	from = len(w.text)
	w.text = x.AppendRequest(w.text)
	w.lines(from)
}

// head1 makes the head of the request as HTTP/1.1 has it, but for the framing of its body and the empty line.
func (w *work) head1(out []byte) []byte {
	x := &w.x
	w.reset()
	out = append(out, x.Rec.Method...)
	out = append(out, ' ')
	out = append(out, w.target()...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, w.authority()...)
	out = append(out, "\r\n"...)
	cookie := 0
	w.passed(func(id h1.ID, name, value []byte, _ bool) {
		switch id {
		case h1.ContentLength:
			return
		case h1.Cookie: // one field there: RFC 9113, section 8.2.3
			cookie++
			return
		case h1.TE:
			out = append(out, "Connection: TE\r\n"...)
		}
		out = appendField(out, name, value)
	})
	if cookie > 0 {
		out = append(out, "cookie: "...)
		first := true
		w.passed(func(id h1.ID, _, value []byte, _ bool) {
			if id != h1.Cookie {
				return
			}
			if !first {
				out = append(out, "; "...)
			}
			first = false
			out = append(out, value...)
		})
		out = append(out, "\r\n"...)
	}
	if x.Edge {
		out = appendField(out, bytesOf("X-Forwarded-For"), bytesOf(w.c.Client))
		if w.c.TLS != nil {
			out = append(out, "X-Forwarded-Proto: https\r\n"...)
		} else {
			out = append(out, "X-Forwarded-Proto: http\r\n"...)
		}
		out = appendField(out, bytesOf("X-Forwarded-Host"), w.s.Head.Authority)
	}
	out = append(out, "traceparent: "...)
	out = w.span.AppendTraceparent(out)
	out = append(out, "\r\n"...)
	return x.AppendRequest(out)
}

func appendField(out, name, value []byte) []byte {
	return append(append(append(append(out, name...), ": "...), value...), "\r\n"...)
}

// ours adds the fields that an answer bears besides those of the service; has says which it has.
func (w *work) ours() {
	x := &w.x
	if x.EditsAnswer() {
		from := len(w.text)
		w.text = x.AppendAnswer(w.text)
		w.lines(from)
	}
	if x.Secures() {
		from := len(w.text)
		w.text = x.AppendSecure(w.text, func(name string) bool {
			for i := range w.fields {
				if sameName(w.fields[i].Name, name) {
					return true
				}
			}
			return false
		})
		w.lines(from)
	}
}
