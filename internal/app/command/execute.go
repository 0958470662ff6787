package command

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"stoa/api/fault"
	"stoa/internal/door/cli"
)

// executeGrace is how long a command may take to end once it has been asked to.
const executeGrace = 10 * time.Second

// execute runs a command with an environment in the user's place; its exit code becomes that of stoa, as a
// shell would tell it: 128 and the signal if one ended it.
//
// At a terminal the command shares the process group, so that it can read, and Ctrl-C
// reaches it as it does stoa. Elsewhere it has a group of its own, which ends with it. In
// both cases it dies with stoa, and has a grace to end when ctx does.
func execute(ctx context.Context, s *cli.Session, argv, env []string) error {
	runtime.LockOSThread() // the death signal is of the thread
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = s.Dir, env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, s.Stdout, s.Stderr
	cmd.SysProcAttr = deathSignal()
	own := !foreground()
	cmd.SysProcAttr.Setpgid = own
	cmd.Cancel = func() error {
		if own {
			return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		}
		return cmd.Process.Signal(syscall.SIGTERM)
	}
	cmd.WaitDelay = executeGrace
	err := cmd.Run()
	if own && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has left, if anything
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return cli.Exit(128 + int(status.Signal()))
		}
		return cli.Exit(exit.ExitCode())
	case errors.Is(err, exec.ErrWaitDelay): // it ended well, and left something that held its output
		return nil
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fault.New(fault.NotFound, argv[0], "cannot be run: %w", err)
	}
	return nil
}
