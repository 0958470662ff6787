package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"stoa/api/fault"
	"stoa/internal/engine/hop"
)

// refusal is an answer of the proxy itself.
type refusal struct {
	reason hop.Reason
	status int
	text   string // for people; names services, never addresses
	hint   string
	allow  []string // for a 405
	err    error    // the cause: for the record, not for the caller
}

// Error makes a refusal an error inside Stoa.
func (f *refusal) Error() string {
	if f.err != nil {
		return f.text + ": " + f.err.Error()
	}
	return f.text
}

func (f *refusal) Unwrap() error { return f.err }

// fault is what Call returns.
func (f *refusal) fault(upstream string, sent Sent) *fault.Error {
	k := fault.Unavailable
	switch {
	case f.reason == hop.NoListener || f.reason == hop.NoRoute:
		k = fault.NotFound
	case f.status == 400 || f.status == 405:
		k = fault.Invalid
	case sent != No:
		k = fault.Unknown
	}
	return &fault.Error{Op: "proxy.call", Subject: "upstream/" + upstream, Kind: k, Hint: f.hint, Err: f}
}

// errDeadline is the cause of a context whose rule's timeout ran out.
var errDeadline = errors.New("the time for the call ran out")

// gone is the refusal for a context that ended: the deadline, or the caller went away.
func gone(ctx context.Context, u *upstream) *refusal {
	cause := context.Cause(ctx)
	if errors.Is(cause, errDeadline) || errors.Is(cause, context.DeadlineExceeded) {
		return &refusal{reason: hop.Deadline, status: 504, text: u.service + " did not answer in time", err: cause}
	}
	return &refusal{reason: hop.Cancelled, status: 499, text: "the caller went away", err: cause}
}

// grpcCodes are the statuses under which a refusal travels to a gRPC caller.
var grpcCodes = map[int]int{400: 3, 404: 12, 405: 12, 431: 8, 499: 1, 502: 14, 503: 14, 504: 4}

func isGRPC(h http.Header) bool {
	ct := h.Get("Content-Type")
	return ct == "application/grpc" || strings.HasPrefix(ct, "application/grpc+") || strings.HasPrefix(ct, "application/grpc;")
}

// outside gives what a caller outside is told: nothing of services, nor of what their
// operator can do.
func (f *refusal) outside() *refusal {
	told := *f
	told.hint = ""
	switch f.status {
	case http.StatusBadGateway:
		told.text = "what is behind the gateway gave no good answer"
	case http.StatusServiceUnavailable:
		told.text = "it cannot be served now"
	case http.StatusGatewayTimeout:
		told.text = "it was not answered in time"
	}
	return &told
}

// refuse writes f as the answer, as far as the caller is to know. A gRPC caller gets a trailers-only answer (gRPC over
// HTTP/2, Responses); one that takes JSON a problem document (RFC 9457); others text.
func (x *exchange) refuse(w http.ResponseWriter, r *http.Request, f *refusal) {
	rec := &x.rec
	rec.Reason, rec.Error, rec.Status = f.reason, f.Error(), f.status
	if x.edge && !x.p.o.Candid {
		f = f.outside()
	}
	h := w.Header()
	clear(h)
	h.Set("Stoa-Reason", string(f.reason))
	if isGRPC(r.Header) {
		code, ok := grpcCodes[f.status]
		if !ok {
			code = 2 // UNKNOWN
		}
		rec.GRPC, rec.Status = code, 200
		h.Set("Content-Type", "application/grpc")
		h.Set("Grpc-Status", strconv.Itoa(code))
		text := f.text
		if f.hint != "" {
			text += ". " + f.hint
		}
		h.Set("Grpc-Message", grpcMessage(text))
		w.WriteHeader(200)
		return
	}
	if f.status == 503 && f.reason != hop.Stopped { // that one comes back when somebody starts it
		h.Set("Retry-After", "1")
	}
	if f.status == 405 {
		h.Set("Allow", strings.Join(f.allow, ", "))
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	var body []byte
	if strings.Contains(r.Header.Get("Accept"), "json") {
		h.Set("Content-Type", "application/problem+json")
		body, _ = json.Marshal(struct { // strings and a number: cannot fail
			Title  string `json:"title"`
			Status int    `json:"status"`
			Detail string `json:"detail"`
			Reason string `json:"reason"`
			Hint   string `json:"hint,omitempty"`
			Trace  string `json:"trace"`
		}{http.StatusText(f.status), f.status, f.text, string(f.reason), f.hint, rec.Trace.String()})
		body = append(body, '\n')
	} else {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		body = fmt.Appendf(body, "%d %s: %s\n", f.status, f.reason, f.text)
		if f.hint != "" {
			body = fmt.Appendf(body, "%s\n", f.hint)
		}
		body = fmt.Appendf(body, "trace %s\n", rec.Trace)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(f.status)
	if r.Method != http.MethodHead {
		n, _ := w.Write(body)
		rec.Out += int64(n)
	}
}

// grpcMessage escapes by the gRPC protocol: all but printable ASCII, and the percent.
func grpcMessage(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
