package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Every request that is due is sent and answered once, and a wrong answer is an error.
func TestSendsWhatIsDue(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/no" {
			w.WriteHeader(503)
		}
		fmt.Fprint(w, strings.Repeat("x", 100))
	}))
	defer s.Close()
	addr := strings.TrimPrefix(s.URL, "http://")

	l, err := dial(addr, "/yes", 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.run(1000, 50*time.Millisecond, 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	r := l.report(1000)
	if r.Requests != 200 || r.Errors != 0 || asked.Load() != 250 {
		t.Errorf("%d counted, %d errors (%s), %d asked; want 200 of 250 and no error", r.Requests, r.Errors, r.Error, asked.Load())
	}
	if r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.P999 || r.P999 > r.Max {
		t.Errorf("quantiles are not in order: %+v", r)
	}

	if l, err = dial(addr, "/no", 2); err != nil {
		t.Fatal(err)
	}
	err = l.run(1000, 0, 50*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("got %v, want the status that was not expected", err)
	}
}

// A server that stalls is charged with every request that was due meanwhile.
func TestWaitingCounts(t *testing.T) {
	const stall = 100 * time.Millisecond
	var first atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(false, true) {
			timer := time.NewTimer(stall)
			<-timer.C
		}
		fmt.Fprint(w, "ok")
	}))
	defer s.Close()
	l, err := dial(strings.TrimPrefix(s.URL, "http://"), "/", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.run(1000, 0, stall); err != nil {
		t.Fatal(err)
	}
	// With one connection all hundred requests wait for the first: the median of what they
	// waited is half the stall, if the machine is calm, and more, if it is not.
	if r := l.report(1000); r.Requests != 100 || r.P50 < 40_000 {
		t.Errorf("%d requests, median %.0f us: want 100 that waited for about half of %s", r.Requests, r.P50, stall)
	}
}
