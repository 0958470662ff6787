package host

import (
	"fmt"
	"slices"
	"strings"

	"stoa/api/core"
	"stoa/internal/ground/nearest"
)

// A Finding is one thing that is wrong with a document.
type Finding struct {
	Ref  core.Ref
	Path string // from the document: "uses[0].timeout", "" for the whole
	Msg  string // what is wrong, and which rule says so
	Hint string // what would be right; may be empty

	Dangling bool // it refers to a document that is not in the state (Exists)
}

// MaxFindings is the most findings that are collected; what a check finds beyond them
// is dropped, since nobody reads on and a hostile document could hold millions.
const MaxFindings = 1000

// maxNear is the number of findings up to which a dangling name is compared with all
// that exist: a thousand such comparisons with ten thousand names would take seconds.
const maxNear = 100

// A Checker collects what is wrong with one section of one document. Checks see the
// whole state that would be in force.
type Checker struct {
	Doc     core.Document // whose section is checked
	State   core.State    // all documents as they would be
	Section string        // name of the section

	findings *[]Finding
	once     map[string]any // see Once; nil shares nothing
}

// NewChecker returns a checker that appends to findings.
func NewChecker(doc core.Document, state core.State, section string, findings *[]Finding) *Checker {
	return &Checker{Doc: doc, State: state, Section: section, findings: findings}
}

// Sharing gives k with what Once keeps for every check of one state.
func (k *Checker) Sharing(once map[string]any) *Checker {
	k.once = once
	return k
}

// Once gives what f makes of the whole state, and calls f for the first check that asks
// only: a check that looked at every document for each document would take minutes on a
// thousand of them. key begins with the module's name.
func Once[T any](k *Checker, key string, f func() T) T {
	if v, ok := k.once[key]; ok {
		return v.(T)
	}
	v := f()
	if k.once != nil {
		k.once[key] = v
	}
	return v
}

// Bad reports that the field at path, relative to the section ("[0].timeout", "steps[2].call", ""
// for the section itself), is wrong.
func (k *Checker) Bad(path, msg, hint string) {
	if len(*k.findings) >= MaxFindings {
		return
	}
	*k.findings = append(*k.findings, Finding{Ref: k.Doc.Ref(), Path: JoinPath(k.Section, path), Msg: msg, Hint: hint})
}

// Exists reports a dangling reference: no document of that kind and name is in the
// state. The nearest name is offered. It says whether the document is there.
func (k *Checker) Exists(path, kind, name string) bool {
	if _, ok := k.State.Docs[core.Ref{Kind: kind, Name: name}]; ok {
		return true
	}
	n, hint := len(*k.findings), ""
	if n < maxNear {
		var names []string
		for r := range k.State.Docs {
			if r.Kind == kind {
				names = append(names, r.Name)
			}
		}
		slices.Sort(names)
		hint = nearest.Hint(name, names)
	}
	k.Bad(path, fmt.Sprintf("there is no %s %q", kind, name), hint)
	for i := n; i < len(*k.findings); i++ {
		(*k.findings)[i].Dangling = true
	}
	return false
}

// OneOf reports a value that is not among the valid ones and says whether it is.
func (k *Checker) OneOf(path, value string, valid ...string) bool {
	if slices.Contains(valid, value) {
		return true
	}
	k.Bad(path, fmt.Sprintf("%q is not valid here", value), nearest.Hint(value, valid))
	return false
}

// JoinPath joins a section's name and a path inside it.
func JoinPath(section, path string) string {
	if section == "" || path == "" || strings.HasPrefix(path, "[") {
		return section + path
	}
	return section + "." + path
}
