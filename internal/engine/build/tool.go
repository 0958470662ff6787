package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/process"
)

// MaxOutput is how much of a build's output is kept for its error: half of it from the end
// of what came by stdout, and half by stderr.
const MaxOutput = 16 << 10

// killDelay is how long a cancelled build may take to end after SIGTERM.
const killDelay = 5 * time.Second

// An Error is a build that failed, with the end of what its tool said.
type Error struct {
	Service string
	Argv    []string
	Exit    process.Exit
	Output  string // its end, at most MaxOutput bytes
}

func (e *Error) Error() string {
	if strings.TrimSpace(e.Output) == "" {
		return fmt.Sprintf("%s %v, and said nothing", strings.Join(e.Argv, " "), e.Exit)
	}
	return fmt.Sprintf("%s %v:\n%s", strings.Join(e.Argv[:min(2, len(e.Argv))], " "), e.Exit, strings.TrimRight(e.Output, "\n"))
}

// Reason says why a build failed, without the name of what was built, for whoever has
// told that already.
func Reason(err error) string {
	var failed *Error
	if errors.As(err, &failed) {
		return failed.Error()
	}
	return err.Error()
}

// tool runs argv in dir, under a shim as instances are: nothing that it started is left
// when it has ended, when ctx has, or when Stoa is killed. It gives an Error if argv
// fails, and that of ctx once all has ended.
func (b *Builder) tool(ctx context.Context, name, dir string, argv []string, env ...string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fault.New(fault.NotFound, dir, "there is no such folder").WithHint("Correct run.dir of %s.", name)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	env = append(os.Environ(), env...)
	path, err := process.Find(argv[0], dir, env)
	if err != nil {
		return fault.New(fault.NotFound, argv[0], "%s is built with %s, which is not on PATH", name, argv[0]).WithHint("%s", Install(argv[0]))
	}
	var turns sync.Mutex
	log := func(line string) {
		if b.Log != nil {
			b.Log(name, line)
		}
	}
	stdout, stderr := &output{turns: &turns, log: log}, &output{turns: &turns, log: log}
	in, err := process.New(process.Options{}).Start(ctx, process.Spec{
		Argv: append([]string{path}, argv[1:]...), Dir: dir, Env: env, Stdout: stdout.take, Stderr: stderr.take,
	})
	if err != nil {
		return fmt.Errorf("build %s: %w", name, err)
	}
	select {
	case <-in.Done():
	case <-ctx.Done():
		_ = in.Stop(context.WithoutCancel(ctx), killDelay) // returns when nothing is left; a shim bounds its own fight
	}
	switch exit := in.Exit(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case exit.Reason != process.Exited || exit.Code != 0:
		return &fault.Error{Op: "build", Subject: name, Kind: fault.Invalid, Err: &Error{Service: name, Argv: argv, Exit: exit, Output: stdout.tail.String() + stderr.tail.String()}}
	}
	return nil
}

// Install says how a missing tool is come by.
func Install(tool string) string {
	switch tool {
	case "go":
		return "Install Go from https://go.dev/dl and see that go is on PATH."
	case "node", "npm", "npx":
		return "Install Node.js from https://nodejs.org and see that " + tool + " is on PATH."
	case "python3", "python":
		return "Install Python 3 and see that " + tool + " is on PATH."
	}
	return "Install " + tool + " and see that it is on PATH."
}

// output keeps the end of what a tool says by one of its streams, and hands on its lines.
type output struct {
	turns *sync.Mutex // held while log is called: the streams take turns
	log   func(string)
	tail  bytes.Buffer // of the one goroutine that takes, until the tool has ended
}

const maxLine = 4 << 10 // of a line that is handed on; the tail has all of it

func (o *output) take(line []byte, more bool) {
	o.turns.Lock()
	o.log(string(line[:min(len(line), maxLine)]))
	o.turns.Unlock()
	o.tail.Write(line)
	if !more {
		o.tail.WriteByte('\n')
	}
	if extra := o.tail.Len() - MaxOutput/2; extra > 0 {
		o.tail.Next(extra)
	}
}
