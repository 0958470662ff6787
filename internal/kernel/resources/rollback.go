package resources

import (
	"context"
	"fmt"

	"stoa/api/core"
	"stoa/api/fault"
	api "stoa/api/platform"
	"stoa/internal/kernel/apply"
	"stoa/internal/kernel/store"
)

// historyLimit is how many revisions are listed unless more are asked for.
const historyLimit = 20

func (m *Module) history(_ context.Context, in api.HistoryIn) (api.History, error) {
	if in.Limit < 0 {
		return api.History{}, fault.New(fault.Invalid, "limit", "want a number of revisions, not %d", in.Limit)
	}
	if in.Limit == 0 {
		in.Limit = historyLimit
	}
	out := api.History{Revisions: []api.Revision{}}
	for _, r := range leftBehind(m.p.Store.History(0)) {
		if in.Source != "" && r.Source != in.Source {
			continue
		}
		if out.More = len(out.Revisions) == in.Limit; out.More {
			break
		}
		out.Revisions = append(out.Revisions, r)
	}
	return out, nil
}

// touches says whether r may have changed documents of source; "" means any.
func touches(r api.Revision, source string) bool {
	return source == "" || r.Source == "" || r.Source == source
}

// leftBehind marks in a history, newest first, what a later rollback took back and none
// brought back since.
func leftBehind(h []api.Revision) []api.Revision {
	for i := len(h) - 1; i >= 0; i-- {
		r := h[i]
		if r.Restores == 0 {
			continue
		}
		for j := i + 1; j < len(h) && h[j].Revision >= r.Restores; j++ {
			switch {
			case h[j].Revision == r.Restores:
				h[j].Left = 0
			case h[j].Left == 0 && touches(h[j], r.Source):
				h[j].Left = r.Revision
			}
		}
	}
	return h
}

// before gives the revision to which a rollback without an argument leads: the one
// before the last apply that is still in force. If that was itself a rollback, then the
// one before what it restored, and never one that was left behind.
func before(h []api.Revision, source string) (uint64, error) {
	none := fault.New(fault.NotFound, "earlier revision", "there is none to go back to").WithHint("List them: stoa history.")
	kept := map[uint64]api.Revision{}
	for _, r := range h {
		kept[r.Revision] = r
	}
	for _, r := range h {
		if !touches(r, source) {
			continue
		}
		for r.Restores != 0 {
			to, ok := kept[r.Restores]
			if !ok {
				return 0, none
			}
			r = to
		}
		if r.Revision <= 1 {
			return 0, none
		}
		return r.Revision - 1, nil
	}
	return 0, none
}

func (m *Module) rollback(ctx context.Context, in api.RollbackIn) (api.Applied, error) {
	to := in.To
	if to == 0 {
		var err error
		if to, err = before(m.p.Store.History(0), in.Source); err != nil {
			return api.Applied{}, err
		}
	}
	target, err := m.p.Store.At(ctx, to)
	if err != nil {
		return api.Applied{}, err
	}
	if in.Source != "" && !owns(target.State, in.Source) && !owns(m.p.Store.State(), in.Source) {
		return api.Applied{}, fault.New(fault.NotFound, in.Source, "it has applied nothing, neither now nor at revision %d", to).WithHint("See who applied what: stoa history.")
	}
	plan := func(v store.View) apply.Plan { return m.planner().Restore(v.State, target.State, in.Source) }
	if in.OnlyPlan {
		v := m.p.Store.View()
		return api.Applied{Revision: v.Revision, OnlyPlan: true, Plan: plan(v).Plan}, nil
	}
	if in.Message == "" {
		in.Message = fmt.Sprintf("rollback to revision %d", to)
	}
	return m.commit(ctx, in.Message, nil, plan)
}

func owns(s core.State, source string) bool {
	for _, d := range s.Docs {
		if d.Source == source {
			return true
		}
	}
	return false
}
