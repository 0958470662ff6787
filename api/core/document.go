package core

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// A Document is one declared thing: an envelope and its sections in canonical JSON.
// Documents are immutable: who changes one makes a new one (Clone).
type Document struct {
	Kind    string `json:"kind"`              // "Service"
	Name    string `json:"name"`              //
	Context string `json:"context,omitempty"` // bounded context that owns it, or ""

	// Source is who applied it, an absolute folder or a name; an apply deletes only
	// what its source applied.
	Source string `json:"source,omitempty"`
	// File is where it is written, relative to Source, with slashes; Dir(File) is what its relative paths start from.
	File string `json:"file,omitempty"`

	// Artefacts are the digests ("sha256:<64 hex>") of what was built or read from its
	// files, by role: "program", "static", "contract". They are set by whoever applies,
	// never written in a blueprint.
	Artefacts map[string]string `json:"artefacts,omitempty"`

	// Sections are the parts by name. A kind with one owner (Job) keeps its fields in the section "".
	Sections map[string]json.RawMessage `json:"sections,omitempty"`
}

// Ref gives the document's name.
func (d Document) Ref() Ref { return Ref{Kind: d.Kind, Name: d.Name} }

// Clone gives a copy whose maps can be changed.
func (d Document) Clone() Document {
	d.Artefacts = maps.Clone(d.Artefacts)
	d.Sections = maps.Clone(d.Sections)
	return d
}

// Canonical gives the one JSON text of d: sorted keys, no spaces. Two documents are
// equal if their canonical texts are.
func (d Document) Canonical() []byte {
	b, err := json.Marshal(d) // maps are sorted, raw messages compacted
	if err != nil {
		panic(fmt.Sprintf("core: document %s holds a section that is no JSON: %v", d.Ref(), err))
	}
	return b
}

// Has says whether the section name is written in d.
func (d Document) Has(section string) bool {
	_, ok := d.Sections[section]
	return ok
}

// Section is the typed name of a part of a document, stated once in the twin of the module that owns it.
// A Section with the empty Name is the body of a kind that has one owner.
type Section[T any] struct {
	Kind    string   // kind of the documents it is part of
	Name    string   // field under which it is written; "" for a body
	Help    string   // one sentence
	Default func() T // what an absent section means; nil means the zero T
}

// Of gives the section as written in d, or its default. Fields that are absent keep
// what Default gave them. A stored document always decodes, because it was checked
// when it was applied; one that does not breaks an invariant and panics.
func (s Section[T]) Of(d Document) T {
	v, err := s.Decode(d.Sections[s.Name])
	if err != nil {
		panic(fmt.Sprintf("core: section %q of %s was stored unchecked: %v", s.Name, d.Ref(), err))
	}
	return v
}

// Decode gives raw as a T on top of the default; raw may be empty.
func (s Section[T]) Decode(raw json.RawMessage) (T, error) {
	var v T
	if s.Default != nil {
		v = s.Default()
	}
	if len(raw) == 0 {
		return v, nil
	}
	err := json.Unmarshal(raw, &v)
	return v, err
}

// With gives a copy of d in which the section is v.
func (s Section[T]) With(d Document, v T) (Document, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return d, fmt.Errorf("section %q of %s: %w", s.Name, d.Ref(), err)
	}
	d = d.Clone()
	if d.Sections == nil {
		d.Sections = map[string]json.RawMessage{}
	}
	d.Sections[s.Name] = raw
	return d, nil
}

// State is every document at one revision. It is immutable and may be shared.
type State struct {
	Revision uint64
	Docs     map[Ref]Document
}

// Of gives the documents of one kind in the order of their names.
func (s State) Of(kind string) []Document {
	var refs []Ref
	for r := range s.Docs {
		if r.Kind == kind {
			refs = append(refs, r)
		}
	}
	slices.SortFunc(refs, Ref.Compare)
	docs := make([]Document, len(refs))
	for i, r := range refs {
		docs[i] = s.Docs[r]
	}
	return docs
}

// Refs gives the names of all documents, ordered.
func (s State) Refs() []Ref {
	return slices.SortedFunc(maps.Keys(s.Docs), Ref.Compare)
}

// System gives the System document, of which a state that was checked has at most one; ok
// is false while none was applied.
func (s State) System() (d Document, ok bool) {
	for r, doc := range s.Docs {
		if r.Kind == KindSystem && (!ok || r.Name < d.Name) {
			d, ok = doc, true
		}
	}
	return d, ok
}
