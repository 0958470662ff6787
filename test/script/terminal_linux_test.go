package script

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// terminal is the program terminal: it runs a program in a terminal of 160 columns, as a
// person does, and keeps in the file that it is given first what the screen shows: the
// lines that are on it now, without colours. What the program wrote it copies to its own
// output, byte by byte. An interrupt is passed on as the key Ctrl-C.
//
//	terminal SCREEN PROGRAM ARG...
func terminal() {
	if len(os.Args) < 3 {
		fail(fmt.Errorf("usage: terminal SCREEN PROGRAM ARG..."))
	}
	keys, tty, err := openTerminal(160, 50)
	if err != nil {
		fail(err)
	}
	defer keys.Close()
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		fail(err)
	}
	tty.Close()
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	go func() { // ends with the process
		for range interrupts {
			_, _ = keys.Write([]byte{3})
		}
	}()
	var s screen
	var read sync.WaitGroup
	read.Go(func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := keys.Read(buf) // EIO when nobody has the terminal open any more
			if n > 0 {
				_, _ = os.Stdout.Write(buf[:n])
				s.write(buf[:n])
				if err := s.keep(os.Args[1]); err != nil {
					fail(err)
				}
			}
			if err != nil {
				return
			}
		}
	})
	err = cmd.Wait()
	read.Wait()
	if err != nil {
		fail(err)
	}
}

// openTerminal makes a terminal and gives both ends of it (pty(7)).
func openTerminal(columns, rows uint16) (keys, tty *os.File, err error) {
	keys, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(keys.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows})
	}
	if err == nil {
		tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		keys.Close()
		return nil, nil, err
	}
	return keys, tty, nil
}

// A screen is what a terminal shows, without an end above: as much of ECMA-48 as stoa
// writes. Whatever else comes is an error, and stands on the screen as such.
type screen struct {
	lines []string
	row   int // of the cursor, in lines; the column is always the end of what was written there
	rest  []byte
}

func (s *screen) write(b []byte) {
	s.rest = append(s.rest, b...)
	for len(s.rest) > 0 {
		switch c := s.rest[0]; {
		case c == '\r':
			s.rest = s.rest[1:]
		case c == '\n':
			s.row++
			s.rest = s.rest[1:]
		case c == 0x1b:
			end := bytes.IndexFunc(s.rest, func(r rune) bool { return r >= '@' && r <= '~' && r != '[' })
			if end < 0 {
				return // the rest of it comes
			}
			s.control(string(s.rest[1 : end+1]))
			s.rest = s.rest[end+1:]
		default:
			if !utf8.FullRune(s.rest) {
				return
			}
			_, n := utf8.DecodeRune(s.rest)
			s.put(string(s.rest[:n]))
			s.rest = s.rest[n:]
		}
	}
}

func (s *screen) put(text string) {
	for len(s.lines) <= s.row {
		s.lines = append(s.lines, "")
	}
	s.lines[s.row] += text
}

// control does what a control sequence asks for: colours are passed over.
func (s *screen) control(seq string) {
	arg, last := strings.TrimPrefix(seq[:len(seq)-1], "["), seq[len(seq)-1]
	n, _ := strconv.Atoi(arg) // 0 without a number
	switch last {
	case 'm':
	case 'A': // up
		s.row = max(0, s.row-max(n, 1))
	case 'J': // erase what is below
		s.lines = s.lines[:min(s.row, len(s.lines))]
	default:
		s.put(fmt.Sprintf("<unknown sequence %q>", seq))
	}
}

// keep writes the screen to a file, whole.
func (s *screen) keep(file string) error {
	tmp := file + ".new"
	if err := os.WriteFile(tmp, []byte(strings.Join(s.lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Clean(file))
}
