// Package hostile sends what no honest peer sends, over real sockets: malformed and
// ambiguous requests of HTTP/1.1 to the proxy, malformed and ambiguous answers from a
// service, and asks what came out at the other side.
//
// A request that is refused is answered once, its connection is closed, and not a byte
// of it reaches the service; what is pipelined behind it is no request. An answer that is
// refused is a 502, and its connection is never used again. After each case honest
// requests must get their own answers: nothing may be out of step.
package hostile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"stoa/test/conformance/stand"
)

// patience bounds a case.
const patience = 30 * time.Second

// A service takes down what it gets. It reads as leniently as net/http does, so that what
// slips through is seen. A path /NAME/bad is answered with the bytes that are set for NAME.
type service struct {
	ln net.Listener
	wg sync.WaitGroup

	mu      sync.Mutex
	open    map[net.Conn]bool // guarded by mu
	got     []string          // requests, as "METHOD target body"; guarded by mu
	bytes   int64             // that came, of all; guarded by mu
	answers map[string]answer // by name; guarded by mu
	bad     map[string]int    // connections that gave such an answer and are not closed by the proxy yet; guarded by mu
	again   []string          // what came on a connection after a bad answer; guarded by mu
}

// answer is what a service sends; shut says that it closes the connection behind it.
type answer struct {
	bytes string
	shut  bool
}

func newService(t *testing.T, answers map[string]answer) *service {
	s := &service{ln: stand.Listen(t), open: map[net.Conn]bool{}, answers: answers, bad: map[string]int{}}
	s.wg.Go(func() {
		for {
			c, err := s.ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open[c] = true
			s.mu.Unlock()
			s.wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		s.ln.Close()
		s.mu.Lock()
		for c := range s.open {
			c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

// Write counts what comes.
func (s *service) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.bytes += int64(len(p))
	s.mu.Unlock()
	return len(p), nil
}

func (s *service) serve(c net.Conn) {
	defer func() {
		c.Close()
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	}()
	br := bufio.NewReader(io.TeeReader(c, s))
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if r.Header.Get("Expect") != "" {
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		body, err := io.ReadAll(r.Body)
		line := fmt.Sprintf("%s %s %q", r.Method, r.RequestURI, body)
		if err != nil {
			line += " broken"
		}
		s.mu.Lock()
		s.got = append(s.got, line)
		name := strings.Split(r.URL.Path, "/")[1]
		a, bad := s.answers[name]
		bad = bad && strings.HasSuffix(r.URL.Path, "/bad")
		if bad {
			s.bad[name]++
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
		if bad {
			s.misbehave(c, br, name, a)
			return
		}
		line += "\n"
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(line))
		if r.Method != http.MethodHead {
			io.WriteString(c, line)
		}
	}
}

// misbehave sends a, and waits until the proxy has closed the connection.
func (s *service) misbehave(c net.Conn, br *bufio.Reader, name string, a answer) {
	io.WriteString(c, a.bytes)
	if a.shut {
		c.(*net.TCPConn).CloseWrite()
	}
	rest, _ := io.ReadAll(br)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad[name]--
	if len(rest) > 0 {
		s.again = append(s.again, name+": "+string(rest))
	}
}

// take gives the requests and bytes since the last call.
func (s *service) take() (got []string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got, n = s.got, s.bytes
	s.got, s.bytes = nil, 0
	return got, n
}

// closed waits until the proxy has closed what gave the bad answer of name, and gives
// what came there after it.
func (s *service) closed(t *testing.T, name string) (again string) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		s.mu.Lock()
		left := s.bad[name]
		for _, a := range s.again {
			if strings.HasPrefix(a, name+": ") {
				again = a
			}
		}
		s.mu.Unlock()
		if left == 0 {
			return again
		}
		if time.Now().After(end) {
			t.Errorf("the proxy keeps %d connections that gave a bad answer", left)
			return again
		}
	}
}

// A reply is one answer that a caller got.
type reply struct {
	status int
	close  bool // said Connection: close
	body   string
	err    error // reading the body
}

func (r reply) String() string {
	s := fmt.Sprint(r.status)
	if r.err != nil {
		s += " broken"
	}
	return s
}

// say sends b in writes of chop bytes (0: one), and reads until the other side closes, or
// until the last of n answers is there.
func say(t *testing.T, addr string, b []byte, chop int, methods ...string) (all []reply, ended bool) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		size := chop
		if size == 0 {
			size = len(b)
		}
		for len(b) > 0 { // it may be refused before it was read
			n := min(size, len(b))
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
	}()
	raw, err := io.ReadAll(c)
	ended = err == nil || !strings.Contains(err.Error(), "timeout")
	c.Close()
	<-sent
	br := bufio.NewReader(bytes.NewReader(raw))
	for i := 0; ; i++ {
		method := "GET"
		if i < len(methods) {
			method = methods[i]
		}
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			if rest, _ := io.ReadAll(br); len(rest) > 0 {
				all = append(all, reply{body: string(rest), err: err})
			}
			return all, ended
		}
		if resp.StatusCode < 200 {
			i--
			continue
		}
		body, err := io.ReadAll(resp.Body)
		all = append(all, reply{resp.StatusCode, resp.Close, string(body), err})
		if err != nil {
			return all, ended
		}
	}
}
