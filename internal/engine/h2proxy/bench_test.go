package h2proxy_test

import (
	"context"
	"net"
	"testing"

	"stoa/internal/engine/h2"
	"stoa/internal/engine/snapshot"
)

// BenchmarkUnary is a call with a hundred bytes each way, one after the other, between a client and
// a service that allocate nothing themselves.
func BenchmarkUnary(b *testing.B) {
	field := func(name, value string) h2.Field { return h2.Field{Name: []byte(name), Value: []byte(value)} }
	head := []h2.Field{field(":status", "200"), field("content-type", "application/grpc")}
	end := []h2.Field{field("grpc-status", "0")}
	body := make([]byte, 100)
	ln := listen(b)
	srv := h2.NewServer(h2.Config{}, func(s *h2.Stream) {
		defer s.Close()
		for p := s.Poll(nil); !p.End; p = s.Poll(p.Data) {
			if p.Err != nil {
				return
			}
			if p.Data == nil {
				s.Waker().Wait()
			}
		}
		s.SendHead(head, false)
		s.Send(body, false)
		s.SendHead(end, true)
	})
	go func() {
		for n := uint32(0); ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			srv.Serve(c, nil, nil, n)
		}
	}()
	b.Cleanup(srv.Close)
	at := open(b, snapshot.H2C, ln.Addr().String())
	pool := h2.NewPool(h2.Config{}, func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", at) })
	b.Cleanup(pool.Close)
	ask := []h2.Field{field(":method", "POST"), field(":scheme", "http"), field(":authority", "svc"), field(":path", "/svc/Do"),
		field("content-type", "application/grpc"), field("te", "trailers")}
	w := h2.NewWaker()
	var spare []byte
	call := func() {
		s, _, err := pool.Open(ask, false, false, w)
		if err == h2.ErrFull {
			if err = pool.Dial(b.Context()); err == nil {
				s, _, err = pool.Open(ask, false, false, w)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		s.Send(body, true)
		for {
			p := s.Poll(spare)
			switch {
			case p.Err != nil:
				b.Fatal(p.Err)
			case p.Head != nil:
				if p.Head.Status != 200 {
					b.Fatal(p.Head.Status)
				}
				p.Head.Free()
			case p.End:
				p.Trailer.Free()
				return
			case p.Data != nil:
				spare = p.Data
			default:
				w.Wait()
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		call()
	}
}
