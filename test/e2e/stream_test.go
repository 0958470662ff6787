package e2e

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A socket is a WebSocket from the client's side, by hand (RFC 6455), so that every byte
// of it is the test's own.
type socket struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

// openSocket makes the handshake and checks the answer to it.
func openSocket(t *testing.T, url string) *socket {
	t.Helper()
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	c, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // it never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	fmt.Fprintf(c, "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", path, host, key)
	s := &socket{t: t, c: c, r: bufio.NewReader(c)}
	resp, err := http.ReadResponse(s.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if want := base64.StdEncoding.EncodeToString(sum[:]); resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-Websocket-Accept") != want {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("handshake: %s, accept %q, want %q; %s", resp.Status, resp.Header.Get("Sec-Websocket-Accept"), want, body)
	}
	return s
}

// send writes one masked frame: first is its first byte, FIN and opcode.
func (s *socket) send(first byte, payload []byte) {
	s.t.Helper()
	out := []byte{first}
	switch n := len(payload); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	mask := []byte{0xA5, 0x00, 0xFF, 0x3C}
	out = append(out, mask...)
	for i, b := range payload {
		out = append(out, b^mask[i%4])
	}
	if _, err := s.c.Write(out); err != nil {
		s.t.Fatal(err)
	}
}

// expect reads one frame and compares it.
func (s *socket) expect(first byte, payload []byte) {
	s.t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(s.r, head); err != nil {
		s.t.Fatalf("no frame: %v", err)
	}
	n := uint64(head[1])
	switch n {
	case 126:
		long := make([]byte, 2)
		_, _ = io.ReadFull(s.r, long)
		n = uint64(binary.BigEndian.Uint16(long))
	case 127:
		long := make([]byte, 8)
		_, _ = io.ReadFull(s.r, long)
		n = binary.BigEndian.Uint64(long)
	}
	got := make([]byte, min(n, 1<<21))
	if _, err := io.ReadFull(s.r, got); err != nil {
		s.t.Fatal(err)
	}
	if head[0] != first || !bytes.Equal(got, payload) {
		s.t.Fatalf("a frame of %d bytes began with %#x, want %d bytes and %#x", len(got), head[0], len(payload), first)
	}
}

// A WebSocket passes gateway and mesh: messages of every form of length, fragments, pings
// between them, silence, and the closing handshake. An event of a stream reaches who
// listens to one service by way of another before the next is sent.
func TestStreamsPassTheMesh(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	p.start("dev", pair(t, "one", 1), "--no-watch")
	p.ready()
	const fin, text, binaryFrame, closing, ping, pong = 0x80, 0x1, 0x2, 0x8, 0x9, 0xA

	for _, way := range []string{"/websocket", "/via/back/websocket"} {
		t.Run("WebSocket at "+way, func(t *testing.T) {
			s := openSocket(t, p.gateway+way)
			for _, n := range []int{0, 1, 125, 126, 65535, 65536, 300_000} {
				message := bytes.Repeat([]byte{0xC0, 0x00, byte(n)}, n/3+1)[:n]
				s.send(fin|binaryFrame, message)
				s.expect(fin|binaryFrame, message)
			}
			s.send(text, []byte("in two "))
			s.expect(text, []byte("in two "))
			s.send(fin|ping, []byte("between"))
			s.expect(fin|pong, []byte("between"))
			s.send(fin, []byte("pieces"))
			s.expect(fin, []byte("pieces"))
			code := []byte{0x03, 0xE8} // 1000: normal
			s.send(fin|closing, code)
			s.expect(fin|closing, code)
			if _, err := s.r.ReadByte(); err != io.EOF {
				t.Errorf("after the close: %v, want the end", err)
			}
		})
	}
	t.Run("many WebSockets at once", func(t *testing.T) {
		var all []*socket
		for range 50 {
			all = append(all, openSocket(t, p.gateway+"/via/back/websocket"))
		}
		for round := range 3 {
			for i, s := range all {
				s.send(fin|text, fmt.Append(nil, round, i))
			}
			for i, s := range all {
				s.expect(fin|text, fmt.Append(nil, round, i))
			}
		}
	})
	t.Run("server-sent events of one service by way of another", func(t *testing.T) {
		client := http.Client{Timeout: patience}
		resp, err := client.Get(p.gateway + "/via/back/events")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
			t.Errorf("content type %q", ct)
		}
		in := bufio.NewReader(resp.Body)
		line := func() string {
			s, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(s)
		}
		if got := line() + line(); got != ": welcome" {
			t.Fatalf("the first line is %q", got)
		}
		for i := range 20 { // each arrives before the next is sent
			event := fmt.Sprintf("event %d", i)
			resp, err := client.Post(p.gateway+"/back/events", "text/plain", strings.NewReader(event))
			if err != nil {
				t.Fatal(err)
			}
			sent, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(sent) != "1\n" {
				t.Fatalf("event %d went to %q listeners", i, sent)
			}
			if got := line() + line(); got != "data: "+event {
				t.Fatalf("arrived %q, want %q", got, event)
			}
		}
	})
}
