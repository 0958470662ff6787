// Package workload is the capability that runs services: it starts their instances,
// probes them, replaces them when their release changes, restarts them when they end,
// and tells the data plane which of them can be called.
//
//	State ──Reconcile(service)──▶ deployment ──roll (pure)──▶ start, retire
//	                                  │ slots
//	                                  ▼
//	                     slot: grant ▶ start ▶ probe ▶ ready ⇄ unready ▶ exit ▶ back-off ▶ again
//	                                  │
//	                                  ▼
//	               endpoints of the data plane, conditions, lines of output
//
// A deployment is the instances of one service. A slot is the place of one instance:
// it starts a process, and another after it when that one ends, until it is retired.
// A release is what a slot is started from: artefacts, command, environment, addresses;
// a document that changes in nothing of these replaces no instance.
//
// Instances end with Stoa: their shims see to it, however Stoa ends. A stop of Stoa ends
// callers before what they use, within a bound; see shutdown.
package workload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/workload"
	"stoa/internal/engine/probe"
	"stoa/internal/engine/process"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/life"
	"stoa/internal/ground/nearest"
	"stoa/internal/ground/veil"
	"stoa/internal/kernel/host"
)

// Ports are what the module needs of others. All may be called concurrently.
type Ports struct {
	// State gives the documents in force.
	State func() core.State
	// Kick asks for another reconcile of a service, soon. It does not block.
	Kick func(core.Ref)
	// Grants gives what must be asked before an instance starts.
	Grants func() []host.Grantor
	// Program gives a path at which the artefact can be executed under the given name; Folder where a tree lies.
	Program func(digest, name string) (string, error)
	Folder  func(digest string) (string, error)
	// WorkDir gives a folder of the service's own, for programs that have no folder to run in.
	WorkDir func(service string) (string, error)
	// Endpoints tells the data plane where an upstream can be reached now.
	Endpoints func(upstream string, eps []snapshot.Endpoint)
	// Close tells it that an upstream has no endpoint and none is on its way: calls fail at
	// once, until Endpoints is called for it.
	Close func(upstream string, why snapshot.Closed)
	// Drained waits until nothing is in flight to the endpoint, or ctx ends.
	Drained func(ctx context.Context, endpoint string) error
	// CloseGateways lets nothing new in from outside and waits until nothing of outside is in flight, or ctx ends.
	CloseGateways func(ctx context.Context)
	// Observe records a condition; Forget drops all of a reference.
	Observe func(core.Ref, core.Condition)
	Forget  func(core.Ref)
	// Line takes a line of output; it must not block for long, and not keep the slice.
	Line func(service, instance, stream string, line []byte)
	// Rates gives what passed to a service over the last 10 s; ok is false without traffic.
	Rates func(service string) (rate, p99Millis, errorShare float64)
	// Mark keeps and gives small facts that must outlive Stoa: "" is none.
	Mark   func(ctx context.Context, key, value string) error
	MarkOf func(ctx context.Context, key string) (string, error)
	// MarkID gives the identity of the data folder: the first part of every instance's mark.
	MarkID func() string
	// Facts give the parts of a Status that are not of this module.
	Facts func(*workload.Status)
}

// Options tune a Module. The zero value is a good default.
type Options struct {
	BaseEnv   []string      // NAME=value that every instance gets: PATH, HOME, ...
	StopGrace time.Duration // the most that a stop of the whole platform grants an instance; 0 means what it declares
	Stagger   time.Duration // the most that what is used by others waits for these, then; 0 means 10 s, and never more than half of StopGrace
}

// Module is the capability.
type Module struct {
	p Ports
	o Options

	starter *process.Starter
	ctx     context.Context // what slots live under: it ends after they were retired. Set by run, like jobs, before anything asks for it.
	jobs    context.Context // what jobs live under: it ends when the stop begins

	mu          sync.Mutex
	deployments map[string]*deployment // by service; guarded by mu
	stopping    bool                   // guarded by mu
	stopBy      time.Time              // when every instance must have ended; zero: each has its own grace. Guarded by mu
	known       veil.Known
	runs        []workload.JobRun   // newest last, at most maxRuns; guarded by mu
	running     map[string]*jobLife // by the id of the run; guarded by mu
	lives       sync.WaitGroup      // slots and job runs

	askOnce sync.Once
	ask     *probe.Prober // see prober
}

var _ host.Module = (*Module)(nil)

// New returns the module. It starts nothing: Run of its part does.
func New(p Ports, o Options) *Module {
	return &Module{p: p, o: o, deployments: map[string]*deployment{}, running: map[string]*jobLife{}}
}

// Name is the module's name.
func (m *Module) Name() string { return "workload" }

// Declare states sections, kinds and operations.
func (m *Module) Declare(c *host.Catalog) {
	c.Kind(core.KindService, "a program that is called, or files that are served", true)
	c.Kind(core.KindJob, "a program that runs to completion", true)
	host.Owns(c, workload.RunSection, checkRun)
	host.Owns(c, workload.ListenSection, checkListen)
	host.Owns(c, workload.EnvSection, checkEnv)
	host.Owns(c, workload.EnvFileSection, nil)
	host.Beside(c, workload.EnvFileSection, checkEnvFile)
	host.Owns(c, workload.HealthSection, checkHealth)
	host.Owns(c, workload.ScaleSection, checkScale)
	host.Owns(c, workload.StopSection, checkStop)
	host.Owns(c, workload.WatchSection, checkGlobs)
	host.Owns(c, workload.IgnoreSection, checkGlobs)
	host.Owns(c, workload.JobBody, checkJob)

	host.Handle(c, workload.StatusOp, m.status, printStatus)
	host.Handle(c, workload.RestartOp, m.restart, printDone)
	host.Handle(c, workload.StopOp, m.stop, printDone)
	host.Handle(c, workload.StartOp, m.start, printDone)
	host.Handle(c, workload.JobRunOp, m.runJobNow, printRun)
	host.Handle(c, workload.JobStopOp, m.stopJob, printDone)
	host.Handle(c, workload.JobsOp, m.listJobs, printRuns)
	host.Follow(c, workload.BorrowOp, m.borrow, nil)

	c.Reconcile("workload", m.reconcile, core.KindService, core.KindJob)
	c.Effect("workload", effects)
	c.Part(life.Part{Name: "workload", Run: m.run})
}

// run lives until ctx ends, and then through the shutdown.
func (m *Module) run(ctx context.Context, ready func()) error {
	m.starter = process.New(process.Options{})
	defer m.starter.Close()
	if n, err := process.Sweep(ctx, m.p.MarkID()+"/"); err != nil {
		return fmt.Errorf("look for instances of an earlier Stoa: %w", err)
	} else if len(n) > 0 {
		m.p.Line("stoa", "", "stoa", fmt.Appendf(nil, "ended %d processes that an earlier Stoa had left", len(n)))
	}
	live, cancel := context.WithCancel(context.WithoutCancel(ctx)) // ends after the retiring, not before
	defer cancel()
	m.ctx, m.jobs = live, ctx
	ready()
	<-ctx.Done()

	m.shutdown()
	return nil
}

// enter counts a life that run waits for, unless the stop has begun. It ends with lives.Done.
func (m *Module) enter() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping {
		return false
	}
	m.lives.Add(1)
	return true
}

// deployment gives that of a service; create says whether one is made if there is none.
func (m *Module) deployment(service string, create bool) *deployment {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.deployments[service]
	if d == nil && create && !m.stopping {
		d = &deployment{m: m, service: service}
		m.deployments[service] = d
	}
	return d
}

// reconcile brings one service to what is declared. For a job it asks its service to
// look again, and those that wait for it as it was.
func (m *Module) reconcile(ctx context.Context, ref core.Ref) (time.Duration, error) {
	state := m.p.State()
	doc, ok := state.Docs[ref]
	if ref.Kind == core.KindJob {
		services := m.waitingFor(ref.Name)
		if !ok {
			m.endRuns(ref.Name, true, errDeleted) // those before a release end with it
		} else {
			services = append(services, workload.JobBody.Of(doc).Of)
		}
		for _, service := range services {
			m.p.Kick(core.Ref{Kind: core.KindService, Name: service})
		}
		return 0, nil
	}
	d := m.deployment(ref.Name, ok)
	if d == nil {
		return 0, nil
	}
	if !ok {
		d.supersede(release{}, state)
		if d.retireAll() > 0 || d.busy() {
			return 0, nil // it is looked at again when they have ended
		}
		m.mu.Lock()
		delete(m.deployments, ref.Name)
		m.mu.Unlock()
		m.p.Forget(ref)
		return 0, m.p.Mark(ctx, stoppedKey(ref.Name), "") // one of this name that comes later is another
	}
	return 0, d.reconcile(ctx, doc, state)
}

// service finds a declared service, or says that there is none.
func (m *Module) service(name string) (core.Document, error) {
	state := m.p.State()
	doc, ok := state.Docs[core.Ref{Kind: core.KindService, Name: name}]
	if !ok {
		return doc, notFound("service", name, state.Of(core.KindService))
	}
	return doc, nil
}

var errStopping = fault.New(fault.Unavailable, "", "Stoa is stopping")

// notFound says that a name is not declared, and which one may be meant.
func notFound(kind, name string, docs []core.Document) error {
	var names []string
	for _, d := range docs {
		names = append(names, d.Name)
	}
	hint := "No " + kind + " is in force: see stoa get; stoa apply DIR puts in force what a blueprint declares."
	if len(names) > 0 {
		hint = nearest.Sentence(name, names)
	}
	return fault.New(fault.NotFound, kind+"/"+name, "not found").WithHint("%s", hint)
}
