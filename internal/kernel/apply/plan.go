// Package apply decides what an apply will do.
//
// A plan is a pure function of the state, the documents that are to be in force, and
// the catalog:
//
//	documents of a source --+--> shape (Strict) --> state after --> checks --> effects
//	state before -----------+        |                               |           |
//	                                 +-- problems, all at once ------+       touches
//
// An apply belongs to a source. It deletes only what its source applied and is not
// among the documents any more; a document of another source is left alone. If the
// documents name it too, it is left alone as long as they say the same of it (two folders
// may hold the same System), and a conflict when they do not.
//
// What is planned is exactly what is committed: Puts and Deletes go into one commit,
// Reads say what they rest on. A rollback is a plan like any other, its documents come
// from an earlier revision (Restore).
package apply

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/platform"
	"stoa/internal/kernel/host"
)

// A Planner makes plans. Its funcs are pure, or read what never changes; they may be nil.
type Planner struct {
	Catalog *host.Catalog // whose effects are asked; nil means none

	// Strict says what is wrong with the shape of one document: an unknown kind, section
	// or field, a wrong type. Only documents without a finding are shown to Check and to
	// the catalog's effects, which may therefore decode every section.
	Strict func(core.Document) []host.Finding

	// Check says what is wrong with the whole state that would be in force.
	Check func(core.State) []host.Finding

	// HasArtefact says whether the platform holds the file with that digest.
	HasArtefact func(digest string) bool
}

// Scope says whose apply it is.
type Scope struct {
	Source   string // an absolute folder or a name; it owns the documents
	TakeOver bool   // documents of other sources that are named too change hands
}

// A Plan is what is told of an apply, and what is committed for it.
type Plan struct {
	platform.Plan

	After   core.State
	Puts    []core.Document // created and changed ones, ordered by ref
	Deletes []core.Ref      // ordered
	Reads   []core.Ref      // documents the plan rests on, there or not; Plan.Reads is for the caller to fill
}

// Plan says what it would do to before if docs, and no others, were the documents of
// the scope's source. Documents are taken to be that source's, whatever they say.
func (p Planner) Plan(before core.State, docs []core.Document, scope Scope) Plan {
	b := newBuilder(before, scope.Source)
	for _, d := range docs {
		d.Source = scope.Source
		old, was := before.Docs[d.Ref()]
		if was && old.Source != scope.Source && old.Source != "" && !scope.TakeOver {
			if agree(old, d) { // both say it; it stays whose it is
				b.leave(d.Ref())
				continue
			}
			b.plan.Taken = append(b.plan.Taken, platform.Taken{Ref: d.Ref(), Owner: old.Source})
		}
		b.put(d)
	}
	b.deleteOthers(func(d core.Document) bool { return d.Source == scope.Source })
	return p.finish(b)
}

// Restore says what it would do to before if the documents of source, or with "" all
// documents, were again as in target. Their artefacts must still be there.
func (p Planner) Restore(before, target core.State, source string) Plan {
	ours := func(d core.Document) bool { return source == "" || d.Source == source }
	b := newBuilder(before, source)
	b.plan.Restores = target.Revision
	for _, ref := range target.Refs() {
		d := target.Docs[ref]
		if !ours(d) {
			continue
		}
		if old, was := before.Docs[ref]; was && !ours(old) && old.Source != "" {
			b.plan.Taken = append(b.plan.Taken, platform.Taken{Ref: ref, Owner: old.Source})
		}
		b.put(d)
	}
	b.deleteOthers(ours)
	return p.finish(b)
}

// Remove says what it would do to before if the named documents were no more, whoever
// applied them. Those that are not there are problems.
func (p Planner) Remove(before core.State, refs []core.Ref) Plan {
	b := newBuilder(before, "")
	for _, ref := range refs {
		if _, ok := before.Docs[ref]; !ok {
			b.problem(host.Finding{Ref: ref, Msg: "it does not exist", Hint: "list what there is: stoa get " + strings.ToLower(ref.Kind)})
			continue
		}
		b.delete(ref)
	}
	return p.finish(b)
}

// builder gathers a plan.
type builder struct {
	before  core.State
	plan    Plan
	changes map[core.Ref]*platform.Change
}

func newBuilder(before core.State, source string) *builder {
	b := &builder{before: before, changes: map[core.Ref]*platform.Change{}}
	b.plan.Revision, b.plan.Source = before.Revision, source
	b.plan.After = core.State{Revision: before.Revision + 1, Docs: maps.Clone(before.Docs)}
	if b.plan.After.Docs == nil {
		b.plan.After.Docs = map[core.Ref]core.Document{}
	}
	return b
}

func (b *builder) problem(f host.Finding) {
	b.plan.Problems = append(b.plan.Problems, platform.Problem{Ref: f.Ref, Path: f.Path, Message: f.Msg, Hint: f.Hint})
}

func (b *builder) put(d core.Document) {
	ref := d.Ref()
	if b.changes[ref] != nil {
		b.problem(host.Finding{Ref: ref, Msg: "it is among the documents twice", Hint: "rename one, or delete it"})
		return
	}
	c := &platform.Change{Ref: ref, Action: platform.Same}
	b.changes[ref] = c
	text, err := canonical(d)
	if err != nil {
		b.problem(host.Finding{Ref: ref, Msg: err.Error()})
		return
	}
	old, was := b.before.Docs[ref]
	switch {
	case !was:
		c.Action = platform.Created
	case !bytes.Equal(old.Canonical(), text):
		c.Action = platform.Changed
		c.Fields = fields(old, d)
		if n := len(c.Fields) - platform.MaxFields; n > 0 {
			c.Fields, c.More = c.Fields[:platform.MaxFields], n
		}
	default:
		return
	}
	b.plan.Puts = append(b.plan.Puts, d)
	b.plan.After.Docs[ref] = d
}

// agree says whether two documents differ in no more than where they are written.
func agree(x, y core.Document) bool {
	y.Source, y.File = x.Source, x.File
	text, err := canonical(y)
	return err == nil && bytes.Equal(x.Canonical(), text)
}

// leave notes a document that is among those of a source and stays as it is.
func (b *builder) leave(ref core.Ref) {
	if b.changes[ref] == nil {
		b.changes[ref] = &platform.Change{Ref: ref, Action: platform.Same}
	}
}

func (b *builder) delete(ref core.Ref) {
	if b.changes[ref] != nil {
		return
	}
	b.changes[ref] = &platform.Change{Ref: ref, Action: platform.Deleted}
	b.plan.Deletes = append(b.plan.Deletes, ref)
	delete(b.plan.After.Docs, ref)
}

// deleteOthers deletes what is ours and was not put.
func (b *builder) deleteOthers(ours func(core.Document) bool) {
	for ref, d := range b.before.Docs {
		if ours(d) && b.changes[ref] == nil {
			b.delete(ref)
		}
	}
}

// finish checks what would be in force, asks what it touches, and puts all in order.
func (p Planner) finish(b *builder) Plan {
	p.check(b)
	if len(b.plan.Problems) == 0 && !(len(b.plan.Puts) == 0 && len(b.plan.Deletes) == 0) {
		p.effects(b)
	}
	plan := &b.plan
	plan.Reads = slices.SortedFunc(maps.Keys(b.changes), core.Ref.Compare)
	plan.Changes = make([]platform.Change, len(plan.Reads))
	for i, ref := range plan.Reads {
		plan.Changes[i] = *b.changes[ref]
	}
	slices.SortFunc(plan.Puts, func(x, y core.Document) int { return x.Ref().Compare(y.Ref()) })
	slices.SortFunc(plan.Deletes, core.Ref.Compare)
	return *plan
}

// check adds what is wrong: first with each document, and only if all are well with the whole.
func (p Planner) check(b *builder) {
	if p.Strict != nil {
		for _, d := range b.plan.Puts {
			for _, f := range p.Strict(d) {
				b.problem(f)
			}
		}
	}
	if len(b.plan.Problems) > 0 {
		return
	}
	if p.Check != nil {
		for _, f := range b.news(p.Check, p.Check(b.plan.After)) {
			b.problem(f)
		}
	}
	if p.HasArtefact == nil {
		return
	}
	has := map[string]bool{}
	for _, d := range b.plan.Puts {
		for _, role := range slices.Sorted(maps.Keys(d.Artefacts)) {
			digest := d.Artefacts[role]
			ok, known := has[digest]
			if !known {
				ok = p.HasArtefact(digest)
				has[digest] = ok
			}
			if !ok {
				b.problem(host.Finding{
					Ref: d.Ref(), Path: "artefacts." + role,
					Msg:  fmt.Sprintf("the platform does not hold %s", digest),
					Hint: "apply it from its folder again, which stores what it builds: stoa apply DIR",
				})
			}
		}
	}
}

// news drops what was already wrong, with documents that the plan does not touch: a
// stricter check of a newer Stoa must not stop a rollback.
func (b *builder) news(check func(core.State) []host.Finding, found []host.Finding) []host.Finding {
	touched := func(f host.Finding) bool {
		c := b.changes[f.Ref]
		return c != nil && c.Action != platform.Same
	}
	if !slices.ContainsFunc(found, func(f host.Finding) bool { return !touched(f) }) {
		return found
	}
	old := map[host.Finding]bool{}
	for _, f := range check(b.before) {
		old[f] = true
	}
	return slices.DeleteFunc(found, func(f host.Finding) bool { return !touched(f) && old[f] })
}

// effects asks the catalog what the step will touch.
func (p Planner) effects(b *builder) {
	if p.Catalog == nil {
		return
	}
	for _, e := range p.Catalog.Effects {
		for _, l := range e.Do(b.before, b.plan.After) {
			t := platform.Touch{Ref: l.Ref, Effect: l.Effect, Text: l.Text}
			if c := b.changes[l.Ref]; c != nil {
				c.Touches = append(c.Touches, t)
			} else {
				b.plan.Touches = append(b.plan.Touches, t)
			}
		}
	}
}

// Err gives why the plan cannot be applied, or nil: Invalid with every problem, or
// Conflict with every document that belongs to another source.
func (p *Plan) Err() error {
	if n := len(p.Problems); n == 1 {
		q := p.Problems[0]
		subject := q.Ref.String()
		if q.Path != "" {
			subject += " " + q.Path
		}
		return &fault.Error{Op: "apply.plan", Subject: subject, Kind: fault.Invalid, Err: fmt.Errorf("%s", q.Message), Hint: q.Hint}
	} else if n > 1 {
		lines := make([]string, n)
		for i, q := range p.Problems {
			lines[i] = q.String()
		}
		return fault.New(fault.Invalid, fmt.Sprintf("%d problems", n), "\n  %s", strings.Join(lines, "\n  ")).
			WithHint("Correct them, then look again: stoa check DIR.")
	}
	if len(p.Taken) > 0 {
		lines := make([]string, len(p.Taken))
		for i, t := range p.Taken {
			lines[i] = t.String()
		}
		return fault.New(fault.Conflict, p.Source, "%s", strings.Join(lines, ", ")).
			WithHint("Apply it from there, or take it over from here: stoa apply DIR --take-over.")
	}
	return nil
}
