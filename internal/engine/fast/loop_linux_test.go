package fast

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// house is a server with loops, in front of one service.
type house struct {
	t      *testing.T
	s      *Server
	loops  *Loops
	plane  *flow.Plane
	addr   string
	hops   atomic.Int64
	bad    atomic.Int64 // that were no success
	defect atomic.Bool  // the next request meets a defect
}

// build serves service over one listener. eager moves each connection at once.
func build(t *testing.T, eager bool, service http.HandlerFunc) *house {
	return buildFor(t, "test", eager, time.Minute, service)
}

// buildFor is build for callers of a name, "" outside, which may stall for a while.
func buildFor(t *testing.T, caller string, eager bool, stall time.Duration, service http.HandlerFunc) *house {
	h := &house{t: t, loops: &Loops{Eager: eager}}
	back, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: service}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(back) })
	h.plane = flow.New(flow.Options{Sink: hop.SinkFunc(func(r *hop.Record) {
		h.hops.Add(1)
		if r.Status != 200 || r.Reason != "" {
			h.bad.Add(1)
		}
	})})
	if err := h.plane.Swap(&snapshot.Snapshot{
		Version:   snapshot.Version{Revision: 1},
		Listeners: map[string]snapshot.Listener{"in": {Protocol: snapshot.HTTP, Caller: caller, Routes: []route.Rule{{Name: "all", Path: "/", Upstream: "web"}}}},
		Upstreams: map[string]snapshot.Upstream{"web": {Protocol: snapshot.HTTP1}},
	}); err != nil {
		t.Fatal(err)
	}
	h.plane.SetEndpoints("web", []snapshot.Endpoint{{ID: "web-1", Address: back.Addr().String()}})
	h.s = New(Options{Plane: h.plane, Name: "in", Log: discard, Loops: h.loops, Head: time.Minute, Stall: stall, MaxHead: 16 << 10,
		Dial: (&net.Dialer{}).DialContext,
		Listener: func(context.Context) (*flow.Listener, *flow.Refusal) {
			if h.defect.CompareAndSwap(true, false) {
				panic("a defect")
			}
			return h.plane.Table().Listeners["in"], nil
		},
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			h.s.Serve(nc, nil)
		}
	})
	t.Cleanup(func() {
		ln.Close()
		h.s.Close()
		srv.Close()
		wg.Wait()
	})
	return h
}

// caller is one connection.
type caller struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

func (h *house) call() *caller {
	h.t.Helper()
	nc, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	return &caller{Conn: nc, t: h.t, in: bufio.NewReader(nc)}
}

func (c *caller) send(path string) {
	c.t.Helper()
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) answer() string {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

func (c *caller) get(path string) string { c.t.Helper(); c.send(path); return c.answer() }

// seats counts callers and connections with services at the loops.
func (h *house) seats() (callers, services int) {
	all := make(chan [2]int)
	n := 0
	h.loops.each(func(l *loop) {
		var at [2]int
		for _, s := range l.slots {
			if s.c != nil {
				at[0]++
			}
			if s.uc != nil {
				at[1]++
			}
		}
		all <- at
	})
	h.loops.mu.Lock()
	n = len(h.loops.all)
	h.loops.mu.Unlock()
	for range n {
		at := <-all
		callers, services = callers+at[0], services+at[1]
	}
	return callers, services
}

// until waits for a condition.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			callers, services := h.seats()
			h.t.Fatalf("not in a minute: %s (%d callers and %d connections with services at the loops)", what, callers, services)
		}
	}
}

func path(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }

// A connection whose requests are quick moves to a loop, is served there, goes back for an answer that
// takes its time, and one that rests moves, too. The last server ends the loops.
func TestMoves(t *testing.T) {
	hold := make(chan struct{})
	h := build(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-hold
		}
		path(w, r)
	})
	c := h.call()
	for i := range 3 * moveAfter {
		if want := fmt.Sprintf("/%d", i); c.get(want) != want {
			t.Fatalf("another answer than %s", want)
		}
	}
	h.until("it moves", func() bool { callers, services := h.seats(); return callers == 1 && services == 1 })
	c.send("/slow")
	h.until("it goes back", func() bool { callers, services := h.seats(); return callers == 0 && services == 0 })
	close(hold)
	if got := c.answer(); got != "/slow" {
		t.Fatalf("%q", got)
	}
	if got := c.get("/again"); got != "/again" {
		t.Fatalf("%q", got)
	}
	h.until("it rests at a loop", func() bool { callers, _ := h.seats(); return callers == 1 })
	if got := c.get("/rested"); got != "/rested" {
		t.Fatalf("%q", got)
	}
	h.until("every request has its record", func() bool { return h.hops.Load() == 3*moveAfter+3 })
	if n := h.bad.Load(); n != 0 {
		t.Errorf("%d records of no success", n)
	}
	h.s.Close()
	if h.loops.all != nil {
		t.Error("loops go on without a server")
	}
}

// Many requests that are sent at once are answered one after the other, and others meanwhile.
func TestPipelined(t *testing.T) {
	h := build(t, true, path)
	greedy, other := h.call(), h.call()
	greedy.get("/first")
	other.get("/first")
	var all bytes.Buffer
	const n = 2000
	for i := range n {
		what := fmt.Sprintf("/%d", i)
		if i%3 == 0 {
			what = "//" // refused, by the loop
		}
		fmt.Fprintf(&all, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", what)
	}
	var wg sync.WaitGroup
	wg.Go(func() { greedy.Write(all.Bytes()) })
	for i := range n {
		if i%100 == 0 {
			if got := other.get("/other"); got != "/other" {
				t.Errorf("%q", got)
			}
		}
		got := greedy.answer()
		if want := fmt.Sprintf("/%d", i); i%3 != 0 && got != want || i%3 == 0 && !strings.Contains(got, "path") {
			t.Fatalf("answer %d is %q", i, got)
		}
	}
	wg.Wait()
}

// Bodies of every size pass whole, to callers that read at once and to those that read late.
func TestBodies(t *testing.T) {
	sizes := []int{0, 1, 4 << 10, upSize - 1, upSize, upSize + 1, 64 << 10, 300 << 10, 3 << 20}
	h := build(t, true, func(w http.ResponseWriter, r *http.Request) {
		var n int
		var chunked string
		fmt.Sscanf(r.URL.Path, "/%d/%s", &n, &chunked)
		if chunked == "sized" {
			w.Header().Set("Content-Length", fmt.Sprint(n))
		}
		for n > 0 {
			k := min(n, 10_000)
			w.Write(bytes.Repeat([]byte{'a'}, k))
			n -= k
			if chunked == "flushed" {
				w.(http.Flusher).Flush()
			}
		}
	})
	var wg sync.WaitGroup
	for _, how := range []string{"sized", "chunked", "flushed"} {
		for _, late := range []bool{false, true} {
			wg.Go(func() {
				c := h.call()
				for _, n := range sizes {
					c.send(fmt.Sprintf("/%d/%s", n, how))
					if late {
						before := h.hops.Load()
						for range 20 { // others are served meanwhile
							if got := h.call().get("/1/sized"); got != "a" {
								t.Errorf("%q", got)
							}
						}
						if h.hops.Load() == before {
							t.Error("nothing else was served")
						}
					}
					if got := c.answer(); len(got) != n || strings.Trim(got, "a") != "" {
						t.Errorf("%s of %d bytes: %d", how, n, len(got))
					}
				}
			})
		}
	}
	wg.Wait()
}

// A caller outside that takes nothing of its answer is reset: the kernel keeps nothing for it.
func TestWhoTakesNothingIsReset(t *testing.T) {
	h := buildFor(t, "", false, 100*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	c := h.call()
	c.send("/")
	h.until("it is given up", func() bool { return h.hops.Load() == 1 })
	if _, err := io.Copy(io.Discard, c); err == nil {
		t.Error("the answer that broke off looks as if it had ended, or goes on")
	}
}

// What a service closes, or an endpoint that is gone, leaves nothing at the loops; nor does a
// caller that leaves, at whatever time.
func TestNothingStays(t *testing.T) {
	h := build(t, true, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/close" {
			w.Header().Set("Connection", "close")
		}
		path(w, r)
	})
	c := h.call()
	c.get("/1")
	c.get("/2")
	h.until("a connection is kept", func() bool { _, services := h.seats(); return services == 1 })
	h.plane.SetEndpoints("web", nil)
	h.until("the endpoint is gone", func() bool { _, services := h.seats(); return services == 0 })
	c.Close()
	h.until("the caller has left", func() bool { callers, _ := h.seats(); return callers == 0 })
	part := h.call()
	io.WriteString(part, "GET / HT")
	part.Close()
	h.until("one that left in a head", func() bool {
		h.s.mu.Lock()
		defer h.s.mu.Unlock()
		return len(h.s.conns) == 0
	})
}

// Shutdown closes what is idle and lets what is in flight end; Close cuts it.
func TestDrains(t *testing.T) {
	for _, cut := range []bool{false, true} {
		hold := make(chan struct{})
		began := make(chan struct{}, 1)
		h := build(t, true, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/held" {
				began <- struct{}{}
				<-hold
			}
			path(w, r)
		})
		idle, busy := h.call(), h.call()
		idle.get("/")
		busy.get("/")
		h.until("both are there", func() bool { callers, _ := h.seats(); return callers == 2 })
		busy.send("/held")
		<-began
		ended := make(chan struct{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		go func() {
			defer close(ended)
			if cut {
				h.s.Close()
			} else {
				h.s.Shutdown(ctx)
			}
		}()
		if _, err := idle.in.ReadByte(); err != io.EOF {
			t.Errorf("an idle connection: %v", err)
		}
		if cut {
			if _, err := busy.in.ReadByte(); err == nil {
				t.Error("a connection that was cut gives an answer")
			}
			<-ended
			close(hold)
		} else {
			close(hold)
			if got := busy.answer(); got != "/held" {
				t.Errorf("%q", got)
			}
			<-ended
		}
		cancel()
	}
}

// A defect of ours at a loop is the end of one connection.
func TestPanicAtALoop(t *testing.T) {
	h := build(t, true, path)
	c, other := h.call(), h.call()
	c.get("/")
	other.get("/")
	h.until("both are there", func() bool { callers, _ := h.seats(); return callers == 2 })
	h.defect.Store(true)
	c.send("/broken")
	if _, err := c.in.ReadByte(); err == nil {
		t.Error("it was served")
	}
	if got := other.get("/other"); got != "/other" {
		t.Errorf("%q", got)
	}
}
