package platform

import (
	"fmt"

	"stoa/api/core"
)

// What an apply does to a document.
const (
	Created = "created"
	Changed = "changed"
	Deleted = "deleted"
	Same    = "same"
)

// A Plan says what an apply would do, before it does it.
type Plan struct {
	Revision uint64   `json:"revision"`         // the state it was made on
	Source   string   `json:"source,omitempty"` // whose documents are applied
	Restores uint64   `json:"restores,omitempty"`
	Changes  []Change `json:"changes"` // of every document of the source, ordered by ref
	Touches  []Touch  `json:"touches,omitempty"`

	// Problems are why it cannot be applied. They are complete, unless documents do not
	// even have the right shape: then only that is told.
	Problems []Problem `json:"problems,omitempty"`
	// Taken are documents that belong to another source; it cannot be applied unless
	// they are taken over.
	Taken []Taken `json:"taken,omitempty"`

	// Reads are the documents the plan rests on by ref, with the revision of their last change,
	// 0 for one that is not there. An apply that is given them is refused if any has
	// changed since.
	Reads map[string]uint64 `json:"reads,omitempty"`
}

// Counts gives how many documents would be created, changed and deleted.
func (p Plan) Counts() (created, changed, deleted int) {
	for _, c := range p.Changes {
		switch c.Action {
		case Created:
			created++
		case Changed:
			changed++
		case Deleted:
			deleted++
		}
	}
	return created, changed, deleted
}

// Empty says whether nothing is to be done.
func (p Plan) Empty() bool {
	a, b, c := p.Counts()
	return a+b+c == 0
}

// A Change is what an apply does to one document.
type Change struct {
	Ref     core.Ref `json:"ref"`
	Action  string   `json:"action"`            // Created, Changed, Deleted or Same
	Fields  []Field  `json:"fields,omitempty"`  // of a changed one, at most MaxFields
	More    int      `json:"more,omitempty"`    // fields beyond that
	Touches []Touch  `json:"touches,omitempty"` // what it does to what runs
}

// MaxFields is how many changed fields of one document a plan lists.
const MaxFields = 50

// A Field is one changed value of a document. An absent value is "", an empty text is `""`.
type Field struct {
	Path string `json:"path"` // "uses[0].timeout", "artefacts.program"
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// A Touch is one thing that a change does to what runs.
type Touch struct {
	Ref    core.Ref `json:"ref"`
	Effect string   `json:"effect"` // "restart", "reload", "route", "data", "none"
	Text   string   `json:"text"`   // "cart and web call it; no restart"
}

// A Problem is one reason why documents cannot be applied.
type Problem struct {
	Ref     core.Ref `json:"ref"`
	Path    string   `json:"path,omitempty"` // from the document: "uses[0].timeout"
	Message string   `json:"message"`
	Hint    string   `json:"hint,omitempty"`
}

// String gives "service/orders uses[0].service: there is no Service "x"; did you mean y?".
func (p Problem) String() string {
	s := p.Ref.String()
	if p.Path != "" {
		s += " " + p.Path
	}
	s += ": " + p.Message
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// Taken is a document that another source has applied.
type Taken struct {
	Ref   core.Ref `json:"ref"`
	Owner string   `json:"owner"` // source it belongs to
}

// String gives "service/orders belongs to /home/anna/shop".
func (t Taken) String() string { return fmt.Sprintf("%s belongs to %s", t.Ref, t.Owner) }
