// Package node is the capability that carries traffic: it owns the one proxy of this
// node and the snapshot by which it works.
//
//	documents ──fragments of modules (pure)──▶ Merge ──▶ Swap ──▶ proxy
//	                                                │
//	                                                ▼
//	                                       last good one, on disk
//
// Each revision is compiled once and swapped in whole. One that cannot be compiled
// leaves the one before in force and shows as the condition Routed of the System, as does
// a gateway that cannot be opened, which the services behind it show, too. Endpoint sets
// travel apart, because they change with every start and stop of an instance.
package node

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"stoa/api/core"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/life"
	"stoa/internal/kernel/host"
	"stoa/internal/kernel/store"
)

// Ports are what the module needs of others.
type Ports struct {
	State     func() core.State
	Watch     func(ctx context.Context, from uint64) iter.Seq2[store.Event, error]
	Fragments []func(core.State) snapshot.Fragment
	Observe   func(core.Ref, core.Condition)

	// Mark keeps and gives small facts that must outlive Stoa: "" is none. nil keeps none.
	Mark   func(ctx context.Context, key, value string) error
	MarkOf func(ctx context.Context, key string) (string, error)
}

// Options tune a Module. The zero value is a good default.
type Options struct {
	Dir string       // where the last good snapshot is kept; "" keeps none
	Log *slog.Logger // nil means slog.Default()
}

// Module is the capability.
type Module struct {
	p     Ports
	o     Options
	proxy *proxy.Proxy

	mu      sync.Mutex
	serial  uint64        // guarded by mu
	refused string        // why the last revision could not be routed, or ""; guarded by mu
	applied uint64        // revision in force, or refused; guarded by mu
	changed chan struct{} // closed and replaced when applied changes; guarded by mu

	tellMu sync.Mutex        // one telling at a time: an older word must not be the last
	cutOff map[core.Ref]bool // services that were told to be out of reach; guarded by tellMu
}

var _ host.Module = (*Module)(nil)

// New returns the module, which carries traffic through p.
func New(p Ports, px *proxy.Proxy, o Options) *Module {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = o.Log.With("part", "node")
	return &Module{p: p, o: o, proxy: px, changed: make(chan struct{}), cutOff: map[core.Ref]bool{}}
}

// Name is the module's name.
func (m *Module) Name() string { return "node" }

// Declare states the part.
func (m *Module) Declare(c *host.Catalog) {
	c.Part(life.Part{Name: "node", Run: m.run})
}

// run compiles the state at the start and every revision after it, while the proxy runs.
func (m *Module) run(ctx context.Context, ready func()) error {
	m.secret(ctx)
	state := m.p.State()
	m.compile(state)
	var lives sync.WaitGroup
	defer lives.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lives.Go(func() { m.follow(ctx, state.Revision) })
	lives.Go(func() { m.followGateways(ctx) })
	return m.proxy.Run(ctx, ready)
}

// watchPause is how long the node waits before it watches a store again that failed.
const watchPause = time.Second

func (m *Module) follow(ctx context.Context, from uint64) {
	for ctx.Err() == nil {
		for ev, err := range m.p.Watch(ctx, from) {
			if err != nil {
				if ctx.Err() == nil {
					m.o.Log.Error("the documents cannot be followed; traffic goes on as before", "err", err)
				}
				break
			}
			from = ev.Revision.Revision
			if state := m.p.State(); state.Revision > m.At() {
				m.compile(state)
			}
		}
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
		}
	}
}

// At gives the revision that traffic follows, or that was refused.
func (m *Module) At() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applied
}

// Recompile makes a snapshot of the state as it is, for what no revision tells of.
func (m *Module) Recompile() { m.compile(m.p.State()) }

// compile makes the snapshot of state and puts it in force.
func (m *Module) compile(state core.State) {
	var fragments []snapshot.Fragment
	for _, f := range m.p.Fragments {
		fragments = append(fragments, f(state))
	}
	m.mu.Lock()
	m.serial++
	v := snapshot.Version{Revision: state.Revision, Serial: m.serial}
	m.mu.Unlock()
	s, err := snapshot.Merge(v, fragments...)
	if err == nil {
		err = m.proxy.Swap(s)
	}
	refused := ""
	if err != nil {
		m.o.Log.Error("the revision cannot be routed; traffic goes on as before", "revision", state.Revision, "err", err)
		refused = "traffic goes on by the snapshot before: " + err.Error()
	} else if m.o.Dir != "" {
		if err := snapshot.Save(filepath.Join(m.o.Dir, "snapshot"), snapshot.Saved{Snapshot: s}); err != nil {
			m.o.Log.Warn("the snapshot could not be kept on disk", "err", err)
		}
	}
	m.mu.Lock()
	m.refused = refused
	m.mu.Unlock()
	m.tell(state)
	m.mu.Lock()
	m.applied = max(m.applied, state.Revision)
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
}

// Applied waits until traffic follows the revision or a later one.
func (m *Module) Applied(ctx context.Context, revision uint64) error {
	for {
		m.mu.Lock()
		at, changed := m.applied, m.changed
		m.mu.Unlock()
		if at >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Bind opens a logical listener on a loopback socket of its own.
func (m *Module) Bind(name string) (addr string, release func(), err error) {
	addr, release, err = m.proxy.Bind(name)
	if err != nil {
		return "", nil, fmt.Errorf("listener %s: %w", name, err)
	}
	return addr, release, nil
}

// Endpoints tells where an upstream can be reached.
func (m *Module) Endpoints(upstream string, eps []snapshot.Endpoint) {
	m.proxy.SetEndpoints(upstream, eps)
}

// Drained waits until nothing is in flight to the endpoint.
func (m *Module) Drained(ctx context.Context, endpoint string) error {
	return m.proxy.Drained(ctx, endpoint)
}
