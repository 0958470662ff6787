package h2proxy

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"stoa/internal/engine/h2"
)

// bridge lets the portable engine answer a request whose head this engine has read, as a
// server of net/http would.
func (w *work) bridge() {
	ctx, cancel := context.WithCancel(w.srv.ctx)
	defer cancel()
	body := &bridgeBody{w: w, wake: h2.NewWaker()}
	r := w.standard(body).WithContext(ctx)
	body.wants = r.Header.Get("Expect") != ""
	a := &bridgeAnswer{w: w, r: r, header: http.Header{}, length: -1}
	a.out = bufio.NewWriterSize(bridgeWriter{a}, 4<<10)
	w.s.Wake(body.wake, w.s.Waker())
	w.s.Interrupt(cancel)
	body.begin(ctx)
	defer body.Close()
	aborted := func() (aborted bool) {
		defer func() {
			if v := recover(); v != nil {
				if v != http.ErrAbortHandler {
					panic(v)
				}
				aborted = true
			}
		}()
		w.srv.o.Portable.ServeHTTP(a, r)
		return false
	}()
	w.s.Interrupt(nil)
	if aborted || a.finish() != nil {
		w.s.Reset(h2.InternalError)
	}
}

// standard makes the request of net/http.
func (w *work) standard(body *bridgeBody) *http.Request {
	h := w.s.Head
	path, query, _ := strings.Cut(string(h.Path), "?")
	r := &http.Request{
		Method: string(h.Method), Host: string(h.Authority), RequestURI: string(h.Path),
		Proto: protocol, ProtoMajor: 2, ProtoMinor: 0,
		Header: make(http.Header, h.Len()), RemoteAddr: w.c.Remote, TLS: w.c.TLS,
		URL:  &url.URL{Path: path, RawQuery: query},
		Body: http.NoBody,
	}
	for i := h.First; i < h.Len(); i++ {
		n, v := h.At(i)
		name := textproto.CanonicalMIMEHeaderKey(string(n))
		switch name {
		case "Host":
			continue
		case "Cookie": // one field there: RFC 9113, section 8.2.3
			if have := r.Header["Cookie"]; len(have) == 1 {
				have[0] += "; " + string(v)
				continue
			}
		}
		r.Header[name] = append(r.Header[name], string(v))
	}
	r.ContentLength = h.Length
	b := &w.body
	b.begin(w.s)
	if b.none() {
		r.ContentLength = 0
		return r
	}
	r.Body = body
	r.Trailer = http.Header{}
	for _, list := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			r.Trailer[textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name))] = nil
		}
	}
	delete(r.Header, "Trailer")
	body.trailer = r.Trailer
	return r
}

// bridgeBody is the body of a request, for a reader that may go on after its handler.
type bridgeBody struct {
	w       *work
	wake    *h2.Waker
	trailer http.Header
	stop    func() bool

	mu     sync.Mutex
	wants  bool      // a 100 is waited for; guarded by mu
	closed bool      // guarded by mu
	until  time.Time // of reads; guarded by mu
}

func (b *bridgeBody) begin(ctx context.Context) { b.stop = context.AfterFunc(ctx, b.wake.Poke) }

// Read gives data of the body. The first Read tells a caller that waits to go on.
func (b *bridgeBody) Read(p []byte) (int, error) {
	for {
		n, err := b.read(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		b.mu.Lock()
		until := b.until
		b.mu.Unlock()
		if until.IsZero() {
			b.wake.Wait()
			continue
		}
		t := time.NewTimer(time.Until(until))
		select {
		case <-b.wake.C():
		case <-t.C:
			b.mu.Lock()
			late := !b.until.IsZero() && !time.Now().Before(b.until)
			b.mu.Unlock()
			if late {
				return 0, os.ErrDeadlineExceeded
			}
		}
		t.Stop()
	}
}

func (b *bridgeBody) read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	w := b.w
	if b.wants {
		b.wants = false
		w.s.SendHead([]h2.Field{{Name: bytesOf(":status"), Value: bytesOf("100")}}, false)
	}
	from := &w.body
	from.gone = true // nothing is kept: that is for the reader to do
	if from.pos == len(from.buf) {
		if _, err := from.fill(); err != nil {
			return 0, io.ErrUnexpectedEOF
		}
	}
	if n := copy(p, from.buf[from.pos:]); n > 0 {
		from.pos += n
		return n, nil
	}
	if !from.ended {
		return 0, nil
	}
	if t := from.trailer; t != nil {
		for i := range t.Len() {
			name, value := t.At(i)
			key := textproto.CanonicalMIMEHeaderKey(string(name))
			b.trailer[key] = append(b.trailer[key], string(value))
		}
		t.Free()
		from.trailer = nil
	}
	return 0, io.EOF
}

// Close ends reading: the stream may be gone afterwards.
func (b *bridgeBody) Close() error {
	if b.stop != nil {
		b.stop()
	}
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.wake.Poke()
	return nil
}

// bridgeAnswer writes an answer as a server of net/http does.
type bridgeAnswer struct {
	w        *work
	r        *http.Request
	header   http.Header
	wrote    bool // the head
	sent     bool // it has left
	status   int
	length   int64 // declared; -1: none
	written  int64
	bodiless bool
	declared []string // trailers
	ended    bool
	until    time.Time // of writes
	out      *bufio.Writer
}

type bridgeWriter struct{ a *bridgeAnswer }

// Write sends a part of the body, and the head before the first.
func (b bridgeWriter) Write(p []byte) (int, error) {
	a := b.a
	if err := a.head(false); err != nil {
		return 0, err
	}
	return len(p), a.send(p, false)
}

// Header gives the header of the answer.
func (a *bridgeAnswer) Header() http.Header { return a.header }

// WriteHeader fixes the head; that of an interim answer is sent at once.
func (a *bridgeAnswer) WriteHeader(status int) {
	if a.wrote || status == http.StatusSwitchingProtocols {
		return
	}
	w := a.w
	interim := status >= 100 && status < 200
	w.start(status)
	if !interim {
		a.wrote, a.status = true, status
		a.bodiless = a.r.Method == http.MethodHead || status == 204 || status == 304
		if n, err := strconv.ParseInt(a.header.Get("Content-Length"), 10, 64); err == nil {
			a.length = n
		}
		a.declared = a.header["Trailer"]
	}
	for name, values := range a.header {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
			continue
		}
		if strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		for _, v := range values {
			w.add(name, bytesOf(textproto.TrimString(v)))
		}
	}
	if interim {
		w.s.SendHead(w.fields, false)
	}
}

// head sends the head, once. end says that nothing follows.
func (a *bridgeAnswer) head(end bool) error {
	if !a.wrote {
		a.WriteHeader(http.StatusOK)
	}
	if a.sent {
		return nil
	}
	if b, ok := a.r.Body.(*bridgeBody); ok {
		b.mu.Lock()
		b.wants = false // a 100 has no place behind the answer
		b.mu.Unlock()
	}
	a.sent, a.ended = true, end
	return a.w.s.SendHead(a.w.fields, end)
}

func (a *bridgeAnswer) send(p []byte, end bool) error {
	for {
		n, err := a.w.s.Send(p, end)
		if err != nil {
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		a.w.s.Until(h2.At(a.until))
		a.w.s.Waker().Wait()
		if !a.until.IsZero() && !time.Now().Before(a.until) {
			return os.ErrDeadlineExceeded
		}
	}
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
	return a.out.Write(p)
}

// FlushError sends what is held back.
func (a *bridgeAnswer) FlushError() error {
	if err := a.head(false); err != nil {
		return err
	}
	return a.out.Flush()
}

// EnableFullDuplex does nothing: the body may be read while the answer is written.
func (a *bridgeAnswer) EnableFullDuplex() error { return nil }

// SetReadDeadline bounds reads of the body.
func (a *bridgeAnswer) SetReadDeadline(t time.Time) error {
	if b, ok := a.r.Body.(*bridgeBody); ok {
		b.mu.Lock()
		b.until = t
		b.mu.Unlock()
		b.wake.Poke()
	}
	return nil
}

// SetWriteDeadline bounds writes of the answer.
func (a *bridgeAnswer) SetWriteDeadline(t time.Time) error {
	a.until = t
	return nil
}

// finish ends the answer.
func (a *bridgeAnswer) finish() error {
	w := a.w
	var trailer http.Header
	put := func(name string, v []string) {
		if trailer == nil {
			trailer = http.Header{}
		}
		trailer[name] = v
	}
	for _, list := range a.declared {
		for name := range strings.SplitSeq(list, ",") {
			name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name))
			if v, ok := a.header[name]; ok {
				put(name, v)
			}
		}
	}
	for name, v := range a.header {
		if n, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			put(n, v)
		}
	}
	if a.length >= 0 && a.written < a.length && !a.bodiless && a.wrote {
		a.out.Flush()
		return http.ErrContentLength
	}
	if !a.wrote && a.header.Get("Content-Length") == "" && trailer == nil {
		a.header.Set("Content-Length", "0")
	}
	if err := a.head(trailer == nil && a.out.Buffered() == 0); err != nil || a.ended {
		return err
	}
	if err := a.out.Flush(); err != nil {
		return err
	}
	if trailer == nil {
		return a.send(nil, true)
	}
	w.reset()
	for name, values := range trailer {
		for _, v := range values {
			w.add(name, bytesOf(textproto.TrimString(v)))
		}
	}
	return w.s.SendHead(w.fields, true)
}
