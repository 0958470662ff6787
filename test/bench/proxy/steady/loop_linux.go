package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// grace is how long answers are awaited after the last request was sent.
const grace = 30 * time.Second

// loop is the generator. Its one thread owns it.
type loop struct {
	epoll, timer int
	request      []byte
	conns        map[int32]*conn
	idle         []*conn // a queue: the longest idle first
	backlog      []int64 // when the requests were due that found no idle connection
	buf          [64 << 10]byte

	took, late []int64 // nanoseconds
	errors     int
	lastError  string
	from       int64 // requests that are due before do not count
	began      time.Time
}

// conn is one connection. Between requests head is empty and body is 0.
type conn struct {
	fd   int
	busy bool   // a request is in flight
	due  int64  // when it was due
	head []byte // of an answer, until it is complete
	body int    // bytes that are still to come
}

// dial opens n connections and prepares the loop.
func dial(addr, path string, n int) (*loop, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || !ap.Addr().Is4() {
		return nil, fmt.Errorf("-addr %q: want IPv4:port", addr)
	}
	l := &loop{conns: map[int32]*conn{}, request: []byte("GET " + path + " HTTP/1.1\r\nHost: " + addr + "\r\n\r\n")}
	if l.epoll, err = syscall.EpollCreate1(0); err != nil {
		return nil, err
	}
	timer, _, no := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, 1 /* CLOCK_MONOTONIC */, syscall.O_NONBLOCK, 0)
	if no != 0 {
		return nil, no
	}
	l.timer = int(timer)
	if err := l.watch(l.timer); err != nil {
		return nil, err
	}
	for range n {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		if err != nil {
			return nil, err
		}
		if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}); err != nil {
			return nil, fmt.Errorf("%s: %w", addr, err)
		}
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		if err := syscall.SetNonblock(fd, true); err != nil {
			return nil, err
		}
		if err := l.watch(fd); err != nil {
			return nil, err
		}
		c := &conn{fd: fd}
		l.conns[int32(fd)] = c
		l.idle = append(l.idle, c)
	}
	return l, nil
}

func (l *loop) watch(fd int) error {
	return syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

// wake makes the timer ready in d nanoseconds, at least one.
func (l *loop) wake(d int64) error {
	spec := [4]int64{0, 0, max(d, 1) / 1e9, max(d, 1) % 1e9} // struct itimerspec
	_, _, no := syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, uintptr(l.timer), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if no != 0 {
		return no
	}
	return nil
}

// run sends for warm and span, and waits for the answers.
func (l *loop) run(rate int, warm, span time.Duration) error {
	gap := 1e9 / float64(rate)
	total := int(float64(rate) * (warm + span).Seconds())
	l.took, l.late = make([]int64, 0, total), make([]int64, 0, total)
	l.began, l.from = time.Now(), int64(warm)
	end := int64(warm + span + grace)
	events := make([]syscall.EpollEvent, 128)
	for sent, inflight := 0, 0; sent < total || inflight > 0; {
		now := l.now()
		if now > end {
			l.fail(inflight, errors.New("not answered in time"))
			return nil
		}
		for sent < total && int64(float64(sent)*gap) <= now {
			l.backlog = append(l.backlog, int64(float64(sent)*gap))
			sent++
			inflight++
		}
		inflight -= l.send()
		next := end + 1 - now
		if sent < total {
			next = int64(float64(sent)*gap) - l.now()
		}
		if err := l.wake(next); err != nil {
			return err
		}
		n, err := syscall.EpollWait(l.epoll, events, -1)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == l.timer {
				_, _ = syscall.Read(l.timer, l.buf[:8])
				continue
			}
			inflight -= l.read(l.conns[e.Fd])
		}
		if len(l.conns) == 0 {
			return fmt.Errorf("every connection was lost: %s", l.lastError)
		}
	}
	return nil
}

func (l *loop) now() int64 { return int64(time.Since(l.began)) }

func (l *loop) fail(n int, err error) {
	l.errors += n
	l.lastError = err.Error()
}

// send gives waiting requests to idle connections. It returns how many failed.
func (l *loop) send() (failed int) {
	n := 0
	for n < len(l.backlog) && len(l.idle) > 0 {
		c := l.idle[0]
		l.idle = l.idle[1:]
		c.busy, c.due = true, l.backlog[n]
		n++
		if c.due >= l.from {
			l.late = append(l.late, l.now()-c.due)
		}
		if _, err := syscall.Write(c.fd, l.request); err != nil {
			l.lose(c, err)
			failed++
		}
	}
	l.backlog = l.backlog[n:]
	return failed
}

// lose gives a connection up, and the request on it.
func (l *loop) lose(c *conn, err error) {
	l.fail(1, err)
	delete(l.conns, int32(c.fd))
	syscall.Close(c.fd)
}

// read takes what is there. It returns how many requests have ended.
func (l *loop) read(c *conn) int {
	if c == nil {
		return 0
	}
	n, err := syscall.Read(c.fd, l.buf[:])
	switch {
	case !c.busy && !errors.Is(err, syscall.EAGAIN): // closed, or words nobody asked for
		l.idle = slices.DeleteFunc(l.idle, func(o *conn) bool { return o == c })
		l.lose(c, fmt.Errorf("an idle connection was closed: %v", err))
		return 0
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR):
		return 0
	case err != nil || n == 0:
		l.lose(c, fmt.Errorf("connection lost: %v", err))
		return 1
	}
	b := l.buf[:n]
	if c.body == 0 { // the head is still to come, or a part of it
		c.head = append(c.head, b...)
		i := bytes.Index(c.head, []byte("\r\n\r\n"))
		if i < 0 {
			return 0
		}
		size, err := answer(c.head[:i+2])
		if err != nil {
			l.lose(c, err)
			return 1
		}
		b = c.head[i+4:]
		c.body = size
		c.head = c.head[:0]
	}
	if len(b) > c.body {
		l.lose(c, errors.New("more came than was asked for"))
		return 1
	}
	if c.body -= len(b); c.body > 0 {
		return 0
	}
	if c.due >= l.from {
		l.took = append(l.took, l.now()-c.due)
	}
	c.busy = false
	l.idle = append(l.idle, c)
	return 1
}

// answer checks a head and gives the length of its body.
func answer(head []byte) (int, error) {
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 2")) {
		return 0, fmt.Errorf("%q", head[:min(len(head), 20)])
	}
	for line := range bytes.Lines(head) {
		k, v, ok := bytes.Cut(line, []byte(":"))
		if ok && bytes.EqualFold(k, []byte("content-length")) {
			return strconv.Atoi(string(bytes.TrimSpace(v)))
		}
	}
	return 0, errors.New("an answer without Content-Length")
}
