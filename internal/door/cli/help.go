package cli

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"stoa/api/op"
)

// globals are the flags that every command takes.
var globals = [][]string{
	{"    --json", "the result as JSON"},
	{"    --yes", "do not ask before something is lost"},
	{"    --data DIR", "data folder of the platform that is meant (environment STOA_DATA; default .stoa)"},
	{"    --socket PATH", "Unix socket of the platform that is meant"},
	{"-h, --help", "this text"},
}

// help answers stoa help [VERB...].
func (a *app) help(ctx context.Context, s *Session, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(a.env.Stdout, a.overview(a.table))
		return CodeDone
	}
	c, _, err := a.find(args)
	if err == nil {
		fmt.Fprint(a.env.Stdout, a.commandHelp(c))
		return CodeDone
	}
	if group := a.group(args[:1]); len(args) == 1 && len(group) > 0 {
		var some []Command
		for _, c := range a.table {
			if strings.HasPrefix(c.Name, args[0]+" ") {
				some = append(some, c)
			}
		}
		fmt.Fprint(a.env.Stdout, a.overview(some))
		return CodeDone
	}
	return a.fail(ctx, s, "help", err)
}

// overview lists commands.
func (a *app) overview(commands []Command) string {
	var b strings.Builder
	example := a.o.Example
	if len(commands) < len(a.table) {
		example = commands[0].Example
	}
	if example != "" {
		fmt.Fprintf(&b, "Example: %s\n\n", example)
	}
	if a.o.About != "" && len(commands) == len(a.table) {
		fmt.Fprintf(&b, "%s\n\n", a.o.About)
	}
	b.WriteString("Commands\n")
	var t Table
	for _, c := range commands {
		t.Rows = append(t.Rows, []string{"  " + c.Name, c.Help})
	}
	t.WriteTo(&b) // a Builder takes everything
	b.WriteString("\nFlags of every command\n")
	writeRows(&b, globals)
	fmt.Fprintf(&b, "\nExit codes\n  %s\n\nMore of one: stoa help COMMAND\n", Codes)
	return b.String()
}

// commandHelp is the help text of one command; it leads with an example.
func (a *app) commandHelp(c Command) string {
	var b strings.Builder
	if c.Example != "" {
		fmt.Fprintf(&b, "Example: %s\n\n", c.Example)
	}
	fmt.Fprintf(&b, "Usage: %s\n%s.\n", usage(c), sentence(c.Help))
	if c.Destroys {
		b.WriteString("It loses something: a person is asked, a script passes --yes.\n")
	}
	if c.More != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(c.More))
	}
	args, own := rowsOf(c)
	if len(args) > 0 {
		b.WriteString("\nArguments\n")
		writeRows(&b, args)
	}
	if len(own) > 0 {
		b.WriteString("\nFlags\n")
		writeRows(&b, own)
	}
	b.WriteString("\nFlags of every command\n")
	writeRows(&b, globals)
	fmt.Fprintf(&b, "\nExit codes\n  %s\n", Codes)
	return b.String()
}

// usage gives a command's form: "stoa logs [SERVICE] [flags]".
func usage(c Command) string {
	words := []string{"stoa", c.Name}
	after := ""
	hasFlags := false
	for _, f := range op.Fields(c.in) {
		hasFlags = hasFlags || f.Flag != ""
		switch {
		case f.Arg == "":
		case f.After:
			after = "-- " + f.Arg + "..."
		case f.Rest:
			words = append(words, "["+f.Arg+"...]")
		case f.Optional:
			words = append(words, "["+f.Arg+"]")
		default:
			words = append(words, f.Arg)
		}
	}
	if hasFlags {
		words = append(words, "[flags]")
	}
	if after != "" {
		words = append(words, after)
	}
	return strings.Join(words, " ")
}

// rowsOf gives the arguments and flags of a command with what they mean.
func rowsOf(c Command) (args, flags [][]string) {
	for _, f := range op.Fields(c.in) {
		help := f.Help
		if e := f.Tag.Get("enum"); e != "" {
			help = join(help, "one of "+strings.ReplaceAll(e, ",", ", "))
		}
		if f.Arg != "" {
			args = append(args, []string{f.Arg, help})
		}
		if f.Flag == "" {
			continue
		}
		if e := f.Tag.Get("env"); e != "" {
			help = join(help, "environment "+e)
		}
		if d := f.Tag.Get("default"); d != "" {
			help = join(help, "default "+d)
		}
		name := "    --" + f.Flag
		if f.Short != "" {
			name = "-" + f.Short + ", --" + f.Flag
		}
		if v := valueName(f); v != "" {
			name += " " + v
		}
		flags = append(flags, []string{name, help})
	}
	return args, flags
}

func join(help, more string) string {
	if help == "" {
		return more
	}
	return help + " (" + more + ")"
}

// valueName is what help writes for a flag's value: "" for a bool.
func valueName(f op.Field) string {
	t := f.Type
	switch {
	case f.Tag.Get("value") != "":
		return f.Tag.Get("value")
	case t.Kind() == reflect.Bool:
		return ""
	case t == reflect.TypeFor[[]string]():
		return "TEXT..."
	case t.Name() == "Duration":
		return "DURATION"
	case t.Name() == "Ref":
		return "KIND/NAME"
	case isNumber(t):
		return "N"
	}
	return "TEXT"
}

func writeRows(b *strings.Builder, rows [][]string) {
	var t Table
	for _, r := range rows {
		t.Rows = append(t.Rows, append([]string{"  " + r[0]}, r[1:]...))
	}
	t.WriteTo(b) // a Builder takes everything
}

// sentence gives help with a capital first letter.
func sentence(help string) string {
	if help == "" {
		return ""
	}
	return strings.ToUpper(help[:1]) + help[1:]
}
