// Package fault is the one error type of Stoa.
//
// An error is read by three people: the caller's code reads Kind, the user reads
// Hint, and we read Op, Subject and the cause. A fault survives the wire: the admin
// API sends it as JSON (see Wire) and the client gives back an equal *Error, so that
// a Kind decided in the platform is the Kind the command line switches on.
//
// Kinds are few and closed. Switch on kinds, never on text.
package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// A Kind says what a program may do about an error.
type Kind string

// The kinds. Anything that is not an *Error is Internal.
const (
	Invalid     Kind = "invalid"     // the request is wrong; the same request will fail again
	NotFound    Kind = "not found"   // the thing named does not exist
	Conflict    Kind = "conflict"    // it was decided on a state that has changed; read again and decide anew
	Denied      Kind = "denied"      // the caller may not
	Unavailable Kind = "unavailable" // not now; the same request may succeed later
	Exhausted   Kind = "exhausted"   // a bound was reached (disk, memory, quota)
	Unknown     Kind = "unknown"     // it may have happened
	Internal    Kind = "internal"    // a defect of ours
)

// Error is an error with what each of its readers needs. Every field but Kind may be empty.
type Error struct {
	Op      string // what was being done, as package.verb: "store.commit"
	Subject string // what it was done to: "service/orders", "examples/shop/stoa.yaml:3:7"
	Kind    Kind
	Hint    string // one imperative sentence with a command or a field that exists
	Err     error  // the cause; its text is shown
}

// Error gives subject and cause; the hint is not part of it, see HintOf.
func (e *Error) Error() string {
	var parts []string
	if e.Subject != "" {
		parts = append(parts, e.Subject)
	}
	switch {
	case e.Err != nil:
		parts = append(parts, e.Err.Error())
	default:
		parts = append(parts, string(e.Kind))
	}
	return strings.Join(parts, ": ")
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns a fault of kind k about subject with the given text.
func New(k Kind, subject, format string, args ...any) *Error {
	return &Error{Kind: k, Subject: subject, Err: fmt.Errorf(format, args...)}
}

// WithHint returns a copy of e that advises hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// KindOf gives the kind of the outermost fault in err's chain, "" for nil and
// Internal for an error that bears none.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is says whether err is a fault of kind k.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// HintOf gives the first hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// wire is the JSON form: {"error":{"kind","op","subject","message","hint"}}.
type wire struct {
	Kind    Kind   `json:"kind"`
	Op      string `json:"op,omitempty"`
	Subject string `json:"subject,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Encode gives err in its wire form. Any error can be encoded; one that bears no
// fault becomes Internal.
func Encode(err error) []byte {
	w := wire{Kind: KindOf(err), Hint: HintOf(err)}
	var e *Error
	if errors.As(err, &e) && e == err {
		w.Op, w.Subject = e.Op, e.Subject
		if e.Err != nil {
			w.Message = e.Err.Error()
		}
	} else {
		w.Message = err.Error()
	}
	b, _ := json.Marshal(struct { // strings only: cannot fail
		Error wire `json:"error"`
	}{w})
	return b
}

// Decode gives the fault that Encode wrote, or an error of its own when b is no fault.
func Decode(b []byte) (*Error, error) {
	var v struct {
		Error *wire `json:"error"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("not a fault: %w", err)
	}
	if v.Error == nil || v.Error.Kind == "" {
		return nil, errors.New("not a fault: want {\"error\":{\"kind\":...}}")
	}
	w := v.Error
	e := &Error{Op: w.Op, Subject: w.Subject, Kind: w.Kind, Hint: w.Hint}
	if w.Message != "" {
		e.Err = errors.New(w.Message)
	}
	return e, nil
}

// HTTPStatus gives the status code under which a fault of kind k travels.
func (k Kind) HTTPStatus() int {
	switch k {
	case Invalid:
		return 400
	case Denied:
		return 403
	case NotFound:
		return 404
	case Conflict:
		return 409
	case Exhausted:
		return 507
	case Unavailable:
		return 503
	case Unknown:
		return 504
	}
	return 500
}
