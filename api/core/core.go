// Package core holds the nouns that every capability shares: the name of a declared
// thing (Ref), the thing itself (Document), what was observed of it (Condition), and
// the typed name of a part of it (Section).
//
// A Document is an envelope with raw sections. Each section has one Go type, stated
// once as a Section value in the twin package of its module (api/workload,
// api/mesh, ...). Every module may read any section; one module owns it, that is,
// checks it and makes it true.
//
// Kinds are written with a capital in a blueprint (Service) and in lower case in a
// reference (service/orders).
package core

import (
	"fmt"
	"regexp"
	"strings"

	"stoa/api/fault"
)

// The kinds that the platform itself knows. Other kinds are declared by modules.
const (
	KindSystem  = "System"
	KindContext = "Context"
	KindService = "Service"
	KindJob     = "Job"
)

// A Ref names a declared thing: kind and name, unique in a System. The zero Ref names nothing.
// Its text form is kind/name with the kind in lower case: "service/orders".
type Ref struct {
	Kind string // as written in a blueprint: "Service"
	Name string // see CheckName
}

// String gives the text form.
func (r Ref) String() string { return strings.ToLower(r.Kind) + "/" + r.Name }

// IsZero says whether r names nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// Compare orders by kind, then name.
func (r Ref) Compare(o Ref) int {
	if c := strings.Compare(r.Kind, o.Kind); c != 0 {
		return c
	}
	return strings.Compare(r.Name, o.Name)
}

// MarshalText gives the text form, so that a Ref can be a JSON string or a key. That of
// the zero Ref is empty.
func (r Ref) MarshalText() ([]byte, error) {
	if r.IsZero() {
		return nil, nil
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads the text form; see ParseRef. An empty text is the zero Ref.
func (r *Ref) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*r = Ref{}
		return nil
	}
	p, err := ParseRef(string(b))
	if err == nil {
		*r = p
	}
	return err
}

// ParseRef reads kind/name. The kind may be in any case and is given back with a
// capital; whether such a kind exists is for the catalog to say.
func ParseRef(s string) (Ref, error) {
	kind, name, ok := strings.Cut(s, "/")
	if !ok || kind == "" || name == "" {
		return Ref{}, fault.New(fault.Invalid, s, "want kind/name, as in service/orders")
	}
	if err := CheckName(name); err != nil {
		return Ref{}, err
	}
	return Ref{Kind: CanonicalKind(kind), Name: name}, nil
}

// CanonicalKind gives kind with a capital first letter and the rest in lower case.
func CanonicalKind(kind string) string {
	if kind == "" {
		return ""
	}
	return strings.ToUpper(kind[:1]) + strings.ToLower(kind[1:])
}

// MaxName is the longest name, in bytes. A name is a DNS label (RFC 1123, 2.1), so
// that it can stand in a host name, an environment variable and a file name.
const MaxName = 63

var name = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)

// CheckName says what is wrong with s as a name, or nil.
func CheckName(s string) error {
	if len(s) > MaxName || !name.MatchString(s) {
		return fault.New(fault.Invalid, s, "want a name of lower-case letters, digits and inner hyphens that begins with a letter, at most %d bytes", MaxName)
	}
	return nil
}

// A Status is what is known of a condition.
type Status string

const (
	True    Status = "true"
	False   Status = "false"
	Pending Status = "pending" // on its way: neither true nor failed yet
)

// A Condition is one observed fact about a declared thing. It is observed, never
// declared, and never makes a revision.
type Condition struct {
	Type     string   `json:"type"`               // what it is about: "Ready", "Built"
	Status   Status   `json:"status"`             //
	Reason   string   `json:"reason"`             // one word from the closed list of the type's module: "CrashLoop"
	Message  string   `json:"message,omitempty"`  // one sentence for a person
	Hint     string   `json:"hint,omitempty"`     // one imperative sentence: what to do next
	Evidence []string `json:"evidence,omitempty"` // what it rests on, at most MaxEvidence lines: last output, a probe's answer
	Since    Time     `json:"since"`              // when status or reason last changed
	Revision uint64   `json:"revision,omitempty"` // the revision it was observed against
}

// MaxEvidence is the most lines of evidence a condition keeps; more are cut from the front.
const MaxEvidence = 20

// Same says whether c and o state the same, whenever they were observed.
func (c Condition) Same(o Condition) bool {
	return c.Type == o.Type && c.Status == o.Status && c.Reason == o.Reason && c.Message == o.Message && c.Revision == o.Revision
}

// String gives "Ready false CrashLoop: message".
func (c Condition) String() string {
	s := fmt.Sprintf("%s %s %s", c.Type, c.Status, c.Reason)
	if c.Message != "" {
		s += ": " + c.Message
	}
	return s
}
