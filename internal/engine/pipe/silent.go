package pipe

import "syscall"

// Silent says of a socket that does not block that its other side has neither closed nor sent
// anything that was not read: then a kept connection can carry another request.
func Silent(fd uintptr) bool {
	var one [1]byte
	_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN
}
