package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Server-sent events, streams both ways with trailers, upgrades and HTTP/2 pass through
// gateway and mesh of the real binary, and the bytes of a path as they came.
func TestProtocolsPass(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "stoa.yaml", fmt.Sprintf(`kind: System
name: protocols
---
kind: Service
name: one
run: {command: [%[1]s]}
env: {ANSWER: one}
expose: [{path: /}]
health: {ready: /readyz}
---
kind: Service
name: two
run: {command: [%[1]s]}
env: {ANSWER: two}
listen: [{env: PORT, protocol: h2c}]
expose: [{path: /two, stripPrefix: true}]
health: {ready: /readyz}
`, serverBin))
	p := prepare(t)
	p.start("dev", dir)
	p.ready()

	t.Run("server-sent events arrive one by one", func(t *testing.T) {
		resp, err := http.Get(p.gateway + "/sse?n=5")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		first := make([]byte, len("data: 0\n\n"))
		if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "data: 0\n\n" {
			t.Fatalf("the first event: %q, %v", first, err)
		}
		rest, err := io.ReadAll(resp.Body)
		if err != nil || !strings.HasSuffix(string(rest), "data: 4\n\n") {
			t.Errorf("the rest: %q, %v", rest, err)
		}
	})
	for _, path := range []string{"", "/two"} {
		t.Run("both ways at once, with trailers"+path, func(t *testing.T) {
			c := http.Client{Transport: h2c(), Timeout: patience}
			r, w := io.Pipe()
			resp, err := c.Post(p.gateway+path+"/echo", "text/plain", r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got := make([]byte, 3)
			for i := range 20 { // each piece comes back before the next is sent
				piece := fmt.Sprintf("%03d", i)
				if _, err := io.WriteString(w, piece); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != piece {
					t.Fatalf("piece %q came back as %q, %v", piece, got, err)
				}
			}
			w.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Trailer.Get("X-Sum") != "60" {
				t.Errorf("trailer %q, %v; want 60", resp.Trailer.Get("X-Sum"), err)
			}
		})
	}
	t.Run("an upgrade becomes a tunnel", func(t *testing.T) {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.gateway, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
		br := bufio.NewReader(c)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v, %v", resp, err)
		}
		got := make([]byte, len("early"))
		if _, err := io.ReadFull(br, got); err != nil || string(got) != "early" {
			t.Errorf("the tunnel gave %q, %v", got, err)
		}
	})
}

func h2c() *http.Transport {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	return tr
}
