package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"stoa/internal/engine/snapshot"
)

// requestBody is the body of one request over all its attempts. The transport closes
// what it is given when an attempt fails, so it is given an attemptBody.
type requestBody struct {
	from io.ReadCloser // nil: no body
	n    atomic.Int64  // bytes read
	used atomic.Bool   // an attempt has begun to read
}

// attemptBody is the body as one attempt sees it. Sealed, it reads no more: what a
// failed attempt left running must not take bytes of the next.
type attemptBody struct {
	b     *requestBody
	state atomic.Int32 // 0 untouched, 1 reading, 2 sealed
}

var errSealed = errors.New("the attempt is over")

// Read reads the caller's bytes, unless the body was sealed first.
func (a *attemptBody) Read(p []byte) (int, error) {
	if a.state.Load() != 1 && !a.state.CompareAndSwap(0, 1) {
		return 0, errSealed
	}
	a.b.used.Store(true)
	n, err := a.b.from.Read(p)
	a.b.n.Add(int64(n))
	return n, err
}

// Close does nothing: the exchange closes the caller's body when it ends.
func (a *attemptBody) Close() error { return nil }

// seal says whether the attempt had left the body untouched, and keeps it so.
func (a *attemptBody) seal() bool { return a == nil || a.state.CompareAndSwap(0, 2) }

// emptyBody ends at once.
type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }

// WriteTo spares net/http a buffer of 32 KiB for each request.
func (emptyBody) WriteTo(io.Writer) (int64, error) { return 0, nil }

// prepare gives out the body of one attempt, so that net/http sends it as it came and
// never repeats the request by itself. net/http's transport (Go 1.26,
// Request.isReplayable) repeats on a kept connection that died a request that has no body, or
// can get it again, and whose method is GET, HEAD, OPTIONS or TRACE, or which has a
// field Idempotency-Key or X-Idempotency-Key. So:
//
//   - GetBody is never set; that leaves requests without a body.
//   - Without a body, over HTTP/1.1, the four methods get an empty one of unknown length in
//     the coding identity, which on the wire is no body.
//   - The two fields are kept under a name in lower case, which net/http does not look for;
//     on the wire names have no case. RFC 9110, section 5.1.
//
// What is left: it repeats a request without body of which not a byte was written, which
// harms nobody and is counted; and over HTTP/2 what the peer says it has not processed
// (REFUSED_STREAM, GOAWAY).
func prepare(out *http.Request, b *requestBody, length int64, proto snapshot.Protocol) *attemptBody {
	out.GetBody = nil
	out.TransferEncoding = nil
	for _, name := range [...][2]string{{"Idempotency-Key", "idempotency-key"}, {"X-Idempotency-Key", "x-idempotency-key"}} {
		if v, ok := out.Header[name[0]]; ok {
			delete(out.Header, name[0])
			out.Header[name[1]] = v
		}
	}
	if b.from == nil {
		out.Body, out.ContentLength = http.NoBody, 0
		if proto != snapshot.H2C {
			switch out.Method {
			case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
				out.Body, out.TransferEncoding = emptyBody{}, []string{"identity"}
			}
		}
		return nil
	}
	a := &attemptBody{b: b}
	out.Body, out.ContentLength = a, length
	if length < 0 && proto != snapshot.H2C {
		out.TransferEncoding = []string{"chunked"} // also for GET: net/http would probe for 200 ms
	}
	return a
}

// repeatable says whether a request may be sent twice: idempotent by its method (RFC
// 9110, section 9.2.2), or by its key.
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return len(r.Header["Idempotency-Key"])+len(r.Header["X-Idempotency-Key"]) > 0
}
