// Package poll waits for many sockets at once, for an event loop that has a goroutine of its
// own:
//
//	for {
//		n := p.Wait(until)     // looks first; then parks the goroutine, not its thread
//		for i := range n {
//			token, gone := p.Event(i)
//		}
//	}
//
// It stands on epoll (epoll(7)), edge-triggered: an event says that something came since the
// last one, so a reader reads until it got less than it asked for. While nothing comes the
// goroutine is parked in Go's own poller, which watches the epoll descriptor as it would a
// socket: no thread is blocked, the scheduler keeps its processor, and garbage is collected as
// ever.
//
// Sockets that are watched here must not be watched by Go's poller, too: see Detach and Attach.
// Only Linux has it; elsewhere New gives ErrUnsupported.
package poll

import "errors"

// ErrUnsupported says that this system has no poller here.
var ErrUnsupported = errors.New("poll: only on Linux")

// Batch is how many events one Wait gives at most.
const Batch = 128
