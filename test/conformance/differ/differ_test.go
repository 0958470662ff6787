// Package differ sends the same honest requests through both engines to the same service,
// and wants the same answers: the portable engine, on net/http, is the oracle of the fast one.
//
// A seed makes a connection's requests, and for each the service's answer, which the
// service makes from the same seed: methods, bodies sized, in chunks, with trailers, with
// Expect; answers sized, in chunks with trailers, until the close, without a body, with
// interim ones before, to HTTP/1.1 and HTTP/1.0. What the service got and what the caller
// got, less fields of one hop, trace, date and the reason phrase (net/http writes its own), must
// be the same.
package differ

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/snapshot"
	"stoa/test/conformance/stand"
)

const patience = 60 * time.Second

// seeds is how many connections are compared; many more with STOA_LONG=1.
func seeds() uint64 {
	if os.Getenv("STOA_LONG") != "" {
		return 20_000
	}
	return 300
}

// sizes of bodies are those at which buffers and frames end.
var sizes = []int{0, 1, 2, 100, 4095, 4096, 4097, 8191, 8192, 8193, 16383, 16384, 16385, 32768, 65535, 65536, 65537, 200_000}

func body(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(i%23)
	}
	return b
}

// chunks writes b as chunks of odd sizes with the trailers behind.
func chunks(r *rand.Rand, b []byte, trailers string) []byte {
	var out []byte
	for len(b) > 0 {
		n := min(len(b), 1+r.IntN(1+min(len(b), 5000)*2))
		out = fmt.Appendf(out, "%x\r\n%s\r\n", n, b[:n])
		b = b[n:]
	}
	return append(out, "0\r\n"+trailers+"\r\n"...)
}

// An ask is one request as bytes.
type ask struct {
	method string
	bytes  []byte
	expect []byte // sent when the service has said 100, or has answered; nil: there is none
	last   bool   // nothing can follow on the connection
}

// asks makes the requests of a seed.
func asks(seed uint64) (all []ask) {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range 1 + r.IntN(6) {
		a := ask{method: []string{"GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "REPORT"}[r.IntN(9)]}
		old := r.IntN(12) == 0
		version := "HTTP/1.1"
		if old {
			version = "HTTP/1.0"
		}
		head := fmt.Sprintf("%s /%d/%d%s %s\r\nHost: svc.example\r\n", a.method, seed, i, []string{"", "/a%2Fb", "?", "?q=a;b&c=%20", "/x;y=1?z"}[r.IntN(5)], version)
		for range r.IntN(5) {
			head += []string{"X-Empty:\r\n", "x-lower: a\r\n", "X-Twice: 1\r\nX-Twice: 2\r\n", "Cookie: a=b; c=d\r\n", "Accept: */*\r\n", "X-Utf8: \u00e4\u00f6\r\n",
				"Connection: X-Hop\r\nX-Hop: 1\r\n", "Keep-Alive: timeout=5\r\n", "X-Spaces: \t a  b \t\r\n", "Cache-Control: no-cache\r\n", "Range: bytes=0-1\r\n"}[r.IntN(11)]
		}
		if a.last = old || r.IntN(10) == 0; a.last && !old {
			head += "Connection: close\r\n"
		}
		b := body(sizes[r.IntN(len(sizes))])
		if a.method == "GET" || a.method == "HEAD" || a.method == "OPTIONS" {
			b = nil
		}
		var content []byte
		switch {
		case b == nil:
		case !old && r.IntN(2) == 0:
			trailers := ""
			if r.IntN(3) == 0 {
				trailers = "X-Sum: 1\r\n"
				head += "Trailer: X-Sum\r\n"
			}
			head += "Transfer-Encoding: chunked\r\n"
			content = chunks(r, b, trailers)
		default:
			head += fmt.Sprintf("Content-Length: %d\r\n", len(b))
			content = b
		}
		if len(b) > 0 && !old && r.IntN(5) == 0 {
			head += "Expect: 100-continue\r\n"
			a.expect = content
		} else {
			a.bytes = content
		}
		a.bytes = append([]byte(head+"\r\n"), a.bytes...)
		all = append(all, a)
		if a.last {
			break
		}
	}
	return all
}

// answer makes the answer to request n of a seed, and says whether the connection ends with it.
func answer(seed, n uint64, method string) (out []byte, shut bool) {
	r := rand.New(rand.NewPCG(seed, 1000+n))
	if r.IntN(3) == 0 {
		out = append(out, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"...)
	}
	status := []string{"200 OK", "200 OK", "200 OK", "201 Created", "204 No Content", "206 Partial Content", "301 Moved", "304 Not Modified", "404 Nothing Here", "500 Oh", "299 \u00e4"}[r.IntN(11)]
	head := "HTTP/1.1 " + status + "\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
	for range r.IntN(5) {
		head += []string{"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n", "X-Empty:\r\n", "x-lower: a\r\n", "Content-Type: text/x\r\n", "Etag: \"a\"\r\n", "Vary: Accept\r\nVary: Cookie\r\n",
			"Connection: X-Hop\r\nX-Hop: 1\r\n", "Keep-Alive: timeout=60\r\n", "Location: /b?c\r\n"}[r.IntN(9)]
	}
	b := body(sizes[r.IntN(len(sizes))])
	bodiless := method == "HEAD" || status[:3] == "204" || status[:3] == "304"
	var content []byte
	switch k := r.IntN(4); {
	case status[:3] == "204", status[:3] == "304":
		if status[:3] == "304" && k == 0 {
			head += fmt.Sprintf("Content-Length: %d\r\n", len(b))
		}
	case k == 0 && !bodiless:
		shut, content = true, b
		// net/http's client takes Connection away where it says close, and what it names then stays.
		if !strings.Contains(head, "X-Hop") {
			head += "Connection: close\r\n"
		}
	case k == 1:
		trailers := ""
		if r.IntN(2) == 0 {
			trailers = "X-Sum: 1\r\nX-Late: 2\r\n"
			head += "Trailer: X-Sum, X-Late\r\n"
		}
		head += "Transfer-Encoding: chunked\r\n"
		content = chunks(r, b, trailers)
	default:
		head += fmt.Sprintf("Content-Length: %d\r\n", len(b))
		content = b
	}
	if bodiless {
		content = nil
	}
	return append(append(out, head+"\r\n"...), content...), shut
}

// hop are fields of one hop, and those that each engine makes anew.
var hop = []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Te", "Trailer", "Traceparent", "Tracestate", "Stoa-Timeout-Ms", "Date"}

func fields(h http.Header) string {
	var lines []string
	for k, vs := range h {
		if slices.Contains(hop, k) {
			continue
		}
		for _, v := range vs {
			lines = append(lines, k+": "+v)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n  ")
}

// serve answers each request as its path says, and reports in the field Seen what it got.
func serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if r.Header.Get("Expect") != "" {
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		parts := strings.FieldsFunc(r.URL.Path, func(c rune) bool { return c == '/' })
		seed, _ := strconv.ParseUint(parts[0], 10, 64)
		n, _ := strconv.ParseUint(parts[1], 10, 64)
		if r.ContentLength == 0 {
			r.Header.Del("Content-Length") // net/http's client says 0 for some methods only
		}
		got := fmt.Sprintf("%s %s host %s length %d coding %v trailers %v body %d %x\n  %s", r.Method, r.RequestURI, r.Host, r.ContentLength, r.TransferEncoding,
			fields(r.Trailer), len(b), crc(b), fields(r.Header))
		out, shut := answer(seed, n, r.Method)
		i := bytes.LastIndex(out[:headsEnd(out)], []byte("Date:"))
		out = slices.Insert(out, i, fmt.Appendf(nil, "Seen: %s\r\n", strconv.QuoteToASCII(got))...)
		if _, err := c.Write(out); err != nil || shut {
			return
		}
	}
}

// headsEnd gives where the last head of an answer ends: interim ones have no body.
func headsEnd(b []byte) int {
	end := 0
	for {
		n := bytes.Index(b[end:], []byte("\r\n\r\n")) + 4
		interim := bytes.HasPrefix(b[end:], []byte("HTTP/1.1 1"))
		if end += n; !interim {
			return end
		}
	}
}

func crc(b []byte) (sum uint32) {
	for _, c := range b {
		sum = sum*16777619 ^ uint32(c)
	}
	return sum
}

// play sends the requests of a seed to addr, and tells all that came of it.
func play(addr string, seed uint64, pipelined bool) (string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	br := bufio.NewReader(c)
	all := asks(seed)
	var told strings.Builder
	sent := make(chan error, 1)
	if pipelined {
		go func() {
			var b []byte
			for _, a := range all {
				b = append(append(b, a.bytes...), a.expect...)
			}
			_, err := c.Write(b)
			sent <- err
		}()
	}
	for _, a := range all {
		if !pipelined {
			go func() { _, err := c.Write(a.bytes); sent <- err }()
		}
		waiting := a.expect != nil && !pipelined
		for {
			resp, err := http.ReadResponse(br, &http.Request{Method: a.method})
			if err != nil {
				return told.String(), fmt.Errorf("%s: the answer's head: %w", a.bytes[:min(len(a.bytes), 60)], err)
			}
			if resp.StatusCode == 100 {
				if waiting {
					waiting = false
					go func() { c.Write(a.expect) }() // what fails shows in the answer
				}
				continue
			}
			if resp.StatusCode < 200 {
				fmt.Fprintf(&told, "%d\n  %s\n", resp.StatusCode, fields(resp.Header))
				continue
			}
			b, err := io.ReadAll(resp.Body)
			trailer := http.Header{}
			for k, v := range resp.Trailer {
				trailer[textproto.CanonicalMIMEHeaderKey(k)] = v
			}
			if resp.StatusCode == 304 { // net/http's server leaves these out
				resp.Header.Del("Content-Length")
				resp.Header.Del("Content-Type")
			}
			fmt.Fprintf(&told, "%d\n  %s\n  body %d %x, trailers %s, %v\n", resp.StatusCode, fields(resp.Header), len(b), crc(b), fields(trailer), err)
			if !pipelined {
				if err := <-sent; err != nil {
					return told.String(), err
				}
			}
			if resp.Close || a.last {
				return told.String(), nil
			}
			break
		}
	}
	return told.String(), nil
}

// difference gives the first lines that differ, and where.
func difference(fast, portable string) string {
	a, b := strings.Split(fast, "\n"), strings.Split(portable, "\n")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("line %d\nfast:     %s\nportable: %s", i, x, y)
		}
	}
	return "none"
}

func TestSameAnswers(t *testing.T) {
	ln := stand.Listen(t)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(c) // ends with its connection
		}
	}()
	ways := map[string]*stand.Stand{}
	for name, e := range stand.Engines {
		ways[name] = stand.Open(t, e, snapshot.HTTP1, ln.Addr().String())
	}
	failures := 0
	for seed := range seeds() {
		mesh := seed%2 == 0
		pipelined := seed%3 == 0
		told := map[string]string{}
		for name, s := range ways {
			addr := s.Gateway
			if mesh {
				addr = s.Mesh
			}
			got, err := play(addr, seed, pipelined)
			if err != nil {
				got += "\n" + err.Error()
				t.Errorf("seed %d, %s: %v", seed, name, err)
			}
			told[name] = strings.ReplaceAll(strings.ReplaceAll(got, s.Gateway, "ADDR"), s.Mesh, "ADDR")
		}
		if told["fast"] != told["portable"] {
			t.Errorf("seed %d, mesh %v, pipelined %v\n%s", seed, mesh, pipelined, difference(told["fast"], told["portable"]))
			if failures++; failures > 5 {
				t.Fatal("and so on")
			}
		}
	}
}
