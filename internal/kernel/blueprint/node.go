package blueprint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	api "stoa/api/blueprint"
)

// broken is the kind of a node that vet has refused: what it holds is not looked at, and
// it has been reported.
const broken yaml.Kind = 0

// spoiled is put in the place of the anchor of a mapping from which vet has taken a
// field: it is no longer whole.
const spoiled = "\x00"

// A parsed file is a file as nodes: one per document that could be parsed, and the name
// of each that could not, as far as it can be guessed.
type parsed struct {
	file *file
	docs []root
	lost []lost
}

// A root is the root node of a document.
type root struct {
	node *yaml.Node
	line int // lines of the file before the text that node counts from
}

// A lost document could not be parsed.
type lost struct{ kind, name string }

// isSystem says whether the file holds a System.
func (p parsed) isSystem() bool {
	for _, r := range p.docs {
		if k := child(r.node, "kind"); k != nil && k.Value == "System" {
			return true
		}
	}
	for _, d := range p.lost {
		if d.kind == "System" {
			return true
		}
	}
	return false
}

// parse reads a file, unless it was read before. Problems of syntax are held back in a
// loader of their own until the file is taken, since it may turn out to be another
// system's; see take.
func (l *loader) parse(path string) (p parsed, fresh bool) {
	if l.once(path) {
		return p, false
	}
	p.file = &file{path: path, rel: l.rel(path)}
	bad := func(line, col int, rule, msg, hint string) {
		p.file.held = append(p.file.held, api.Problem{
			Position: api.Position{File: p.file.rel, Line: line, Column: col}, Rule: rule, Message: msg, Hint: hint,
		})
	}
	b, err := readFile(path)
	switch {
	case errors.Is(err, errTooLarge):
		bad(0, 0, RuleLimit, "is larger than 1 MiB", "split it: every folder may have a "+api.FileName)
	case err != nil:
		bad(0, 0, RuleInclude, "cannot be read: "+cause(err), "")
	case l.bytes+int64(len(b)) > maxTotalBytes:
		bad(0, 0, RuleLimit, "the files of the blueprint are larger than 32 MiB together", "split the system")
	}
	if len(p.file.held) > 0 {
		p.lost = append(p.lost, lost{})
		return p, true
	}
	l.bytes += int64(len(b))
	if at, what, hint := badByte(b); at >= 0 {
		line, col := lineCol(b, at)
		bad(line, col, RuleSyntax, what, hint)
		p.lost = append(p.lost, lost{})
		return p, true
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	chunks := split(b)
	if n := marks(b); n > maxMarks || len(chunks) > maxDocuments {
		bad(0, 0, RuleLimit, fmt.Sprintf("holds too much: %d characters of structure in %d documents, at most %d in %d are read", n, len(chunks), maxMarks, maxDocuments), "split it: every folder may have a "+api.FileName)
		p.lost = append(p.lost, lost{})
		return p, true
	}
	for _, c := range chunks {
		if blank(c.text) {
			continue
		}
		nodes, err := compose(c.text)
		for _, n := range nodes {
			v := vet{line: c.line, bad: bad}
			v.node(n, 0)
			if l.nodes += v.nodes; l.nodes > maxNodes {
				bad(n.Line+c.line, n.Column, RuleLimit, fmt.Sprintf("the blueprint holds more than %d values", maxNodes), "split the system")
				p.lost = append(p.lost, lost{})
				return p, true
			}
			p.docs = append(p.docs, root{n, c.line})
		}
		if err != nil {
			line, col, msg, hint := explainSyntax(err, c.text)
			bad(line+c.line, col, RuleSyntax, msg, hint)
			kind, name := guess(c.text)
			p.lost = append(p.lost, lost{kind, name})
		}
	}
	return p, true
}

// lineCol gives the line and column, from 1, of byte at.
func lineCol(b []byte, at int) (line, col int) {
	before := b[:at]
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
}

// blank says whether a chunk holds no document at all.
func blank(b []byte) bool {
	for i, line := range bytes.Split(b, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if i == 0 && isMarker(line) {
			line = bytes.TrimSpace(line[3:])
		}
		if len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}

// compose gives the documents of a chunk: one, or more when ... ends one within it.
// What precedes an error is given too.
func compose(b []byte) (nodes []*yaml.Node, err error) {
	defer func() { // the parser panics on some inputs that it should refuse
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot be parsed: %v", r)
		}
	}()
	l, err := yaml.NewLoader(bytes.NewReader(b), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		return nil, err
	}
	for {
		var n yaml.Node
		if err := l.Load(&n); err == io.EOF {
			return nodes, nil
		} else if err != nil {
			return nodes, err
		}
		d := &n
		if n.Kind == yaml.DocumentNode {
			if len(n.Content) == 0 {
				continue
			}
			d = n.Content[0]
		}
		if d.Kind == yaml.ScalarNode && d.Value == "" && d.Style == 0 && d.Tag == "!!null" {
			continue // an empty document
		}
		nodes = append(nodes, d)
	}
}

// explainSyntax gives position and text of a parser's error in our words.
func explainSyntax(err error, text []byte) (line, col int, msg, hint string) {
	msg = err.Error()
	var le *yaml.LoadError
	if errors.As(err, &le) {
		line, col, msg = le.Mark.Line, le.Mark.Column, le.Message
		if le.ContextMsg != "" {
			msg += " " + le.ContextMsg
			if m := le.ContextMark; m.Line > 0 && m.Line != le.Mark.Line {
				msg += " that begins " + above(le.Mark.Line-m.Line)
			}
		}
	}
	if line < 1 {
		line, col = 1, 1
	}
	lines := strings.SplitN(string(text), "\n", line+1)
	switch at := lines[min(line, len(lines))-1]; {
	case strings.Contains(msg, "max depth"):
		return line, col, fmt.Sprintf("is nested deeper than %d", maxDepth), ""
	case strings.HasPrefix(strings.TrimLeft(at, " "), "\t"):
		hint = "indent with blanks, not with tabs"
	case strings.HasPrefix(at, "%"):
		return line, col, "directives are not read here", "delete the line"
	case strings.Contains(msg, "mapping values are not allowed"):
		hint = "quote the text that holds a colon and a blank, or mend the indentation"
	case strings.Contains(msg, "cannot start any token"):
		hint = "quote the text"
	case strings.Contains(msg, "unknown anchor"):
		msg, hint = "aliases are not read here", "write the value out"
	}
	return line, col, msg, hint
}

// These find kind and name of a document that cannot be parsed.
var (
	kindLine = regexp.MustCompile(`(?m)^(?:--- +)?["']?kind["']?\s*:\s*["']?([A-Za-z]+)`)
	nameLine = regexp.MustCompile(`(?m)^["']?name["']?\s*:\s*["']?([^\s"'#,]+)`)
)

// guess gives what seem to be kind and name of a document's text.
func guess(b []byte) (kind, name string) {
	if m := kindLine.FindSubmatch(b); m != nil {
		kind = string(m[1])
	}
	if m := nameLine.FindSubmatch(b); m != nil {
		name = string(m[1])
	}
	return kind, name
}

// A vet refuses what YAML has and a blueprint has not, wherever it stands.
type vet struct {
	line  int
	nodes int
	bad   func(line, col int, rule, msg, hint string)
}

// node vets n and what is below it. What it refuses becomes broken.
func (v *vet) node(n *yaml.Node, depth int) {
	v.nodes++
	refuse := func(msg, hint string) {
		v.bad(n.Line+v.line, n.Column, RuleSyntax, msg, hint)
		n.Kind, n.Content, n.Alias = broken, nil, nil
	}
	if n.Anchor != "" {
		v.bad(n.Line+v.line, n.Column, RuleSyntax, fmt.Sprintf("anchors (&%s) are not read here", n.Anchor), "write the value out where it is needed")
		n.Anchor = "" // the value itself is good
	}
	switch {
	case depth > maxDepth:
		refuse(fmt.Sprintf("is nested deeper than %d", maxDepth), "")
	case n.Kind == yaml.AliasNode:
		refuse(fmt.Sprintf("aliases (*%s) are not read here", n.Value), "write the value out")
	case n.Style&yaml.TaggedStyle != 0 || n.Tag == "!":
		hint := "delete the tag"
		if n.Kind == yaml.ScalarNode {
			hint += "; quote what must be a text"
		}
		refuse(fmt.Sprintf("tags (%s) are not read here", n.Tag), hint)
	case n.Kind == yaml.MappingNode:
		pairs := n.Content[:0:len(n.Content)]
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, val := n.Content[i], n.Content[i+1]
			v.node(val, depth+1)
			at := func(msg, hint string) {
				v.bad(k.Line+v.line, k.Column, RuleSyntax, msg, hint)
				n.Anchor = spoiled
			}
			switch {
			case k.Kind != yaml.ScalarNode:
				at("a field's name must be a text", "")
			case k.Value == "<<" && k.Style == 0:
				at("merge keys (<<) are not read here", "write the fields out")
			case k.Style&yaml.TaggedStyle != 0 || k.Anchor != "":
				at("tags and anchors are not read here", "delete it")
			default:
				pairs = append(pairs, k, val)
			}
		}
		n.Content = pairs
	case n.Kind == yaml.SequenceNode:
		for _, c := range n.Content {
			v.node(c, depth+1)
		}
	}
}

// child gives the value of a field of mapping n, or nil.
func child(n *yaml.Node, name string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}
