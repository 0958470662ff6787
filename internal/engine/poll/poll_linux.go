package poll

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Poller watches sockets. Its methods are for one goroutine; only Wake is for any.
type Poller struct {
	ep   int
	file *os.File // of ep: how Go's poller watches it
	raw  syscall.RawConn
	wake int // an eventfd

	events [Batch]syscall.EpollEvent
	n      int
	try    func(fd uintptr) bool
	armed  time.Time // the deadline that is set
}

// waking is the token of the eventfd.
const waking = ^uint64(0)

// New gives a poller. Errors are the system's: it has no descriptors left, most likely.
func New() (*Poller, error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(ep, true); err != nil { // asks os.NewFile for Go's poller
		syscall.Close(ep)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &Poller{ep: ep, file: os.NewFile(uintptr(ep), "epoll")}
	p.try = func(uintptr) bool { return p.look() > 0 }
	wake, _, e := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if e != 0 {
		p.file.Close()
		return nil, os.NewSyscallError("eventfd", e)
	}
	p.wake = int(wake)
	if err = p.Add(p.wake, waking); err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err == nil {
		err = p.file.SetReadDeadline(time.Time{}) // fails if Go's poller does not watch it
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Add watches fd: what comes is told with token, from what is there already on. The token
// must not be 1<<64 - 1.
func (p *Poller) Add(fd int, token uint64) error {
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | edge, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(p.ep, syscall.EPOLL_CTL_ADD, fd, &ev))
}

const edge = 1 << 31 // EPOLLET; the constant of syscall is negative

// Remove watches fd no more. An event of it that Wait gave already is still to be told.
func (p *Poller) Remove(fd int) {
	syscall.EpollCtl(p.ep, syscall.EPOLL_CTL_DEL, fd, &syscall.EpollEvent{}) // it is watched: it cannot fail
}

// look asks what came, without waiting.
func (p *Poller) look() int {
	n, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.ep), uintptr(unsafe.Pointer(&p.events)), Batch, 0, 0, 0)
	if e != 0 {
		n = 0
	}
	p.n = int(n)
	return p.n
}

// Wait waits until something came, somebody woke it, or until, the zero time for never; it gives
// the number of events, 0 at until.
func (p *Poller) Wait(until time.Time) int {
	if p.armed != until {
		p.armed = until
		p.file.SetReadDeadline(until)
	}
	if p.raw.Read(p.try) != nil {
		return 0
	}
	return p.n
}

// Look gives the number of events that there are, without waiting.
func (p *Poller) Look() int { return p.look() }

// Event gives the i-th event of the last Wait: the token of Add, and whether the other side
// has closed, or the socket is broken: a read tells which. A call of Wake has ok false.
func (p *Poller) Event(i int) (token uint64, gone, ok bool) {
	ev := &p.events[i]
	token = uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
	return token, ev.Events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0, token != waking
}

// Wake ends a Wait that goes on, or the next one, early. It must not be called after Close.
func (p *Poller) Wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	syscall.Write(p.wake, one[:]) // full only after 2^64 - 1 of them
}

// Close ends the poller. What it watched stays open.
func (p *Poller) Close() {
	p.file.Close()
	syscall.Close(p.wake)
}

// Detach takes the socket out of nc and of Go's poller: fd is the caller's, and does not block.
// nc is closed. ok is false, and nc as it was, if it is no TCP connection.
func Detach(nc net.Conn) (fd int, ok bool) {
	tc, is := nc.(*net.TCPConn)
	if !is {
		return 0, false
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return 0, false
	}
	cerr := raw.Control(func(old uintptr) {
		var r uintptr
		var e syscall.Errno
		if r, _, e = syscall.RawSyscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0); e != 0 {
			err = e
		}
		fd = int(r)
	})
	if cerr != nil || err != nil {
		return 0, false
	}
	nc.Close()
	return fd, true
}

// Attach makes a connection of a socket that Detach took. It is closed if that fails.
func Attach(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "tcp")
	if f == nil {
		return nil, errors.New("poll: no descriptor")
	}
	defer f.Close() // FileConn has its own
	return net.FileConn(f)
}

// Shut closes a socket that Detach took.
func Shut(fd int) { syscall.Close(fd) }
