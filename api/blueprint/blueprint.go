// Package blueprint holds the nouns of the blueprint itself: where a document stands, what
// is wrong with it, the kinds that belong to no capability (System and Context), and the
// operations that work on a folder without a platform.
package blueprint

import (
	"fmt"
	"path"
)

// FileName is the name under which a blueprint lies beside the code it describes;
// stoa.yml is read as well.
const FileName = "stoa.yaml"

// DefaultEnvironment is the environment that always exists.
const DefaultEnvironment = "dev"

// A Position is a place in a file. Line and column count from 1, the column in
// characters; 0 means that it is not known.
type Position struct {
	File   string `json:"file,omitempty"` // relative to the blueprint's folder, with slashes
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String gives file:line:column, as far as it is known.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// A Problem is one thing that is wrong with a blueprint.
type Problem struct {
	Position

	// Document is what it is in, as "service/orders"; "" if that cannot be told. It is no
	// core.Ref because the name may be what is wrong.
	Document string `json:"document,omitempty"`

	Path    string `json:"path,omitempty"` // field, from the document: "uses[0].timeout"
	Message string `json:"message"`        // what is wrong
	Hint    string `json:"hint,omitempty"` // what would be right
	Rule    string `json:"rule"`           // which rule says so; `stoa explain RULE` tells more

	Environment string `json:"environment,omitempty"` // in which alone it is wrong, "" for all
}

// String gives one line: position, document and field, message and hint.
func (p Problem) String() string {
	s := p.Position.String() + ": "
	subject := p.Document
	if subject != "" && p.Path != "" {
		subject += " "
	}
	if subject += p.Path; subject != "" {
		s += subject + ": "
	}
	s += p.Message
	if p.Environment != "" {
		s += " (in " + p.Environment + ")"
	}
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// In gives p with its file as seen from where folder dir was named, so that an editor or
// a terminal can open it.
func (p Problem) In(dir string) Problem {
	if dir != "" && dir != "." && p.File != "" && !path.IsAbs(p.File) {
		p.File = path.Join(dir, p.File)
	}
	return p
}
