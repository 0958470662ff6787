package pebblestore

import (
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Holder gives the process that has the journal in dir open, or 0 for none, or if that
// cannot be known. Pebble locks its folder by fcntl(2), which tells.
func Holder(dir string) int {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l); err != nil || l.Type == unix.F_UNLCK {
		return 0
	}
	return int(l.Pid)
}
