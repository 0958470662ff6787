package serve

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// MaxBody bounds a request body, in bytes. No honest request of the shop comes near it.
const MaxBody = 64 << 10

// A Problem is an error as the caller sees it: RFC 9457, application/problem+json.
type Problem struct {
	Title   string  `json:"title"`
	Status  int     `json:"status"`
	Code    string  `json:"code"` // for machines: stable, lower case with underscores
	Detail  string  `json:"detail,omitempty"`
	TraceID string  `json:"traceId,omitempty"`
	Fields  []Field `json:"fields,omitempty"` // which input is wrong, when some is

	// OrderID names the order that the problem belongs to, when there is one.
	OrderID string `json:"orderId,omitempty"`
}

// A Field is one input that is wrong.
type Field struct {
	Path string `json:"path"` // items[0].quantity
	Want string `json:"want"` // 1 to 20
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// Fail returns a problem with the title that HTTP has for status.
func Fail(status int, code, format string, args ...any) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Invalid returns the problem that names wrong inputs, nil if there are none.
func Invalid(fields []Field) *Problem {
	if len(fields) == 0 {
		return nil
	}
	p := Fail(http.StatusUnprocessableEntity, "invalid", "Some fields are missing or wrong.")
	p.Fields = fields
	return p
}

// JSON writes v as the answer. Nobody may keep it, unless its handler has said otherwise in Cache-Control.
func JSON(w http.ResponseWriter, status int, v any) {
	keep := w.Header().Get("Cache-Control")
	write(w, status, "application/json", cmp.Or(keep, "no-store"), v)
}

func write(w http.ResponseWriter, status int, media, keep string, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("answer of type %T: %v", v, err)) // the types are ours: this is a programming error
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", keep)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the caller may be gone, which is no error of ours
}

// Handle makes an http.Handler of a function that answers or returns an error. An
// error that is no *Problem is ours: it is logged, and the caller is told only its trace id.
func Handle(log *slog.Logger, do func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := do(w, r)
		if err == nil {
			return
		}
		var p *Problem
		if !errors.As(err, &p) {
			log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
			p = Fail(http.StatusInternalServerError, "internal", "Something broke on our side.")
		}
		told := *p
		told.TraceID = TraceID(r.Context())
		write(w, told.Status, "application/problem+json", "no-store", told)
	})
}

// Read decodes a JSON body into v and returns a *Problem if it cannot.
func Read(w http.ResponseWriter, r *http.Request, v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil && dec.Decode(&struct{}{}) != io.EOF {
		err = errors.New("more than one JSON value")
	}
	var tooLong *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLong):
		return Fail(http.StatusRequestEntityTooLarge, "too_large", "A body may have %d bytes.", tooLong.Limit)
	}
	return Fail(http.StatusBadRequest, "malformed", "The body cannot be read: %v.", err)
}

// Logged writes one line per request of next.
func Logged(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		seen := &statusSeen{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		level := slog.LevelDebug // what goes well is told by the platform's access log already
		if seen.status >= 500 {
			level = slog.LevelWarn
		}
		log.Log(r.Context(), level, "request", "method", r.Method, "path", r.URL.Path, "status", seen.status, "millis", time.Since(start).Milliseconds())
	})
}

type statusSeen struct {
	http.ResponseWriter
	status int
}

func (s *statusSeen) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusSeen) Unwrap() http.ResponseWriter { return s.ResponseWriter }
