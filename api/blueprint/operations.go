package blueprint

import (
	"encoding/json"

	"stoa/api/op"
)

// CheckIn asks what is wrong with a blueprint.
type CheckIn struct {
	// Dir is the folder with the stoa.yaml of a System, or of a part of one; "" means the current folder.
	Dir string `json:"dir,omitempty" arg:"DIR,optional" help:"folder with the stoa.yaml of a System, or of a part of one (default: this one)"`

	// Env is the environment whose settings are laid over the blueprint; "" means each in turn.
	Env string `json:"env,omitempty" flag:"env" help:"environment to check (default: each)"`
}

// CheckOut is what was found.
type CheckOut struct {
	Dir          string    `json:"dir"`          // as asked
	Environments []string  `json:"environments"` // that were laid over
	Files        int       `json:"files"`        // read
	Documents    int       `json:"documents"`    // found in them
	Part         bool      `json:"part"`         // there is no System among them: the folder is a part of one that is applied from elsewhere
	Problems     []Problem `json:"problems"`     // ordered by file and line, those of one environment only after all others; empty means all is good
}

// ExitCode is 1 if there are problems, else 0.
func (o CheckOut) ExitCode() int {
	if len(o.Problems) > 0 {
		return 1
	}
	return 0
}

// Check reads a blueprint and tells all that is wrong with it.
var Check = op.Op[CheckIn, CheckOut]{
	Name: "check", Help: "check a blueprint and tell all that is wrong with it", Example: "stoa check examples/shop", Local: true,
}

// SchemaOut is a JSON Schema.
type SchemaOut struct {
	Schema json.RawMessage `json:"schema"` // JSON Schema 2020-12 of one document of a stoa.yaml
}

// Schema gives the JSON Schema of a blueprint document, for editors.
var Schema = op.Op[op.None, SchemaOut]{
	Name: "schema", Help: "print the JSON Schema of stoa.yaml, for editors", Example: "stoa schema > stoa.schema.json", Local: true,
}

// ExplainIn asks what a field means.
type ExplainIn struct {
	// Field is kind, section and fields with dots, or a rule; "" lists the kinds.
	Field string `json:"field,omitempty" arg:"FIELD,optional" help:"a kind, a field such as service.uses.timeout, or a rule"`
}

// An Explanation tells what may be written at a place of a blueprint, and what it means.
type Explanation struct {
	Path     string            `json:"path"`               // "service.uses.timeout"; "" for the list of kinds
	Type     string            `json:"type,omitempty"`     // "a duration", "a list of mappings"
	Help     string            `json:"help,omitempty"`     // what it means
	Required bool              `json:"required,omitempty"` // must be written
	Default  string            `json:"default,omitempty"`  // what absent means, as one would write it
	Example  string            `json:"example,omitempty"`  // as one would write it
	Valid    []string          `json:"valid,omitempty"`    // the only valid values
	Fields   []ExplanationItem `json:"fields,omitempty"`   // what may be written inside it
}

// An ExplanationItem is one line of a list of fields.
type ExplanationItem struct {
	Name     string `json:"name"`
	Type     string `json:"type,omitempty"`
	Required bool   `json:"required,omitempty"`
	Help     string `json:"help,omitempty"` // its first sentence
}

// Explain tells what a field of a blueprint means.
var Explain = op.Op[ExplainIn, Explanation]{
	Name: "explain", Help: "tell what a field of a blueprint means, its default and an example", Example: "stoa explain service.uses.timeout", Local: true,
}
