// Command answer is the gRPC back end of the proxy bench: it answers every call with one
// message of fixed size and status 0, over HTTP/2 in clear text with prior knowledge.
//
// It reads frames and not header fields, so that it costs a fraction of what a gRPC
// server costs and is never what limits a proxy. All answers to what one read brought
// leave in one write. Limits: no CONTINUATION after a frame that ends a stream, messages
// below a stream's window, one answer for all methods.
//
//	answer -a 127.0.0.1:7001 -b 127.0.0.1:7002 -count 127.0.0.1:7003
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

// answered counts the calls of all connections.
var answered atomic.Int64

func main() {
	a := flag.String("a", "127.0.0.1:0", "the first endpoint")
	b := flag.String("b", "127.0.0.1:0", "the second endpoint")
	count := flag.String("count", "127.0.0.1:0", "where GET /count tells how many calls were answered")
	size := flag.Int("size", 100, "bytes of an answer's message")
	flag.Parse()
	wire := newWire(*size)
	for _, addr := range []string{*a, *b} {
		l, err := net.Listen("tcp", addr)
		check(err)
		go accept(l, wire)
	}
	http.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, answered.Load()) })
	check(http.ListenAndServe(*count, nil))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "answer:", err)
		os.Exit(1)
	}
}

func accept(l net.Listener, w *wire) {
	for {
		c, err := l.Accept()
		check(err)
		go func() {
			defer c.Close()
			if err := (&conn{c: c, wire: w, window: initialWindow}).serve(); err != nil {
				fmt.Fprintln(os.Stderr, "answer:", err)
			}
		}()
	}
}
