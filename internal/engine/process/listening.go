package process

import "net/netip"

// Listener is a TCP socket that listens, and a process that has it.
type Listener struct {
	PID  int
	Addr netip.AddrPort
}
