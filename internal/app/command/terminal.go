package command

import (
	"os"

	"golang.org/x/sys/unix"
)

// termWidth gives the columns of the terminal, 0 if f is none.
func termWidth(f *os.File) int {
	w, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return max(1, int(w.Col)) // some terminals do not know
}
