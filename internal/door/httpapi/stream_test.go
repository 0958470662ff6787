package httpapi

import (
	"context"
	"iter"
	"log/slog"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"stoa/api/op"
	"stoa/internal/kernel/host"
)

type slow struct{}

func (slow) Name() string { return "slow" }

func (slow) Declare(c *host.Catalog) {
	host.Follow(c, op.Op[op.None, op.None]{Name: "slow", Help: "say little"},
		func(ctx context.Context, _ op.None) (iter.Seq2[op.None, error], error) {
			return func(yield func(op.None, error) bool) {
				time.Sleep(40 * time.Second)
				if yield(op.None{}, nil) {
					panic("and then a defect")
				}
			}, nil
		}, nil)
}

// A stream with nothing to say shows that it lives every 15 s, and a panic in it is a
// fault at its end.
func TestSignsOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(Options{Catalog: host.Build(slow{}), Log: slog.New(slog.DiscardHandler)}, nil)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest("GET", "/v1/slow", nil))
		id := w.Header().Get(headerRequestID)
		want := "\n\n{}\n" + `{"error":{"kind":"internal","op":"slow","message":"a defect of Stoa: and then a defect","hint":"Report it with the lines of Stoa's log that name request ` + id + `."}}` + "\n"
		if got := w.Body.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
