package control

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"stoa/api/core"
)

// Back-off of a reference whose reconciliation fails: 100 ms, doubled up to 30 s, each
// with 20 % of jitter, so that what failed together is not tried together.
const (
	backoffFirst = 100 * time.Millisecond
	backoffLast  = 30 * time.Second
	jitter       = 0.2
)

// queue holds the references that one reconciler is to be called with. Each is in it
// once, however often it is added, and is never given out twice at a time: one added
// while it is worked on comes again afterwards. It is bounded by the number of references.
type queue struct {
	mu    sync.Mutex
	refs  map[core.Ref]*waiting // all that wait or are worked on; guarded by mu
	ready []core.Ref            // whose turn it is, first come first served; guarded by mu

	// soonest is not after any due, so that sleepers are looked through only when one
	// may be due; zero if none sleeps. Guarded by mu.
	soonest time.Time

	// wake has a token when something may be ready or due sooner than sleepers think.
	wake chan struct{}
}

// waiting is one reference in a queue. In ready, working, or sleeping until due: one of them.
type waiting struct {
	ready   bool
	working bool
	again   bool      // added while working
	due     time.Time // when to be called, if sleeping
	fails   int       // in a row
	began   time.Time // of the last call
}

func newQueue() *queue {
	return &queue{refs: map[core.Ref]*waiting{}, wake: make(chan struct{}, 1)}
}

// add wants ref to be called now: it ends a sleep, back-off included, because what it
// failed on may have been put right.
func (q *queue) add(ref core.Ref) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.of(ref)
	switch {
	case w.ready:
	case w.working:
		w.again = true
	default:
		q.makeReady(ref, w)
	}
	q.signal()
}

// kick is add for a reference that may be kicked by what it does itself: one that fails
// is not called sooner than backoffFirst after its last call.
func (q *queue) kick(ref core.Ref) {
	q.mu.Lock()
	w := q.refs[ref]
	if w == nil || w.fails == 0 || w.ready || w.working {
		q.mu.Unlock()
		q.add(ref)
		return
	}
	defer q.mu.Unlock()
	if due := w.began.Add(backoffFirst); due.Before(w.due) {
		q.sleep(w, due)
	}
	q.signal()
}

// of gives the entry of ref, a new one if need be. mu is held.
func (q *queue) of(ref core.Ref) *waiting {
	w := q.refs[ref]
	if w == nil {
		w = &waiting{}
		q.refs[ref] = w
	}
	return w
}

func (q *queue) makeReady(ref core.Ref, w *waiting) {
	w.ready, w.due = true, time.Time{}
	q.ready = append(q.ready, ref)
}

func (q *queue) sleep(w *waiting, due time.Time) {
	w.due = due
	if q.soonest.IsZero() || due.Before(q.soonest) {
		q.soonest = due
	}
}

// signal lets one sleeper look again; it passes the token on while there is work.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next waits for a reference whose turn it is; false: ctx ended. done must follow.
func (q *queue) next(ctx context.Context) (core.Ref, bool) {
	for {
		if ctx.Err() != nil {
			return core.Ref{}, false
		}
		ref, wait, ok := q.take(time.Now())
		if ok {
			return ref, true
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// take gives what is ready, or how long until something is due.
func (q *queue) take(now time.Time) (ref core.Ref, wait time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.soonest.IsZero() && !q.soonest.After(now) {
		q.soonest = time.Time{}
		for ref, w := range q.refs {
			switch {
			case w.due.IsZero():
			case w.due.After(now):
				q.sleep(w, w.due)
			default:
				q.makeReady(ref, w)
			}
		}
	}
	wait = time.Hour // a look for nothing each hour harms no one
	if !q.soonest.IsZero() {
		wait = q.soonest.Sub(now)
	}
	if len(q.ready) == 0 {
		return core.Ref{}, wait, false
	}
	ref = q.ready[0]
	q.ready = q.ready[1:]
	w := q.refs[ref]
	w.ready, w.working, w.began = false, true, now
	if len(q.ready) > 0 {
		q.signal()
	}
	return ref, 0, true
}

// fails gives how often ref has failed in a row before the call under way.
func (q *queue) fails(ref core.Ref) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refs[ref].fails
}

// has says whether ref waits, sleeps or is worked on.
func (q *queue) has(ref core.Ref) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refs[ref] != nil
}

// done says how a call ended: with failed the reference comes again after a back-off,
// which done gives, otherwise after again, if that is more than 0.
func (q *queue) done(ref core.Ref, again time.Duration, failed bool) (backoff time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.refs[ref]
	w.working = false
	if failed {
		w.fails++
		backoff = backoffOf(w.fails)
		again = backoff
	} else {
		w.fails = 0
	}
	switch {
	case w.again && failed:
		// A call for it came meanwhile: soon, but not at once, or it might spin.
		w.again = false
		q.sleep(w, time.Now().Add(min(again, backoffFirst)))
	case w.again:
		w.again = false
		q.makeReady(ref, w)
	case again > 0:
		q.sleep(w, time.Now().Add(again))
	default:
		delete(q.refs, ref)
		return 0
	}
	q.signal()
	return backoff
}

// backoffOf gives the pause after so many failures in a row.
func backoffOf(fails int) time.Duration {
	d := backoffLast
	if fails < 10 {
		d = min(d, backoffFirst<<(fails-1))
	}
	return time.Duration(float64(d) * (1 + jitter*(2*rand.Float64()-1)))
}
