package proxy

import (
	"net/http"

	"stoa/internal/engine/snapshot"
)

// heads bound the head of a request at a listener. The bytes of one by HTTP/2 are those of the
// moment at which the listener was opened.
func (p *Proxy) heads(listener string) snapshot.Heads {
	h := p.plane.Heads(listener)
	if p.o.MaxHead > 0 {
		h.Bytes = p.o.MaxHead
	}
	return h
}

// linesOf counts the lines of a header.
func linesOf(h http.Header) (n int) {
	for _, values := range h {
		n += len(values)
	}
	return n
}
