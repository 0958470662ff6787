package fast

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/snapshot"
)

// A panic of ours is one request's 502, with a record, and not the end of the node.
func TestPanicIsAnswered(t *testing.T) {
	records := make(chan hop.Record, 1)
	plane := flow.New(flow.Options{Sink: hop.SinkFunc(func(r *hop.Record) { records <- r.Clone() })})
	s := New(Options{Plane: plane, Name: "broken", Head: time.Minute, Stall: time.Minute, Log: discard,
		Listener: func(context.Context) (*flow.Listener, *flow.Refusal) { panic("a defect") }})
	defer s.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(nc, nil)
	c.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(c, "GET /x HTTP/1.1\r\nHost: a\r\nAccept: text/plain\r\n\r\n")
	got, err := io.ReadAll(c)
	if !strings.HasPrefix(string(got), "HTTP/1.1 502 ") || !strings.Contains(string(got), "Stoa-Reason: "+string(hop.Defect)) {
		t.Errorf("%q, %v", got, err)
	}
	if r := <-records; r.Reason != hop.Defect || r.Status != 502 || r.Path != "/x" {
		t.Errorf("%+v", r)
	}
}

// A connection that died is not given out, nor one that rested too long.
func TestPoolGivesWhatIsOpen(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := New(Options{Log: discard, Dial: (&net.Dialer{}).DialContext})
	defer s.Close()
	e := &flow.Endpoint{Endpoint: snapshot.Endpoint{Address: ln.Addr().String()}}
	open := func() (*upConn, net.Conn) {
		t.Helper()
		uc, err := s.dial(e, &flow.Upstream{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		other, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return uc, other
	}
	p := &pool{}
	now := time.Now()
	uc, other := open()
	defer other.Close()
	p.put(1, uc, now, e)
	if got := p.get(1, now); got != uc {
		t.Fatalf("got %v, want the one that was kept", got)
	}
	p.put(1, uc, now, e)
	if got := p.get(7, now); got != uc {
		t.Errorf("got %v: another shard's is better than none", got)
	}
	p.put(1, uc, now, e)
	if got := p.get(1, now.Add(uc.keep)); got != nil {
		t.Error("it rested too long and was given")
	}
	uc, other = open()
	p.put(1, uc, now, e)
	other.Close()
	for range 1000 { // the close is on its way
		if !uc.open() {
			break
		}
		<-time.After(time.Millisecond)
	}
	if got := p.get(1, now); got != nil {
		t.Error("a dead connection was given to a request that must not be sent twice")
	}
	uc, other = open()
	defer other.Close()
	p.CloseIdle()
	p.put(1, uc, now, e)
	if got := p.get(1, now); got != nil {
		t.Error("a pool that was closed keeps what comes back")
	}
}

var discard = slog.New(slog.DiscardHandler)
