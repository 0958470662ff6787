package h1

import (
	"math/rand/v2"
	"os"
	"testing"
)

// The pieces that messages are composed of: for each place what is right, and what is odd.
var (
	requestLines = []string{"GET / HTTP/1.1", "POST /a?b HTTP/1.1", "PUT /a%2Fb HTTP/1.0", "OPTIONS * HTTP/1.1", "GET http://a/x?y HTTP/1.1", "HEAD //x/../y? HTTP/1.1",
		"PRI * HTTP/2.0", "GET a HTTP/1.1", "GET  / HTTP/1.1", "get /\x80 HTTP/1.1", "GET / HTTP/1.2", "CONNECT a:1 HTTP/1.1"}
	statusLines = []string{"HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 204 No Content", "HTTP/1.1 304 ", "HTTP/1.1 404", "HTTP/1.1 100 Continue", "HTTP/1.1 101 Switching Protocols", "HTTP/1.1 999 x",
		"HTTP/1.1 20 OK", "HTTP/1.2 200 OK", "HTTP/1.1  200 OK"}
	fieldLines = []string{"Host: a", "host:a", "Host: b:80", "Content-Length: 5", "Content-Length: 0", "content-length:5", "Content-Length: 05", "Content-Length: 5, 5", "Transfer-Encoding: chunked",
		"Transfer-Encoding:\tChunked ", "Transfer-Encoding: gzip, chunked", "Transfer_Encoding: chunked", "TE: trailers", "TE: x;q=1, Trailers", "Connection: close", "Connection: keep-alive",
		"Connection: X-A, Upgrade", "Connection: x-b,,x-c", "Connection: host", "Upgrade: websocket", "Upgrade: h2c", "HTTP2-Settings: x", "Expect: 100-continue", "Expect: x", "X-A: 1", "x-b: 2", "X-B:", "X-C: \t a b\t",
		"X-Forwarded-For: 1", "x_forwarded_for: 1", "Stoa-Caller: x", "Trailer: X-T", "Trailer: Content-Length", "Pragma: no-cache", "Cache-Control: x", "Keep-Alive: timeout=5", "Proxy-Connection: x",
		" x: folded", "X : 1", ": x", "X\x80: 1", "X-D: \x80\xff", "X-E: a\x00b", "X-F: a\rb", "X-G: a\nb"}
	bodies = []string{"", "hello", "hello world", "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n00;c\r\nX-T: 1\r\nHost: b\r\n\r\n", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
		"0x5\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "5\r\nhello0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n"}
)

// Messages composed at random, mostly of what is right, stand every check of the fuzz
// targets. So messages that combine many things are tried, which bytes at random seldom make.
func TestComposedMessages(t *testing.T) {
	rounds := 4_000
	if os.Getenv("STOA_LONG") != "" {
		rounds = 1_000_000
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(of []string) string { // the front, where the right ones are, more often
		return of[min(rnd.IntN(len(of)), rnd.IntN(len(of)))]
	}
	taken := [2]int{}
	for range rounds {
		for kind, first := range [2][]string{requestLines, statusLines} {
			in := pick(first) + "\r\n"
			if kind == 0 && rnd.IntN(8) > 0 {
				in += "Host: a\r\n"
			}
			for range rnd.IntN(6) {
				if line := fieldLines[rnd.IntN(len(fieldLines))]; kind == 1 || line != "Host: a" || rnd.IntN(8) == 0 {
					in += line + "\r\n"
				}
			}
			in += "\r\n" + pick(bodies)
			if rnd.IntN(2) == 0 {
				in += "GET / HTTP/1.1\r\nHost: evil\r\n\r\n"
			}
			b := []byte(in)
			if rnd.IntN(8) == 0 {
				b[rnd.IntN(len(b))] = byte(rnd.IntN(256))
			}
			cut := rnd.IntN(len(b))
			if kind == 0 && checkRequest(t, b, cut) || kind == 1 && checkAnswer(t, b, cut, rnd.IntN(4) == 0) {
				taken[kind]++
			}
		}
	}
	for _, n := range taken {
		if n < rounds/20 {
			t.Errorf("of %d messages %d were taken: the pieces are too odd to prove anything", rounds, n)
		}
	}
	t.Logf("of %d requests and %d answers %d and %d were taken", rounds, rounds, taken[0], taken[1])
}
