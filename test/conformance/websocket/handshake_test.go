package websocket

import (
	"bytes"
	"io"
	"net"
	"strings"
)

func handshakes() []test {
	return []test{
		{"10 frames in the write of the handshake", func(p *peer) {
			p.open("/", "", frame{fin | opText, true, []byte("first")}, frame{fin | opBinary, true, bytesOf(3000)})
			p.want(fin|opText, []byte("first"))
			p.want(fin|opBinary, bytesOf(3000))
			p.bye()
		}},
		{"10 more in the write of the handshake than a buffer takes", func(p *peer) {
			p.open("/", "", frame{fin | opBinary, true, bytesOf(100_000)})
			p.want(fin|opBinary, bytesOf(100_000))
			p.bye()
		}},
		{"10 the handshake byte by byte", func(p *peer) {
			p.chop = 1
			p.open("/", "", frame{fin | opText, true, []byte("x")})
			p.want(fin|opText, []byte("x"))
			p.bye()
		}},
		{"10 a frame in the write of the answer", func(p *peer) {
			p.open("/early", "")
			p.want(fin|opText, []byte("with the head"))
			p.bye()
		}},
		{"10 a frame with both heads", func(p *peer) {
			p.open("/early", "", frame{fin | opText, true, []byte("mine")})
			p.want(fin|opText, []byte("with the head"))
			p.want(fin|opText, []byte("mine"))
			p.bye()
		}},
		{"10 fields of the handshake arrive", func(p *peer) {
			p.open("/chat/a%2Fb?x=1;y&z=%20", "Origin: https://shop.example\r\nSec-WebSocket-Protocol: v2.chat, v1.chat\r\nCookie: a=b\r\nSec-WebSocket-Extensions: x-unknown; a=\"b, c\"\r\n")
			r := p.visit().head
			for name, want := range map[string]string{
				"Origin": "https://shop.example", "Sec-Websocket-Protocol": "v2.chat, v1.chat", "Cookie": "a=b", "Sec-Websocket-Version": "13",
				"Sec-Websocket-Extensions": "x-unknown; a=\"b, c\"", "Upgrade": "websocket", "Connection": "Upgrade", "Content-Length": "", "Transfer-Encoding": "",
			} {
				if got := r.Header.Get(name); got != want {
					p.t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if r.RequestURI != "/chat/a%2Fb?x=1;y&z=%20" {
				p.t.Errorf("target %q", r.RequestURI)
			}
			h := p.answer.Header
			if h.Get("Sec-Websocket-Protocol") != "v2.chat" || h.Get("Sec-Websocket-Accept") == "" || !strings.EqualFold(h.Get("Upgrade"), "websocket") ||
				!strings.EqualFold(h.Get("Connection"), "upgrade") || h.Get("Content-Length") != "" || h.Get("Transfer-Encoding") != "" {
				p.t.Errorf("the answer's fields: %v", h)
			}
			p.bye()
		}},
		{"10 Connection of several tokens, Upgrade in other letters", func(p *peer) {
			ask := strings.NewReplacer("Connection: Upgrade", "Connection: keep-alive, UPGRADE", "Upgrade: websocket", "upgrade: WebSocket").Replace(p.ask("/", ""))
			p.raw([]byte(ask))
			if p.heads(); p.answer.StatusCode != 101 {
				p.t.Fatal(p.answer.Status)
			}
			p.frame(fin|opText, []byte("x"))
			p.want(fin|opText, []byte("x"))
			p.bye()
		}},
		{"10 refused, the connection is kept", func(p *peer) {
			for range 2 {
				p.raw([]byte(p.ask("/refuse", "")))
				p.heads()
				b, err := io.ReadAll(p.answer.Body)
				if p.answer.StatusCode != 426 || string(b) != "no.\n" || err != nil {
					p.t.Fatalf("%s %q %v", p.answer.Status, b, err)
				}
			}
			p.open("/", "")
			p.bye()
		}},
	}
}

func compression() []test {
	const offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
	agreed := func(p *peer) {
		if got := p.visit().head.Header.Get("Sec-Websocket-Extensions"); got != "permessage-deflate; client_max_window_bits" {
			p.t.Errorf("offered %q", got)
		}
		if got := p.answer.Header.Get("Sec-Websocket-Extensions"); got != deflate {
			p.t.Errorf("agreed upon %q", got)
		}
	}
	messages := map[string][]byte{"nothing": {}, "text": textOf(5000), "noise": bytesOf(200_000)}
	var ts []test
	for name, m := range messages {
		ts = append(ts, test{"12 compressed, " + name, func(p *peer) {
			p.open("/", offer)
			agreed(p)
			p.frame(fin|rsv1|opBinary, squeeze(m))
			f, err := readFrame(p)
			if err != nil {
				p.t.Fatal(err)
			}
			got, err := inflate(f.payload)
			if f.first != fin|rsv1|opBinary || !bytes.Equal(got, m) || err != nil {
				p.t.Errorf("%#x, %s, %v", f.first, short(got), err)
			}
			p.bye()
		}})
	}
	return append(ts, test{"13 compressed in fragments, then plain", func(p *peer) {
		p.open("/", offer)
		agreed(p)
		b := squeeze(textOf(100_000))
		p.frame(rsv1|opText, b[:1])
		for _, one := range b[1 : len(b)-1] {
			p.frame(opMore, []byte{one})
		}
		p.frame(fin|opMore, b[len(b)-1:])
		p.want(fin|rsv1|opText, squeeze(textOf(100_000)))
		p.frame(fin|opText, []byte("plain"))
		p.want(fin|opText, []byte("plain"))
		p.bye()
	}})
}

// ends are ways in which a connection ends without a close.
func ends() []test {
	return []test{
		{"the client ends its direction and still gets what is due", func(p *peer) {
			p.open("/", "")
			b := bytesOf(1 << 20)
			p.frame(fin|opBinary, b)
			p.c.(interface{ CloseWrite() error }).CloseWrite()
			p.want(fin|opBinary, b)
			p.done()
		}},
		{"the server ends its direction and still gets what is due", func(p *peer) {
			p.open("/leaves", "")
			p.want(fin|opText, []byte("the last of mine"))
			if _, err := p.Read(make([]byte, 1)); err != io.EOF {
				p.t.Fatalf("%v, want the end", err)
			}
			for range 50 {
				p.frame(fin|opText, textOf(1000))
			}
			p.c.(interface{ CloseWrite() error }).CloseWrite()
			if v := p.left(); len(v.received) != 50_000 || v.err != nil {
				p.t.Errorf("%d bytes, %v", len(v.received), v.err)
			}
			p.same()
		}},
		{"the client is gone", func(p *peer) {
			p.open("/", "")
			p.frame(opText, []byte("half of"))
			if tc, ok := p.c.(*net.TCPConn); ok {
				tc.SetLinger(0) // a reset
			}
			p.c.Close()
			p.left()
		}},
		{"the server is gone", func(p *peer) {
			p.open("/resets", "")
			p.frame(fin|opText, []byte("x"))
			if _, err := io.Copy(io.Discard, p); err != nil && strings.Contains(err.Error(), "timeout") {
				p.t.Errorf("the connection stays open: %v", err)
			}
			p.left()
		}},
	}
}
