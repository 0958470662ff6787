package h2

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// service accepts connections and gives each to serve, which speaks frame by frame.
func service(t *testing.T, serve func(p *peer)) *Pool {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			nc.SetDeadline(time.Now().Add(patience))
			var hello [len(Preface)]byte
			if _, err := io.ReadFull(nc, hello[:]); err != nil || string(hello[:]) != Preface {
				nc.Close()
				continue
			}
			go func() {
				defer nc.Close()
				serve(newPeer(t, nc))
			}()
		}
	}()
	return pool(t, ln.Addr().String())
}

// request reads until a request has come whole.
func (p *peer) request() uint32 {
	f := p.until(func(f http2.Frame) bool {
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f.StreamEnded()
		case *http2.DataFrame:
			return f.StreamEnded()
		}
		return false
	})
	if f == nil {
		return 0
	}
	return f.Header().StreamID
}

func (p *peer) answer(id uint32, end bool, fields ...string) {
	p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block(fields...), EndHeaders: true, EndStream: end})
}

// drain reads to the end.
func (p *peer) drain() { p.until(func(http2.Frame) bool { return false }) }

// What the service has not looked at may be sent again.
func TestUnprocessed(t *testing.T) {
	for name, refuse := range map[string]func(p *peer, id uint32){
		"REFUSED_STREAM": func(p *peer, id uint32) { p.fr.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
		"GOAWAY":         func(p *peer, _ uint32) { p.fr.WriteGoAway(0, http2.ErrCodeNo, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			p := service(t, func(p *peer) {
				p.fr.WriteSettings()
				if id := p.request(); id != 0 {
					refuse(p, id)
					p.drain()
				}
			})
			if _, _, _, err := call(p, b("body")); !errors.Is(err, ErrUnprocessed) {
				t.Errorf("got %v, want %v", err, ErrUnprocessed)
			}
		})
	}
}

// A service says how many streams it takes.
func TestStreamsOfAServiceAreBounded(t *testing.T) {
	p := service(t, func(p *peer) {
		p.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
		p.drain()
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Dial(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the settings have come", func() bool {
		c := p.conns[0]
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.settled
	})
	w := NewWaker()
	fields := []Field{{Name: b(":method"), Value: b("GET")}, {Name: b(":scheme"), Value: b("http")}, {Name: b(":path"), Value: b("/")}}
	var open []*Stream
	for range 2 {
		s, _, err := p.Open(fields, true, false, w)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	if _, _, err := p.Open(fields, true, false, w); err != ErrFull {
		t.Errorf("the third stream: %v, want %v", err, ErrFull)
	}
	open[0].Close()
	s, reused, err := p.Open(fields, true, false, w)
	if err != nil || !reused {
		t.Fatalf("after one has ended: %v, reused %v", err, reused)
	}
	s.Close()
	open[1].Close()
}

// Answers that break a rule are errors of ours, not of the peer's choice, and reach nobody.
func TestMalformedAnswers(t *testing.T) {
	for name, answer := range map[string]func(p *peer, id uint32){
		"no status":      func(p *peer, id uint32) { p.answer(id, true, "content-type", "x") },
		"two statuses":   func(p *peer, id uint32) { p.answer(id, true, ":status", "200", ":status", "200") },
		"a status of 99": func(p *peer, id uint32) { p.answer(id, true, ":status", "99") },
		"101":            func(p *peer, id uint32) { p.answer(id, false, ":status", "101") },
		"an interim end": func(p *peer, id uint32) { p.answer(id, true, ":status", "103") },
		"connection":     func(p *peer, id uint32) { p.answer(id, true, ":status", "200", "connection", "close") },
		"upper case":     func(p *peer, id uint32) { p.answer(id, true, ":status", "200", "X-A", "1") },
		"a line feed":    func(p *peer, id uint32) { p.answer(id, true, ":status", "200", "x-a", "1\nb") },
		"data first":     func(p *peer, id uint32) { p.fr.WriteData(id, true, []byte("x")) },
		"too little":     func(p *peer, id uint32) { p.answer(id, true, ":status", "200", "content-length", "3") },
		"too much": func(p *peer, id uint32) {
			p.answer(id, false, ":status", "200", "content-length", "3")
			p.fr.WriteData(id, true, []byte("four"))
		},
		"pseudo trailers":      func(p *peer, id uint32) { p.answer(id, false, ":status", "200"); p.answer(id, true, ":status", "200") },
		"trailers without end": func(p *peer, id uint32) { p.answer(id, false, ":status", "200"); p.answer(id, false, "x-a", "1") },
		"push": func(p *peer, id uint32) {
			p.fr.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, EndHeaders: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := service(t, func(p *peer) {
				p.fr.WriteSettings()
				if id := p.request(); id != 0 {
					answer(p, id)
					p.drain()
				}
			})
			_, _, _, err := call(p, b("body"))
			var reset *StreamError
			if !Malformed(err) && (!errors.As(err, &reset) || reset.Peer) {
				t.Errorf("got %v, want a rule that was broken", err)
			}
		})
	}
}

// An answer that came whole stands, though the service then resets the stream: it does not want
// the rest of the request. RFC 9113, section 8.1.
func TestEarlyAnswerAndReset(t *testing.T) {
	p := service(t, func(p *peer) {
		p.fr.WriteSettings()
		f := p.until(func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders })
		if f != nil {
			id := f.Header().StreamID
			p.answer(id, false, ":status", "200")
			p.answer(id, true, "x-sum", "early")
			p.fr.WriteRSTStream(id, http2.ErrCodeNo)
			p.drain()
		}
	})
	body := make([]byte, 1<<20)
	if status, _, sum, err := call(p, body); status != 200 || sum != "early" || err != nil {
		t.Errorf("status %d, sum %q, %v", status, sum, err)
	}
}

// A service that has vanished is noticed.
func TestVanishedServiceIsNoticed(t *testing.T) {
	p := service(t, func(p *peer) {
		p.fr.WriteSettings()
		p.request()
		<-t.Context().Done() // reads nothing more, answers no PING
	})
	p.cfg.Ping = 100 * time.Millisecond
	if _, _, _, err := call(p, b("body")); err == nil {
		t.Error("an answer of nobody")
	}
}

// When the last stream of an endpoint that goes has ended, its connections do.
func TestCloseIdle(t *testing.T) {
	_, addr := serve(t, Config{}, echo)
	p := pool(t, addr)
	if _, _, _, err := call(p, b("body")); err != nil {
		t.Fatal(err)
	}
	p.CloseIdle()
	eventually(t, "no connection is left", p.Empty)
}
