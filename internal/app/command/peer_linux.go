package command

import "golang.org/x/sys/unix"

// peerOf gives the process at the other end of a socket, or 0: who listens (unix(7), SO_PEERCRED).
func peerOf(fd int) int {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0
	}
	return int(cred.Pid)
}
