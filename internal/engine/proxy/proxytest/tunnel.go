package proxytest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testUpgrade: WebSocket and its like.
func testUpgrade(t *testing.T, open func(proxy.Options) Engine) {
	const ask = "GET /ws HTTP/1.1\r\nHost: svc\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
	echo := func(c *rawConn) {
		r := c.request()
		if r == nil || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
			fmt.Fprintf(c, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
			return
		}
		// The first bytes of the new protocol in one write with the head.
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\nhello\n")
		for {
			s, err := c.in.ReadString('\n')
			if err != nil {
				io.WriteString(c, "bye\n") // the other way is still open
				return
			}
			io.WriteString(c, "echo "+s)
		}
	}
	start := func(t *testing.T) (*bench, net.Conn, *bufio.Reader) {
		b := newBench(t, open)
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "ws", Address: rawServer(t, echo)}})
		c := dial(t, b.mesh)
		in := bufio.NewReader(c)
		io.WriteString(c, ask+"early\n") // also before the answer
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "a" || resp.Header.Get("Upgrade") != "websocket" {
			t.Fatalf("answer %+v, %v", resp, err)
		}
		for _, want := range []string{"hello\n", "echo early\n"} {
			if got, err := in.ReadString('\n'); got != want {
				t.Fatalf("read %q, %v; want %q", got, err, want)
			}
		}
		return b, c, in
	}
	t.Run("bytes both ways, half-close", func(t *testing.T) {
		b, c, in := start(t)
		io.WriteString(c, "one\n")
		if got, err := in.ReadString('\n'); got != "echo one\n" {
			t.Fatalf("read %q, %v", got, err)
		}
		c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(in); string(got) != "bye\n" || err != nil {
			t.Errorf("after the half-close: %q, %v", got, err)
		}
		b.waitHop("the tunnel", func(r hop.Record) bool { return r.Status == 101 && r.In == int64(len("early\none\n")) && r.Out > 20 })
	})
	t.Run("it counts as one request in draining", func(t *testing.T) {
		b, c, _ := start(t)
		b.SetEndpoints("svc", nil)
		done := make(chan error, 1)
		go func() { done <- b.Drained(t.Context(), "ws") }()
		select {
		case err := <-done:
			t.Fatalf("drained with an open tunnel: %v", err)
		case <-time.After(20 * time.Millisecond): // it is not: nothing to wait for
		}
		c.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("an offer that is not taken", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "[%s]", r.Header.Get("Upgrade")) })
		for _, c := range []struct{ lines, want string }{
			{"Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n", "[]"},
			{"Connection: Upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx", "[]"},
			{"Connection: close\r\nUpgrade: websocket\r\n\r\n", "[]"},
			{"Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n", "[websocket]"},
		} {
			if got := raw(t, b.mesh, "GET / HTTP/1.1\r\nHost: svc\r\n"+c.lines); !strings.Contains(got, c.want) || statusOf(got) != 200 {
				t.Errorf("%q: %q, want %s", c.lines, got, c.want)
			}
		}
	})
	t.Run("switched unasked", func(t *testing.T) {
		b := newBench(t, open)
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "odd", Address: rawServer(t, func(c *rawConn) {
			c.request()
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			c.request()
		})}})
		if code, _, _ := get(t, client(t, false), "http://"+b.mesh+"/"); code != 502 {
			t.Errorf("status %d, want 502", code)
		}
	})
}

// testTCP: raw connections.
func testTCP(t *testing.T, open func(proxy.Options) Engine) {
	tcp := func(s *snapshot.Snapshot) {
		s.Listeners["web>db"] = snapshot.Listener{Caller: "web", Protocol: snapshot.TCP, Upstream: "db"}
		s.Upstreams["db"] = snapshot.Upstream{Protocol: snapshot.TCP, Idle: 300 * time.Millisecond, Hold: 200 * time.Millisecond}
	}
	echo := func(c *rawConn) { io.Copy(c, c.in); io.WriteString(c, "bye") }
	t.Run("bytes both ways, half-close", func(t *testing.T) {
		b := newBench(t, open, tcp)
		addr := b.bind("web>db")
		b.SetEndpoints("db", []snapshot.Endpoint{{ID: "db-1", Address: rawServer(t, echo)}})
		c := dial(t, addr)
		big := strings.Repeat("0123456789", 100000)
		go func() {
			io.WriteString(c, big)
			c.(*net.TCPConn).CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || string(got) != big+"bye" {
			t.Errorf("%d bytes, %v; want %d", len(got), err, len(big)+3)
		}
		b.waitHop("the connection", func(r hop.Record) bool {
			return r.Protocol == "tcp" && r.Caller == "web" && r.Callee == "db" && r.In == int64(len(big)) && r.Out == int64(len(big)+3) && r.Class() == "tcp"
		})
	})
	t.Run("a reset is no end", func(t *testing.T) {
		b := newBench(t, open, tcp)
		addr := b.bind("web>db")
		read := make(chan struct{})
		b.SetEndpoints("db", []snapshot.Endpoint{{ID: "db-1", Address: rawServer(t, func(c *rawConn) {
			io.WriteString(c, "part")
			<-read
			c.Conn.(*net.TCPConn).SetLinger(0)
		})}})
		c := dial(t, addr)
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		close(read)
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
			t.Errorf("%d bytes, %v: a connection that broke looks as if it had ended", n, err)
		}
	})
	t.Run("the service speaks first", func(t *testing.T) {
		b := newBench(t, open, tcp)
		addr := b.bind("web>db")
		b.SetEndpoints("db", []snapshot.Endpoint{{ID: "db-1", Address: rawServer(t, func(c *rawConn) { io.WriteString(c, "220 hello\n") })}})
		if got, err := io.ReadAll(dial(t, addr)); string(got) != "220 hello\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("idle is the end, busy one way is not", func(t *testing.T) {
		b := newBench(t, open, tcp)
		addr := b.bind("web>db")
		b.SetEndpoints("db", []snapshot.Endpoint{{ID: "db-1", Address: rawServer(t, func(c *rawConn) {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for range 10 { // longer than the idle time
				<-tick.C
				io.WriteString(c, ".")
			}
			io.Copy(io.Discard, c.in)
		})}})
		start := time.Now()
		got, _ := io.ReadAll(dial(t, addr))
		if string(got) != ".........." {
			t.Errorf("read %q, want ten dots and then the end", got)
		}
		if time.Since(start) > patience/2 {
			t.Error("an idle connection was not closed")
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		b := newBench(t, open, tcp)
		addr := b.bind("web>db")
		if got, err := io.ReadAll(dial(t, addr)); len(got) > 0 {
			t.Errorf("read %q, %v", got, err)
		}
		b.waitHop("the refusal", func(r hop.Record) bool { return r.Protocol == "tcp" && r.Reason == hop.NoEndpoint && r.Failed() })
	})
	t.Run("a connection before the snapshot waits for it", func(t *testing.T) {
		b := newBench(t, open)
		addr := b.bind("web>db")
		c := dial(t, addr)
		b.SetEndpoints("db", []snapshot.Endpoint{{ID: "db-1", Address: rawServer(t, func(c *rawConn) { io.WriteString(c, "220 hello\n") })}})
		if err := b.Swap(usual(tcp)); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); string(got) != "220 hello\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
}
