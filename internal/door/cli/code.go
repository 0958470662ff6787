package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"stoa/api/fault"
	"stoa/client"
)

// The exit codes, for every command but those whose help says otherwise.
const (
	CodeDone        = 0
	CodeFailed      = 1
	CodeMisused     = 2
	CodeTimedOut    = 3
	CodeRefused     = 4
	CodeUnreachable = 5
	CodeInterrupted = 130
)

// Codes is how help tells them.
const Codes = "0 done, 1 failed or problems found, 2 misused, 3 timed out waiting, 4 refused, 5 platform not reachable, 130 interrupted"

// Exit is an error that ends the command line with that code and says nothing: what
// was to be said has been said. A command gives it to pass on another program's code.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// codeOf gives the exit code of a failure: 4 for what the platform will not do as
// things are (denied, conflict), 3 for an outcome that was not waited for (unknown), 5
// when nobody answered, else 1.
func codeOf(ctx context.Context, err error) int {
	var exit Exit
	var m *misuse
	switch {
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &m):
		return CodeMisused
	case errors.Is(ctx.Err(), context.Canceled):
		return CodeInterrupted
	case client.Unreachable(err):
		return CodeUnreachable
	case errors.Is(err, context.DeadlineExceeded):
		return CodeTimedOut
	}
	switch fault.KindOf(err) {
	case fault.Denied, fault.Conflict:
		return CodeRefused
	case fault.Unknown:
		return CodeTimedOut
	}
	return CodeFailed
}

// tell writes a failure to stderr: "verb subject: message", and the hint on the next line.
// With --json it is the fault's JSON.
func tell(s *Session, verb string, err error, code int) {
	if code == CodeInterrupted {
		if errors.Is(err, context.Canceled) {
			return // who interrupted knows
		}
	}
	f := faultOf(err)
	if s.JSON {
		fmt.Fprintf(s.Stderr, "%s\n", fault.Encode(f))
		return
	}
	head := verb
	switch {
	case f.Subject == "" || f.Subject == verb || f.Subject == strings.ReplaceAll(verb, " ", "."):
	case strings.HasPrefix(f.Subject, verb+"/") || f.Subject == "stoa "+verb: // trace/1234 says what trace does
		head = f.Subject
	default:
		head += " " + f.Subject
	}
	msg := string(f.Kind)
	if f.Err != nil {
		msg = f.Err.Error()
	}
	p := s.paint(s.StderrTTY)
	fmt.Fprintf(s.Stderr, "%s %s\n", p.bold(plainText(head)+":"), plainText(msg))
	if f.Hint != "" {
		fmt.Fprintf(s.Stderr, "%s\n", plainText(f.Hint))
	}
}

// faultOf gives err as the fault that is told.
func faultOf(err error) *fault.Error {
	var m *misuse
	if errors.As(err, &m) {
		return &fault.Error{Kind: fault.Invalid, Err: errors.New(m.msg), Hint: m.hint}
	}
	if f, ok := err.(*fault.Error); ok {
		c := *f
		c.Hint = fault.HintOf(err)
		return &c
	}
	var path *os.PathError
	kind := fault.KindOf(err)
	if errors.As(err, &path) && errors.Is(err, os.ErrNotExist) {
		kind = fault.NotFound
	}
	return &fault.Error{Kind: kind, Err: err, Hint: fault.HintOf(err)}
}

// paint makes text bold where a person reads it and NO_COLOR is not set (no-color.org).
type paint bool

func (s *Session) paint(tty bool) paint {
	return paint(tty && s.Getenv("NO_COLOR") == "" && s.Getenv("TERM") != "dumb")
}

func (p paint) bold(t string) string {
	if !p {
		return t
	}
	return "\x1b[1m" + t + "\x1b[0m"
}
