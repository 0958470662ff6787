package proxy_test

import (
	"testing"

	"stoa/internal/engine/proxy"
	"stoa/internal/engine/proxy/proxytest"
)

// The engine on net/http keeps every promise of the data plane.
func TestConformance(t *testing.T) {
	proxytest.Run(t, func(o proxy.Options) proxytest.Engine { return proxy.New(o) })
}
