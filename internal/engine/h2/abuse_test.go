package h2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer speaks HTTP/2 frame by frame.
type peer struct {
	t   *testing.T
	nc  net.Conn
	fr  *http2.Framer
	buf bytes.Buffer
	enc *hpack.Encoder
}

func newPeer(t *testing.T, nc net.Conn) *peer {
	nc.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { nc.Close() })
	p := &peer{t: t, nc: nc, fr: http2.NewFramer(nc, nc)}
	p.fr.AllowIllegalWrites = true
	p.fr.SetMaxReadFrameSize(1 << 20)
	p.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.enc = hpack.NewEncoder(&p.buf)
	return p
}

// caller connects to a server and says hello.
func caller(t *testing.T, addr string, settings ...http2.Setting) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(nc, Preface)
	p := newPeer(t, nc)
	p.fr.WriteSettings(settings...)
	p.fr.WriteSettingsAck()
	return p
}

// block gives a head as a block.
func (p *peer) block(fields ...string) []byte {
	p.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.buf.Bytes())
}

// open begins a request.
func (p *peer) open(id uint32, end bool, more ...string) error {
	fields := append([]string{":method", "POST", ":scheme", "http", ":authority", "svc", ":path", "/"}, more...)
	block := p.block(fields...)
	n := min(len(block), maxFrame)
	err := p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:n], EndHeaders: n == len(block), EndStream: end})
	for block = block[n:]; len(block) > 0 && err == nil; block = block[n:] {
		n = min(len(block), maxFrame)
		err = p.fr.WriteContinuation(id, n == len(block), block[:n])
	}
	return err
}

// until reads frames until one fits; nil if the connection ends before.
func (p *peer) until(fits func(http2.Frame) bool) http2.Frame {
	for {
		f, err := p.fr.ReadFrame()
		var bad http2.StreamError
		if errors.As(err, &bad) {
			continue
		}
		if err != nil {
			return nil
		}
		if fits(f) {
			return f
		}
	}
}

// wantGoAway reads until the connection ends with a GOAWAY of this code.
func (p *peer) wantGoAway(code Code) {
	p.t.Helper()
	f := p.until(func(f http2.Frame) bool { g, ok := f.(*http2.GoAwayFrame); return ok && g.ErrCode != http2.ErrCodeNo })
	if f == nil {
		p.t.Fatalf("no GOAWAY; want one of %v", code)
	}
	if got := Code(f.(*http2.GoAwayFrame).ErrCode); got != code {
		p.t.Errorf("GOAWAY of %v, want %v", got, code)
	}
	if p.until(func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders }) != nil {
		p.t.Error("an answer behind the GOAWAY")
	}
}

// wantReset reads until a stream is reset.
func (p *peer) wantReset(id uint32, code Code) {
	p.t.Helper()
	f := p.until(func(f http2.Frame) bool {
		_, reset := f.(*http2.RSTStreamFrame)
		return f.Header().StreamID == id && reset || f.Header().Type == http2.FrameGoAway
	})
	r, ok := f.(*http2.RSTStreamFrame)
	if !ok {
		p.t.Fatalf("stream %d: %v, want RST_STREAM of %v", id, f, code)
	}
	if Code(r.ErrCode) != code {
		p.t.Errorf("stream %d was reset with %v, want %v", id, Code(r.ErrCode), code)
	}
}

// eventually waits until claim holds.
func eventually(t *testing.T, what string, claim func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !claim(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// held serves streams that stay until release.
func held(t *testing.T, cfg Config) (addr string, running *atomic.Int64, release func()) {
	end := make(chan struct{})
	running = new(atomic.Int64)
	_, addr = serve(t, cfg, func(s *Stream) {
		running.Add(1)
		<-end
		s.Close()
		running.Add(-1)
	})
	closed := false
	release = func() {
		if !closed {
			closed = true
			close(end)
		}
	}
	t.Cleanup(release)
	return addr, running, release
}

// What brings nothing has a bound, and ends the connection.
func TestFloods(t *testing.T) {
	for name, flood := range map[string]func(p *peer, i int) error{
		"rapid reset": func(p *peer, i int) error {
			id := uint32(2*i + 1)
			p.open(id, true)
			return p.fr.WriteRSTStream(id, http2.ErrCodeCancel)
		},
		"streams that it makes us reset": func(p *peer, i int) error {
			id := uint32(2*i + 1)
			p.open(id, true)
			return p.fr.WriteWindowUpdate(id, 0)
		},
		"streams that break a rule": func(p *peer, i int) error { return p.open(uint32(2*i+1), true, "connection", "close") },
		"pings":                     func(p *peer, i int) error { return p.fr.WritePing(false, [8]byte{}) },
		"answers to no pings":       func(p *peer, i int) error { return p.fr.WritePing(false, [8]byte{1}) },
		"settings":                  func(p *peer, i int) error { return p.fr.WriteSettings() },
		"priorities": func(p *peer, i int) error {
			return p.fr.WritePriority(uint32(2*i+1), http2.PriorityParam{Weight: 1})
		},
		"empty data": func(p *peer, i int) error {
			if i == 0 {
				p.open(1, false)
			}
			return p.fr.WriteData(1, false, nil)
		},
		"padding": func(p *peer, i int) error {
			if i == 0 {
				p.open(1, false)
			}
			return p.fr.WriteDataPadded(1, false, nil, make([]byte, 10))
		},
		"small windows":  func(p *peer, i int) error { return p.fr.WriteWindowUpdate(0, 1) },
		"unknown frames": func(p *peer, i int) error { return p.fr.WriteRawFrame(0xbb, 0, 0, []byte("?")) },
		"parts of a head": func(p *peer, i int) error {
			if i == 0 {
				return p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(":method", "GET")})
			}
			return p.fr.WriteContinuation(1, false, nil)
		},
		"a head without an end": func(p *peer, i int) error {
			b := p.block("x", strings.Repeat("x", 8000))
			if i == 0 {
				return p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b})
			}
			return p.fr.WriteContinuation(1, false, b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr := serve(t, Config{}, func(s *Stream) {
				s.SendHead([]Field{{Name: b(":status"), Value: b("200")}}, false)
				for s.Err() == nil {
					s.Waker().Wait()
				}
				s.Close()
			})
			p := caller(t, addr)
			go func() {
				for i := 0; i < 3000 && flood(p, i) == nil; i++ {
				}
			}()
			p.wantGoAway(EnhanceYourCalm)
		})
	}
}

// A client that measures its line, as gRPC's do, sends a PING for what it got, and is not taken for a flood.
func TestPingsBesideDataAreNoFlood(t *testing.T) {
	_, addr := serve(t, Config{}, echo)
	p := caller(t, addr)
	p.open(1, false)
	for i := range 3000 {
		p.fr.WriteData(1, false, []byte{byte(i)})
		p.fr.WritePing(false, [8]byte{byte(i)})
		if p.until(func(f http2.Frame) bool { g, ok := f.(*http2.PingFrame); return ok && g.IsAck() }) == nil {
			t.Fatalf("the connection ended after %d pings", i)
		}
	}
}

// Nor is who says often what it took of an answer.
func TestWindowsAndPingsForAnswersAreNoFlood(t *testing.T) {
	_, addr := serve(t, Config{}, func(s *Stream) {
		defer s.Close()
		s.SendHead([]Field{{Name: b(":status"), Value: b("200")}}, false)
		for body := make([]byte, 20<<20); ; s.Waker().Wait() {
			n, err := s.Send(body, true)
			if body = body[n:]; err != nil || len(body) == 0 {
				return
			}
		}
	})
	p := caller(t, addr)
	p.open(1, true)
	for got := 0; got < 20<<20; {
		f := p.until(func(f http2.Frame) bool {
			return f.Header().Type == http2.FrameData || f.Header().Type == http2.FrameGoAway
		})
		d, ok := f.(*http2.DataFrame)
		if !ok {
			t.Fatalf("%v after %d bytes", f, got)
		}
		n := len(d.Data())
		got += n
		p.fr.WritePing(false, [8]byte{})
		for ; n > 0; n -= 4096 {
			p.fr.WriteWindowUpdate(0, uint32(min(n, 4096)))
			p.fr.WriteWindowUpdate(1, uint32(min(n, 4096)))
		}
	}
}

// A stream keeps its place until its handler has ended, whoever has reset it.
func TestPlacesAreHeldByHandlers(t *testing.T) {
	addr, running, release := held(t, Config{Streams: 4, Resets: 1000})
	p := caller(t, addr)
	for i := range uint32(20) {
		p.open(2*i+1, true)
		p.fr.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
	}
	p.fr.WritePing(false, [8]byte{})
	p.until(func(f http2.Frame) bool { g, ok := f.(*http2.PingFrame); return ok && g.IsAck() })
	eventually(t, "8 handlers run, twice what a caller may have", func() bool { return running.Load() >= 8 })
	if n := running.Load(); n != 8 {
		t.Errorf("%d handlers run for a caller that may have 4 streams, want 8", n)
	}
	release()
}

// More streams than were offered are refused, and no more than that.
func TestTooManyStreamsAreRefused(t *testing.T) {
	addr, _, release := held(t, Config{Streams: 4})
	p := caller(t, addr)
	for i := range uint32(5) {
		p.open(2*i+1, true)
	}
	p.wantReset(9, RefusedStream)
	release()
}

// All fields that a connection makes us hold have a bound.
func TestMemoryForFieldsIsBounded(t *testing.T) {
	addr, running, release := held(t, Config{HeadMemory: 200 << 10})
	p := caller(t, addr)
	for i := range uint32(5) {
		p.open(2*i+1, true, "x-much", strings.Repeat("x", 50000))
	}
	p.wantReset(9, EnhanceYourCalm)
	if n := running.Load(); n > 4 {
		t.Errorf("%d heads of 50 KB are held, more than fit in 200 KiB", n)
	}
	release()
}

// A head that is too large reaches its handler cut, and does not spoil the tables.
func TestLargeHead(t *testing.T) {
	over := make(chan bool, 1)
	_, addr := serve(t, Config{MaxHead: 4000}, func(s *Stream) {
		over <- s.Head.Over() && s.Head.Value("x-kept") == nil
		s.SendHead([]Field{{Name: b(":status"), Value: b("431")}}, true)
		s.Close()
	})
	p := caller(t, addr)
	p.open(1, true, "x-much", strings.Repeat("x", 10000), "x-kept", "1")
	if !<-over {
		t.Error("the head of 10 KB is taken for one of 4 KB")
	}
	p.open(3, true, "x-kept", "1")
	if <-over {
		t.Error("the second head is taken for too large")
	}
}

// Who takes nothing of an answer is not waited for.
func TestStarvedStreamIsReset(t *testing.T) {
	_, addr := serve(t, Config{Stall: 100 * time.Millisecond}, func(s *Stream) {
		defer s.Close()
		s.SendHead([]Field{{Name: b(":status"), Value: b("200")}}, false)
		for body := make([]byte, 1000); ; s.Waker().Wait() {
			n, err := s.Send(body, true)
			if body = body[n:]; err != nil || len(body) == 0 {
				return
			}
		}
	})
	p := caller(t, addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	p.open(1, true)
	p.wantReset(1, EnhanceYourCalm)
}

// No more comes than is taken: window is given for what a handler polls.
func TestWindowsAreGivenForWhatIsTaken(t *testing.T) {
	addr, _, release := held(t, Config{})
	p := caller(t, addr)
	p.open(1, false)
	data := make([]byte, 16<<10)
	for range 4 {
		p.fr.WriteData(1, false, data)
	}
	p.fr.WritePing(false, [8]byte{})
	f := p.until(func(f http2.Frame) bool {
		w, ok := f.(*http2.WindowUpdateFrame)
		return ok && w.StreamID == 1 || f.Header().Type == http2.FramePing
	})
	if _, ping := f.(*http2.PingFrame); !ping {
		t.Errorf("%v for what nobody has taken", f)
	}
	p.fr.WriteData(1, false, data[:1])
	p.wantReset(1, FlowControlError)
	release()
}

// What does not begin, or ends in the middle of a head, is not waited for.
func TestSilentConnectionsAreClosed(t *testing.T) {
	for name, send := range map[string]func(p *peer){
		"no settings": func(p *peer) { io.WriteString(p.nc, Preface) },
		"half a preface": func(p *peer) {
			io.WriteString(p.nc, Preface[:10])
		},
		"half a head": func(p *peer) {
			io.WriteString(p.nc, Preface)
			p.fr.WriteSettings()
			p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(":method", "GET")})
		},
		"idle": func(p *peer) {
			io.WriteString(p.nc, Preface)
			p.fr.WriteSettings()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr := serve(t, Config{First: 100 * time.Millisecond, Idle: 300 * time.Millisecond}, echo)
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			p := newPeer(t, nc)
			send(p)
			p.until(func(http2.Frame) bool { return false })
			if _, err := nc.Read(make([]byte, 1)); errors.Is(err, net.ErrClosed) || err == nil {
				t.Errorf("the connection is open: %v", err)
			} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Error("the connection was not closed")
			}
		})
	}
}
