package command

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"stoa/internal/door/cli"
)

// devLog is where stoa dev tells people what the platform has to say of trouble: as a line
// among its own. Who asks for more by STOA_LOG gets records as a program writes them.
func devLog(s *cli.Session) *slog.Logger {
	if s.Getenv("STOA_LOG") != "" {
		return slog.Default()
	}
	return slog.New(&lines{w: s.Stderr, mu: &sync.Mutex{}})
}

// lines writes warnings and errors as "stoa  sentence: err (listener gateway)", with the
// hint below. What part of the platform says it is no matter here.
type lines struct {
	w     io.Writer
	mu    *sync.Mutex // guards w
	attrs []slog.Attr
}

func (h *lines) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (h *lines) WithAttrs(as []slog.Attr) slog.Handler {
	c := *h
	c.attrs = append(append([]slog.Attr(nil), h.attrs...), as...)
	return &c
}

func (h *lines) WithGroup(string) slog.Handler { return h }

func (h *lines) Handle(_ context.Context, r slog.Record) error {
	cause, hint := "", ""
	var rest []string
	add := func(a slog.Attr) bool {
		switch a.Key {
		case "part":
		case "err", "error":
			cause = a.Value.String()
		case "hint":
			hint = a.Value.String()
		default:
			rest = append(rest, a.Key+" "+a.Value.String())
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	text := r.Message
	if cause != "" {
		text += ": " + cause
	}
	if len(rest) > 0 {
		text += " (" + strings.Join(rest, ", ") + ")"
	}
	text = fmt.Sprintf("%-14s %s\n", "stoa", text)
	if hint != "" {
		text += fmt.Sprintf("%-14s %s\n", "", hint)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, text)
	return err
}
