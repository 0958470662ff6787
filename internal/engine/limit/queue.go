package limit

// lifoAfter is how long the queue must not have been empty for the newest to go first: those
// who have waited longest are then those whose callers leave first.
const lifoAfter = 100e6

// Waiter is a request in the queue. It is decided once, by a place or by a refusal.
type Waiter struct {
	decided chan struct{} // holds one value from the decision until Settle

	until      int64
	class      int
	answer     Answer // Queued while in the queue; guarded by Limiter.mu
	prev, next *Waiter
}

// Decided gives a value when w has been decided. Then, or when the caller gives up, call Settle.
func (w *Waiter) Decided() <-chan struct{} { return w.decided }

// Until is when w has waited long enough: call Settle then.
func (w *Waiter) Until() int64 { return w.until }

// queue is the waiting requests by class, oldest first: owned by whoever holds Limiter.mu.
type queue struct {
	lists [classes]struct{ head, tail *Waiter }
	n     int
	since int64 // when it was last empty

	free  *Waiter // settled ones, by next, for the next to come
	frees int
}

func (q *queue) push(w *Waiter, now int64) {
	if q.n == 0 {
		q.since = now
	}
	q.n++
	l := &q.lists[w.class]
	w.prev, w.next = l.tail, nil
	if l.tail == nil {
		l.head = w
	} else {
		l.tail.next = w
	}
	l.tail = w
}

func (q *queue) remove(w *Waiter) {
	l := &q.lists[w.class]
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	q.n--
}

// first gives who is next: of the first class, the oldest, or the newest while the queue is long.
func (q *queue) first(now int64) *Waiter {
	for i := range q.lists {
		if l := &q.lists[i]; l.head != nil {
			if now-q.since > lifoAfter {
				return l.tail
			}
			return l.head
		}
	}
	return nil
}

// victim gives who makes room for a request of a class: one whose time is over, or the
// oldest of the last class, if that is not before the request's own. Else nil.
func (q *queue) victim(class int, now int64) *Waiter {
	for i := classes - 1; i >= 0; i-- {
		if w := q.lists[i].head; w != nil && w.until <= now {
			return w
		}
	}
	for i := classes - 1; i >= class; i-- {
		if w := q.lists[i].head; w != nil {
			return w
		}
	}
	return nil
}

// take gives a waiter to use, give takes it back.
func (q *queue) take() *Waiter {
	w := q.free
	if w == nil {
		return &Waiter{decided: make(chan struct{}, 1)}
	}
	q.free, w.next = w.next, nil
	q.frees--
	return w
}

func (q *queue) give(w *Waiter) {
	if q.frees < MaxQueue {
		w.next, q.free = q.free, w
		q.frees++
	}
}
