package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/snapshot"
)

// maxReplay is how much of a body is kept, so that it can be sent again.
const maxReplay = 64 << 10

// requestBody is the body of one request over all its attempts. The transport closes
// what it is given when an attempt fails, so it is given an attemptBody. Each reads first what
// was kept of those before it, and then on.
type requestBody struct {
	from   io.ReadCloser // nil: no body
	keep   bool          // what is read is kept, up to maxReplay
	n      atomic.Int64  // bytes read of from
	gone   atomic.Bool   // more was read than is kept: it cannot be sent again
	passed atomic.Pointer[func()]
	over   atomic.Bool           // all of it was read
	broken atomic.Pointer[error] // what the caller did wrong; nil: nothing

	mu   sync.Mutex // held while from is read
	kept []byte     // guarded by mu
	err  error      // how from ended; guarded by mu
}

// attemptBody is the body as one attempt sees it. Sealed, it gives no more: what a
// failed attempt left running must not take bytes of the next. What it was just reading is kept.
type attemptBody struct {
	b      *requestBody
	off    int64 // bytes given; guarded by b.mu
	read   atomic.Bool
	sealed atomic.Bool
}

var errSealed = errors.New("the attempt is over")

// Read reads the caller's bytes, unless the body was sealed first.
func (a *attemptBody) Read(p []byte) (int, error) {
	b := a.b
	b.mu.Lock()
	defer b.mu.Unlock()
	a.read.Store(true)
	if a.sealed.Load() {
		return 0, errSealed
	}
	if k := int64(len(b.kept)); a.off < k {
		n := copy(p, b.kept[a.off:])
		a.off += int64(n)
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	if a.off != b.n.Load() {
		return 0, errSealed // another read on, past what is kept
	}
	if !b.gone.Load() && (!b.keep || len(b.kept) >= maxReplay) {
		b.gone.Store(true)
		if a.sealed.Load() { // who sealed it may have seen that nothing was gone
			b.gone.Store(false)
			return 0, errSealed
		}
		b.kept = nil
	}
	n, err := b.from.Read(p)
	b.n.Add(int64(n))
	a.off += int64(n)
	if !b.gone.Load() {
		b.kept = append(b.kept, p[:n]...)
	}
	b.err = err
	switch err {
	case nil:
	case io.EOF:
		b.over.Store(true)
	default:
		b.broken.Store(&err)
	}
	if passed := b.passed.Load(); passed != nil {
		(*passed)()
	}
	return n, err
}

// Close does nothing: the exchange closes the caller's body when it ends.
func (a *attemptBody) Close() error { return nil }

// seal ends it, and says whether the attempt had left the body unread.
func (a *attemptBody) seal() bool {
	if a == nil {
		return true
	}
	a.sealed.Store(true)
	return !a.read.Load()
}

// refusal is the answer to a body that the caller broke, which is no fault of the service; nil
// if it did not.
func (b *requestBody) refusal() *flow.Refusal {
	err := b.broken.Load()
	if err == nil {
		return nil
	}
	var op *net.OpError
	switch {
	case timedOut(*err):
		return &flow.Refusal{Reason: hop.BadRequest, Status: 408, Text: "the body of the request did not come in time"}
	case errors.Is(*err, io.ErrUnexpectedEOF), errors.As(*err, &op):
		return flow.Left(*err)
	}
	return &flow.Refusal{Reason: hop.BadRequest, Status: 400, Text: "the body of the request is malformed", Err: *err}
}

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
