// Package command is the command line of stoa: the commands that work on files and
// processes (dev, server, apply, ...) beside the operation table, and Main, which main calls.
//
// dev and server are two processes: a small parent, and the platform as its child,
// which the parent starts again when it was killed or its disk failed it.
package command

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"stoa/internal/app"
	"stoa/internal/door/cli"
	"stoa/internal/engine/process"
)

// Main is the program. It gives the exit code.
func Main() int {
	if process.IsShim() { // before anything that costs memory: one runs beside each instance
		return process.RunShim()
	}
	if isParent(os.Args[1:]) {
		return parent(os.Stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// A second signal ends the process at once: shims see to the instances. One that comes
	// with the first is the same: a terminal sends it to all, and the parent passes it on.
	context.AfterFunc(ctx, func() { time.AfterFunc(sameSignal, stop) })
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: logLevel()})))
	return cli.Run(ctx, cli.Env{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Dir: dir,
		StdinTTY: isTTY(os.Stdin), StdoutTTY: isTTY(os.Stdout), StderrTTY: isTTY(os.Stderr),
	}, Options())
}

// sameSignal is within how long a second signal counts as the first.
const sameSignal = 500 * time.Millisecond

// Options give everything that the command line offers.
func Options() cli.Options {
	return cli.Options{
		Catalog: app.New(app.Options{}).Catalog, Commands: commands(), Version: app.Version(),
		About:   "Stoa runs a distributed architecture: it builds, runs, connects, secures, watches and heals your services.",
		Example: "stoa dev examples/shop",
	}
}

func commands() []cli.Command {
	return []cli.Command{
		devCommand(), serverCommand(), installCommand(), planCommand(), applyCommand(),
		runCommand(), initCommand(), initServiceCommand(), doctorCommand(), restoreCommand(), downCommand(), rollbackCommand(),
		injectCommand(),
	}
}

// isParent says whether this process is to be the parent of a platform: the command is
// one that runs one, and it is not the child already.
func isParent(args []string) bool {
	if os.Getenv(childVariable) != "" || len(args) == 0 {
		return false
	}
	for _, a := range args {
		if a == "--" {
			break
		}
		if a == "-h" || a == "--help" || a == "-help" || a == "-d" || a == "--detach" {
			return false
		}
	}
	return args[0] == "dev" || args[0] == "server" && (len(args) < 2 || args[1] != "install")
}

// logLevel is that of STOA_LOG: debug, info, warn (the default) or error.
func logLevel() slog.Level {
	level := slog.LevelWarn
	if err := level.UnmarshalText([]byte(os.Getenv("STOA_LOG"))); err != nil {
		return slog.LevelWarn
	}
	return level
}

func isTTY(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && termWidth(f) > 0
}
