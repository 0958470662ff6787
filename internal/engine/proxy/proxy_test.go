package proxy_test

import (
	"testing"

	"stoa/internal/engine/proxy"
	"stoa/internal/engine/proxy/proxytest"
)

// Both engines keep every promise of the data plane.
func TestConformance(t *testing.T) {
	for _, e := range []proxy.Engine{"", proxy.Portable} {
		name := string(e)
		if name == "" {
			name = "fast"
		}
		t.Run(name, func(t *testing.T) {
			proxytest.Run(t, func(o proxy.Options) proxytest.Engine { o.Engine = e; return proxy.New(o) })
		})
	}
}
