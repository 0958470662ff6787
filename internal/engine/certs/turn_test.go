package certs_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"stoa/internal/engine/certs"
)

// Waits double up to a bound, are longer after a failed check, and obey the server.
func TestBackoff(t *testing.T) {
	check := fmt.Errorf("tls-alpn-01: %w", &acme.AuthorizationError{Identifier: "a.org", Errors: []error{errors.New("no")}})
	limited := func(after string) error {
		return fmt.Errorf("order: %w", &acme.Error{StatusCode: 429, ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: http.Header{"Retry-After": {after}}})
	}
	other := errors.New("connection refused")
	for _, c := range []struct {
		fails int
		err   error
		want  time.Duration
	}{
		{1, other, 15 * time.Second},
		{2, other, 30 * time.Second},
		{5, other, 4 * time.Minute},
		{30, other, 6 * time.Hour},
		{1 << 30, other, 6 * time.Hour},
		{1, check, 4 * time.Minute},
		{2, check, 8 * time.Minute},
		{4, check, 32 * time.Minute},
		{100, check, 6 * time.Hour},
		{1, limited("7200"), 2 * time.Hour},
		{1, limited("1"), time.Minute},
		{1, limited("-5"), time.Minute},
		{1, limited("soon"), time.Minute},
		{1, limited("604800"), 24 * time.Hour},
		{20, limited("60"), 6 * time.Hour},
	} {
		if got := certs.Backoff(c.fails, c.err); got != c.want {
			t.Errorf("after %d failures, the last %v: wait %v, want %v", c.fails, c.err, got, c.want)
		}
	}
}
