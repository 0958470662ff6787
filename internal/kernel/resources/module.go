// Package resources declares the operations on declared documents: plan, apply, get,
// describe, delete, watch, history, rollback and why.
//
// It joins what the kernel has: apply makes the plan, store commits it, board knows what
// was observed. What it answers is in api/platform; how people see it is in view*.go.
//
// Everything that changes goes one way:
//
//	state -> plan -> refused (problems, another's document, reads out of date)
//	           \--> one commit, with who asked -> controllers see it by store.Watch
//
// A plan is made anew inside Store.Update until it is committed on the very state it
// was checked against, so that two applies, each good alone, cannot together leave a
// dangling reference.
package resources

import (
	"context"
	"slices"
	"strings"

	"stoa/api/core"
	"stoa/api/fault"
	api "stoa/api/platform"
	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/apply"
	"stoa/internal/kernel/board"
	"stoa/internal/kernel/host"
	"stoa/internal/kernel/store"
)

// Ports are what the module needs of others. Each func is pure or concurrency-safe.
type Ports struct {
	Store *store.Store
	Board *board.Board

	// Check and Strict say what is wrong with a state, with the shape of one document:
	// blueprint.CheckState and blueprint.Strict. nil means that nothing is.
	Check  func(*host.Catalog, core.State) []host.Finding
	Strict func(*host.Catalog, core.Document) []host.Finding

	// HasArtefact says whether the platform holds a file; nil means that it holds all.
	HasArtefact func(digest string) bool
}

// Module declares the operations.
type Module struct {
	p   Ports
	cat *host.Catalog // complete when operations are called
}

var _ host.Module = (*Module)(nil)

// New returns the module.
func New(p Ports) *Module { return &Module{p: p} }

// Name is "resources".
func (m *Module) Name() string { return "resources" }

// Declare states the operations. It keeps the catalog, whose checks and effects a plan
// needs; they are complete when the first operation is called.
func (m *Module) Declare(c *host.Catalog) {
	m.cat = c
	host.Handle(c, api.PlanOp, m.plan, PrintPlan)
	host.Handle(c, api.ApplyOp, m.apply, PrintApplied)
	host.Handle(c, api.GetOp, m.get, printGet)
	host.Handle(c, api.DescribeOp, m.describe, printDescribed)
	host.Handle(c, api.DeleteOp, m.delete, PrintApplied)
	host.Follow(c, api.WatchOp, m.watch, printSeen)
	host.Handle(c, api.HistoryOp, m.history, printHistory)
	host.Handle(c, api.RollbackOp, m.rollback, PrintApplied)
	host.Handle(c, api.WhyOp, m.why, printWhy)
}

func (m *Module) planner() apply.Planner {
	p := apply.Planner{Catalog: m.cat, HasArtefact: m.p.HasArtefact}
	if m.p.Check != nil {
		p.Check = func(s core.State) []host.Finding { return m.p.Check(m.cat, s) }
	}
	if m.p.Strict != nil {
		p.Strict = func(d core.Document) []host.Finding { return m.p.Strict(m.cat, d) }
	}
	return p
}

// plan answers with problems and documents of others as part of the plan, not as an error.
func (m *Module) plan(_ context.Context, in api.PlanIn) (api.Plan, error) {
	if err := needSource(in.Source); err != nil {
		return api.Plan{}, err
	}
	v := m.p.Store.View()
	planner := m.planner()
	planner.HasArtefact = nil // they are stored by the apply, if there is one
	p := planner.Plan(v.State, in.Documents, apply.Scope{Source: in.Source, TakeOver: in.TakeOver})
	p.Plan.Reads = map[string]uint64{}
	for _, ref := range p.Reads {
		p.Plan.Reads[ref.String()] = v.Last[ref].Revision
	}
	return p.Plan, nil
}

func needSource(source string) error {
	if source == "" {
		return fault.New(fault.Invalid, "source", "an apply needs one: what it does not name is deleted, but only of its source").
			WithHint("Send the absolute folder of the blueprint, or a name.")
	}
	return nil
}

func (m *Module) apply(ctx context.Context, in api.ApplyIn) (api.Applied, error) {
	if err := needSource(in.Source); err != nil {
		return api.Applied{}, err
	}
	agreed, err := parseReads(in.Reads)
	if err != nil {
		return api.Applied{}, err
	}
	return m.commit(ctx, in.Message, agreed, func(v store.View) apply.Plan {
		return m.planner().Plan(v.State, in.Documents, apply.Scope{Source: in.Source, TakeOver: in.TakeOver})
	})
}

func parseReads(reads map[string]uint64) (map[core.Ref]uint64, error) {
	if reads == nil {
		return nil, nil
	}
	out := make(map[core.Ref]uint64, len(reads))
	for s, rev := range reads {
		ref, err := core.ParseRef(s)
		if err != nil {
			return nil, err
		}
		out[ref] = rev
	}
	return out, nil
}

// commit carries out what plan makes of the state. agreed are the reads of the plan that
// a person has seen, or nil; what the plan has come to read since then counts as not there.
func (m *Module) commit(ctx context.Context, message string, agreed map[core.Ref]uint64, plan func(store.View) apply.Plan) (api.Applied, error) {
	var p apply.Plan
	rev, err := m.p.Store.Update(ctx, func(v store.View) (store.Change, error) {
		p = plan(v)
		c := store.Change{Puts: p.Puts, Deletes: p.Deletes, Source: p.Source, Message: message, Restores: p.Restores}
		if agreed != nil {
			c.Reads = agreed
			for _, ref := range p.Reads {
				if _, ok := agreed[ref]; !ok && v.Last[ref].Revision != 0 {
					c.Reads = withNew(c.Reads, ref)
				}
			}
			if err := m.p.Store.Unchanged(c.Reads); err != nil {
				return c, err // tells more than what may follow from it
			}
		}
		return c, p.Err()
	})
	if err != nil {
		return api.Applied{}, err
	}
	return api.Applied{Revision: rev, Done: !p.Empty(), Plan: p.Plan}, nil
}

func withNew(reads map[core.Ref]uint64, ref core.Ref) map[core.Ref]uint64 {
	out := make(map[core.Ref]uint64, len(reads)+1)
	for r, rev := range reads {
		out[r] = rev
	}
	out[ref] = 0
	return out
}

func (m *Module) delete(ctx context.Context, in api.DeleteIn) (api.Applied, error) {
	if len(in.What) == 0 {
		return api.Applied{}, fault.New(fault.Invalid, "delete", "nothing is named").WithHint("Name documents: stoa delete service/orders --yes.")
	}
	var refs []core.Ref
	st := m.p.Store.State()
	for _, s := range in.What {
		ref, err := m.document(s, st)
		if err != nil {
			return api.Applied{}, err
		}
		if _, ok := st.Docs[ref]; !ok {
			return api.Applied{}, notFound("delete", ref, st)
		}
		refs = append(refs, ref)
	}
	return m.commit(ctx, in.Message, nil, func(v store.View) apply.Plan { return m.planner().Remove(v.State, refs) })
}

// kind finds a kind by the name a person gives it, plural or not.
func (m *Module) kind(s string) (string, error) {
	for _, try := range []string{s, strings.TrimSuffix(s, "s")} {
		if k, ok := m.cat.KindOf(try); ok {
			return k.Name, nil
		}
	}
	var kinds []string
	for _, k := range m.cat.Kinds {
		kinds = append(kinds, strings.ToLower(k.Name))
	}
	return "", fault.New(fault.NotFound, s, "there is no such kind").WithHint("%s", sentence(nearest.Hint(strings.ToLower(s), kinds)))
}

// document finds what a person names: kind/name, or the name of a service. It need not exist in st.
func (m *Module) document(s string, st core.State) (core.Ref, error) {
	kind, name, ok := strings.Cut(s, "/")
	if !ok {
		kind, name = core.KindService, s
		if _, known := m.cat.KindOf(s); known && st.Docs[core.Ref{Kind: kind, Name: name}].Name == "" {
			return core.Ref{}, fault.New(fault.Invalid, s, "it is a kind; want one document").WithHint("List them: stoa get %s.", s)
		}
	}
	kind, err := m.kind(kind)
	if err != nil {
		return core.Ref{}, err
	}
	if err := core.CheckName(name); err != nil {
		return core.Ref{}, err
	}
	return core.Ref{Kind: kind, Name: name}, nil
}

// notFound says that ref is not in st, with the nearest that is.
func notFound(op string, ref core.Ref, st core.State) error {
	var names []string
	for _, d := range st.Of(ref.Kind) {
		names = append(names, d.Ref().String())
	}
	hint := nearest.Sentence(ref.String(), names)
	if hint == "" {
		hint = "Declare it in a blueprint, then: stoa apply DIR."
	}
	return &fault.Error{Op: op, Subject: ref.String(), Kind: fault.NotFound, Hint: hint}
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// selection is what get and watch are asked for: all, a kind, or one document.
type selection struct {
	kind, name string
}

func (m *Module) selection(what string) (selection, error) {
	if what == "" {
		return selection{}, nil
	}
	if strings.Contains(what, "/") {
		ref, err := m.document(what, core.State{})
		return selection{ref.Kind, ref.Name}, err
	}
	kind, err := m.kind(what)
	return selection{kind: kind}, err
}

func (s selection) ref() core.Ref { return core.Ref{Kind: s.kind, Name: s.name} }

func (s selection) has(ref core.Ref) bool {
	return (s.kind == "" || s.kind == ref.Kind) && (s.name == "" || s.name == ref.Name)
}

func (m *Module) get(ctx context.Context, in api.GetIn) (api.GetOut, error) {
	sel, err := m.selection(in.What)
	if err != nil {
		return api.GetOut{}, err
	}
	v, now := m.p.Store.View(), true
	if in.Revision != 0 && in.Revision != v.Revision {
		if v, err = m.p.Store.At(ctx, in.Revision); err != nil {
			return api.GetOut{}, err
		}
		now = false
	}
	out := api.GetOut{Revision: v.Revision, Name: sel.name, Documents: []api.Found{}}
	for _, ref := range v.Refs() {
		if !sel.has(ref) {
			continue
		}
		f := api.Found{Document: v.Docs[ref], Last: v.Last[ref]}
		if now {
			f.Conditions = m.p.Board.Of(ref)
		}
		out.Documents = append(out.Documents, f)
	}
	if sel.name != "" && len(out.Documents) == 0 {
		return api.GetOut{}, notFound("get", sel.ref(), v.State)
	}
	return out, nil
}

func (m *Module) describe(_ context.Context, in api.DescribeIn) (api.Described, error) {
	v := m.p.Store.View()
	ref, err := m.document(in.What, v.State)
	if err != nil {
		return api.Described{}, err
	}
	d, ok := v.Docs[ref]
	if !ok {
		return api.Described{}, notFound("describe", ref, v.State)
	}
	return api.Described{
		Found:       api.Found{Document: d, Last: v.Last[ref], Conditions: m.p.Board.Of(ref)},
		Change:      m.revision(v.Last[ref].Revision),
		Transitions: transitions(m.p.Board.Why(ref)),
	}, nil
}

// revision gives a revision while it is kept, or nil.
func (m *Module) revision(rev uint64) *api.Revision {
	h := m.p.Store.History(0)
	if i := slices.IndexFunc(h, func(r api.Revision) bool { return r.Revision == rev }); i >= 0 {
		return &h[i]
	}
	return nil
}

func transitions(ts []board.Transition) []api.Transition {
	var out []api.Transition
	for _, t := range ts {
		a := api.Transition{At: t.At}
		if t.From.Type != "" {
			a.From = &t.From
		}
		if t.To.Type != "" {
			a.To = &t.To
		}
		out = append(out, a)
	}
	return out
}

func (m *Module) why(_ context.Context, in api.WhyIn) (api.Why, error) {
	v := m.p.Store.View()
	ref, err := m.document(in.What, v.State)
	if err != nil {
		return api.Why{}, err
	}
	out := api.Why{
		Ref: ref, Conditions: m.p.Board.Of(ref), Transitions: transitions(m.p.Board.Why(ref)),
		Change: m.revision(v.Last[ref].Revision),
	}
	if _, ok := v.Docs[ref]; !ok && out.Transitions == nil {
		return api.Why{}, notFound("why", ref, v.State)
	}
	return out, nil
}
