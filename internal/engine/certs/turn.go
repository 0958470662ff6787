package certs

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"golang.org/x/crypto/acme"

	"stoa/api/fault"
)

// A turn says when something that failed is tried again. Its owner is one goroutine.
type turn struct {
	fails  int
	next   time.Time
	worked string // the kind of challenge that worked last; "" before any did
}

func (t *turn) waits(now time.Time) bool { return now.Before(t.next) }

// failed notes a failure, and gives when to try again.
func (t *turn) failed(now time.Time, err error) time.Time {
	t.fails++
	wait := backoff(t.fails, err)
	t.next = now.Add(wait + rand.N(wait/10+1))
	return t.next
}

// Waits after failures. Let's Encrypt refuses a host after five failed checks an hour, and
// two are made at the first attempt: 0 (two), 4, 12 and 28 minutes are the five of the first.
const (
	waitCheck   = 4 * time.Minute  // after the first failed check of a host; doubled each time
	waitOther   = 15 * time.Second // after another first failure: the network, the server; doubled
	waitLongest = 6 * time.Hour
	waitTold    = 24 * time.Hour // the longest that a server's Retry-After is obeyed
)

// backoff gives how long to wait after the given number of failures, the last being err.
func backoff(fails int, err error) time.Duration {
	wait := waitOther
	if checkFailed(err) {
		wait = waitCheck
	}
	for n := 1; n < fails && wait < waitLongest; n++ {
		wait *= 2
	}
	wait = min(wait, waitLongest)
	var ae *acme.Error
	if errors.As(err, &ae) {
		if told, limited := acme.RateLimit(ae); limited {
			wait = max(wait, min(max(told, 0), waitTold), time.Minute)
		}
	}
	return wait
}

// checkFailed says whether the server came to check a host and was not satisfied.
func checkFailed(err error) bool {
	var check *acme.AuthorizationError
	return errors.As(err, &check)
}

// requestRetry is how the client retries one request: it is the order's attempt that waits
// long, so that one host does not keep the others waiting.
func requestRetry(n int, _ *http.Request, resp *http.Response) time.Duration {
	switch {
	case resp != nil && resp.StatusCode == http.StatusBadRequest && n <= 10: // a stale nonce: the answer brought a fresh one
		return time.Millisecond
	case n > 4 || resp != nil && resp.StatusCode == http.StatusTooManyRequests:
		return 0
	}
	return 250 * time.Millisecond << n
}

// told makes a fault of what went wrong with subject, with what to do about it.
func told(subject string, err error) error {
	f := &fault.Error{Op: "certs.issue", Subject: subject, Kind: fault.Unavailable, Err: err,
		Hint: "Check that the ACME server can be reached from here; it is asked again by itself."}
	var ae *acme.Error
	switch {
	case checkFailed(err):
		f.Hint = "Check that " + subject + " leads to this machine in the DNS, and that ports 80 and 443 reach it from outside."
	case errors.As(err, &ae):
		if _, limited := acme.RateLimit(ae); limited {
			f.Kind, f.Hint = fault.Exhausted, "Wait: the server has issued or refused too much lately; it is asked again by itself."
		} else if ae.StatusCode >= 400 && ae.StatusCode < 500 {
			f.Kind, f.Hint = fault.Denied, "Change what the server's answer names, in acme of the gateway."
		}
	case fault.HintOf(err) != "":
		f.Kind, f.Hint = fault.KindOf(err), fault.HintOf(err)
	}
	return f
}
