package h2

import (
	"testing"

	"golang.org/x/net/http2"
)

// A connection that has been idle for a while holds no buffers, and goes on when something comes.
func TestIdleConnectionsHoldNoBuffers(t *testing.T) {
	srv, addr := serve(t, Config{}, echo)
	p := caller(t, addr)
	for id := uint32(1); id <= 5; id += 4 {
		for i := range uint32(2) {
			p.open(id+2*i, true)
			if p.until(func(f http2.Frame) bool {
				h, ok := f.(*http2.MetaHeadersFrame)
				return ok && h.StreamEnded() && h.StreamID == id+2*i
			}) == nil {
				t.Fatalf("no answer to stream %d", id+2*i)
			}
		}
		eventually(t, "the connection is slim", func() bool {
			srv.mu.Lock()
			defer srv.mu.Unlock()
			for c := range srv.conns {
				c.mu.Lock()
				slim := c.slim
				c.mu.Unlock()
				return slim
			}
			return false
		})
	}
}
