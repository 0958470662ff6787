package main

import "net"

// listen takes a free port of the loopback.
func listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	return l
}
