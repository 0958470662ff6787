// Package serve gives a shop service its life: a port to listen on, probes to
// answer, a log that people and machines can read, and a calm end.
//
// It is the shop's own code, and all that the shop has instead of an SDK: the
// platform is met only through the environment (PORT), HTTP headers (traceparent)
// and signals (SIGTERM). The service in Node.js does the same in its own words.
//
// The flow of a life:
//
//	Run -> listen on $PORT -> /healthz and /readyz answer -> requests
//	SIGTERM -> /readyz says 503 -> background work ends, requests in flight end -> exit 0
package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Grace is how long requests in flight may take to end after SIGTERM.
const Grace = 20 * time.Second

// Service is what Run needs to know of a service.
type Service struct {
	Handler http.Handler

	// Ready returns nil when the service can do its work, and otherwise the reason
	// that /readyz gives. It is asked every few seconds and must answer within one.
	// Nil means always ready.
	Ready func(context.Context) error

	// Background runs beside the requests until its context is cancelled, which it is when
	// the draining begins. Run waits for it. Nil means nothing to do.
	Background func(context.Context)

	// Close is called last, when nothing runs any more. Nil means nothing to close.
	Close func() error
}

// Log returns a logger that writes JSON lines with level, msg and, when the context
// carries a trace, traceId. Who writes is known to whoever collects the lines.
func Log() *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cmp.Or(os.Getenv("LOG_LEVEL"), "info"))) // an unknown level is info
	return slog.New(traced{slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: level})})
}

// Run serves until SIGTERM or SIGINT and returns the exit code of the process.
func Run(s Service, log *slog.Logger) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	listener, err := net.Listen("tcp", "127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "8080"))
	if err != nil {
		log.Error("cannot listen", "err", err)
		return 1
	}
	if err := s.Serve(ctx, listener, log); err != nil {
		log.Error("ended badly", "err", err)
		return 1
	}
	return 0
}

// Serve answers on listener until ctx ends, then drains and returns. Every goroutine it started has ended by then.
func (s Service) Serve(ctx context.Context, listener net.Listener, log *slog.Logger) error {
	var leaving atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { JSON(w, http.StatusOK, health{"alive", ""}) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		err := s.ready(r.Context(), leaving.Load())
		if err != nil {
			JSON(w, http.StatusServiceUnavailable, health{"not ready", err.Error()})
			return
		}
		JSON(w, http.StatusOK, health{"ready", ""})
	})
	mux.Handle("/", Traced(Logged(log, s.Handler)))

	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}

	var background sync.WaitGroup
	work, endWork := context.WithCancel(ctx)
	defer endWork()
	if s.Background != nil {
		background.Go(func() { s.Background(work) })
	}

	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Info("serving", "addr", listener.Addr().String())

	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		leaving.Store(true)
		log.Info("draining", "grace", Grace.String())
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), Grace)
		err = server.Shutdown(grace)
		cancel()
		if err != nil {
			err = errors.Join(fmt.Errorf("requests still open after %s: %w", Grace, err), server.Close())
		}
		<-served
	}
	endWork()
	background.Wait()
	if s.Close != nil {
		err = errors.Join(err, s.Close())
	}
	log.Info("stopped")
	return err
}

func (s Service) ready(ctx context.Context, leaving bool) error {
	switch {
	case leaving:
		return errors.New("draining")
	case s.Ready == nil:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return s.Ready(ctx)
}

type health struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}
