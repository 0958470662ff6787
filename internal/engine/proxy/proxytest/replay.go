package proxytest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testReplay: a body that comes in parts is sent again whole, up to what is kept of it, though
// the service that failed had begun to read it; and nobody waits for all of it first.
func testReplay(t *testing.T, open func(proxy.Options) Engine) {
	for _, how := range []string{"closes", "resets", "answers"} {
		for _, n := range []int{5_000, 40_000, 60_000, 300_000} {
			for _, chunked := range []bool{false, true} {
				t.Run(fmt.Sprintf("the first %s, %d bytes, chunked %t", how, n, chunked), func(t *testing.T) {
					b := newBench(t, open, calm)
					began := make(chan struct{})
					var asked atomic.Int64
					b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: rawServer(t, func(c *rawConn) {
						r, err := http.ReadRequest(c.in)
						if err != nil {
							return
						}
						if asked.Add(1) == 1 {
							io.ReadFull(r.Body, make([]byte, 1000))
							close(began)
							switch how {
							case "resets":
								c.Conn.(*net.TCPConn).SetLinger(0)
							case "answers":
								io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
								c.Conn.(*net.TCPConn).CloseWrite()
								io.Copy(io.Discard, c) // or a reset might eat it
							}
							return
						}
						got, err := io.ReadAll(r.Body)
						if err != nil {
							return
						}
						fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(got))
						c.Write(got)
					})}})
					want := strings.Repeat("0123456789", n/10)
					halves := [2]string{want[:n/2], want[n/2:]}
					framing := fmt.Sprintf("Content-Length: %d", n)
					if chunked {
						framing = "Transfer-Encoding: chunked"
						halves[0] = fmt.Sprintf("%x\r\n%s\r\n", n/2, halves[0])
						halves[1] = fmt.Sprintf("%x;ignored\r\n%s\r\n0\r\n\r\n", n-n/2, halves[1])
					}
					c := dial(t, b.mesh)
					fmt.Fprintf(c, "PUT /x HTTP/1.1\r\nHost: svc\r\nConnection: close\r\n%s\r\n\r\n%s", framing, halves[0])
					<-began
					sent := make(chan struct{})
					go func() { defer close(sent); io.WriteString(c, halves[1]) }()
					got, _ := io.ReadAll(c)
					c.Close()
					<-sent
					status := statusOf(string(got))
					_, text, _ := strings.Cut(string(got), "\r\n\r\n")
					switch {
					case n < 64<<10 && (status != 200 || text != want):
						t.Errorf("%d with %d bytes of %d, after %d requests: %.300s", status, len(text), n, asked.Load(), text)
					case n > 64<<10 && asked.Load() > 1 && status == 200 && text != want:
						t.Errorf("%d bytes came of %d", len(text), n)
					}
				})
			}
		}
	}
}
