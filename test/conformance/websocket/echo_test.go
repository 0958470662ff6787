package websocket

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"stoa/test/conformance/stand"
)

// deflate is what the server agrees to if it is offered.
const deflate = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// A visit is one connection at the server.
type visit struct {
	head     *http.Request
	in, out  *tally       // behind the head
	wrote    atomic.Int64 // bytes of a flood, as they leave
	over     chan struct{}
	received string // what came after the server's half-close
	err      error  // why the connection ended; may be read after over
}

// echo is the server. The path of a request says how it behaves.
type echo struct {
	t    *testing.T
	ln   net.Listener
	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]bool // guarded by mu
	seen map[string]*visit // by the field Case; guarded by mu
}

func newEcho(t *testing.T) *echo {
	e := &echo{t: t, ln: stand.Listen(t), open: map[net.Conn]bool{}, seen: map[string]*visit{}}
	e.wg.Go(func() {
		for {
			c, err := e.ln.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.open[c] = true
			e.mu.Unlock()
			e.wg.Go(func() { e.serve(c) })
		}
	})
	t.Cleanup(func() {
		e.ln.Close()
		e.mu.Lock()
		for c := range e.open {
			c.Close()
		}
		e.mu.Unlock()
		e.wg.Wait()
	})
	return e
}

// visited gives the visit of a case, as soon as its head was read.
func (e *echo) visited(name string) *visit {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen[name]
}

func (e *echo) serve(c net.Conn) {
	defer func() {
		c.Close()
		e.mu.Lock()
		delete(e.open, c)
		e.mu.Unlock()
	}()
	c.SetDeadline(time.Now().Add(patience))
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		v := &visit{head: r, in: newTally(), out: newTally(), over: make(chan struct{})}
		e.mu.Lock()
		e.seen[r.Header.Get("Case")] = v
		e.mu.Unlock()
		if r.URL.Path == "/refuse" || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			io.WriteString(c, "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 4\r\n\r\nno.\n")
			close(v.over)
			continue
		}
		v.err = e.upgraded(c, br, v)
		close(v.over)
		return
	}
}

func (e *echo) upgraded(c net.Conn, br *bufio.Reader, v *visit) error {
	sum := sha1.Sum([]byte(v.head.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // section 4.2.2
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	compressed := strings.Contains(v.head.Header.Get("Sec-Websocket-Extensions"), "permessage-deflate")
	if compressed {
		head += "Sec-WebSocket-Extensions: " + deflate + "\r\n"
	}
	if p := v.head.Header.Get("Sec-Websocket-Protocol"); p != "" {
		first, _, _ := strings.Cut(p, ",")
		head += "Sec-WebSocket-Protocol: " + first + "\r\n"
	}
	head += "\r\n"
	var early []byte
	if v.head.URL.Path == "/early" {
		early = frame{first: fin | opText, payload: []byte("with the head")}.append(nil, [4]byte{})
	}
	if _, err := c.Write(append([]byte(head), early...)); err != nil {
		return err
	}
	v.out.add(early)
	rw := &counted{r: br, w: c, got: v.in, put: v.out}
	switch v.head.URL.Path {
	case "/flood":
		return flood(rw, v)
	case "/closes":
		return closes(c, rw)
	case "/leaves":
		return leaves(c, rw, v)
	case "/resets":
		if _, err := readFrame(rw); err != nil {
			return err
		}
		return c.(*net.TCPConn).SetLinger(0) // Close then resets
	}
	return talk(rw, compressed)
}

// floodSize is more than the buffers of every kernel on the way together.
const floodSize = 96 << 20

// flood sends much to a client that may not read it, then closes as is due.
func flood(rw *counted, v *visit) error {
	b := frame{first: fin | opBinary, payload: make([]byte, 64<<10)}.append(nil, [4]byte{})
	for n := 0; n < floodSize; n += 64 << 10 {
		k, err := rw.Write(b)
		v.wrote.Add(int64(k))
		if err != nil {
			return err
		}
	}
	return closing(rw, 1000, "")
}

// closes sends a close after the first frame and goes, whatever the client still sends.
func closes(c net.Conn, rw *counted) error {
	if _, err := readFrame(rw); err != nil {
		return err
	}
	if err := send(rw, fin|opClose, closeBody(1008, "enough")); err != nil {
		return err
	}
	return c.Close()
}

// leaves ends its own direction after one frame, and reads on until the client ends the other.
func leaves(c net.Conn, rw *counted, v *visit) error {
	if err := send(rw, fin|opText, []byte("the last of mine")); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	for {
		f, err := readFrame(rw)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		v.received += string(f.payload)
	}
}

func send(w io.Writer, first byte, payload []byte) error {
	_, err := w.Write(frame{first: first, payload: payload}.append(nil, [4]byte{}))
	return err
}

func closeBody(code uint16, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, code), reason...)
}

// closing sends a close and reads until the other side has closed, too.
func closing(rw *counted, code uint16, reason string) error {
	if err := send(rw, fin|opClose, closeBody(code, reason)); err != nil {
		return err
	}
	for {
		f, err := readFrame(rw)
		if err != nil {
			return err
		}
		if f.op() == opClose {
			return nil
		}
	}
}

// talk sends each message back as one frame, answers pings and closes, and closes on
// what RFC 6455 forbids.
func talk(rw *counted, compressed bool) error {
	var message []byte
	kind, squeezed := byte(0), false // of the message that is coming; 0: none
	for {
		f, err := readFrame(rw)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		op := f.op()
		reserved := f.first & 0x70
		if reserved == rsv1 && compressed && (op == opText || op == opBinary) {
			reserved = 0
		}
		switch {
		case !f.masked, reserved != 0, // sections 5.1 and 5.2
			op >= opClose && (!f.fin() || len(f.payload) > 125),                      // section 5.5
			op == opMore && kind == 0, (op == opText || op == opBinary) && kind != 0: // section 5.4
			return closing(rw, 1002, "")
		}
		switch op {
		case opPing:
			err = send(rw, fin|opPong, f.payload)
		case opPong:
		case opClose:
			return closed(rw, f.payload)
		case opText, opBinary, opMore:
			if op != opMore {
				kind, squeezed, message = op, f.first&rsv1 != 0, nil
			}
			if message == nil && f.fin() {
				message = f.payload
			} else {
				message = append(message, f.payload...)
			}
			if !f.fin() {
				continue
			}
			first := fin | kind
			if squeezed {
				if message, err = inflate(message); err != nil {
					return closing(rw, 1007, "")
				}
			}
			if kind == opText && !utf8.Valid(message) {
				return closing(rw, 1007, "")
			}
			if squeezed {
				first |= rsv1
				message = squeeze(message)
			}
			kind = 0
			err = send(rw, first, message)
		default:
			return closing(rw, 1002, "")
		}
		if err != nil {
			return err
		}
	}
}

// closed answers a close: section 7.4 says with what.
func closed(w io.Writer, body []byte) error {
	if len(body) == 0 {
		return send(w, fin|opClose, nil)
	}
	if len(body) == 1 {
		return send(w, fin|opClose, closeBody(1002, ""))
	}
	code := binary.BigEndian.Uint16(body)
	switch {
	case code < 1000, code >= 1004 && code <= 1006, code >= 1015 && code < 3000, code >= 5000, !utf8.Valid(body[2:]):
		return send(w, fin|opClose, closeBody(1002, ""))
	}
	return send(w, fin|opClose, body)
}

// squeeze and inflate are RFC 7692, section 7.2, without context takeover.
func squeeze(b []byte) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		panic(fmt.Sprint("flate.NewWriter: ", err)) // the level is in range
	}
	w.Write(b)
	w.Flush()
	return bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff})
}

func inflate(b []byte) ([]byte, error) {
	tail := strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")
	return io.ReadAll(io.LimitReader(flate.NewReader(io.MultiReader(bytes.NewReader(b), tail)), maxPayload))
}
