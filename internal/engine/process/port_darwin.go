package process

import (
	"net"
	"syscall"
)

// bindPort finds a free port and does not hold it: on this system a bound socket keeps
// even a server with SO_REUSEADDR away. Between here and the server's listen somebody
// else may be given the port; the server then says so and is started anew.
func bindPort(family int) (fd, port int, err error) {
	network, addr := "tcp", "[::]:0"
	if family == syscall.AF_INET {
		network, addr = "tcp4", "127.0.0.1:0"
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		return -1, 0, err
	}
	defer l.Close()
	return -1, l.Addr().(*net.TCPAddr).Port, nil
}
