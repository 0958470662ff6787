package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"stoa/internal/engine/pebblestore"
)

// childVariable marks the process that is the platform; without it dev and server are
// its parent. Its value says whether it is the first child, or one that was started
// again and must not do again what is to be done once (--fresh).
const (
	childVariable = "STOA_CHILD"
	firstChild    = "first"
	laterChild    = "again"
)

// Bounds of restarting. A platform that fails is back within five seconds; one that
// cannot stay up is given up, for its own parent (systemd, a person) to decide.
const (
	restartFirst = 200 * time.Millisecond
	restartMost  = 4 * time.Second
	restartTimes = 10
	restartSpan  = 2 * time.Minute
)

// A platform that ends over a damaged file as soon as it is started will do so for ever.
const (
	damagedTimes = 3           // in a row
	damagedLived = time.Minute // at most, each time
)

// parent runs the platform as a child and starts it again when it was killed or its
// disk failed it. The platform is crash-only: an error of the disk ends the process,
// and a start is what recovers. It gives the exit code of the last child.
//
// A kill -9 of the parent takes the child along, by PDEATHSIG with SIGTERM, so that it
// ends in order.
func parent(stderr io.Writer) int {
	runtime.LockOSThread() // PDEATHSIG is of the thread
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	var starts []time.Time
	damaged := 0 // deaths in a row that were of a damaged file, soon after the start
	wait := restartFirst
	which := firstChild
	for {
		began := time.Now()
		code, stopped, err := oneChild(signals, which)
		which = laterChild
		if err != nil {
			fmt.Fprintln(stderr, "stoa:", err)
			return 1
		}
		if stopped || !lost(code, time.Since(began), os.Args[1:]) {
			if code < 0 {
				return 128 - code // as a shell tells it
			}
			return code
		}
		if damaged++; code != pebblestore.ExitDamaged || time.Since(began) > damagedLived {
			damaged = 0
		}
		if damaged == damagedTimes {
			fmt.Fprintf(stderr, "stoa: the platform ended %d times in a row over a damaged file of its journal, named above; giving up.\n"+
				"stoa: look at the disk's health (dmesg, smartctl), then make a new data folder: stoa restore BACKUP --data DIR\n", damagedTimes)
			return 1
		}
		if starts = append(starts, began); len(starts) > restartTimes {
			starts = starts[1:]
		}
		if len(starts) == restartTimes && time.Since(starts[0]) < restartSpan {
			fmt.Fprintf(stderr, "stoa: the platform ended %d times within %s; giving up. Its last words are above.\n", restartTimes, restartSpan)
			return 1
		}
		if time.Since(began) > time.Minute {
			wait = restartFirst
		}
		how := fmt.Sprintf("exit code %d", code)
		if code < 0 {
			how = fmt.Sprintf("signal %d", -code)
		}
		fmt.Fprintf(stderr, "stoa: the platform ended (%s) and is started again\n", how)
		select {
		case <-time.After(wait):
		case <-signals:
			return 130
		}
		wait = min(2*wait, restartMost)
	}
}

// panicCode is that of a Go program that panicked: some errors of a disk end Pebble so.
// A command line that was misused has it too, but says so at once.
const (
	panicCode = 2
	atOnce    = 2 * time.Second
)

// lost says whether a child that ended by itself is to be started again. The command of
// dev --wait may have any exit code, so of these none says so.
func lost(code int, lived time.Duration, args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	waits := slices.Contains(args, "--wait") || slices.Contains(args, "-wait")
	switch code {
	case pebblestore.ExitDisk, pebblestore.ExitDamaged:
		return !waits
	case panicCode:
		return !waits && lived > atOnce
	}
	return code < 0
}

// oneChild runs the platform once. stopped says that a signal asked for the end. The
// code of a child that a signal killed is that signal, negative.
func oneChild(signals <-chan os.Signal, which string) (code int, stopped bool, err error) {
	exe, err := os.Executable()
	if err != nil {
		return 0, false, err
	}
	cmd := exec.Command(exe, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), childVariable+"="+which)
	cmd.SysProcAttr = deathSignal()
	if err := cmd.Start(); err != nil {
		return 0, false, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			stopped = true
			// A Ctrl-C of the terminal reaches the child by itself, kill -INT does not; one that
			// comes twice at once counts once there.
			_ = cmd.Process.Signal(s) // it may have ended
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 0, stopped, err
			}
			status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if status.Signaled() {
				return -int(status.Signal()), stopped, nil
			}
			return cmd.ProcessState.ExitCode(), stopped, nil
		}
	}
}
