package websocket

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// patience bounds a case.
const patience = 60 * time.Second

// A way leads to the server: directly, or through a listener.
type way struct {
	name, addr string
	tls        *tls.Config // nil: clear text
}

// A peer is the client of one case.
type peer struct {
	t    *testing.T
	e    *echo
	name string // of the case at the server
	c    net.Conn
	*counted
	rng    *rand.Rand
	chop   int // bytes of one write; 0: all
	answer *http.Response
}

var keys = [...]string{"dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==", "/+8/+8/+8/+8/+8/+8/+8w=="}

func dial(t *testing.T, e *echo, w way) *peer {
	t.Helper()
	var c net.Conn
	var err error
	if w.tls != nil {
		c, err = tls.Dial("tcp", w.addr, w.tls)
	} else {
		c, err = net.Dial("tcp", w.addr)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	p := &peer{t: t, e: e, c: c, name: strings.ReplaceAll(t.Name(), "\"", ""), rng: rand.New(rand.NewPCG(1, uint64(len(t.Name()))))}
	p.counted = &counted{r: bufio.NewReader(c), w: c, got: newTally(), put: newTally()}
	return p
}

// ask gives the head of a handshake; fields are lines with their CRLF.
func (p *peer) ask(path, fields string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: svc\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: " + keys[p.rng.IntN(len(keys))] + "\r\nCase: " + p.name + "\r\n" + fields + "\r\n"
}

// open shakes hands; with the head, the frames of with are sent in one write.
func (p *peer) open(path, fields string, with ...frame) {
	p.t.Helper()
	b := []byte(p.ask(path, fields))
	head := len(b)
	for _, f := range with {
		b = f.append(b, p.key())
	}
	p.put.add(b[head:])
	p.raw(b)
	p.heads()
	if p.answer.StatusCode != 101 {
		p.t.Fatalf("handshake: %s", p.answer.Status)
	}
}

// heads reads the head of an answer.
func (p *peer) heads() {
	p.t.Helper()
	resp, err := http.ReadResponse(p.counted.r.(*bufio.Reader), &http.Request{Method: "GET"})
	if err != nil {
		p.t.Fatalf("the answer's head: %v", err)
	}
	p.answer = resp
}

// raw writes b uncounted, in pieces if the peer chops.
func (p *peer) raw(b []byte) {
	p.t.Helper()
	size := p.chop
	if size == 0 {
		size = max(len(b), 1)
	}
	for len(b) > 0 {
		n := min(size, len(b))
		if _, err := p.c.Write(b[:n]); err != nil {
			p.t.Fatalf("write: %v", err)
		}
		b = b[n:]
	}
}

func (p *peer) key() (k [4]byte) {
	binary.BigEndian.PutUint32(k[:], p.rng.Uint32())
	return k
}

// frame sends one masked frame.
func (p *peer) frame(first byte, payload []byte) {
	p.t.Helper()
	b := frame{first: first, masked: true, payload: payload}.append(nil, p.key())
	p.put.add(b)
	p.raw(b)
}

// want reads one frame, which must be that.
func (p *peer) want(first byte, payload []byte) {
	p.t.Helper()
	f, err := readFrame(p)
	if err != nil {
		p.t.Fatalf("a frame: %v", err)
	}
	if f.masked || f.first != first || !bytes.Equal(f.payload, payload) {
		p.t.Fatalf("got %#x with %s, want %#x with %s", f.first, short(f.payload), first, short(payload))
	}
}

func short(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%q... (%d bytes)", b[:40], len(b))
	}
	return fmt.Sprintf("%q", b)
}

// bye closes from the client's side and checks the whole.
func (p *peer) bye() {
	p.t.Helper()
	p.frame(fin|opClose, closeBody(1000, ""))
	p.want(fin|opClose, closeBody(1000, ""))
	p.done()
}

// refused waits for a close of the server's with code, answers it, and checks the whole.
func (p *peer) refused(code uint16) {
	p.t.Helper()
	p.want(fin|opClose, closeBody(code, ""))
	p.frame(fin|opClose, closeBody(code, ""))
	p.done()
}

// done waits for the end of the connection, and compares what both sides sent and got.
func (p *peer) done() {
	p.t.Helper()
	if _, err := p.Read(make([]byte, 1)); err != io.EOF {
		p.t.Fatalf("behind the close: %v, want the end", err)
	}
	p.same()
}

// visit gives the server's side; what is read of it must be read after over.
func (p *peer) visit() *visit {
	p.t.Helper()
	v := p.e.visited(p.name)
	if v == nil {
		p.t.Fatal("the server was not visited")
	}
	return v
}

// left gives the server's side when the server is through with it.
func (p *peer) left() *visit {
	p.t.Helper()
	v := p.visit()
	select {
	case <-v.over:
	case <-time.After(patience):
		p.t.Fatal("the server still serves")
	}
	return v
}

func (p *peer) same() {
	p.t.Helper()
	v := p.left()
	for _, d := range []struct {
		what     string
		from, to *tally
	}{{"to the server", p.put, v.in}, {"to the client", v.out, p.got}} {
		n, sum := d.from.total()
		if m, got := d.to.total(); n != m || sum != got {
			p.t.Errorf("%s: %d bytes sent, %d came, sums equal: %v", d.what, n, m, sum == got)
		}
	}
}
