package app

import (
	"context"
	"errors"
	"log/slog"

	"stoa/internal/module/telemetry"
)

// newLog gives the platform's own log: everything from Info on is kept with the lines of
// services, under the name stoa; out gets what it wants besides.
func newLog(t *telemetry.Module, out slog.Handler) *slog.Logger {
	kept := slog.NewJSONHandler(lines{t}, &slog.HandlerOptions{Level: slog.LevelInfo})
	return slog.New(both{kept, out})
}

// lines takes what a JSON handler writes: one line a call.
type lines struct{ t *telemetry.Module }

func (l lines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	l.t.Line(telemetry.StoaName, "", "stoa", b)
	return n, nil
}

// both hands records to two handlers.
type both struct{ a, b slog.Handler }

func (h both) Enabled(ctx context.Context, l slog.Level) bool {
	return h.a.Enabled(ctx, l) || h.b.Enabled(ctx, l)
}

func (h both) Handle(ctx context.Context, r slog.Record) error {
	var errs []error
	for _, one := range []slog.Handler{h.a, h.b} {
		if one.Enabled(ctx, r.Level) {
			errs = append(errs, one.Handle(ctx, r.Clone()))
		}
	}
	return errors.Join(errs...)
}

func (h both) WithAttrs(as []slog.Attr) slog.Handler {
	return both{h.a.WithAttrs(as), h.b.WithAttrs(as)}
}
func (h both) WithGroup(n string) slog.Handler { return both{h.a.WithGroup(n), h.b.WithGroup(n)} }
