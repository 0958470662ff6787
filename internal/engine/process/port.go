package process

import (
	"errors"
	"sync"
	"syscall"

	"stoa/api/fault"
)

// Port is a TCP port of this machine that was given to nobody else, and is held for an
// instance: a socket bound to it with SO_REUSEADDR that never listens. The kernel gives a
// bound port to nobody who asks for any port, yet a server that sets SO_REUSEADDR (Go,
// Node, Java, nginx and Python's servers do) can listen on it, on every address.
//
// A server without SO_REUSEADDR cannot. Then: Release, and start it once more.
type Port struct {
	number int

	mu sync.Mutex
	fd int // -1 when released; guarded by mu
}

// HoldPort takes a free port, of IPv6 and IPv4 where this machine has both.
func HoldPort() (*Port, error) {
	fd, number, err := bindPort(syscall.AF_INET6)
	if err != nil {
		var errV4 error
		if fd, number, errV4 = bindPort(syscall.AF_INET); errV4 != nil {
			return nil, noPort(err, errV4)
		}
	}
	return &Port{number: number, fd: fd}, nil
}

// Number gives the port, 1 to 65535.
func (p *Port) Number() int { return p.number }

// Release lets go of the port. More than once does no harm.
func (p *Port) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd >= 0 {
		_ = syscall.Close(p.fd)
		p.fd = -1
	}
}

func noPort(v6, v4 error) error {
	e := &fault.Error{Op: "process.holdPort", Subject: "port", Kind: fault.Unavailable, Err: errors.Join(v6, v4),
		Hint: "See with stoa doctor whether ports and open files are left."}
	if errors.Is(v4, syscall.EMFILE) || errors.Is(v4, syscall.ENFILE) || errors.Is(v4, syscall.EADDRINUSE) {
		e.Kind = fault.Exhausted
	}
	return e
}
