package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// A client of net/http gets head, message and trailers, on many streams of one connection.
func TestAnswersUnaryCalls(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer c.Close()
				if err := (&conn{c: c, wire: newWire(100), window: initialWindow}).serve(); err != nil {
					t.Error(err)
				}
			})
		}
	})
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &h2c}
	client := &http.Client{Transport: transport}
	before := answered.Load()
	const calls, workers = 64, 16 // 105 bytes each: the connection's window is passed several times over
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range calls {
				resp, err := client.Post("http://"+l.Addr().String()+"/bench.Echo/Unary", "application/grpc", bytes.NewReader(make([]byte, 105)))
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || len(b) != 105 || b[4] != 100 || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/grpc" || resp.Trailer.Get("Grpc-Status") != "0" {
					t.Errorf("got status %d, %d bytes, header %v, trailer %v, %v", resp.StatusCode, len(b), resp.Header, resp.Trailer, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := answered.Load() - before; got != calls*workers {
		t.Errorf("counted %d calls, want %d", got, calls*workers)
	}
	transport.CloseIdleConnections()
	l.Close()
	served.Wait()
}

// An answer that the peer's window has no room for waits for it.
func TestWaitsForTheWindow(t *testing.T) {
	w := newWire(100)
	c := &conn{wire: w, window: w.cost + 5}
	whole := len(w.head) + len(w.data) + len(w.trailer)
	c.take(typeHeaders, flagEndStream, 1, nil)
	c.take(typeHeaders, flagEndStream, 3, nil)
	if len(c.out) != whole || len(c.waiting) != 1 {
		t.Fatalf("%d bytes sent, %d waiting; want one answer of %d bytes and one that waits", len(c.out), len(c.waiting), whole)
	}
	c.take(typeWindow, 0, 0, []byte{0, 0, 0, 100})
	if len(c.out) != 2*whole || len(c.waiting) != 0 || c.window != 0 {
		t.Errorf("after the window was opened: %d bytes sent, %d waiting, window %d", len(c.out), len(c.waiting), c.window)
	}
}
