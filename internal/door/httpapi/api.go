// Package httpapi serves the operation table over HTTP: to the command line on a Unix
// socket, to the dashboard on a loopback port.
//
//	/v1/NAME        an operation: GET with a query for a read of scalars, else POST with JSON
//	/session        POST {"token"} exchanges a one-time login for a cookie, DELETE ends it
//	/openapi.json   the table as an OpenAPI 3.1 document
//	endpoints       what modules declared with a protocol of its own: GET /metrics
//	everything else the dashboard, if there is one
//
// An answer is JSON. A fault is {"error":{"kind","op","subject","message","hint"}} under
// the status of its kind. A stream is one JSON object a line (application/x-ndjson),
// with an empty line at least every 15 s; a fault inside it is its last line.
//
// Who may ask is decided before the table is looked at:
//
//	Unix socket   the peer's user id, from the kernel, is this process's or root's
//	TCP           loopback only; Host is one of ours, Origin and Sec-Fetch-Site are
//	              those of our own pages, and a session cookie is there. There are no
//	              CORS headers, and no change by GET.
//
// Operations that are Local work on the caller's files; they are not served.
//
// A limit to know: browsers send a cookie to every port of a host name, so a service
// behind a gateway on the same name sees the session cookie. The gateway must drop
// cookies whose name begins with CookiePrefix.
//
// The package names no capability.
package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"stoa/api/fault"
	"stoa/api/op"
	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/host"
)

// Bounds of the interface. Those of Options can be changed.
const (
	bodyLimit  = 8 << 20          // bytes of a request body, unless Options.BodyLimit says otherwise
	bodyTime   = 60 * time.Second // for a request body to arrive; a second more for each 128 KiB that its limit allows beyond 8 MiB
	writeTime  = 30 * time.Second // for one write to be taken by a slow reader
	keepalive  = 15 * time.Second // between signs of life in a stream
	maxCalls   = 256              // operations at work at once; more are answered 503
	maxStreams = 256              // streams open at once; more are answered 503
)

// A Record tells of one operation that was asked for over HTTP.
type Record struct {
	Time      time.Time
	RequestID string
	Caller    op.Caller
	Op        string
	Effect    op.Effect
	Outcome   fault.Kind // "" when it was carried out
	Took      time.Duration
}

// api serves the operations of a catalog.
type api struct {
	rows    map[string]row
	names   []string
	log     *slog.Logger
	record  func(Record)
	now     func() time.Time
	calls   chan struct{}
	streams chan struct{}
	stop    <-chan struct{} // closed when streams are to end
}

// A row is an operation with what is computed once.
type row struct {
	host.Operation
	method string
	fields []op.Field
	limit  int64
}

func newAPI(o Options, stop <-chan struct{}) *api {
	a := &api{
		rows: map[string]row{}, log: o.Log, record: o.Record,
		now: time.Now, calls: make(chan struct{}, maxCalls), streams: make(chan struct{}, maxStreams),
		stop: stop,
	}
	for _, x := range o.Catalog.Operations {
		if x.Local {
			continue
		}
		r := row{Operation: x, method: op.Method(x.Effect, x.In), fields: op.Fields(x.In), limit: bodyLimit}
		if n, ok := o.BodyLimit[x.Name]; ok {
			r.limit = n
		}
		a.rows[x.Name] = r
		a.names = append(a.names, x.Name)
	}
	return a
}

// requestID gives the id of a request: the caller's own, if it is a short plain word.
func requestID(r *http.Request) string {
	id := r.Header.Get(headerRequestID)
	ok := id != "" && len(id) <= 64
	for _, c := range id {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
	}
	if ok {
		return id
	}
	return strings.ToLower(rand.Text())
}

const headerRequestID = "Stoa-Request-Id"

// ServeHTTP answers /v1/NAME.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := a.now()
	id := requestID(r)
	w.Header().Set(headerRequestID, id)
	w.Header().Set("Cache-Control", "no-store")

	name := strings.TrimPrefix(r.URL.Path, "/v1/")
	x, ok := a.rows[name]
	if !ok {
		fail(w, fault.New(fault.NotFound, name, "there is no such operation").WithHint("%s", nearest.Hint(name, a.names)), 0)
		return
	}
	rec := Record{Time: began, RequestID: id, Caller: op.CallerOf(r.Context()), Op: name, Effect: x.Effect}
	err := a.carryOut(w, r, x, id)
	if err != nil {
		rec.Outcome = fault.KindOf(err)
	}
	rec.Took = a.now().Sub(began)
	if a.record != nil {
		a.record(rec)
	}
}

// carryOut answers one request and tells how it went. What it returns has been written.
func (a *api) carryOut(w http.ResponseWriter, r *http.Request, x row, id string) error {
	if r.Method != x.method {
		w.Header().Set("Allow", x.method)
		f := fault.New(fault.Invalid, x.Name, "this operation is a %s, not a %s", x.method, r.Method)
		fail(w, f, http.StatusMethodNotAllowed)
		return f
	}
	slots := a.calls
	if x.Stream != nil {
		slots = a.streams
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	default:
		f := fault.New(fault.Unavailable, x.Name, "%d requests are at work already", cap(slots)).WithHint("Ask again in a moment.")
		w.Header().Set("Retry-After", "1")
		fail(w, f, 0)
		return f
	}
	in, status, err := decode(w, r, x)
	if err != nil {
		fail(w, err, status)
		return err
	}
	if x.Stream != nil {
		return a.stream(w, r, x, in, id)
	}
	out, err := guarded(a.log, x.Name, id, func() (any, error) { return x.Call(r.Context(), in) })
	if err != nil {
		fail(w, err, 0)
		return err
	}
	b, err := json.Marshal(out)
	if err != nil {
		err = &fault.Error{Op: "httpapi.answer", Subject: x.Name, Kind: fault.Internal, Err: err}
		fail(w, err, 0)
		return err
	}
	deadline(w, time.Now().Add(writeTime+time.Duration(len(b)/(128<<10))*time.Second))
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(b, '\n')) // a caller who is gone is not told
	return nil
}

// guarded calls do, and gives a fault for a panic in it.
func guarded[T any](log *slog.Logger, name, id string, do func() (T, error)) (out T, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		log.Error("an operation panicked", "op", name, "request", id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		err = &fault.Error{Op: name, Kind: fault.Internal, Err: fmt.Errorf("a defect of Stoa: %v", p),
			Hint: "Report it with the lines of Stoa's log that name request " + id + "."}
	}()
	return do()
}

// fail writes a fault. status 0 means the one of its kind.
func fail(w http.ResponseWriter, err error, status int) {
	f := wireFault(err)
	if status == 0 {
		status = f.Kind.HTTPStatus()
	}
	deadline(w, time.Now().Add(writeTime))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(fault.Encode(f), '\n')) // a caller who is gone is not told
}

// wireFault gives err as the fault that travels. A wait that ran out is Unknown: what
// was waited for may happen yet.
func wireFault(err error) *fault.Error {
	if f, ok := err.(*fault.Error); ok {
		if f.Hint == "" { // the outermost hint may lie deeper
			c := *f
			c.Hint = fault.HintOf(err)
			return &c
		}
		return f
	}
	kind := fault.KindOf(err)
	var f *fault.Error
	if !errors.As(err, &f) {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			kind = fault.Unknown
		case errors.Is(err, context.Canceled):
			kind = fault.Unavailable
		}
	}
	return &fault.Error{Kind: kind, Hint: fault.HintOf(err), Err: err}
}

// deadline bounds the next write. Where the writer has no deadlines (a test) there is nothing to bound.
func deadline(w http.ResponseWriter, t time.Time) {
	_ = http.NewResponseController(w).SetWriteDeadline(t)
}

// zeroIn gives a pointer to a new request value.
func zeroIn(x row) reflect.Value { return reflect.New(x.In) }
