package proxytest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

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
	changed := b.GatewaysChanged()
	taken.Close()
	select {
	case <-changed:
	case <-time.After(patience):
		t.Error("nobody was told that the freed port was taken")
	}
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

// testGatewaysClose: the listeners with an address take nothing new and finish what they
// hold; those of services stay open.
func testGatewaysClose(t *testing.T, open func(proxy.Options) Engine) {
	b := newBench(t, open, func(s *snapshot.Snapshot) {
		l := s.Listeners["gateway"]
		l.Address = "127.0.0.1:0"
		s.Listeners["gateway"] = l
	})
	came, goOn := make(chan bool, 1), make(chan bool)
	b.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			came <- true
			<-goOn
		}
		fmt.Fprint(w, "done")
	})
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan bool), make(chan error, 1)
	go func() { ended <- b.Run(ctx, func() { close(ready) }) }()
	<-ready
	addr := b.Gateways()[0].Bound
	answer := make(chan string, 1)
	go func() { _, body, _ := get(t, client(t, false), "http://"+addr+"/slow"); answer <- body }()
	<-came
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	b.CloseGateways(short) // the request is still in flight
	if short.Err() == nil {
		t.Error("it did not wait for the request in flight")
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("a new connection is taken")
	}
	if code, _, _ := get(t, client(t, false), "http://"+b.mesh+"/"); code != 200 {
		t.Errorf("a service that calls another gets %d", code)
	}
	closed := make(chan bool)
	go func() { b.CloseGateways(t.Context()); close(closed) }()
	close(goOn)
	if got := <-answer; got != "done" {
		t.Errorf("the request in flight was answered %q", got)
	}
	<-closed
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
