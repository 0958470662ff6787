package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
)

// buffers are what bodies pass through: 32 KiB for each direction of each stream.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// relay writes the answer of a service to the caller.
func (b *binding) relay(w http.ResponseWriter, r *http.Request, resp *http.Response, x *exchange, ctx context.Context) {
	h := w.Header()
	removeHopByHop(resp.Header)
	dropOwn(resp.Header)
	for k, v := range resp.Header {
		h[k] = v
	}
	if _, ok := h["Date"]; !ok {
		h["Date"] = nil // it is the origin's to say; we add none
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // else net/http guesses
	}
	announced := len(resp.Trailer)
	if announced > 0 {
		for k := range resp.Trailer {
			h.Add("Trailer", k)
		}
		if r.ProtoMajor == 1 {
			delete(h, "Content-Length") // trailers need chunks there
		}
	}
	if x.shut {
		h["Connection"] = []string{"close"}
	}
	x.EditAnswer(h)
	grpcStatus(resp.Header, &x.Rec)
	x.Rec.Status = resp.StatusCode
	w.WriteHeader(resp.StatusCode)

	control := http.NewResponseController(w)
	stream := resp.ContentLength < 0
	if stream || announced > 0 {
		control.Flush()
	}
	if err := b.relayBody(w, control, resp.Body, stream, x); err != nil {
		x.Rec.Error = err.Error()
		x.Rec.Reason = hop.Truncated
		if r.Context().Err() != nil || isWrite(err) {
			x.Rec.Reason = hop.Cancelled
		} else if errors.Is(context.Cause(ctx), flow.ErrDeadline) {
			x.Rec.Reason = hop.Deadline
		}
		panic(http.ErrAbortHandler) // so that the caller knows that it is not whole
	}
	grpcStatus(resp.Trailer, &x.Rec)
	if len(resp.Trailer) > 0 {
		for k, v := range resp.Trailer {
			if announced == 0 || len(h["Trailer"]) == 0 || !contains(h["Trailer"], k) {
				k = http.TrailerPrefix + k
			}
			for _, s := range v {
				h.Add(k, s)
			}
		}
		if r.ProtoMajor == 1 {
			control.Flush() // so that a short answer is chunked, too
		}
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if strings.EqualFold(v, s) {
			return true
		}
	}
	return false
}

// writeError is an error of the caller's side.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

func isWrite(err error) bool {
	var w writeError
	return errors.As(err, &w)
}

// relayBody copies the body. A stream is flushed after each read, so that an event
// leaves when it comes.
func (b *binding) relayBody(w http.ResponseWriter, control *http.ResponseController, from io.Reader, stream bool, x *exchange) error {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	var stall time.Time // when the deadline was last moved
	if x.Edge {
		defer func() {
			if !stall.IsZero() {
				control.SetWriteDeadline(time.Time{})
			}
		}()
	}
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			if x.Edge {
				if now := time.Now(); now.Sub(stall) > b.p.o.Stall/4 {
					stall = now
					control.SetWriteDeadline(now.Add(b.p.o.Stall))
				}
			}
			m, werr := w.Write(buf[:n])
			x.Rec.Out += int64(m)
			if werr != nil {
				return writeError{werr}
			}
			if stream {
				if ferr := control.Flush(); ferr != nil {
					return writeError{ferr}
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// grpcStatus notes a grpc-status if h has one.
func grpcStatus(h http.Header, rec *hop.Record) {
	if v := h["Grpc-Status"]; len(v) == 1 {
		if n, err := strconv.Atoi(v[0]); err == nil && n >= 0 {
			rec.GRPC = n
		}
	}
}

// watchedBody says when something passes.
type watchedBody struct {
	io.ReadCloser
	passed func()
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.passed()
	return n, err
}
