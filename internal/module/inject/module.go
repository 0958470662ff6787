// Package inject is the capability that makes calls slow or fail on purpose, for tests
// and game days.
//
//	stoa inject ──▶ kept (a mark of the journal) ──▶ Set: the proxy acts ──▶ over at its Until
//	                         │                                                    │
//	                         └── read at the start, without what is over          └── taken off the mark and the board
//
// What a fault does is decided in engine/inject, what acts is the proxy. Here is who
// asked, how long it is kept, and where it is seen: as the condition Undisturbed of the
// service, in stoa status, and in the log of Stoa when it begins and when it ends.
//
// A fault cannot outlive its Until: the proxy compares it with the clock at each call,
// whether or not this module, the journal or anybody else is there to take it away. The
// other way round, ending one is never held up: the proxy is told before the disk is
// asked, so that faults can be cleared when nothing can be written any more.
//
// Faults go with the service that they are for, as a service's being stopped does, and
// are in no backup that is restored.
package inject

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"stoa/api/core"
	api "stoa/api/inject"
	engine "stoa/internal/engine/inject"
	"stoa/internal/ground/life"
	"stoa/internal/kernel/host"
)

// Mark is the key under which the faults in force are kept.
const Mark = "inject/faults"

// Condition is the type of the condition of a service to which faults are injected, or were.
const Condition = "Undisturbed"

// Ports are what the module needs of others. All may be called concurrently.
type Ports struct {
	State func() core.State

	// Set has the faults injected from now on, in the place of those before. It does not block.
	Set func([]engine.Fault)

	// Hits gives what each of these faults has done so far on this node, by its id. nil: not known.
	Hits func() map[string]engine.Hits

	// Mark keeps and gives small facts that must outlive Stoa: "" is none.
	Mark   func(ctx context.Context, key, value string) error
	MarkOf func(ctx context.Context, key string) (string, error)

	Observe  func(core.Ref, core.Condition)
	Withdraw func(ref core.Ref, typ string)
}

// Options tune a Module. The zero value is a good default.
type Options struct {
	Log *slog.Logger // nil means slog.Default()
}

// Module is the capability.
type Module struct {
	p Ports
	o Options

	wake chan struct{} // holds one when the faults have changed: run looks when the next ends

	// changing is held over a whole change, the telling and keeping included: an older
	// word must not be the last. Nothing that is told comes back here.
	changing sync.Mutex

	mu     sync.Mutex
	faults []record       // in force as far as is known, by their end and name; guarded by mu, changed under changing
	names  map[string]int // the highest number that a name of each service's faults has had; guarded by changing
}

// A record is a fault as it is kept.
type record struct {
	engine.Fault
	Began int64 `json:"began"` // ns since 1970

	hits engine.Hits // of one that is over
}

var _ host.Module = (*Module)(nil)

// New returns the module.
func New(p Ports, o Options) *Module {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = o.Log.With("part", "inject")
	return &Module{p: p, o: o, wake: make(chan struct{}, 1), names: map[string]int{}}
}

// Name is the module's name.
func (m *Module) Name() string { return "inject" }

// Declare states the operations and the part.
func (m *Module) Declare(c *host.Catalog) {
	host.Handle(c, api.InjectOp, m.inject, PrintInjected)
	host.Handle(c, api.FaultsOp, m.list, printFaults)
	host.Handle(c, api.ClearOp, m.clear, printCleared)
	c.Reconcile("inject", m.reconcile, core.KindService)
	c.Part(life.Part{Name: "inject", Run: m.run})
}

// look is how often it is looked whether a fault is over, besides when it should be: a
// clock may be set, and a timer does not run while the machine sleeps.
const look = time.Minute

// run takes up the faults that were kept, and takes away each that is over.
func (m *Module) run(ctx context.Context, ready func()) error {
	m.restore(ctx)
	ready()
	for {
		var over <-chan time.Time
		var t *time.Timer
		if next := m.next(); next != 0 {
			t = time.NewTimer(min(max(time.Until(time.Unix(0, next)), 0), look))
			over = t.C
		}
		select {
		case <-over:
		case <-m.wake:
		case <-ctx.Done():
		}
		if t != nil {
			t.Stop()
		}
		if ctx.Err() != nil {
			return nil
		}
		m.expire(ctx)
	}
}

// next gives when the first fault ends, ns since 1970, or 0.
func (m *Module) next() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return engine.Next(bare(m.faults))
}

// restore takes up what was kept. Without it traffic goes on unharmed, so that nothing
// here is a reason not to start.
func (m *Module) restore(ctx context.Context) {
	m.changing.Lock()
	defer m.changing.Unlock()
	text, err := m.p.MarkOf(ctx, Mark)
	if err != nil {
		m.o.Log.Error("the faults that were injected are not known; none is", "err", err)
		return
	}
	var kept []record
	if text != "" {
		if err := json.Unmarshal([]byte(text), &kept); err != nil {
			m.o.Log.Error("the faults that were injected cannot be read; none is", "err", err)
			return
		}
	}
	now, state := time.Now().UnixNano(), m.p.State()
	var live, over, gone []record
	for _, r := range kept {
		r.Until = min(r.Until, now+int64(engine.MaxAhead)) // the clock was set back
		m.names[r.Callee] = max(m.names[r.Callee], numberOf(r.Fault))
		_, there := state.Docs[core.Ref{Kind: core.KindService, Name: r.Callee}]
		switch {
		case r.Until <= now:
			over = append(over, r)
		case !there:
			gone = append(gone, r)
		default:
			live = append(live, r)
		}
	}
	m.put(live)
	for _, r := range live {
		m.o.Log.Info("a fault is injected again", attributes(r)...)
	}
	m.ended(over, "its time was over while Stoa was not running")
	m.ended(gone, whyGone)
	if len(live) < len(kept) {
		_ = m.keep(ctx, live) // it was told; what is over stays so
	}
}

// expire takes away what is over.
func (m *Module) expire(ctx context.Context) {
	_, _ = m.drop(ctx, "its time is over", func(r record, now int64) bool { return r.Until <= now }) // it was told; what is over stays so
}

// drop takes away the faults that gone says, and gives them. The proxy hears of it first.
func (m *Module) drop(ctx context.Context, why string, gone func(r record, now int64) bool) (dropped []record, err error) {
	m.changing.Lock()
	defer m.changing.Unlock()
	now := time.Now().UnixNano()
	var rest []record
	for _, r := range m.all() {
		if gone(r, now) {
			dropped = append(dropped, r)
		} else {
			rest = append(rest, r)
		}
	}
	if len(dropped) == 0 {
		return nil, nil
	}
	hits := m.hits()
	for i := range dropped {
		dropped[i].hits = hits[dropped[i].ID]
	}
	m.put(rest)
	m.ended(dropped, why)
	return dropped, m.keep(ctx, rest)
}

const whyGone = "the service is gone"

// reconcile lets the faults of a service go with it: one of this name that comes later is another.
func (m *Module) reconcile(ctx context.Context, ref core.Ref) (time.Duration, error) {
	if _, ok := m.p.State().Docs[ref]; ok {
		return 0, nil
	}
	_, err := m.drop(ctx, whyGone, func(r record, _ int64) bool { return r.Callee == ref.Name || r.Caller == ref.Name })
	return 0, err
}

// hits gives what the faults in force have done.
func (m *Module) hits() map[string]engine.Hits {
	if m.p.Hits == nil {
		return nil
	}
	return m.p.Hits()
}

// all gives the faults in force, as far as is known.
func (m *Module) all() []record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.faults)
}

// put has the faults injected, and shown. changing is held.
func (m *Module) put(faults []record) {
	slices.SortFunc(faults, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.Until, b.Until), cmp.Compare(a.ID, b.ID))
	})
	before := m.all()
	m.p.Set(bare(faults))
	m.mu.Lock()
	m.faults = faults
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default: // it will look
	}
	m.observe(before, faults)
}

// keep writes down what is in force. changing is held.
func (m *Module) keep(ctx context.Context, faults []record) error {
	text := ""
	if len(faults) > 0 {
		b, err := json.Marshal(faults)
		if err != nil {
			return err
		}
		text = string(b)
	}
	err := m.p.Mark(ctx, Mark, text)
	if err != nil {
		m.o.Log.Warn("the list of faults could not be kept: a restart would bring back that of before, without what is over by then", "err", err)
	}
	return err
}

// ended says of faults that they are over.
func (m *Module) ended(faults []record, why string) {
	for _, r := range faults {
		m.o.Log.Info("a fault is no longer injected", append(attributes(r), "why", why, "matched", r.hits.Matched, "delayed", r.hits.Delayed, "aborted", r.hits.Aborted)...)
	}
}

// observe shows the faults of each service as its condition. changing is held.
func (m *Module) observe(before, after []record) {
	told, state := map[string]bool{}, m.p.State()
	for _, r := range slices.Concat(after, before) {
		ref := core.Ref{Kind: core.KindService, Name: r.Callee}
		if told[r.Callee] {
			continue
		}
		told[r.Callee] = true
		if _, there := state.Docs[ref]; there {
			m.p.Observe(ref, condition(r.Callee, linesOf(after, r.Callee)))
		} else {
			m.p.Withdraw(ref, Condition)
		}
	}
}

// Of gives the faults of a service, one sentence each, those first that end first.
func (m *Module) Of(service string) []string { return linesOf(m.all(), service) }

func bare(faults []record) []engine.Fault {
	var out []engine.Fault
	for _, r := range faults {
		out = append(out, r.Fault)
	}
	return out
}

// attributes are what the log says of a fault: who injected what.
func attributes(r record) []any {
	as := []any{"fault", r.ID, "service", r.Callee, "does", sentence(r), "by", r.By}
	if r.Reason != "" {
		as = append(as, "reason", r.Reason)
	}
	return as
}
