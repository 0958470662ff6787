package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"reflect"
	"slices"
	"strings"

	"stoa/api/op"
	"stoa/internal/kernel/host"
)

// A Command is one verb. App makes its own with Cmd; the rest come from the operation table.
type Command struct {
	Name     string // words: "dev", "server install"
	Help     string // one sentence, imperative, without a full stop
	Example  string
	More     string // further paragraphs of its help; may be empty
	Owner    string // module; "" means app
	Destroys bool   // asks, or wants --yes

	in  reflect.Type
	run func(ctx context.Context, s *Session, in any) error // in is a pointer to a value of type in
}

// Cmd gives a command of app. In is a struct whose fields are arguments and flags by
// the tags that package op documents, and two more:
//
//	env:"STOA_ADMIN"      a flag that is not given is read from there, if it is set
//	arg:"COMMAND,after"   a []string: everything that follows "--"
//
// An enum:"a,b" tag bounds the texts of an argument or flag.
//
// An In with a method FailureCode(int) int is asked for the exit code of each failure.
func Cmd[In any](name, help, example string, run func(ctx context.Context, s *Session, in In) error) Command {
	return Command{Name: name, Help: help, Example: example, in: reflect.TypeFor[In](),
		run: func(ctx context.Context, s *Session, in any) error { return run(ctx, s, *in.(*In)) }}
}

// tableOf gives all commands in the order of their names.
func tableOf(o Options) []Command {
	table := slices.Clone(o.Commands)
	has := func(name string) bool {
		return slices.ContainsFunc(table, func(c Command) bool { return c.Name == name })
	}
	for _, c := range builtin() {
		if !has(c.Name) {
			table = append(table, c)
		}
	}
	if o.Catalog != nil {
		for _, x := range o.Catalog.Operations {
			name := strings.ReplaceAll(x.Name, ".", " ")
			if !has(name) && forPeople(x.In) {
				table = append(table, fromOperation(x, name))
			}
		}
	}
	slices.SortFunc(table, func(a, b Command) int { return strings.Compare(a.Name, b.Name) })
	return table
}

// forPeople says whether a request can be made on a command line.
func forPeople(in reflect.Type) bool {
	fields := op.Fields(in)
	return len(fields) == 0 || slices.ContainsFunc(fields, func(f op.Field) bool { return f.Arg != "" || f.Flag != "" })
}

// builtin gives the commands of the command line itself.
func builtin() []Command {
	return []Command{
		Cmd("version", "print the version", "stoa version", func(_ context.Context, s *Session, _ op.None) error {
			if s.JSON {
				return s.printJSON(map[string]string{"version": s.Version})
			}
			fmt.Fprintln(s.Stdout, versionText(s.Version))
			return nil
		}),
		Cmd("completion", "print a script that completes commands as you type", "source <(stoa completion bash)", completion),
	}
}

// fromOperation gives the command that carries out x.
func fromOperation(x host.Operation, name string) Command {
	return Command{
		Name: name, Help: x.Help, Example: x.Example, Owner: x.Owner, Destroys: x.Effect == op.Destroy, in: x.In,
		run: func(ctx context.Context, s *Session, in any) error {
			if x.Stream != nil {
				return follow(ctx, s, x, in)
			}
			out := reflect.New(x.Out)
			if x.Local || offline(in) {
				v, err := x.Call(op.WithCaller(ctx, me()), in)
				if err != nil {
					return err
				}
				out.Elem().Set(reflect.ValueOf(v))
			} else {
				c, err := s.Client(ctx)
				if err != nil {
					return err
				}
				if err := c.Do(ctx, x.Name, x.Effect, reflect.ValueOf(in).Elem().Interface(), out.Interface()); err != nil {
					return err
				}
			}
			return s.show(x.Print, out.Elem().Interface(), false)
		},
	}
}

// offline says whether a request asks to be answered from the caller's files.
func offline(in any) bool {
	r, ok := in.(interface{ Offline() bool })
	return ok && r.Offline()
}

func follow(ctx context.Context, s *Session, x host.Operation, in any) error {
	if x.Local {
		seq, err := x.Stream(op.WithCaller(ctx, me()), in)
		if err != nil {
			return err
		}
		for v, err := range seq {
			if err == nil {
				err = s.show(x.Print, v, true)
			}
			if err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	c, err := s.Client(ctx)
	if err != nil {
		return err
	}
	seq, err := c.Stream(ctx, x.Name, x.Effect, reflect.ValueOf(in).Elem().Interface())
	if err != nil {
		return err
	}
	for line, err := range seq {
		if err != nil {
			return err
		}
		v := reflect.New(x.Out)
		if err := json.Unmarshal(line, v.Interface()); err != nil {
			return fmt.Errorf("the platform sent what this program does not understand: %w", err)
		}
		if err := s.show(x.Print, v.Elem().Interface(), true); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// show writes one result. item says that more may follow.
func (s *Session) show(print func(io.Writer, any), out any, item bool) error {
	if x, ok := out.(interface{ ExitCode() int }); ok {
		if code := x.ExitCode(); code != 0 {
			s.code = code
		}
	}
	if x, ok := out.(interface{ Failed() bool }); ok && x.Failed() {
		s.code = CodeFailed
	}
	switch {
	case s.JSON && item:
		b, err := json.Marshal(out)
		if err != nil {
			return err
		}
		_, err = s.Stdout.Write(append(b, '\n'))
		return err
	case s.JSON:
		return s.printJSON(out)
	case print != nil:
		w := &keepErr{w: s.Stdout}
		print(w, out)
		return w.err
	}
	return view(s.Stdout, out, item)
}

func (s *Session) printJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = s.Stdout.Write(append(b, '\n'))
	return err
}

// keepErr remembers that nobody reads any more: a Print cannot say so.
type keepErr struct {
	w   io.Writer
	err error
}

func (k *keepErr) Write(b []byte) (int, error) {
	if k.err != nil {
		return 0, k.err
	}
	n, err := k.w.Write(b)
	k.err = err
	return n, err
}

// me is who carries out local operations.
func me() op.Caller {
	c := op.Caller{UID: os.Getuid(), Via: "cli"}
	if u, err := user.Current(); err == nil {
		c.Name = u.Username
	}
	return c
}
