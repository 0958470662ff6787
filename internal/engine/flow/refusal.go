package flow

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"stoa/api/fault"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/retry"
)

// Refusal is an answer of the proxy itself.
type Refusal struct {
	Reason   hop.Reason
	Status   int
	Text     string // for people; names services, never addresses
	Hint     string
	Allow    []string // for a 405
	Retry    int      // seconds after which it is worth another try; 0: the reason's own
	Fields   [][2]string
	NoRetry  bool   // nor should the hops before repeat it: Stoa-Retry
	Bare     bool   // no refusal, but an answer of status and fields alone
	Location string // of a redirect, which is no failure and has no reason
	Err      error  // the cause: for the record, not for the caller
}

// Error makes a refusal an error inside Stoa.
func (f *Refusal) Error() string {
	if f.Err != nil {
		return f.Text + ": " + f.Err.Error()
	}
	return f.Text
}

func (f *Refusal) Unwrap() error { return f.Err }

// Fault is the refusal as the error of a call from inside Stoa.
func (f *Refusal) Fault(upstream string, sent Sent) *fault.Error {
	k := fault.Unavailable
	switch {
	case f.Reason == hop.NoListener || f.Reason == hop.NoRoute:
		k = fault.NotFound
	case f.Status == 400 || f.Status == 405:
		k = fault.Invalid
	case sent != No:
		k = fault.Unknown
	}
	return &fault.Error{Op: "proxy.call", Subject: "upstream/" + upstream, Kind: k, Hint: f.Hint, Err: f}
}

// ErrDeadline is the cause of a context whose time for the call ran out.
var ErrDeadline = errors.New("the time for the call ran out")

// Gone is the refusal for a context that ended: the deadline, or the caller went away.
func Gone(ctx context.Context, u *Upstream) *Refusal {
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrDeadline) || errors.Is(cause, context.DeadlineExceeded) {
		return Late(u, cause)
	}
	return Left(cause)
}

// Late is the refusal of a request whose deadline has passed.
func Late(u *Upstream, cause error) *Refusal {
	return &Refusal{Reason: hop.Deadline, Status: 504, Text: u.Service + " did not answer in time", Err: cause}
}

// Left is the refusal nobody reads: the caller went away.
func Left(cause error) *Refusal {
	return &Refusal{Reason: hop.Cancelled, Status: 499, Text: "the caller went away", Err: cause}
}

// grpcCodes are the statuses under which a refusal travels to a gRPC caller.
var grpcCodes = map[int]int{400: 3, 403: 7, 404: 12, 405: 12, 429: 8, 431: 8, 499: 1, 502: 14, 503: 14, 504: 4}

// IsGRPC says whether a Content-Type is gRPC's.
func IsGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// outside gives what a caller outside is told: nothing of services, nor of what their
// operator can do.
func (f *Refusal) outside() *Refusal {
	told := *f
	told.Hint = ""
	switch f.Status {
	case http.StatusBadGateway:
		told.Text = "what is behind the gateway gave no good answer"
	case http.StatusServiceUnavailable:
		told.Text = "it cannot be served now"
	case http.StatusGatewayTimeout:
		told.Text = "it was not answered in time"
	}
	return &told
}

// candid says whether the caller is told of services.
func (x *Exchange) candid() bool { return !x.Edge || x.P.o.Candid }

// Answer is a refusal as it is told.
type Answer struct {
	Status int
	Fields [][2]string // in canonical case, without Content-Length
	Body   []byte
}

// Refuse makes f the outcome of x, and gives what its caller is told. A gRPC caller
// gets a trailers-only answer (gRPC over HTTP/2, Responses); one that takes JSON a problem
// document (RFC 9457); others text.
func (x *Exchange) Refuse(f *Refusal, contentType, accept string) (a Answer) {
	rec := &x.Rec
	rec.Reason, rec.Error, rec.Status = f.Reason, f.Error(), f.Status
	if f.Bare {
		return Answer{Status: f.Status, Fields: append(f.Fields, x.Marks...)}
	}
	if f.Location != "" {
		a = Answer{Status: f.Status, Fields: append([][2]string{{"Location", f.Location}}, x.Marks...)}
	} else {
		a = x.refusal(f, contentType, accept)
	}
	if x.secures() != nil {
		has := func(name string) bool {
			for _, have := range a.Fields {
				if have[0] == name {
					return true
				}
			}
			return false
		}
		x.secureFields(has, func(name, value string) { a.Fields = append(a.Fields, [2]string{name, value}) })
	}
	return a
}

// refusal is how f is told. It must cost less than what it spares: a text costs a handful of
// allocations.
func (x *Exchange) refusal(f *Refusal, contentType, accept string) (a Answer) {
	rec := &x.Rec
	if !x.candid() {
		f = f.outside()
	}
	a.Status, a.Fields = f.Status, make([][2]string, 0, 8+len(x.Marks)+len(f.Fields))
	add := func(name, value string) { a.Fields = append(a.Fields, [2]string{name, value}) }
	add("Stoa-Reason", string(f.Reason))
	a.Fields = append(append(a.Fields, x.Marks...), f.Fields...)
	if f.NoRetry && !x.Edge {
		add(retry.NoRetryField, retry.NoRetryValue)
	}
	if IsGRPC(contentType) {
		code, ok := grpcCodes[f.Status]
		if !ok {
			code = 2 // UNKNOWN
		}
		a.Status, rec.GRPC, rec.Status = 200, code, 200
		text := f.Text
		if f.Hint != "" {
			text += ". " + f.Hint
		}
		add("Content-Type", "application/grpc")
		add("Grpc-Status", strconv.Itoa(code))
		add("Grpc-Message", grpcMessage(text))
		return a
	}
	switch {
	case f.Retry > 0:
		add("Retry-After", strconv.Itoa(f.Retry))
	case f.Status == 503 && f.Reason != hop.Stopped: // that one comes back when somebody starts it
		add("Retry-After", "1")
	}
	if f.Status == 405 {
		add("Allow", strings.Join(f.Allow, ", "))
	}
	add("Cache-Control", "no-store")
	add("X-Content-Type-Options", "nosniff")
	if strings.Contains(accept, "json") {
		add("Content-Type", "application/problem+json")
		a.Body, _ = json.Marshal(struct { // strings and a number: cannot fail
			Title  string `json:"title"`
			Status int    `json:"status"`
			Detail string `json:"detail"`
			Reason string `json:"reason"`
			Hint   string `json:"hint,omitempty"`
			Trace  string `json:"trace"`
		}{http.StatusText(f.Status), f.Status, f.Text, string(f.Reason), f.Hint, rec.Trace.String()})
		a.Body = append(a.Body, '\n')
		return a
	}
	add("Content-Type", "text/plain; charset=utf-8")
	b := make([]byte, 0, 64+len(f.Text)+len(f.Hint)+2*len(rec.Trace))
	b = append(append(strconv.AppendInt(b, int64(f.Status), 10), ' '), f.Reason...)
	b = append(append(append(b, ": "...), f.Text...), '\n')
	if f.Hint != "" {
		b = append(append(b, f.Hint...), '\n')
	}
	b = hex.AppendEncode(append(b, "trace "...), rec.Trace[:])
	a.Body = append(b, '\n')
	return a
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
