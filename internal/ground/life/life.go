// Package life starts parts in order and stops them in reverse.
//
// A part that fails, before or after it is ready, stops the whole group: a platform
// that lacks a part is not one that runs a little worse, it is one whose promises no
// longer hold.
package life

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Part is something that runs.
type Part struct {
	Name string

	// Run does the part's work until ctx is cancelled, then returns nil.
	// It calls ready once, when what it offers can be used.
	// When Run returns, every goroutine it started has ended.
	Run func(ctx context.Context, ready func()) error
}

// Options tune Run. The zero value is a good default.
type Options struct {
	StopTimeout time.Duration                         // how long one part may take to stop before it is named in the error and left; 0 means 60 s
	Ready       func(name string, took time.Duration) // called as each part becomes ready; may be nil
}

// Run starts parts in order, each after the one before it is ready, calls up when all
// are, waits until ctx is cancelled or a part ends, and stops all in the reverse order.
// It gives the first failure, or nil if ctx was cancelled and all ended well.
func Run(ctx context.Context, parts []Part, up func(), o Options) error {
	if o.StopTimeout == 0 {
		o.StopTimeout = 60 * time.Second
	}
	type running struct {
		name string
		stop context.CancelFunc
		done chan struct{}
		err  error // valid after done
	}
	var all []*running
	ended := make(chan *running, len(parts)) // every part fits: none blocks

	var first error
	fail := func(err error) {
		if first == nil {
			first = err
		}
	}
	for _, p := range parts {
		if ctx.Err() != nil || first != nil {
			break
		}
		// A part is stopped by its own turn in the reverse order, not by ctx.
		pctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{name: p.Name, stop: stop, done: make(chan struct{})}
		all = append(all, r)
		isReady := make(chan struct{})
		began := time.Now()
		go func() {
			called := false
			r.err = p.Run(pctx, func() {
				if !called {
					called = true
					close(isReady)
				}
			})
			close(r.done)
			ended <- r
		}()
		select {
		case <-isReady:
			if o.Ready != nil {
				o.Ready(p.Name, time.Since(began))
			}
		case r := <-ended:
			fail(endedEarly(r.name, r.err))
		case <-ctx.Done():
		}
	}
	if first == nil && ctx.Err() == nil {
		if up != nil {
			up()
		}
		select {
		case r := <-ended:
			fail(endedEarly(r.name, r.err))
		case <-ctx.Done():
		}
	}
	for i := len(all) - 1; i >= 0; i-- {
		r := all[i]
		r.stop()
		t := time.NewTimer(o.StopTimeout)
		select {
		case <-r.done:
			if r.err != nil && !errors.Is(r.err, context.Canceled) {
				fail(fmt.Errorf("%s: %w", r.name, r.err))
			}
		case <-t.C:
			fail(fmt.Errorf("%s did not stop within %v", r.name, o.StopTimeout))
		}
		t.Stop()
	}
	return first
}

func endedEarly(name string, err error) error {
	if err == nil {
		return fmt.Errorf("%s ended by itself", name)
	}
	return fmt.Errorf("%s: %w", name, err)
}
