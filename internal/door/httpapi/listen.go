package httpapi

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"stoa/api/fault"
	"stoa/api/op"
	"stoa/client"
)

// listenUnix listens at path, mode 0600, in a folder of our own, 0700. What lies there
// already is replaced only if it is a socket at which nobody answers. data, if not "",
// is written beside it.
func listenUnix(path, data string) (net.Listener, error) {
	bad := func(kind fault.Kind, err error, hint string) error {
		return &fault.Error{Op: "httpapi.listen", Subject: path, Kind: kind, Err: err, Hint: hint}
	}
	if len(path) > client.MaxSocketPath {
		return nil, bad(fault.Invalid, fmt.Errorf("a socket's path has at most %d bytes, this has %d", client.MaxSocketPath, len(path)), "Name a shorter path with --socket.")
	}
	if err := client.CheckRuntimeDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, bad(fault.Unavailable, err, "")
	case info.Mode()&fs.ModeSocket == 0:
		return nil, bad(fault.Conflict, errors.New("a file that is no socket lies there"), "Move it away, or name another path with --socket.")
	default:
		conn, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			conn.Close()
		}
		// Only a refusal proves that nobody listens: a busy platform may be slow to answer.
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, bad(fault.Conflict, errors.New("another Stoa listens there"), "Stop it with stoa down, or use another data folder with --data.")
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, bad(fault.Unavailable, err, "")
		}
	}
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, bad(fault.Conflict, errors.New("another Stoa began to listen there"), "Stop it with stoa down, or use another data folder with --data.")
	}
	if err != nil {
		return nil, bad(fault.Unavailable, err, "Name another path with --socket.")
	}
	// Until here the folder's 0700 kept others out, whatever the umask.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, bad(fault.Unavailable, err, "")
	}
	if data != "" {
		if err := os.WriteFile(client.DataFile(path), []byte(data+"\n"), 0o600); err != nil {
			l.Close()
			return nil, bad(fault.Unavailable, err, "")
		}
	}
	return &peerListener{UnixListener: l.(*net.UnixListener), beside: client.DataFile(path)}, nil
}

// A peerListener lets in this user and root, by what the kernel says of the peer.
type peerListener struct {
	*net.UnixListener
	beside string // file that goes with the socket
	once   sync.Once
}

// peerConn is a connection whose peer is known.
type peerConn struct {
	net.Conn
	caller op.Caller
}

// refusal answers a peer that may not ask; it is no HTTP request of ours to read.
const refusal = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" +
	`{"error":{"kind":"denied","message":"only the user that runs the platform and root may use it","hint":"Run the command as that user."}}` + "\n"

func (l *peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && mayAsk(uid, os.Getuid()) {
			return &peerConn{Conn: c, caller: op.Caller{Name: userName(uid), UID: uid, Via: "cli"}}, nil
		}
		if err == nil {
			_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // the buffer takes it at once, or it is not worth waiting
			_, _ = c.Write([]byte(refusal))
		}
		c.Close()
	}
}

func (l *peerListener) Close() error {
	err := l.UnixListener.Close()
	l.once.Do(func() { // later it would be our successor's
		if rm := os.Remove(l.beside); err == nil && !errors.Is(rm, fs.ErrNotExist) {
			err = rm
		}
	})
	return err
}

// mayAsk says whether a peer with uid may use the platform that runs as me.
func mayAsk(uid, me int) bool { return uid == me || uid == 0 }

// names caches user names; a process meets one or two.
var names sync.Map

func userName(uid int) string {
	if n, ok := names.Load(uid); ok {
		return n.(string)
	}
	name := "uid " + strconv.Itoa(uid)
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		name = u.Username
	}
	names.Store(uid, name)
	return name
}

// bounded gives l with at most n connections open at once.
func bounded(l net.Listener, n int) net.Listener {
	return &boundedListener{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

type boundedListener struct {
	net.Listener
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &boundedConn{Conn: c, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type boundedConn struct {
	net.Conn
	release func()
}

func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}

// unwrap gives the connection inside a bounded one.
func unwrap(c net.Conn) net.Conn {
	if b, ok := c.(*boundedConn); ok {
		return b.Conn
	}
	return c
}

// CloseWrite ends our half: net/http does so before it hangs up on a caller who still
// sends, or the answer would be lost to a reset.
func (c *boundedConn) CloseWrite() error { return closeWrite(c.Conn) }

// CloseWrite is that of the connection inside.
func (c *peerConn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
