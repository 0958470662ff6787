package main

import (
	"fmt"
	"regexp"
	"slices"
)

// A cell is one way to ask: what is compared is compared within a cell.
type cell struct {
	proto   string // h1, tls (HTTP/1.1 over TLS 1.3), h2 (over TLS 1.3), grpc (unary, HTTP/2 in clear text)
	conns   int    // requests in flight
	streams int    // of these on one connection; 1 for HTTP/1.1
	size    string // of the answer's body: 100, 1k, 64k
}

func (c cell) name() string { return fmt.Sprintf("%s/%d/%s", c.proto, c.conns, c.size) }

// sockets is how many connections the client opens.
func (c cell) sockets() int { return c.conns / c.streams }

var sizes = map[string]int{"100": 100, "1k": 1000, "64k": 64 << 10}

// saturation is the cell whose slowest peer gives the rate for latency.
var saturation = cell{"h1", 64, 1, "100"}

// choose gives the cells of a run.
func choose(o *options, only *regexp.Regexp) []cell {
	cells := []cell{
		saturation, {"h1", 1, 1, "100"}, {"h1", 256, 1, "100"}, {"h1", 64, 1, "1k"}, {"h1", 64, 1, "64k"},
		{"tls", 64, 1, "100"}, {"tls", 256, 1, "100"}, {"tls", 64, 1, "64k"},
		{"h2", 64, 8, "100"}, {"h2", 256, 16, "100"},
		{"grpc", 64, 8, "100"}, {"grpc", 256, 16, "100"},
	}
	switch {
	case o.quick:
		cells = []cell{saturation, {"tls", 64, 1, "1k"}, {"h2", 64, 8, "100"}, {"grpc", 64, 8, "100"}}
	case o.every:
		cells = nil
		for _, proto := range []string{"h1", "tls", "h2", "grpc"} {
			for _, conns := range []int{1, 64, 256} {
				for _, size := range []string{"100", "1k", "64k"} {
					c := cell{proto, conns, 1, size}
					if proto == "h2" || proto == "grpc" {
						c.streams = map[int]int{1: 1, 64: 8, 256: 16}[conns]
					}
					if proto == "grpc" && size != "100" {
						continue // the back end has one message
					}
					cells = append(cells, c)
				}
			}
		}
	}
	return slices.DeleteFunc(cells, func(c cell) bool { return !only.MatchString(c.name()) })
}
