package resources

import (
	"context"
	"iter"
	"slices"
	"sync"

	"stoa/api/core"
	api "stoa/api/platform"
	"stoa/internal/kernel/board"
	"stoa/internal/kernel/store"
)

// watch joins the changes of documents and of conditions. The two are ordered each in
// itself. A slow reader holds up neither: both sources have positions, not queues.
func (m *Module) watch(ctx context.Context, in api.WatchIn) (iter.Seq2[api.Seen, error], error) {
	sel, err := m.selection(in.What)
	if err != nil {
		return nil, err
	}
	from := in.From
	if from == 0 {
		from = m.p.Store.State().Revision
	}
	f := follow{sel: sel, seen: map[core.Ref][]core.Condition{}}
	type told struct {
		seen api.Seen
		err  error
	}
	return func(yield func(api.Seen, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		news := make(chan told)
		var both sync.WaitGroup
		defer both.Wait() // after cancel: nobody blocks on news then
		defer cancel()
		tell := func(seen []api.Seen, err error) bool {
			for _, s := range seen {
				select {
				case news <- told{seen: s}:
				case <-ctx.Done():
					return false
				}
			}
			if err == nil {
				return true
			}
			select {
			case news <- told{err: err}:
			case <-ctx.Done():
			}
			return false
		}
		both.Go(func() {
			for o := range m.p.Board.Watch(ctx) {
				if !tell(f.conditions(o), nil) {
					return
				}
			}
		})
		both.Go(func() {
			for e, err := range m.p.Store.Watch(ctx, from) {
				if !tell(f.document(e, err), err) {
					return
				}
			}
		})
		for {
			select {
			case n := <-news:
				if !yield(n.seen, n.err) || n.err != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

// follow is one watch under way.
type follow struct {
	sel  selection
	seen map[core.Ref][]core.Condition // told last; of the goroutine that follows the board
}

// document tells what a revision did to what is followed.
func (f *follow) document(e store.Event, err error) []api.Seen {
	if err != nil {
		return nil
	}
	if e.Reset {
		return []api.Seen{{About: api.SeenReset, Revision: e.Revision.Revision}}
	}
	var out []api.Seen
	for _, c := range e.Changes {
		if !f.sel.has(c.Ref) {
			continue
		}
		s := api.Seen{
			About: api.SeenDocument, Ref: c.Ref, At: e.At, Revision: e.Revision.Revision,
			Action: api.Changed, Who: &e.Who, Message: e.Message, Document: c.Doc,
		}
		switch {
		case c.Doc == nil:
			s.Action = api.Deleted
		case c.Was == 0:
			s.Action = api.Created
		}
		out = append(out, s)
	}
	return out
}

// conditions tells what differs from what was told last.
func (f *follow) conditions(o board.Observed) []api.Seen {
	if !f.sel.has(o.Ref) {
		return nil
	}
	of := func(list []core.Condition, typ string) (core.Condition, bool) {
		i := slices.IndexFunc(list, func(c core.Condition) bool { return c.Type == typ })
		if i < 0 {
			return core.Condition{}, false
		}
		return list[i], true
	}
	var out []api.Seen
	old := f.seen[o.Ref]
	for _, c := range old {
		if _, ok := of(o.Conditions, c.Type); !ok {
			out = append(out, api.Seen{About: api.SeenWithdrawn, Ref: o.Ref, Condition: &c})
		}
	}
	for _, c := range o.Conditions {
		if was, ok := of(old, c.Type); ok && was.Same(c) {
			continue
		}
		out = append(out, api.Seen{About: api.SeenCondition, Ref: o.Ref, At: c.Since, Condition: &c})
	}
	if f.seen[o.Ref] = o.Conditions; len(o.Conditions) == 0 {
		delete(f.seen, o.Ref)
	}
	return out
}
