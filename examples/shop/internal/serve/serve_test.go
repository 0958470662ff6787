package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// A service that is told to stop finishes what it has begun, and takes nothing new.
func TestDrain(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + listener.Addr().String()
	begun, finish := make(chan struct{}), make(chan struct{})
	worked, closed := false, false
	s := Service{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			<-finish
			io.WriteString(w, "done")
		}),
		Background: func(ctx context.Context) { <-ctx.Done(); worked = true },
		Close:      func() error { closed = true; return nil },
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listener, slog.New(slog.DiscardHandler)) }()

	var answer string
	var all sync.WaitGroup
	all.Go(func() {
		res, err := http.Get(base + "/slow")
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		answer = string(b)
	})
	<-begun
	stop()
	for { // until nothing new is taken
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case err := <-ended:
		t.Fatalf("ended with %v while a request was open", err)
	default:
	}
	close(finish)
	all.Wait()
	if err := <-ended; err != nil || answer != "done" || !worked || !closed {
		t.Errorf("ended with %v, answer %q, background ended %v, closed %v; want a clean end", err, answer, worked, closed)
	}
}

func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Service{Ready: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		if err := s.ready(t.Context(), false); err == nil {
			t.Error("a check that does not end: ready, want not")
		}
		if err := (Service{}).ready(t.Context(), false); err != nil {
			t.Errorf("no check: %v, want ready", err)
		}
		if err := (Service{}).ready(t.Context(), true); err == nil {
			t.Error("draining: ready, want not")
		}
	})
}

func TestTraceparent(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	for _, c := range []struct {
		name, header string
		kept         bool
	}{
		{"kept as it came", "00-" + id + "-b7ad6b7169203331-01", true},
		{"not sampled is kept too", "00-" + id + "-b7ad6b7169203331-00", true},
		{"none", "", false},
		{"zero trace", "00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
		{"zero parent", "00-" + id + "-0000000000000000-01", false},
		{"capitals", "00-" + strings.ToUpper(id) + "-b7ad6b7169203331-01", false},
		{"too long", "00-" + id + "-b7ad6b7169203331-01-more", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Traceparent(WithTraceparent(t.Context(), c.header))
			if (got == c.header) != c.kept || !traceparent.MatchString(got) {
				t.Errorf("%q: got %q, want it kept: %v, and a good one", c.header, got, c.kept)
			}
		})
	}
}

func TestLogLinesCarryTheTrace(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(traced{slog.NewJSONHandler(&b, nil)}).With("service", "x")
	ctx := WithTraceparent(t.Context(), "")
	log.InfoContext(ctx, "hello")
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["traceId"] != TraceID(ctx) || line["msg"] != "hello" || line["level"] != "INFO" {
		t.Errorf("got %v, want level, msg and traceId %s", line, TraceID(ctx))
	}
}
