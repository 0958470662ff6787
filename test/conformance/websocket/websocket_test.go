package websocket

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/snapshot"
	"stoa/test/conformance/stand"
)

func TestWebSocket(t *testing.T) {
	e := newEcho(t)
	server := e.ln.Addr().String()
	ways := []way{{"direct", server, nil}}
	for name, engine := range stand.Engines {
		s := stand.Open(t, engine, snapshot.HTTP1, server)
		ways = append(ways, way{name + "/mesh", s.Mesh, nil}, way{name + "/gateway", s.Gateway, nil},
			way{name + "/gateway over TLS", s.Secure, s.TLS("http/1.1")})
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			for _, c := range all() {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(dial(t, e, w))
				})
			}
		})
	}
}

// A test is one case.
type test struct {
	name string
	run  func(*peer)
}

func all() []test {
	var ts []test
	for _, more := range [][]test{framing(), pings(), forbidden(), fragments(), unicode(), closings(), sizes(), handshakes(), compression(), ends()} {
		ts = append(ts, more...)
	}
	return ts
}

// bytesOf gives n bytes that are not all alike.
func bytesOf(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

func textOf(n int) []byte { return bytes.Repeat([]byte("*"), n) }

func framing() (ts []test) {
	for _, n := range []int{0, 1, 125, 126, 127, 128, 65535, 65536} {
		for _, chop := range []int{0, 1, 997} {
			if chop == 1 && n > 128 {
				continue
			}
			ts = append(ts, test{fmt.Sprintf("1 %d bytes in writes of %d", n, chop), func(p *peer) {
				p.open("/", "")
				p.chop = chop
				p.frame(fin|opText, textOf(n))
				p.want(fin|opText, textOf(n))
				p.frame(fin|opBinary, bytesOf(n))
				p.want(fin|opBinary, bytesOf(n))
				p.bye()
			}})
		}
	}
	return ts
}

func pings() []test {
	ping := func(n, chop int) test {
		return test{fmt.Sprintf("2 a ping of %d bytes in writes of %d", n, chop), func(p *peer) {
			p.open("/", "")
			p.chop = chop
			p.frame(fin|opPing, bytesOf(n))
			p.want(fin|opPong, bytesOf(n))
			p.bye()
		}}
	}
	return []test{
		ping(0, 0), ping(5, 0), ping(125, 0), ping(125, 1),
		{"2 a ping of 126 bytes", func(p *peer) {
			p.open("/", "")
			p.frame(fin|opPing, bytesOf(126))
			p.refused(1002)
		}},
		{"2 a pong that nobody asked for", func(p *peer) {
			p.open("/", "")
			p.frame(fin|opPong, []byte("unasked"))
			p.frame(fin|opPing, []byte("a"))
			p.want(fin|opPong, []byte("a"))
			p.bye()
		}},
		{"2 ten pings at once", func(p *peer) {
			p.open("/", "")
			for i := range 10 {
				p.frame(fin|opPing, []byte{byte(i)})
			}
			for i := range 10 {
				p.want(fin|opPong, []byte{byte(i)})
			}
			p.bye()
		}},
	}
}

// forbidden is what the server closes for, which it can only if it sees what was sent.
func forbidden() (ts []test) {
	for _, bits := range []byte{0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70} {
		ts = append(ts, test{fmt.Sprintf("3 reserved bits %#x", bits), func(p *peer) {
			p.open("/", "")
			p.frame(fin|opText, []byte("before"))
			p.want(fin|opText, []byte("before"))
			p.frame(fin|bits|opText, []byte("x"))
			p.refused(1002)
		}})
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		ts = append(ts, test{fmt.Sprintf("4 opcode %d", op), func(p *peer) {
			p.open("/", "")
			p.frame(fin|op, []byte("x"))
			p.refused(1002)
		}})
	}
	return append(ts, test{"4 a frame without a mask", func(p *peer) {
		p.open("/", "")
		b := frame{first: fin | opText, payload: []byte("x")}.append(nil, [4]byte{})
		p.put.add(b)
		p.raw(b)
		p.refused(1002)
	}})
}

func fragments() []test {
	inPieces := func(chop int) test {
		return test{fmt.Sprintf("5 five fragments with pings between, in writes of %d", chop), func(p *peer) {
			p.open("/", "")
			p.chop = chop
			p.frame(opText, []byte("one"))
			for i := range 3 {
				p.frame(fin|opPing, []byte{byte(i)})
				p.want(fin|opPong, []byte{byte(i)})
				p.frame(opMore, []byte("more"))
			}
			p.frame(fin|opMore, []byte("last"))
			p.want(fin|opText, []byte("onemoremoremorelast"))
			p.bye()
		}}
	}
	return []test{
		inPieces(0), inPieces(1),
		{"5 empty fragments", func(p *peer) {
			p.open("/", "")
			p.frame(opBinary, nil)
			p.frame(opMore, nil)
			p.frame(fin|opMore, []byte("x"))
			p.want(fin|opBinary, []byte("x"))
			p.bye()
		}},
		{"5 a thousand fragments", func(p *peer) {
			p.open("/", "")
			all := bytesOf(64_000)
			p.frame(opBinary, all[:64])
			for i := 64; i < len(all)-64; i += 64 {
				p.frame(opMore, all[i:i+64])
			}
			p.frame(fin|opMore, all[len(all)-64:])
			p.want(fin|opBinary, all)
			p.bye()
		}},
		{"5 a ping in two fragments", func(p *peer) {
			p.open("/", "")
			p.frame(opPing, []byte("a"))
			p.refused(1002)
		}},
		{"5 a continuation of nothing", func(p *peer) {
			p.open("/", "")
			p.frame(fin|opMore, []byte("a"))
			p.refused(1002)
		}},
		{"5 a message within a message", func(p *peer) {
			p.open("/", "")
			p.frame(opText, []byte("a"))
			p.frame(fin|opText, []byte("b"))
			p.refused(1002)
		}},
	}
}

func unicode() []test {
	const greek = "κόσμε 😈 \x7f \u0000"
	return []test{
		{"6 valid", func(p *peer) {
			p.open("/", "")
			p.frame(fin|opText, []byte(greek))
			p.want(fin|opText, []byte(greek))
			p.bye()
		}},
		{"6 valid, each byte a fragment", func(p *peer) {
			p.open("/", "")
			for i := range len(greek) {
				first := byte(opMore)
				if i == 0 {
					first = opText
				}
				if i == len(greek)-1 {
					first |= fin
				}
				p.frame(first, []byte{greek[i]})
			}
			p.want(fin|opText, []byte(greek))
			p.bye()
		}},
		{"6 a surrogate", func(p *peer) {
			p.open("/", "")
			p.frame(fin|opText, []byte("\xed\xa0\x80"))
			p.refused(1007)
		}},
		{"6 a sequence that ends early", func(p *peer) {
			p.open("/", "")
			p.frame(fin|opText, []byte("\xce\xba\xe1\xbd"))
			p.refused(1007)
		}},
	}
}

func closings() (ts []test) {
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		ts = append(ts, test{fmt.Sprintf("7 close %d", code), func(p *peer) {
			p.open("/", "")
			body := closeBody(code, "the reason, \u2603")
			p.frame(fin|opClose, body)
			p.want(fin|opClose, body)
			p.done()
		}})
	}
	for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		ts = append(ts, test{fmt.Sprintf("7 close %d, which is none", code), func(p *peer) {
			p.open("/", "")
			p.frame(fin|opClose, closeBody(code, ""))
			p.want(fin|opClose, closeBody(1002, ""))
			p.done()
		}})
	}
	return append(ts,
		test{"7 close without a code", func(p *peer) {
			p.open("/", "")
			p.frame(fin|opClose, nil)
			p.want(fin|opClose, []byte{})
			p.done()
		}},
		test{"7 close of one byte", func(p *peer) {
			p.open("/", "")
			p.frame(fin|opClose, []byte{3})
			p.want(fin|opClose, closeBody(1002, ""))
			p.done()
		}},
		test{"7 close with a reason of 123 bytes", func(p *peer) {
			p.open("/", "")
			body := closeBody(1000, strings.Repeat("x", 123))
			p.frame(fin|opClose, body)
			p.want(fin|opClose, body)
			p.done()
		}},
		test{"7 close within a message", func(p *peer) {
			p.open("/", "")
			p.frame(opText, []byte("never ended"))
			p.bye()
		}},
		test{"7 messages on their way before a close arrive", func(p *peer) {
			p.open("/", "")
			for range 100 {
				p.frame(fin|opBinary, bytesOf(1000))
			}
			p.frame(fin|opClose, closeBody(1000, ""))
			for range 100 {
				p.want(fin|opBinary, bytesOf(1000))
			}
			p.want(fin|opClose, closeBody(1000, ""))
			p.done()
		}},
		test{"7 the server closes while the client sends on", func(p *peer) {
			p.open("/closes", "")
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				b := frame{first: fin | opBinary, masked: true, payload: make([]byte, 64<<10)}.append(nil, [4]byte{1, 2, 3, 4})
				for {
					if _, err := p.c.Write(b); err != nil {
						return
					}
				}
			}()
			p.want(fin|opClose, closeBody(1008, "enough"))
			p.c.Close()
			<-sent
		}},
	)
}

func sizes() []test {
	whole := func(n int) test {
		return test{fmt.Sprintf("9 %d bytes as one frame", n), func(p *peer) {
			p.open("/", "")
			b := bytesOf(n)
			done := make(chan struct{})
			go func() { p.frame(fin|opBinary, b); close(done) }()
			p.want(fin|opBinary, b)
			<-done
			p.bye()
		}}
	}
	return []test{
		whole(1 << 20), whole(16 << 20),
		{"9 16 MiB in fragments of 64 KiB", func(p *peer) {
			p.open("/", "")
			b := bytesOf(16 << 20)
			p.frame(opBinary, b[:64<<10])
			for i := 64 << 10; i < len(b); i += 64 << 10 {
				p.frame(opMore, b[i:i+64<<10])
			}
			p.frame(fin|opMore, nil)
			p.want(fin|opBinary, b)
			p.bye()
		}},
		{"9 a megabyte in writes of 1,000 bytes", func(p *peer) {
			p.open("/", "")
			p.chop = 1000
			b := bytesOf(1 << 20)
			p.frame(fin|opBinary, b)
			p.want(fin|opBinary, b)
			p.bye()
		}},
		{"9 a thousand messages there and back", func(p *peer) {
			p.open("/", "")
			for i := range 1000 {
				p.frame(fin|opText, textOf(i))
				p.want(fin|opText, textOf(i))
			}
			p.bye()
		}},
		{"9 a slow reader holds the server back, and loses nothing", func(p *peer) {
			p.open("/flood", "")
			v := p.visit()
			// The server stands still when all that lies between is full.
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			last, still := int64(-1), 0
			for end := time.Now().Add(patience); still < 15; {
				<-tick.C
				if n := v.wrote.Load(); n == last && n > 0 {
					still++
				} else {
					last, still = n, 0
				}
				if time.Now().After(end) {
					p.t.Fatal("the server never stood still")
				}
			}
			if last >= floodSize {
				p.t.Errorf("%d bytes were taken of a server whose client reads nothing", last)
			}
			n := 0
			for {
				f, err := readFrame(p)
				if err != nil {
					p.t.Fatal(err)
				}
				if f.op() == opClose {
					break
				}
				n += len(f.payload)
			}
			if n != floodSize {
				p.t.Errorf("%d bytes, want %d", n, floodSize)
			}
			p.frame(fin|opClose, closeBody(1000, ""))
			p.done()
		}},
	}
}
