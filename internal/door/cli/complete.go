package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/op"
)

const (
	hiddenComplete = "__complete"
	// completeTime bounds how long a person who presses TAB waits for the platform.
	completeTime = 300 * time.Millisecond
	maxOffers    = 500
)

// complete prints what the last of words may become, one a line, a tab and its help
// after it where there is one. It never fails and says nothing else: a shell is reading.
func (a *app) complete(ctx context.Context, s *Session, words []string) {
	s.Stderr = io.Discard // a person is typing
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	for i, o := range a.offers(ctx, s, words[:len(words)-1], last) {
		if i == maxOffers {
			return
		}
		if strings.HasPrefix(o.text, last) {
			fmt.Fprintln(a.env.Stdout, plainText(strings.TrimSuffix(o.text+"\t"+strings.ReplaceAll(o.help, "\n", " "), "\t")))
		}
	}
}

type offer struct{ text, help string }

func (a *app) offers(ctx context.Context, s *Session, before []string, last string) []offer {
	if slices.Contains(before, "--") {
		return nil // another program's words
	}
	global := newFlags(s, nil, nil)
	for len(before) > 0 && strings.HasPrefix(before[0], "-") {
		rest, err := global.take(before)
		if err != nil {
			return nil
		}
		before = rest
	}
	helping := len(before) > 0 && before[0] == "help"
	if helping {
		before = before[1:]
	}
	c, args, err := a.find(before)
	more := a.verbs(before)
	if err != nil || helping {
		if len(before) == 0 && !helping {
			more = append(more, offer{"help", "show what a command does"})
			if strings.HasPrefix(last, "-") {
				more = flagOffers(global, nil)
			}
		}
		return more
	}
	if len(args) > 0 {
		more = nil // the verb is complete
	}
	fs := newFlags(s, &c, nil)
	n := 0 // arguments given so far
	for len(args) > 0 {
		if !strings.HasPrefix(args[0], "-") {
			n, args = n+1, args[1:]
			continue
		}
		if len(args) == 1 && needsValue(fs, args[0]) {
			return a.values(ctx, s, fieldOfFlag(fs, args[0]))
		}
		rest, err := fs.take(args)
		if err != nil {
			rest = args[1:] // half-typed or broken: what follows can still be helped
		}
		args = rest
	}
	if strings.HasPrefix(last, "-") {
		return flagOffers(fs, fs.fields)
	}
	for _, f := range fs.fields {
		if f.Arg == "" || f.After {
			continue
		}
		if n == 0 || f.Rest {
			return append(more, a.values(ctx, s, f)...)
		}
		n--
	}
	return more
}

// verbs gives the words that may follow words.
func (a *app) verbs(words []string) []offer {
	var out []offer
	for _, c := range a.table {
		w := strings.Fields(c.Name)
		if len(w) <= len(words) || !slices.Equal(w[:len(words)], words) {
			continue
		}
		o := offer{text: w[len(words)]}
		if len(w) == len(words)+1 {
			o.help = c.Help
		}
		if i := slices.IndexFunc(out, func(x offer) bool { return x.text == o.text }); i < 0 {
			out = append(out, o)
		}
	}
	return out
}

func flagOffers(fs *flags, fields []op.Field) []offer {
	var out []offer
	for _, f := range fields {
		if f.Flag != "" {
			out = append(out, offer{"--" + f.Flag, f.Help})
		}
	}
	for _, g := range globals {
		name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(g[0]), "-h, "), " ")
		out = append(out, offer{name, g[1]})
	}
	return out
}

func needsValue(fs *flags, word string) bool {
	if strings.Contains(word, "=") {
		return false
	}
	f := fs.set.Lookup(strings.TrimLeft(word, "-"))
	if f == nil {
		return false
	}
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return !ok || !b.IsBoolFlag()
}

func fieldOfFlag(fs *flags, word string) op.Field {
	if f := fs.set.Lookup(strings.TrimLeft(word, "-")); f != nil {
		if v, ok := f.Value.(*fieldValue); ok {
			return v.field
		}
	}
	return op.Field{Type: reflect.TypeFor[string]()}
}

// values gives the values that a field may take, as far as they are known: those of an enum,
// kinds and names that the platform knows now, commands.
func (a *app) values(ctx context.Context, s *Session, f op.Field) []offer {
	var out []offer
	if e := f.Tag.Get("enum"); e != "" {
		for _, v := range strings.Split(e, ",") {
			out = append(out, offer{text: v})
		}
		return out
	}
	if f.Type == reflect.TypeFor[core.Ref]() || f.Arg == "KIND/NAME" {
		for _, r := range a.known(ctx, s) {
			out = append(out, offer{text: r.String()})
		}
		if out == nil {
			for _, k := range kindsOf(a.o.Catalog) {
				out = append(out, offer{text: k + "/"})
			}
		}
		return out
	}
	kind := core.CanonicalKind(f.Arg)
	if f.Arg == "" {
		kind = core.CanonicalKind(f.Name)
	}
	if slices.Contains(kindsOf(a.o.Catalog), strings.ToLower(kind)) {
		for _, r := range a.known(ctx, s) {
			if r.Kind == kind {
				out = append(out, offer{text: r.Name})
			}
		}
	}
	return out
}

// known asks the platform, if it answers at once, for what it knows: whatever its
// operation get lists with a ref, or a kind and a name.
func (a *app) known(ctx context.Context, s *Session) []core.Ref {
	if a.o.Catalog == nil {
		return nil
	}
	x, ok := a.o.Catalog.Operation("get")
	if !ok || x.Stream != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	c, err := s.Client(ctx)
	if err != nil {
		return nil
	}
	var answer json.RawMessage
	if err := c.Do(ctx, x.Name, x.Effect, reflect.Zero(x.In).Interface(), &answer); err != nil {
		return nil
	}
	var v any
	if json.Unmarshal(answer, &v) != nil {
		return nil
	}
	var refs []core.Ref
	collect(v, 0, &refs)
	slices.SortFunc(refs, core.Ref.Compare)
	return slices.Compact(refs)
}

// collect finds references in decoded JSON. It looks four levels deep: deeper lie the
// documents' own contents.
func collect(v any, depth int, refs *[]core.Ref) {
	if depth > 4 {
		return
	}
	switch x := v.(type) {
	case []any:
		for _, e := range x {
			collect(e, depth+1, refs)
		}
	case map[string]any:
		text, _ := x["ref"].(string)
		if kind, ok := x["kind"].(string); ok && text == "" {
			name, _ := x["name"].(string)
			text = kind + "/" + name
		}
		if r, err := core.ParseRef(text); err == nil {
			*refs = append(*refs, r)
			return
		}
		for _, e := range x {
			collect(e, depth+1, refs)
		}
	}
}

// completionIn names a shell.
type completionIn struct {
	Shell string `json:"shell" arg:"SHELL" help:"the shell to complete in" enum:"bash,zsh,fish"`
}

func completion(_ context.Context, s *Session, in completionIn) error {
	_, err := io.WriteString(s.Stdout, scripts[in.Shell])
	return err
}

// scripts ask this program at each TAB, so that they never go stale. Where it offers
// nothing the shell offers files.
var scripts = map[string]string{
	"bash": `# bash completion of stoa. Use it: source <(stoa completion bash)
_stoa() {
	local line
	COMPREPLY=()
	while IFS= read -r line; do
		COMPREPLY+=("${line%%$'\t'*}")
	done < <(stoa ` + hiddenComplete + ` "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
	if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]]; then
		compopt -o nospace 2>/dev/null
	fi
}
complete -o default -F _stoa stoa
`,
	"zsh": `#compdef stoa
# zsh completion of stoa. Use it: source <(stoa completion zsh)
_stoa() {
	local -a offers
	local line text help
	while IFS= read -r line; do
		text="${line%%$'\t'*}"
		help=""
		[[ "$line" == *$'\t'* ]] && help="${line#*$'\t'}"
		offers+=("${text//:/\\:}${help:+:$help}")
	done < <(stoa ` + hiddenComplete + ` "${(@)words[2,CURRENT]}" 2>/dev/null)
	if (( ${#offers} )); then
		_describe stoa offers
	else
		_files
	fi
}
compdef _stoa stoa
`,
	"fish": `# fish completion of stoa. Use it: stoa completion fish | source
function __stoa_complete
	set -l words (commandline -opc) (commandline -ct)
	set -l offers (stoa ` + hiddenComplete + ` $words[2..-1] 2>/dev/null)
	if test (count $offers) -gt 0
		printf '%s\n' $offers
	else
		__fish_complete_path (commandline -ct)
	end
end
complete -c stoa -f -a '(__stoa_complete)'
`,
}
