// Package cli is the command line: the operation table, and the commands that app adds
// to it, as words, arguments and flags.
//
//	stoa [--json] VERB... [ARG...] [--flag VALUE]... [-- ARG...]
//
// A verb is the name of an operation with its dots as spaces: "job.run" is stoa job run.
// Arguments and flags are the fields of its request, by the tags that package op
// documents, in any order. An operation whose request has fields, but no argument and
// no flag, is for programs and no verb. A command of app with an operation's name takes its place.
//
// Local operations are carried out here, the others by the platform, through its Unix
// socket: that of the data folder named by --data or STOA_DATA, else of the nearest
// .stoa folder at or above the working folder, else the only platform of this user
// that runs, which is said on stderr. What loses something does not guess so.
//
// Results go to stdout: a table for people, with --json the answer's JSON (a stream as
// one object a line). Everything else goes to stderr. Whatever a service may have
// written is stripped of control characters before a terminal sees it, in tables
// and errors; a Print of a module does so itself.
//
// The exit code says what a script may do; see Codes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"stoa/client"
	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/host"
)

// Env is what a command line lives in.
type Env struct {
	Args           []string // without the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Dir            string // working folder

	StdinTTY, StdoutTTY, StderrTTY bool // whether a person sits at the other end
}

// Options tell what the command line offers.
type Options struct {
	Catalog  *host.Catalog
	Commands []Command // of app; they take the place of an operation of the same name
	Version  string
	Example  string // the first line of help: "stoa dev examples/shop"
	About    string // one sentence: what the program is

	// Dial gives a client of the platform that s means; nil means through its Unix socket.
	Dial func(ctx context.Context, s *Session) (*client.Client, error)
}

// Run carries out one command line and gives the exit code. It ends soon after ctx is
// cancelled, with 130.
func Run(ctx context.Context, env Env, o Options) int {
	if env.Getenv == nil {
		env.Getenv = func(string) string { return "" }
	}
	a := &app{env: env, o: o, table: tableOf(o)}
	s := &Session{Env: env, Catalog: o.Catalog, Version: o.Version, dial: o.Dial}
	defer s.close()
	return a.run(ctx, s)
}

// app is one command line at work.
type app struct {
	env   Env
	o     Options
	table []Command
}

func (a *app) run(ctx context.Context, s *Session) int {
	args := a.env.Args
	if len(args) > 0 && args[0] == hiddenComplete {
		a.complete(ctx, s, args[1:])
		return CodeDone
	}
	// Global flags may stand before the verb.
	global := newFlags(s, nil, nil)
	var err error
	for err == nil && len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "-" && args[0] != "--" {
		if args[0] == "--version" {
			args = append([]string{"version"}, args[1:]...)
			break
		}
		args, err = global.take(args)
	}
	if err != nil {
		return a.fail(ctx, s, "stoa", err)
	}
	if len(args) == 0 || args[0] == "help" {
		if len(args) > 0 {
			args = args[1:]
		}
		return a.help(ctx, s, args)
	}
	c, rest, err := a.find(args)
	switch {
	case err != nil:
		if global.help { // stoa --help saga
			return a.help(ctx, s, args)
		}
		if wantsHelp(rest) && len(a.group(args[:1])) > 0 {
			return a.help(ctx, s, args[:1])
		}
		return a.fail(ctx, s, "stoa", err)
	case global.help:
		return a.help(ctx, s, strings.Fields(c.Name))
	}
	fs := newFlags(s, &c, a.o.Catalog)
	in, err := fs.parse(rest, a.env.Getenv)
	if fs.help {
		fmt.Fprint(a.env.Stdout, a.commandHelp(c))
		return CodeDone
	}
	s.failure = fs.failure()
	if err != nil {
		var m *misuse
		if errors.As(err, &m) && m.hint == "" {
			m.hint = "See stoa help " + c.Name + "."
		}
		return a.fail(ctx, s, c.Name, err)
	}
	if c.Destroys {
		s.careful = true
		if err := s.confirm(ctx, c); err != nil {
			return a.fail(ctx, s, c.Name, err)
		}
	}
	if err := c.run(ctx, s, in); err != nil {
		return a.fail(ctx, s, c.Name, err)
	}
	return s.code
}

// find gives the command whose words begin args, the longest one, and what follows.
func (a *app) find(args []string) (Command, []string, error) {
	for n := min(len(args), maxWords); n > 0; n-- {
		name := strings.Join(args[:n], " ")
		if i := slices.IndexFunc(a.table, func(c Command) bool { return c.Name == name }); i >= 0 {
			return a.table[i], args[n:], nil
		}
	}
	if len(args) == 0 {
		return Command{}, nil, &misuse{msg: "no command is named", hint: "See stoa help for all commands."}
	}
	if group := a.group(args[:1]); len(group) > 0 {
		if len(args) == 1 || strings.HasPrefix(args[1], "-") {
			return Command{}, args[1:], &misuse{msg: args[0] + " needs one more word", hint: "valid: " + strings.Join(group, ", ")}
		}
		return Command{}, args[1:], &misuse{msg: fmt.Sprintf("there is no command %q", args[0]+" "+args[1]), hint: nearest.Hint(args[0]+" "+args[1], group)}
	}
	names := a.names()
	hint := nearest.To(args[0], names)
	if hint == "" && len(args) > 1 {
		hint = nearest.To(args[0]+" "+args[1], names)
	}
	if hint != "" {
		hint = "did you mean stoa " + hint + "?"
	} else {
		hint = "See stoa help for all commands."
	}
	return Command{}, args[1:], &misuse{msg: fmt.Sprintf("there is no command %q", args[0]), hint: hint}
}

// group gives the names of the commands that begin with words and go on.
func (a *app) group(words []string) []string {
	var out []string
	for _, c := range a.table {
		if strings.HasPrefix(c.Name, strings.Join(words, " ")+" ") {
			out = append(out, c.Name)
		}
	}
	return out
}

func (a *app) names() []string {
	var out []string
	for _, c := range a.table {
		out = append(out, c.Name)
	}
	return out
}

func wantsHelp(args []string) bool {
	return slices.ContainsFunc(args, func(s string) bool { return s == "--help" || s == "-h" || s == "-help" })
}

// maxWords is how many words a verb has at most.
const maxWords = 4

// versionText is what stoa version prints.
func versionText(version string) string {
	if version == "" {
		version = "unknown"
	}
	return fmt.Sprintf("stoa %s %s %s/%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// misuse is a command line that cannot be carried out as it is written.
type misuse struct{ msg, hint string }

func (m *misuse) Error() string { return m.msg }

// fail tells err and gives the exit code.
func (a *app) fail(ctx context.Context, s *Session, verb string, err error) int {
	code := codeOf(ctx, err)
	var exit Exit
	if !errors.As(err, &exit) {
		tell(s, verb, err, code)
	}
	if s.failure != nil {
		code = s.failure(code)
	}
	return code
}

// kindsOf gives the names of the kinds in lower case.
func kindsOf(c *host.Catalog) []string {
	var out []string
	if c != nil {
		for _, k := range c.Kinds {
			out = append(out, strings.ToLower(k.Name))
		}
	}
	return out
}
