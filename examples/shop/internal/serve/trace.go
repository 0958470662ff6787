package serve

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"regexp"
	"time"
)

// A trace is carried by copying the header: W3C Trace Context, level 1. The shop
// records no spans of its own; what sits between the services does.

type traceKey struct{}

// 00-<32 hex trace id>-<16 hex parent id>-<2 hex flags>; neither id may be all zeros, section 3.2.2.
var traceparent = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$`)

// WithTraceparent returns a context that carries header, if it is a traceparent that can be read, and otherwise a new trace.
func WithTraceparent(ctx context.Context, header string) context.Context {
	if m := traceparent.FindStringSubmatch(header); m == nil || zeros(m[1]) || zeros(m[2]) {
		header = newTraceparent()
	}
	return context.WithValue(ctx, traceKey{}, header)
}

// Traceparent returns the header to send on, empty if ctx carries no trace.
func Traceparent(ctx context.Context) string {
	header, _ := ctx.Value(traceKey{}).(string)
	return header
}

// TraceID returns the 32 hex digits that name the trace of ctx, empty if it carries none.
func TraceID(ctx context.Context) string {
	if header := Traceparent(ctx); header != "" {
		return header[3:35]
	}
	return ""
}

// Traced gives each request of next a context that carries its trace.
func Traced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(WithTraceparent(r.Context(), r.Header.Get("traceparent"))))
	})
}

// Client returns an HTTP client whose requests carry the trace of their context.
// A call that takes longer than timeout fails.
func Client(timeout time.Duration) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 32
	return &http.Client{Timeout: timeout, Transport: carrying{transport}}
}

type carrying struct{ next http.RoundTripper }

func (c carrying) RoundTrip(r *http.Request) (*http.Response, error) {
	if header := Traceparent(r.Context()); header != "" {
		r = r.Clone(r.Context()) // a RoundTripper must not change the request it was given
		r.Header.Set("traceparent", header)
	}
	return c.next.RoundTrip(r)
}

// traced adds traceId to the records of a context that carries a trace.
type traced struct{ slog.Handler }

func (t traced) Handle(ctx context.Context, r slog.Record) error {
	if id := TraceID(ctx); id != "" {
		r.AddAttrs(slog.String("traceId", id))
	}
	return t.Handler.Handle(ctx, r)
}

func (t traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(attrs)} }
func (t traced) WithGroup(name string) slog.Handler       { return traced{t.Handler.WithGroup(name)} }

func newTraceparent() string {
	var id [24]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	return "00-" + hex.EncodeToString(id[:16]) + "-" + hex.EncodeToString(id[16:]) + "-01"
}

func zeros(hex string) bool {
	for _, c := range hex {
		if c != '0' {
			return false
		}
	}
	return true
}
