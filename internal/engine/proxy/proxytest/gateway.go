package proxytest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"

	"stoa/api/fault"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testGateway: listeners with an address follow the snapshot.
func testGateway(t *testing.T, open func(proxy.Options) Engine) {
	b := newBench(t, open)
	b.serve(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("X-Forwarded-Host")) })
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan bool), make(chan error, 1)
	go func() { ended <- b.Run(ctx, func() { close(ready) }) }()
	<-ready
	at := func(addr string) shape {
		return func(s *snapshot.Snapshot) {
			l := s.Listeners["gateway"]
			l.Address = addr
			s.Listeners["gateway"] = l
		}
	}
	bound := func() string {
		for _, g := range b.Gateways() {
			if g.Name == "gateway" {
				return g.Bound
			}
		}
		return ""
	}
	swap := func(addr string) {
		t.Helper()
		if err := b.Swap(usual(at(addr))); err != nil {
			t.Fatal(err)
		}
	}
	swap("127.0.0.1:0")
	first := bound()
	if code, body, _ := get(t, client(t, false), "http://"+first+"/"); code != 200 || body != first {
		t.Errorf("%d %q", code, body)
	}
	swap("127.0.0.1:0")
	if bound() != first {
		t.Errorf("the same address was opened again: %s, then %s", first, bound())
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	swap(taken.Addr().String())
	if g := b.Gateways(); len(g) != 1 || g[0].Err == nil || fault.HintOf(g[0].Err) == "" {
		t.Errorf("a taken port: %+v", g)
	}
	if code, _, _ := get(t, client(t, false), "http://"+first+"/"); code != 200 {
		t.Errorf("the old address is closed while the new one cannot be opened: %d", code)
	}
	taken.Close()
	eventually(t, "the freed port is taken", func() bool { return bound() == taken.Addr().String() })
	eventually(t, "the old one is closed", func() bool {
		c, err := net.Dial("tcp", first)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	swap("")
	if bound() != "" {
		t.Errorf("still open at %s", bound())
	}
	swap("127.0.0.1:0")
	last := bound()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", last); err == nil {
		c.Close()
		t.Error("open after Run has returned")
	}
	if _, _, err := b.Bind("web>svc"); err == nil {
		t.Error("Bind after Run has returned")
	}
}
