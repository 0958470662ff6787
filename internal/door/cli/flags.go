package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"stoa/api/core"
	"stoa/api/op"
	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/host"
)

// flags reads the arguments and flags of one command into its request.
type flags struct {
	set    *flag.FlagSet
	fields []op.Field
	in     reflect.Value // pointer to the request; the zero Value without a command
	given  map[string]bool
	kinds  []string // known kinds in lower case; none: any kind will do
	help   bool
}

// newFlags declares the flags of every command and those of c, if there is one. It
// panics if c has a flag of a global name: that is a defect of the program.
func newFlags(s *Session, c *Command, cat *host.Catalog) *flags {
	f := &flags{set: flag.NewFlagSet("", flag.ContinueOnError), given: map[string]bool{}, kinds: kindsOf(cat)}
	f.set.SetOutput(io.Discard)
	f.set.BoolVar(&s.JSON, "json", s.JSON, "")
	f.set.BoolVar(&s.Yes, "yes", s.Yes, "")
	f.set.StringVar(&s.Data, "data", s.Data, "")
	f.set.StringVar(&s.Socket, "socket", s.Socket, "")
	f.set.BoolVar(&f.help, "help", false, "")
	f.set.BoolVar(&f.help, "h", false, "")
	if c == nil {
		return f
	}
	f.in = reflect.New(c.in)
	f.fields = op.Fields(c.in)
	for _, x := range f.fields {
		if x.Flag == "" {
			continue
		}
		v := &fieldValue{f: f, field: x, v: f.in.Elem().FieldByIndex(x.Index)}
		f.set.Var(v, x.Flag, x.Help)
		if x.Short != "" {
			f.set.Var(v, x.Short, x.Help)
		}
	}
	return f
}

// fieldValue is a field of the request as a flag.
type fieldValue struct {
	f     *flags
	field op.Field
	v     reflect.Value
}

func (x *fieldValue) String() string   { return "" }
func (x *fieldValue) IsBoolFlag() bool { return x.v.Kind() == reflect.Bool }

func (x *fieldValue) Set(text string) error {
	x.f.given[x.field.Name] = true
	return x.f.assign(x.field, x.v, text)
}

// assign sets a field from text, or says what it wants.
func (f *flags) assign(x op.Field, v reflect.Value, text string) error {
	if enum := x.Tag.Get("enum"); enum != "" {
		if valid := strings.Split(enum, ","); !slices.Contains(valid, text) {
			return &misuse{msg: fmt.Sprintf("%q is not valid", text), hint: nearest.Hint(text, valid)}
		}
	}
	if v.Type() == reflect.TypeFor[[]string]() {
		v.Set(reflect.Append(v, reflect.ValueOf(text)))
		return nil
	}
	if err := op.SetText(v, text); err != nil {
		return &misuse{msg: err.Error()}
	}
	ref, ok := v.Interface().(core.Ref)
	if ok && ref.IsZero() {
		return &misuse{msg: "want kind/name, as in service/orders, not an empty text"}
	}
	if ok && len(f.kinds) > 0 {
		if kind := strings.ToLower(ref.Kind); !slices.Contains(f.kinds, kind) {
			return &misuse{msg: fmt.Sprintf("there is no kind %q", kind), hint: nearest.Hint(kind, f.kinds)}
		}
	}
	return nil
}

// take reads the flag that args begins with and gives what follows it.
func (f *flags) take(args []string) ([]string, error) {
	word := args[0]
	name, value, hasValue := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-"), "=")
	known := f.set.Lookup(name)
	if known == nil {
		var names []string
		f.set.VisitAll(func(x *flag.Flag) {
			if len(x.Name) > 1 {
				names = append(names, "--"+x.Name)
			}
		})
		word, _, _ = strings.Cut(word, "=")
		return nil, &misuse{msg: "there is no flag " + word, hint: nearest.Hint("--"+name, names)}
	}
	args = args[1:]
	b, isBool := known.Value.(interface{ IsBoolFlag() bool })
	switch {
	case hasValue:
	case isBool && b.IsBoolFlag():
		value = "true"
	case len(args) == 0:
		return nil, &misuse{msg: word + " needs a value"}
	default:
		value, args = args[0], args[1:]
	}
	if err := f.set.Set(name, value); err != nil {
		var m *misuse
		if errors.As(err, &m) {
			return nil, &misuse{msg: word + ": " + m.msg, hint: m.hint}
		}
		return nil, &misuse{msg: fmt.Sprintf("%s: want true or false, not %q", word, value)} // only the global ones are not ours
	}
	return args, nil
}

// parse reads all of args and gives a pointer to the request. --help ends it.
func (f *flags) parse(args []string, getenv func(string) string) (any, error) {
	var after []string
	if i := slices.Index(args, "--"); i >= 0 {
		args, after = args[:i], args[i+1:]
	}
	if wantsHelp(args) {
		f.help = true
		return nil, nil
	}
	var words []string
	for len(args) > 0 {
		if !strings.HasPrefix(args[0], "-") || args[0] == "-" {
			words, args = append(words, args[0]), args[1:]
			continue
		}
		var err error
		if args, err = f.take(args); err != nil {
			return nil, err
		}
	}
	if err := f.place(words, after); err != nil {
		return nil, err
	}
	for _, x := range f.fields {
		name := x.Tag.Get("env")
		if name == "" || f.given[x.Name] {
			continue
		}
		if text := getenv(name); text != "" {
			if err := f.assign(x, f.in.Elem().FieldByIndex(x.Index), text); err != nil {
				return nil, prefixed(name, err)
			}
		}
	}
	return f.in.Interface(), nil
}

// place assigns the positional arguments in the order of the fields.
func (f *flags) place(words, after []string) error {
	takesAfter := slices.ContainsFunc(f.fields, func(x op.Field) bool { return x.After })
	if !takesAfter {
		words, after = append(words, after...), nil
	}
	for _, x := range f.fields {
		if x.Arg == "" {
			continue
		}
		v := f.in.Elem().FieldByIndex(x.Index)
		var mine []string
		switch {
		case x.After:
			mine = after
		case x.Rest:
			mine, words = words, nil
		case len(words) > 0:
			mine, words = words[:1], words[1:]
		case !x.Optional:
			msg := x.Arg + " is missing"
			if x.Help != "" {
				msg += ": " + x.Help
			}
			return &misuse{msg: msg}
		}
		if len(mine) > 0 && f.given[x.Name] {
			return &misuse{msg: fmt.Sprintf("%s is given twice, as %q and by --%s", x.Arg, mine[0], x.Flag)}
		}
		for _, text := range mine {
			if err := f.assign(x, v, text); err != nil {
				return prefixed(x.Arg, err)
			}
		}
	}
	if len(words) > 0 {
		return &misuse{msg: fmt.Sprintf("unexpected argument %q", words[0])}
	}
	return nil
}

func prefixed(what string, err error) error {
	var m *misuse
	if errors.As(err, &m) {
		return &misuse{msg: what + ": " + m.msg, hint: m.hint}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// failure gives the request's own say in the exit code, or nil.
func (f *flags) failure() func(int) int {
	if x, ok := f.in.Interface().(interface{ FailureCode(int) int }); ok {
		return x.FailureCode
	}
	return nil
}
