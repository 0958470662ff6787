package blueprint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"stoa/api/core"
	"stoa/internal/ground/nearest"
)

// What a ${uses:NAME.part} may ask of the service it names.
var usesParts = []string{"url", "addr", "host", "port"}

// A Sub is one substitution in the value of an environment variable.
type Sub struct {
	Text string // between the braces: "uses:inventory.url", "secret:stripe"
	Kind string // "uses" or "secret"
	Name string // of the service, or of the secret
	Part string // of a use: "url", "addr", "host" or "port"

	start, end int // in the value
}

// secretName is what a secret may be called: it may stand in a dotenv file, or be a file's name.
var secretName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// Substitutions finds the substitutions in s, which may be written in the values of env:
//
//	${uses:NAME.url}   the address of a service that is used: url, addr (host:port), host or port
//	${secret:NAME}     a secret
//	$${                a plain ${
//
// Any other ${ is an error. A $ that no brace follows is plain.
func Substitutions(s string) ([]Sub, error) {
	var subs []Sub
	for i := 0; i < len(s); {
		j := strings.Index(s[i:], "${")
		if j < 0 {
			break
		}
		start := i + j
		if start > i && s[start-1] == '$' {
			i = start + 2 // escaped
			continue
		}
		length := strings.IndexByte(s[start:], '}')
		if length < 0 {
			return nil, fmt.Errorf("${ is not closed; write $${ for a plain ${")
		}
		sub, err := parseSub(s[start+2 : start+length])
		if err != nil {
			return nil, err
		}
		sub.start, sub.end = start, start+length+1
		subs = append(subs, sub)
		i = sub.end
	}
	return subs, nil
}

func parseSub(text string) (Sub, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch kind {
	case "secret":
		if !secretName.MatchString(rest) {
			return Sub{}, fmt.Errorf("${%s}: want a secret's name, as in ${secret:stripe}", cut(text))
		}
		return Sub{Text: text, Kind: kind, Name: rest}, nil
	case "uses":
		name, part, ok := strings.Cut(rest, ".")
		if core.CheckName(name) != nil || !ok {
			return Sub{}, fmt.Errorf("${%s}: want a service and what of it, as in ${uses:inventory.url}", cut(text))
		}
		if !slices.Contains(usesParts, part) {
			return Sub{}, fmt.Errorf("${%s}: unknown part %q; %s", cut(text), part, nearest.Hint(part, usesParts))
		}
		return Sub{Text: text, Kind: kind, Name: name, Part: part}, nil
	}
	return Sub{}, fmt.Errorf("${%s} is no substitution; there are ${uses:NAME.url} and ${secret:NAME}, and $${ for a plain ${", cut(text))
}

// Expand replaces the substitutions in s by what lookup gives for their text. It fails
// if s is not valid, or lookup does not know one.
func Expand(s string, lookup func(text string) (string, bool)) (string, error) {
	subs, err := Substitutions(s)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	plain := func(t string) { b.WriteString(strings.ReplaceAll(t, "$${", "${")) }
	last := 0
	for _, sub := range subs {
		plain(s[last:sub.start])
		v, ok := lookup(sub.Text)
		if !ok {
			return "", fmt.Errorf("${%s} has no value", sub.Text)
		}
		b.WriteString(v)
		last = sub.end
	}
	plain(s[last:])
	return b.String(), nil
}
