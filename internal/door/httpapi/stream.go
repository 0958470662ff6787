package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"sync"
	"time"

	"stoa/api/fault"
)

// errStopping is the cause with which a stream's context ends when the platform stops.
var errStopping = errors.New("the platform is stopping")

// stream answers with one JSON object a line. It returns when the sequence has ended,
// the caller is gone or too slow, or the server stops.
func (a *api) stream(w http.ResponseWriter, r *http.Request, x row, in any, id string) error {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	seq, err := guarded(a.log, x.Name, id, func() (iter.Seq2[any, error], error) { return x.Stream(ctx, in) })
	if err != nil {
		fail(w, err, 0)
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Accel-Buffering", "no")
	l := &lines{w: w, rc: http.NewResponseController(w)}
	if err := l.flush(); err != nil { // the head: the caller knows that the stream stands
		return nil
	}

	// This goroutine waits for nothing but writes, which are bounded, so it ends soon after done.
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(keepalive)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-a.stop:
				cancel(errStopping)
				return
			case <-t.C:
				if l.write([]byte("\n")) != nil {
					cancel(nil) // nobody reads: end the sequence
					return
				}
			}
		}
	})
	_, err = guarded(a.log, x.Name, id, func() (any, error) {
		for v, err := range seq {
			if err != nil {
				return nil, err
			}
			b, err := json.Marshal(v)
			if err != nil {
				return nil, &fault.Error{Op: "httpapi.stream", Subject: x.Name, Kind: fault.Internal, Err: err}
			}
			if l.write(append(b, '\n')) != nil {
				cancel(nil)
				return nil, nil // the caller is gone: nobody is left to be told
			}
		}
		return nil, nil
	})
	close(done)
	wg.Wait()
	if errors.Is(context.Cause(ctx), errStopping) {
		err = fault.New(fault.Unavailable, x.Name, "%w", errStopping)
	} else if r.Context().Err() != nil {
		return nil // the caller has ended it
	}
	if err != nil {
		_ = l.write(append(fault.Encode(wireFault(err)), '\n')) // the caller may be gone
	}
	return err
}

// lines writes whole lines from two goroutines.
type lines struct {
	mu  sync.Mutex
	w   http.ResponseWriter      // guarded by mu
	rc  *http.ResponseController // guarded by mu
	err error                    // the first failure; guarded by mu
}

// write sends one line and flushes. It blocks at most writeTime.
func (l *lines) write(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	_ = l.rc.SetWriteDeadline(time.Now().Add(writeTime)) // a test's writer has none
	if _, l.err = l.w.Write(b); l.err == nil {
		l.err = l.rc.Flush()
	}
	return l.err
}

func (l *lines) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w.WriteHeader(http.StatusOK)
	l.err = l.rc.Flush()
	return l.err
}
