package h2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of the tests.
const patience = 30 * time.Second

func b(s string) []byte { return []byte(s) }

// echo answers with the body that came, and a trailer that says how long it was.
func echo(s *Stream) {
	defer s.Close()
	if s.SendHead([]Field{{Name: b(":status"), Value: b("200")}, {Name: b("content-type"), Value: s.Head.Value("content-type")}}, false) != nil {
		return
	}
	n := 0
	for {
		p := s.Poll(nil)
		if p.Err != nil {
			return
		}
		none := len(p.Data) == 0
		n += len(p.Data)
		for len(p.Data) > 0 {
			k, err := s.Send(p.Data, false)
			if err != nil {
				return
			}
			if p.Data = p.Data[k:]; len(p.Data) > 0 {
				s.Waker().Wait()
			}
		}
		if p.End {
			p.Trailer.Free()
			s.SendHead([]Field{{Name: b("x-sum"), Value: fmt.Append(nil, n)}}, true)
			return
		}
		if none {
			s.Waker().Wait()
		}
	}
}

// serve opens a server on a socket and gives its address.
func serve(t *testing.T, cfg Config, h Handler) (*Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(cfg, h)
	go func() {
		for n := uint32(0); ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			srv.Serve(c, nil, nil, n)
		}
	}()
	t.Cleanup(func() { ln.Close(); srv.Close() })
	return srv, ln.Addr().String()
}

func pool(t *testing.T, addr string) *Pool {
	p := NewPool(Config{Window: 256 << 10, ConnWindow: 4 << 20}, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	})
	t.Cleanup(p.Close)
	return p
}

var sizes = []int{0, 1, 16383, 16384, 16385, 65535, 65536, 65537, 100000, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3 << 20}

// Another client gets all of every body, at the edges of windows and frames.
func TestServesNetHTTP(t *testing.T) {
	_, addr := serve(t, Config{}, echo)
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr, Timeout: patience}
	var wg sync.WaitGroup
	for _, size := range sizes {
		for range 3 {
			wg.Go(func() {
				body := bytes.Repeat([]byte("x"), size)
				resp, err := c.Post("http://"+addr+"/", "text/plain", bytes.NewReader(body))
				if err != nil {
					t.Errorf("%d bytes: %v", size, err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !bytes.Equal(got, body) || resp.Trailer.Get("X-Sum") != fmt.Sprint(size) || resp.Header.Get("Content-Type") != "text/plain" {
					t.Errorf("%d bytes: got %d, trailer %v, header %v, %v", size, len(got), resp.Trailer, resp.Header, err)
				}
			})
		}
	}
	wg.Wait()
}

// call sends a body and gives what came back.
func call(p *Pool, body []byte) (status int, got []byte, sum string, err error) {
	w := NewWaker()
	fields := []Field{{Name: b(":method"), Value: b("POST")}, {Name: b(":scheme"), Value: b("http")}, {Name: b(":authority"), Value: b("svc")},
		{Name: b(":path"), Value: b("/")}, {Name: b("content-type"), Value: b("text/plain")}}
	s, _, err := p.Open(fields, false, false, w)
	for err == ErrFull {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err = p.Dial(ctx)
		cancel()
		if err != nil {
			return
		}
		s, _, err = p.Open(fields, false, false, w)
	}
	defer s.Close()
	sent := false
	for {
		if !sent {
			n, err := s.Send(body, true)
			body = body[n:]
			sent = err != nil || len(body) == 0 // an error shows in what is polled, or the answer is whole
		}
		p := s.Poll(nil)
		switch {
		case p.Err != nil:
			return status, got, sum, p.Err
		case p.Head != nil:
			status = p.Head.Status
			p.Head.Free()
			continue
		}
		got = append(got, p.Data...)
		if p.End {
			if p.Trailer != nil {
				sum = string(p.Trailer.Value("x-sum"))
				p.Trailer.Free()
			}
			return status, got, sum, nil
		}
		if len(p.Data) == 0 {
			w.Wait()
		}
	}
}

func testCalls(t *testing.T, addr string) {
	p := pool(t, addr)
	var wg sync.WaitGroup
	for _, size := range sizes {
		for range 3 {
			wg.Go(func() {
				body := bytes.Repeat([]byte("x"), size)
				status, got, sum, err := call(p, body)
				if err != nil || status != 200 || !bytes.Equal(got, body) || sum != fmt.Sprint(size) {
					t.Errorf("%d bytes: status %d, %d bytes, sum %q, %v", size, status, len(got), sum, err)
				}
			})
		}
	}
	wg.Wait()
}

// Our client and another server.
func TestCallsNetHTTP(t *testing.T) {
	srv := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("X-Sum", fmt.Sprint(n))
	})}
	srv.Protocols.SetUnencryptedHTTP2(true)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	testCalls(t, ln.Addr().String())
}

// Our client and our server.
func TestCallsOurselves(t *testing.T) {
	_, addr := serve(t, Config{}, echo)
	testCalls(t, addr)
}

// A server that ends tells its callers, and lets what is in flight end.
func TestShutdownLetsStreamsEnd(t *testing.T) {
	began, end := make(chan bool), make(chan bool)
	srv, addr := serve(t, Config{}, func(s *Stream) {
		began <- true
		<-end
		echo(s)
	})
	p := pool(t, addr)
	type result struct {
		status int
		err    error
	}
	done := make(chan result, 1)
	go func() {
		status, _, _, err := call(p, b("body"))
		done <- result{status, err}
	}()
	<-began
	over := make(chan bool)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		srv.Shutdown(ctx)
		if ctx.Err() != nil {
			t.Error("Shutdown did not end by itself")
		}
		close(over)
	}()
	eventually(t, "the first GOAWAY has come", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.conns) == 1 && p.conns[0].isOver()
	})
	close(end)
	if r := <-done; r.status != 200 || r.err != nil {
		t.Errorf("the stream in flight: %d, %v", r.status, r.err)
	}
	<-over
}

// A handler that panics ends its stream, not the connection.
func TestPanicEndsOneStream(t *testing.T) {
	_, addr := serve(t, Config{}, func(s *Stream) {
		if len(s.Head.Value("content-type")) > 0 && s.Conn() != nil {
			for {
				p := s.Poll(nil)
				if strings.Contains(string(p.Data), "bad") {
					panic("bad")
				}
				if p.End {
					break
				}
				s.Waker().Wait()
			}
		}
		s.SendHead([]Field{{Name: b(":status"), Value: b("204")}}, true)
		s.Close()
	})
	p := pool(t, addr)
	if _, _, _, err := call(p, b("bad")); err == nil {
		t.Error("the stream ended well")
	}
	if status, _, _, err := call(p, b("good")); status != 204 || err != nil {
		t.Errorf("the next one: %d, %v", status, err)
	}
}
