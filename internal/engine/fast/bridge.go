package fast

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/h1"
)

// bridge lets serve, of the portable engine, answer a request whose head this engine has
// read, as a server of net/http would. It says whether the connection can have another. A
// head that was built already is of a request without body.
func (c *conn) bridge(r *request, serve func(http.ResponseWriter, *http.Request)) bool {
	w := c.w
	q := &w.req
	keep := r.keep
	ctx, cancel := context.WithCancel(c.s.ctx)
	defer cancel()
	hr := r.standard().WithContext(ctx)
	if r.copied {
		hr = hr.WithContext(flow.WithMirror(ctx))
	}
	body := &bridgeBody{c: c, left: q.ContentLength}
	var held []byte
	if r.head == nil {
		held = w.in[w.r+q.Len : w.w]
	}
	switch {
	case q.Chunked:
		body.left = -1
		w.chunks.Reset()
		hr.ContentLength, hr.TransferEncoding = -1, []string{"chunked"}
		hr.Trailer = http.Header{}
		body.trailer = hr.Trailer
	case q.ContentLength > 0:
		hr.ContentLength = q.ContentLength
	default:
		body.left = 0
		body.ended.Store(true)
	}
	if !body.ended.Load() {
		body.held = append([]byte(nil), held...)
		w.r = w.w
		hr.Body = body
		body.wants = q.Expect100
	} else {
		if r.head == nil {
			w.r += q.Len
		}
		hr.Body = http.NoBody
	}
	a := &bridgeAnswer{c: c, r: hr, header: http.Header{}, keep: keep, length: -1, body: body}
	a.out = bufio.NewWriterSize(bridgeWriter{a}, 4<<10)
	a.edge = r.x.Edge
	var stop func()
	if body.ended.Load() {
		stop = c.watch(cancel)
	}
	aborted := func() (aborted bool) {
		defer func() {
			if v := recover(); v != nil {
				if v != http.ErrAbortHandler {
					panic(v)
				}
				aborted = true
			}
		}()
		serve(a, hr)
		return false
	}()
	if stop != nil {
		stop()
	}
	if aborted || a.finish() != nil || c.gone.Load() {
		return false
	}
	body.mu.Lock()
	defer body.mu.Unlock()
	if !body.ended.Load() {
		return false
	}
	c.stash = append([]byte(nil), body.held...)
	c.readBy = time.Time{}
	c.nc.SetReadDeadline(time.Time{})
	return a.keep && !c.s.draining.Load()
}

// standard makes the request of net/http.
func (r *request) standard() *http.Request {
	q, b, c := &r.c.w.req, r.b, r.c
	target := string(q.Target.In(b))
	hr := &http.Request{
		Method: string(q.Method.In(b)), Host: string(q.Host.In(b)), RequestURI: target,
		Proto: protocols[q.Minor], ProtoMajor: 1, ProtoMinor: q.Minor,
		Header: make(http.Header, len(q.Fields)), RemoteAddr: c.nc.RemoteAddr().String(), TLS: c.tls,
	}
	hr.URL = &url.URL{Path: string(q.Path.In(b)), RawQuery: string(q.Query.In(b))}
	for i := range q.Fields {
		f := &q.Fields[i]
		switch f.ID {
		case h1.Host, h1.TransferEncoding:
			continue
		}
		name := textproto.CanonicalMIMEHeaderKey(string(f.Name.In(b)))
		hr.Header[name] = append(hr.Header[name], string(f.Value.In(b)))
	}
	return hr
}

// bridgeBody is the body of a request, decoded.
type bridgeBody struct {
	c       *conn
	trailer http.Header

	mu     sync.Mutex // a transport may still read when the answer is written
	held   []byte     // read and not given yet; guarded by mu
	left   int64      // bytes of a sized body; -1: in chunks; guarded by mu
	ended  atomic.Bool
	wants  bool   // a 100 is waited for; guarded by mu
	closed bool   // guarded by mu
	buf    []byte // guarded by mu
}

// Read gives data of the body. The first Read tells a caller that waits to go on.
func (b *bridgeBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wants {
		b.wants = false
		if _, err := b.c.nc.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return 0, err
		}
	}
	for {
		if b.ended.Load() {
			return 0, io.EOF
		}
		if b.closed {
			return 0, http.ErrBodyReadAfterClose
		}
		if len(b.held) > 0 {
			n, err := b.give(p)
			if n > 0 || err != nil {
				return n, err
			}
			continue
		}
		if b.buf == nil {
			b.buf = make([]byte, 16<<10)
		}
		n, err := b.c.nc.Read(b.buf)
		b.held = b.buf[:n]
		if n == 0 && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
	}
}

// give takes data out of what is held.
func (b *bridgeBody) give(p []byte) (int, error) {
	if b.left >= 0 {
		n := copy(p, b.held[:min(int64(len(b.held)), b.left)])
		b.held = b.held[n:]
		b.left -= int64(n)
		b.ended.Store(b.left == 0)
		return n, nil
	}
	chunks := &b.c.w.chunks
	in := b.held
	if len(in) > len(p) {
		in = in[:max(len(p), 1)]
	}
	data, n, err := chunks.NextData(in)
	if err != nil {
		return 0, err
	}
	k := copy(p, data) // all of it: it is no longer than p
	b.held = b.held[n:]
	if chunks.Done() {
		b.ended.Store(true)
		for name, value := range chunks.Trailers {
			key := textproto.CanonicalMIMEHeaderKey(string(name))
			b.trailer[key] = append(b.trailer[key], string(value))
		}
	}
	return k, nil
}

// Close ends reading.
func (b *bridgeBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// bridgeAnswer writes an answer as a server of net/http does.
type bridgeAnswer struct {
	c        *conn
	r        *http.Request
	body     *bridgeBody
	header   http.Header
	keep     bool
	edge     bool
	wrote    bool // the head
	status   int
	length   int64 // declared; -1: none
	written  int64
	chunked  bool
	bodiless bool
	declared []string // trailers
	out      *bufio.Writer
}

type bridgeWriter struct{ a *bridgeAnswer }

func (w bridgeWriter) Write(p []byte) (int, error) { return w.a.c.nc.Write(p) }

// Header gives the header of the answer.
func (a *bridgeAnswer) Header() http.Header { return a.header }

// WriteHeader writes the head; that of an interim answer at once.
func (a *bridgeAnswer) WriteHeader(status int) {
	if a.wrote {
		return
	}
	if status >= 100 && status < 200 && status != 101 {
		if a.r.ProtoMinor == 1 {
			a.out.Write(appendLine(nil, status))
			a.header.Write(a.out)
			a.out.WriteString("\r\n")
			a.out.Flush()
		}
		return
	}
	a.wrote, a.status = true, status
	a.bodiless = a.r.Method == http.MethodHead || status == 204 || status == 304
	if v := a.header.Get("Content-Length"); v != "" {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			a.length = n
		}
	}
	if !a.body.ended.Load() {
		a.keep = false // unless it ends before the answer: not worth waiting to know
	}
	if strings.EqualFold(a.header.Get("Connection"), "close") || a.c.s.draining.Load() {
		a.keep = false
	}
	a.declared = a.header["Trailer"]
	h := a.header.Clone()
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			delete(h, name)
		}
	}
	delete(h, "Connection")
	if a.length < 0 && !a.bodiless {
		if a.r.ProtoMinor == 1 {
			a.chunked = true
			h.Set("Transfer-Encoding", "chunked")
		} else {
			a.keep = false
		}
	}
	if !a.keep {
		h.Set("Connection", "close")
	}
	if date, named := h["Date"]; named && date == nil {
		delete(h, "Date")
	}
	a.out.Write(appendLine(nil, status))
	h.Write(a.out)
	a.out.WriteString("\r\n")
}

// Write writes a part of the body.
func (a *bridgeAnswer) Write(p []byte) (int, error) {
	if !a.wrote {
		a.WriteHeader(http.StatusOK)
	}
	if a.bodiless {
		return 0, http.ErrBodyNotAllowed
	}
	if a.length >= 0 && a.written+int64(len(p)) > a.length {
		return 0, http.ErrContentLength
	}
	a.written += int64(len(p))
	if !a.chunked || len(p) == 0 {
		return a.out.Write(p)
	}
	a.out.WriteString(strconv.FormatInt(int64(len(p)), 16))
	a.out.WriteString("\r\n")
	if n, err := a.out.Write(p); err != nil {
		return n, err
	}
	_, err := a.out.WriteString("\r\n")
	return len(p), err
}

// FlushError sends what is held back.
func (a *bridgeAnswer) FlushError() error {
	if !a.wrote {
		a.WriteHeader(http.StatusOK)
	}
	return a.out.Flush()
}

// EnableFullDuplex does nothing: the body may be read while the answer is written.
func (a *bridgeAnswer) EnableFullDuplex() error { return nil }

// SetReadDeadline bounds reads of the caller.
func (a *bridgeAnswer) SetReadDeadline(t time.Time) error { return a.c.nc.SetReadDeadline(t) }

// SetWriteDeadline bounds writes to the caller.
func (a *bridgeAnswer) SetWriteDeadline(t time.Time) error { return a.c.nc.SetWriteDeadline(t) }

var errNoUpgrade = errors.New("this connection is upgraded by its own engine")

// Hijack is not offered: upgrades to upstreams of HTTP/1.1 never come here.
func (a *bridgeAnswer) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errNoUpgrade }

// finish ends the answer.
func (a *bridgeAnswer) finish() error {
	if !a.wrote {
		if a.header.Get("Content-Length") == "" {
			a.header.Set("Content-Length", "0")
		}
		a.WriteHeader(http.StatusOK)
	}
	if a.length >= 0 && a.written < a.length && !a.bodiless {
		a.out.Flush()
		return http.ErrContentLength
	}
	if a.chunked {
		a.out.WriteString("0\r\n")
		t := http.Header{}
		for _, list := range a.declared {
			for name := range strings.SplitSeq(list, ",") {
				name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name))
				if v, ok := a.header[name]; ok {
					t[name] = v
				}
			}
		}
		for name, v := range a.header {
			if n, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
				t[n] = v
			}
		}
		t.Write(a.out)
		a.out.WriteString("\r\n")
	}
	return a.out.Flush()
}
