package fast

import (
	"runtime"
	"sync"

	"stoa/internal/engine/poll"
)

// Loops carry what is plain and quick on event loops, one for each processor: requests in clear
// text whose whole body has come, to a service that answers at once. For these a loop takes a
// quarter less CPU than a goroutine for each connection, and an idle connection holds no stack.
//
// A connection begins on a goroutine (conn.serve). After some requests that a loop could have
// carried, or a second without any, it moves to a loop; and it goes back as soon as something
// would have to be waited for: a place in a queue, a retry, a service that takes longer than
// patience, a caller that does not read. The goroutine goes on from the step that the request has
// come to (request.proceed). So a loop never waits for one connection, and there is one code for
// what is rare. Who owns a connection is always clear: its loop, or its goroutine.
//
// The zero value is ready for use; nil is no loops. They run while a Server uses them.
type Loops struct {
	Eager bool // move each connection as soon as it is idle, however slow its requests were: for tests

	mu    sync.Mutex
	users int     // servers; guarded by mu
	all   []*loop // guarded by mu; empty: not begun
	none  bool    // this system has none; guarded by mu
	next  int     // guarded by mu
}

// enter counts a server.
func (ls *Loops) enter() {
	if ls == nil {
		return
	}
	ls.mu.Lock()
	ls.users++
	ls.mu.Unlock()
}

// leave takes a server away, which has no connection any more. The last one ends the loops.
func (ls *Loops) leave() {
	if ls == nil {
		return
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.users--; ls.users > 0 {
		return
	}
	for _, l := range ls.all {
		l.post(l.stop)
	}
	for _, l := range ls.all {
		<-l.done
	}
	ls.all = nil
}

// one gives the loop for another connection, nil if there is none on this system.
func (ls *Loops) one() *loop {
	if ls == nil {
		return nil
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.none || ls.users == 0 {
		return nil
	}
	if ls.all == nil {
		for i := range min(runtime.GOMAXPROCS(0), maxLoops) {
			p, err := poll.New()
			if err != nil {
				if i == 0 {
					ls.none = err == poll.ErrUnsupported
					return nil
				}
				break // fewer, then
			}
			ls.all = append(ls.all, newLoop(i, p))
		}
		for _, l := range ls.all {
			go l.run()
		}
	}
	ls.next++
	return ls.all[ls.next%len(ls.all)]
}

// maxLoops bounds the loops of a node.
const maxLoops = 64

// each has f called on every loop, and waits for none.
func (ls *Loops) each(f func(*loop)) {
	if ls == nil {
		return
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.all {
		l.post(func() { f(l) })
	}
}
