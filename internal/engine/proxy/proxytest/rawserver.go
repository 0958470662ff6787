package proxytest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// rawConn is one connection of a service written by hand.
type rawConn struct {
	net.Conn
	in *bufio.Reader
	n  int // of the connection, from 0
}

// request reads one request with its body, nil at the end.
func (c *rawConn) request() *http.Request {
	r, err := http.ReadRequest(c.in)
	if err != nil {
		return nil
	}
	io.Copy(io.Discard, r.Body)
	return r
}

// rawServer runs serve for each connection until the test ends.
func rawServer(t *testing.T, serve func(*rawConn)) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	stopped := false
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			mu.Lock()
			open[c] = true
			if stopped {
				c.Close()
			}
			mu.Unlock()
			wg.Go(func() {
				defer func() {
					c.Close()
					mu.Lock()
					delete(open, c)
					mu.Unlock()
				}()
				serve(&rawConn{c, bufio.NewReader(c), n})
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		stopped = true
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String()
}
