//go:build !linux

package poll

import (
	"net"
	"time"
)

// Poller watches sockets, on Linux.
type Poller struct{}

// New gives ErrUnsupported.
func New() (*Poller, error) { return nil, ErrUnsupported }

// Add does nothing, as there is no Poller.
func (*Poller) Add(int, uint64) error { return ErrUnsupported }

// Remove does nothing, as there is no Poller.
func (*Poller) Remove(int) {}

// Wait does nothing, as there is no Poller.
func (*Poller) Wait(time.Time) int { return 0 }

// Look does nothing, as there is no Poller.
func (*Poller) Look() int { return 0 }

// Event does nothing, as there is no Poller.
func (*Poller) Event(int) (token uint64, gone, ok bool) { return 0, false, false }

// Wake does nothing, as there is no Poller.
func (*Poller) Wake() {}

// Close does nothing, as there is no Poller.
func (*Poller) Close() {}

// Detach does not: Go's own poller serves every connection here.
func Detach(net.Conn) (int, bool) { return 0, false }

// Attach has nothing to make a connection of.
func Attach(int) (net.Conn, error) { return nil, ErrUnsupported }

// Shut does nothing, as nothing was detached.
func Shut(int) {}
