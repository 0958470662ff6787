package command

import "golang.org/x/sys/unix"

// peerOf gives the process at the other end of a socket, or 0 (unix(4), LOCAL_PEERPID).
func peerOf(fd int) int {
	pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil {
		return 0
	}
	return pid
}
