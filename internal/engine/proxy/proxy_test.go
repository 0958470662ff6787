package proxy_test

import (
	"testing"

	"stoa/internal/engine/proxy"
	"stoa/internal/engine/proxy/proxytest"
)

// Both engines keep every promise of the data plane, and so does the own one where loops carry all
// that they can.
func TestConformance(t *testing.T) {
	for _, e := range []proxy.Engine{"", proxy.Looped, proxy.Portable} {
		name := string(e)
		if name == "" {
			name = "fast"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of a suite's time it waits
			open := func(o proxy.Options) proxytest.Engine { o.Engine = e; return proxy.New(o) }
			proxytest.Run(t, open)
			if e != proxy.Portable {
				t.Run("foreign", func(t *testing.T) { proxytest.Foreign(t, open) })
			}
		})
	}
}
