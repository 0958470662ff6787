package cache

import (
	"strconv"
	"time"
)

// LastGood keeps the last good answers, to stand in for a failure where a route declares
// it. It asks for no freshness, and has bytes of its own, so that a busy cache cannot drive
// out what a bad day needs. Safe for concurrent use.
type LastGood struct{ shelf *shelf }

// NewLastGood returns one of the bounds; 16 MiB in total by default.
func NewLastGood(b Bounds) *LastGood { return &LastGood{newShelf(b, DefaultLastGood)} }

// Count gives how many answers there are and their bytes, for meters.
func (g *LastGood) Count() (entries int, bytes int64) { return g.shelf.count() }

// MaxKeep bounds how old a fallback may be declared to be.
const MaxKeep = 24 * time.Hour

// Wants says whether the answer is to be recorded and Kept: OK, or why not. An answer that
// is younger than a sixteenth of maxAge, at most one second, is young enough (Recent): what
// is kept warm on every success need not copy every body.
func (g *LastGood) Wants(r *Request, a *Answer, maxAge time.Duration) Why {
	if w := Keepable(r, a); w != OK {
		return w
	}
	q := r.read()
	if e, _ := g.shelf.find(r, &q); e != nil {
		if d := a.Came - e.came; d >= 0 && d < int64(min(maxAge/16, time.Second)) {
			return Recent
		}
	}
	return OK
}

// Keep keeps a finished entry that was wanted. It is OK, TooBig or Outdated.
func (g *LastGood) Keep(e *Entry) Why { return g.shelf.put(e) }

// Find gives the answer that may stand in for a failure to answer r at now, or nil: of the
// same class, as old as maxAge at most since it came from the service.
func (g *LastGood) Find(r *Request, maxAge time.Duration, now int64) *Entry {
	q := r.read()
	if q.why != OK && q.why != NoReuse {
		return nil
	}
	e, _ := g.shelf.find(r, &q)
	if e == nil || now-e.came > int64(min(maxAge, MaxKeep)) {
		return nil
	}
	return e
}

// Fallback is the value of Stoa-Fallback for an answer that stands in: "cached; age=37", in seconds.
func (e *Entry) Fallback(now int64) string {
	return "cached; age=" + strconv.FormatInt(e.Age(now)/second, 10)
}
