// Package platform holds the requests and answers of the platform's own operations:
// plan, apply, get, describe, delete, watch, history, rollback and why.
//
// A blueprint never reaches the platform as text: whoever applies loads and builds it,
// and sends documents. So plan and apply are for programs; the command line's
// `stoa apply DIR` is one of them.
package platform

import (
	"fmt"

	"stoa/api/core"
	"stoa/api/op"
)

// Who asked for a change, as far as the door could prove it.
type Who struct {
	Name string `json:"name,omitempty"` // a user name, or "dashboard"; "" is nobody known
	UID  int    `json:"uid"`            // of the peer on a Unix socket; -1 if there was none
	Via  string `json:"via,omitempty"`  // "cli", "http", "dashboard", "dev"
}

// WhoOf gives the caller as it is recorded.
func WhoOf(c op.Caller) Who { return Who{Name: c.Name, UID: c.UID, Via: c.Via} }

// String gives "anna (cli)", "uid 1000" or "unknown".
func (w Who) String() string {
	s := w.Name
	if s == "" && w.UID >= 0 {
		s = fmt.Sprintf("uid %d", w.UID)
	}
	switch {
	case s == "" && w.Via == "":
		return "unknown"
	case s == "":
		return w.Via
	case w.Via == "":
		return s
	}
	return s + " (" + w.Via + ")"
}

// A Revision is one apply, as the history tells it. Revisions count 1, 2, 3, without gaps.
type Revision struct {
	Revision uint64    `json:"revision"`
	At       core.Time `json:"at"`
	Who      Who       `json:"who"`
	Source   string    `json:"source,omitempty"`  // whose documents it changed; "" for several
	Message  string    `json:"message,omitempty"` // why, in the words of whoever applied
	Created  int       `json:"created,omitempty"`
	Changed  int       `json:"changed,omitempty"`
	Deleted  int       `json:"deleted,omitempty"`
	Restores uint64    `json:"restores,omitempty"` // the earlier revision a rollback brought back
	Left     uint64    `json:"left,omitempty"`     // the later revision, a rollback, that left this one behind; told by history only
}

// Last is the change a document owes its present content to.
type Last struct {
	Revision uint64    `json:"revision"`
	At       core.Time `json:"at"`
	Who      Who       `json:"who"`
}
