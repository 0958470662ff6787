package command

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// macOS has no PDEATHSIG: a platform whose parent is killed with -9 goes on.
func deathSignal() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func foreground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	pgrp, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && pgrp == unix.Getpgrp()
}
