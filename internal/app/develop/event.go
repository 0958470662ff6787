package develop

import (
	apiblueprint "stoa/api/blueprint"
	"stoa/api/core"
)

// The kinds of events.
const (
	BuildBegan  = "build"        // Document is being built; it ends with Built or BuildFailed
	Built       = "built"        // Document was built, in Took
	BuildFailed = "build-failed" // Document does not build: Text, and Hint if there is a next step
	Held        = "held"         // the edit of Document waits, because something does not build: Text
	Applied     = "applied"      // Changes documents came into force with Revision
	Refused     = "refused"      // the blueprint has Problems, or the platform would not have it: Text, Hint, Retried
	Mended      = "mended"       // the blueprint is good again; Changes documents differ from what is in force
	Gone        = "gone"         // Document, which was being built or did not build, is no longer declared
	Settled     = "settled"      // nothing is under way any more: each build has ended, and what could be applied was
	Unwatched   = "unwatched"    // files are not watched: Text, Hint; it is tried again
	Watched     = "watched"      // files are watched again
)

// An Event is something that happened in the loop.
type Event struct {
	Kind     string                 `json:"kind"`
	At       core.Time              `json:"at"`
	Document string                 `json:"document,omitempty"` // "service/orders"
	Text     string                 `json:"text,omitempty"`
	Hint     string                 `json:"hint,omitempty"` // what to do about it, in a sentence
	Took     core.Duration          `json:"took,omitempty"`
	Revision uint64                 `json:"revision,omitempty"`
	Changes  int                    `json:"changes,omitempty"`
	Problems []apiblueprint.Problem `json:"problems,omitempty"`
	Retried  bool                   `json:"retried,omitempty"` // it passes by itself, and is tried again until it does
}
