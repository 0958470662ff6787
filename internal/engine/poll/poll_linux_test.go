package poll

import (
	"bytes"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// pair gives both ends of a TCP connection.
func pair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	there, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

func open(t *testing.T) *Poller {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func soon() time.Time { return time.Now().Add(time.Minute) }

// An event comes for what is there already, once for what came since, and says when the other
// side has closed; a socket that is watched no more tells nothing.
func TestEvents(t *testing.T) {
	p := open(t)
	here, there := pair(t)
	io.WriteString(there, "before")
	fd, ok := Detach(here)
	if !ok {
		t.Fatal("a TCP connection was not detached")
	}
	defer Shut(fd)
	const token = 7<<32 | 5
	if err := p.Add(fd, token); err != nil {
		t.Fatal(err)
	}
	expect := func(gone bool) {
		t.Helper()
		if n := p.Wait(soon()); n != 1 {
			t.Fatalf("%d events, want 1", n)
		}
		if tok, g, ok := p.Event(0); tok != token || g != gone || !ok {
			t.Fatalf("event %x, %t, %t", tok, g, ok)
		}
	}
	expect(false)
	if n := p.Look(); n != 0 {
		t.Fatalf("%d events of what was told already", n)
	}
	io.WriteString(there, "after")
	expect(false)
	buf := make([]byte, 64)
	n, err := syscall.Read(fd, buf)
	if err != nil || !bytes.Equal(buf[:n], []byte("beforeafter")) {
		t.Fatalf("%q, %v", buf[:max(n, 0)], err)
	}
	there.Close()
	expect(true)
	p.Remove(fd)
	if n := p.Look(); n != 0 {
		t.Fatalf("%d events of a socket that is not watched", n)
	}
}

// Wake ends a wait that has begun, and one that has not; until ends one, too, and the next is
// not ended by it.
func TestWaits(t *testing.T) {
	p := open(t)
	if n := p.Wait(time.Now()); n != 0 {
		t.Fatalf("%d events at until", n)
	}
	p.Wake()
	for range 3 {
		if n := p.Wait(soon()); n != 1 {
			t.Fatalf("%d events of a call before", n)
		}
		if _, _, ok := p.Event(0); ok {
			t.Fatal("a call is no socket's event")
		}
		go p.Wake()
	}
	if n := p.Wait(time.Time{}); n != 1 {
		t.Fatalf("%d events without an end", n)
	}
}

// What was detached and attached is the connection that it was.
func TestAttach(t *testing.T) {
	here, there := pair(t)
	fd, ok := Detach(here)
	if !ok {
		t.Fatal("not detached")
	}
	if _, err := here.Write([]byte("x")); err == nil {
		t.Fatal("the connection that was taken apart still writes")
	}
	nc, err := Attach(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if nc.RemoteAddr().String() != there.LocalAddr().String() {
		t.Errorf("the other side is %v, want %v", nc.RemoteAddr(), there.LocalAddr())
	}
	there.SetDeadline(soon())
	nc.SetDeadline(soon())
	go io.WriteString(nc, "hello")
	buf := make([]byte, 5)
	if _, err := io.ReadFull(there, buf); err != nil || string(buf) != "hello" {
		t.Fatalf("%q, %v", buf, err)
	}
	nc.SetReadDeadline(time.Now())
	if _, err := nc.Read(buf); err == nil {
		t.Fatal("it has no deadlines")
	}
	if _, ok := Detach(&net.UnixConn{}); ok {
		t.Error("what is no TCP was detached")
	}
	if _, err := Attach(-1); err == nil {
		t.Error("no descriptor was attached")
	}
}
