package platform

import (
	"stoa/api/core"
	"stoa/api/op"
)

// The operations.
var (
	PlanOp = op.Op[PlanIn, Plan]{Name: "plan", Help: "say what an apply would do",
		Example: "stoa plan examples/shop"}
	ApplyOp = op.Op[ApplyIn, Applied]{Name: "apply", Help: "make documents the declared state",
		Example: "stoa apply examples/shop", Effect: op.Write}
	GetOp = op.Op[GetIn, GetOut]{Name: "get", Help: "show documents as they are applied",
		Example: "stoa get service/orders"}
	DescribeOp = op.Op[DescribeIn, Described]{Name: "describe", Help: "show a document, what is observed of it, and who applied it",
		Example: "stoa describe service/orders"}
	DeleteOp = op.Op[DeleteIn, Applied]{Name: "delete", Help: "remove documents that no other refers to",
		Example: "stoa delete service/orders --yes", Effect: op.Destroy}
	WatchOp = op.Op[WatchIn, Seen]{Name: "watch", Help: "follow changes of documents and of what is observed of them",
		Example: "stoa watch service/orders"}
	HistoryOp = op.Op[HistoryIn, History]{Name: "history", Help: "list the revisions: who applied what, when and why",
		Example: "stoa history"}
	RollbackOp = op.Op[RollbackIn, Applied]{Name: "rollback", Help: "bring back the documents and artefacts of an earlier revision",
		Example: "stoa rollback 41", Effect: op.Write}
	WhyOp = op.Op[WhyIn, Why]{Name: "why", Help: "tell the last changes of state, with their evidence",
		Example: "stoa why orders"}
)

// PlanIn asks for a plan. Documents are all that the source declares: what it applied
// before and is not among them would be deleted.
type PlanIn struct {
	Source    string          `json:"source"`             // absolute folder, or a name
	Documents []core.Document `json:"documents"`          //
	TakeOver  bool            `json:"takeOver,omitempty"` // documents of other sources that are named change hands
}

// ApplyIn asks for an apply. What the artefacts' digests name must be stored before.
type ApplyIn struct {
	Source    string          `json:"source"`
	Documents []core.Document `json:"documents"`
	TakeOver  bool            `json:"takeOver,omitempty"`
	Message   string          `json:"message,omitempty"` // why, for the history

	// Reads are those of the plan that was agreed to: the apply is refused as a conflict
	// if any of them has changed since. Absent: whatever the state is now is agreed to.
	Reads map[string]uint64 `json:"reads,omitempty"`
}

// Applied is what was done.
type Applied struct {
	Revision uint64 `json:"revision"` // now in force
	Done     bool   `json:"done"`     // whether it made that revision; false: there was nothing to do, or only a plan was asked for
	OnlyPlan bool   `json:"onlyPlan,omitempty"`
	Plan     Plan   `json:"plan"`
}

// GetIn asks for documents.
type GetIn struct {
	What     string `json:"what,omitempty" arg:"KIND|KIND/NAME,optional" help:"a kind or one document; absent: all"`
	Revision uint64 `json:"revision,omitempty" flag:"revision" help:"as they were at this revision"`
}

// GetOut holds the documents asked for, ordered by kind and name.
type GetOut struct {
	Revision  uint64  `json:"revision"`       // the state they are of
	Name      string  `json:"name,omitempty"` // set when one document was asked for
	Documents []Found `json:"documents"`
}

// Found is one document.
type Found struct {
	Document   core.Document    `json:"document"`
	Last       Last             `json:"last"`
	Conditions []core.Condition `json:"conditions,omitempty"` // as observed now; none for an earlier revision
}

// DescribeIn names a document.
type DescribeIn struct {
	What string `json:"what" arg:"KIND/NAME" help:"a document; a name alone is a service"`
}

// Described is all there is to say of a document.
type Described struct {
	Found
	Change      *Revision    `json:"change,omitempty"` // the revision of its last change, while it is kept
	Transitions []Transition `json:"transitions,omitempty"`
}

// A Transition is one change of a condition. From is absent when the condition was new,
// To when it was withdrawn.
type Transition struct {
	At   core.Time       `json:"at"`
	From *core.Condition `json:"from,omitempty"`
	To   *core.Condition `json:"to,omitempty"`
}

// DeleteIn names documents.
type DeleteIn struct {
	What    []string `json:"what" arg:"KIND/NAME,rest" help:"documents to remove"`
	Message string   `json:"message,omitempty" flag:"message,m" help:"why, for the history"`
}

// WatchIn asks to follow.
type WatchIn struct {
	What string `json:"what,omitempty" arg:"KIND|KIND/NAME,optional" help:"a kind or one document; absent: all"`
	From uint64 `json:"from,omitempty" flag:"from" help:"first tell the changes after this revision"`
}

// What a Seen is about.
const (
	SeenDocument  = "document"  // Ref was Created, Changed or Deleted
	SeenCondition = "condition" // Condition is what is observed of Ref now
	SeenWithdrawn = "withdrawn" // Condition is no longer observed
	SeenReset     = "reset"     // changes before Revision are no longer kept: read anew (get)
)

// Seen is one thing that a watch tells: first every condition there is, then what changes.
type Seen struct {
	About     string          `json:"about"`
	Ref       core.Ref        `json:"ref"`
	At        core.Time       `json:"at"`
	Revision  uint64          `json:"revision,omitempty"` // of a change of a document
	Action    string          `json:"action,omitempty"`   // Created, Changed or Deleted
	Who       *Who            `json:"who,omitempty"`
	Message   string          `json:"message,omitempty"`
	Document  *core.Document  `json:"document,omitempty"` // as it is now; absent when deleted
	Condition *core.Condition `json:"condition,omitempty"`
}

// HistoryIn bounds the list.
type HistoryIn struct {
	Limit  int    `json:"limit,omitempty" flag:"limit,n" help:"at most this many revisions (20)"`
	Source string `json:"source,omitempty" flag:"source" help:"only applies of this source"`
}

// History is the list, newest first.
type History struct {
	Revisions []Revision `json:"revisions"`
	More      bool       `json:"more,omitempty"` // whether older ones are kept
}

// RollbackIn asks for an earlier revision.
type RollbackIn struct {
	To       uint64 `json:"to,omitempty" arg:"REVISION,optional" flag:"to" help:"revision to bring back (default: the one before the last apply that was not rolled back)"`
	Source   string `json:"source,omitempty" flag:"source" help:"only the documents of this source"`
	Message  string `json:"message,omitempty" flag:"message,m" help:"why, for the history"`
	OnlyPlan bool   `json:"onlyPlan,omitempty" flag:"plan" help:"only say what it would do"`
}

// WhyIn names what to explain.
type WhyIn struct {
	What string `json:"what" arg:"SERVICE|KIND/NAME" help:"a document; a name alone is a service"`
}

// Why tells how something came to be as it is.
type Why struct {
	Ref         core.Ref         `json:"ref"`
	Conditions  []core.Condition `json:"conditions,omitempty"`  // now
	Transitions []Transition     `json:"transitions,omitempty"` // oldest first
	Change      *Revision        `json:"change,omitempty"`      // the revision of its last change, while it is kept
}
