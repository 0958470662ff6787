package process

import (
	"fmt"
	"os"
	"syscall"
)

// bindPort binds a new socket to any free port: of all addresses with AF_INET6, and of
// 127.0.0.1 with AF_INET, which is for machines without IPv6.
func bindPort(family int) (fd, port int, err error) {
	fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			_ = syscall.Close(fd)
		}
	}()
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return -1, 0, os.NewSyscallError("setsockopt", err)
	}
	var any syscall.Sockaddr = &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if family == syscall.AF_INET6 {
		any = &syscall.SockaddrInet6{}
		if err = syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0); err != nil {
			return -1, 0, os.NewSyscallError("setsockopt", err)
		}
	}
	if err = syscall.Bind(fd, any); err != nil {
		return -1, 0, os.NewSyscallError("bind", err)
	}
	got, err := syscall.Getsockname(fd)
	if err != nil {
		return -1, 0, os.NewSyscallError("getsockname", err)
	}
	switch a := got.(type) {
	case *syscall.SockaddrInet6:
		return fd, a.Port, nil
	case *syscall.SockaddrInet4:
		return fd, a.Port, nil
	}
	return -1, 0, fmt.Errorf("getsockname: unexpected %T", got)
}
