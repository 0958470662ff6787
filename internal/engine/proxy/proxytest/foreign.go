package proxytest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// Foreign holds an engine to this: what a service sends on a kept connection though nobody asked is
// never the answer of who asks next. It is no part of Run, as net/http's transport sees such bytes
// a moment after they have come, and a request within that moment is given them.
func Foreign(t *testing.T, open func(proxy.Options) Engine) {
	const foreign = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign"
	for _, c := range []struct {
		name, method, answer, late string
		h2                         bool // over HTTP/2
	}{
		{"a body of HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", foreign, false},
		{"a body of 204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", foreign, false},
		{"a body of 304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n", foreign, false},
		{"more than the length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", foreign, false},
		{"more than the chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", foreign, false},
		{"one byte", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "\n", false},
		{"a 408 and the end", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false},
		{"a body of 204, over HTTP/2", "GET", "HTTP/1.1 204 No Content\r\n\r\n", foreign, true},
		{"more than the length, over HTTP/2", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", foreign, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, open, calm)
			answered, late := make(chan struct{}), make(chan struct{})
			b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: rawServer(t, func(s *rawConn) {
				for {
					r, err := http.ReadRequest(s.in)
					if err != nil {
						return
					}
					if r.URL.Path == "/first" {
						io.WriteString(s, c.answer)
						<-answered // the answer has come to its end, and the connection is kept
						io.WriteString(s, c.late)
						close(late)
						continue
					}
					fmt.Fprintf(s, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(r.URL.Path), r.URL.Path)
				}
			})}})
			caller, other := dial(t, b.mesh), dial(t, b.mesh)
			in, otherIn := bufio.NewReader(caller), bufio.NewReader(other)
			ask := func(w io.Writer, in *bufio.Reader, method, path string) (int, string) {
				t.Helper()
				fmt.Fprintf(w, "%s %s HTTP/1.1\r\nHost: svc\r\n\r\n", method, path)
				resp, err := http.ReadResponse(in, &http.Request{Method: method})
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				return resp.StatusCode, string(body)
			}
			h2 := client(t, true)
			if c.h2 {
				get(t, h2, "http://"+b.mesh+"/first")
			} else {
				ask(caller, in, c.method, "/first")
			}
			close(answered)
			<-late
			for i := range 6 {
				path := fmt.Sprint("/", i)
				if status, got := ask(caller, in, "GET", path); status != 200 || got != path {
					t.Fatalf("%s was answered %d %q", path, status, got)
				}
				if status, got, _ := get(t, h2, "http://"+b.mesh+path); status != 200 || got != path {
					t.Fatalf("%s over HTTP/2 was answered %d %q", path, status, got)
				}
				path = strings.Repeat(path, 2)
				if status, got := ask(other, otherIn, "GET", path); status != 200 || got != path {
					t.Fatalf("%s was answered %d %q", path, status, got)
				}
			}
		})
	}
}
