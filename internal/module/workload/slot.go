package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/workload"
	"stoa/internal/engine/probe"
	"stoa/internal/engine/process"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/id"
	"stoa/internal/kernel/host"
)

// startEvery is the time between probes of an instance that was never ready: short,
// because most programs listen after some 50 ms and somebody waits for it.
const startEvery = 100 * time.Millisecond

// lookAfter is how long an instance may not be ready before it is looked at whether it
// listens on another port than the one it was given.
const lookAfter = 3 * time.Second

// A slot is the place of one instance. Its life is run, in one goroutine.
type slot struct {
	d       *deployment
	release release
	stop    context.CancelFunc
	ctx     context.Context // ends when the slot is retired

	mu       sync.Mutex
	id       string // of the instance in it; guarded by mu, like all below
	phase    string // waiting, starting, ready, unready, draining, backoff
	pid      int
	ports    []int
	began    time.Time
	restarts int
	bad      *core.Condition // what is wrong with it
	grace    time.Duration   // of retire
	retired  bool
	ended    bool
}

// The phases of a slot, as people read them.
const (
	phaseWaiting  = "waiting" // for what it is granted
	phaseStarting = "starting"
	phaseReady    = "ready"
	phaseUnready  = "unready"
	phaseDraining = "draining"
	phaseBackoff  = "backoff"
)

func newSlot(d *deployment, rel release) *slot {
	ctx, stop := context.WithCancel(d.m.ctx)
	return &slot{d: d, release: rel, ctx: ctx, stop: stop, phase: phaseWaiting}
}

// launch begins the slot's life.
func (s *slot) launch() {
	s.d.m.lives.Go(func() {
		s.run()
		s.set(func() { s.ended, s.pid = true, 0 })
		s.d.changed()
	})
}

func (s *slot) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *slot) over() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.ended }
func (s *slot) isReady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase == phaseReady && !s.retired
}
func (s *slot) retiring() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.retired || s.ended }

func (s *slot) restartCount() int { s.mu.Lock(); defer s.mu.Unlock(); return s.restarts }

// trouble gives what is wrong with the slot, or nil.
func (s *slot) trouble() *core.Condition { s.mu.Lock(); defer s.mu.Unlock(); return s.bad }

// retire takes the slot out of balancing and ends its instance within grace. A second
// call can shorten the grace.
func (s *slot) retire(grace time.Duration) {
	s.mu.Lock()
	if s.retired {
		s.grace = min(s.grace, grace)
	} else {
		s.retired, s.grace = true, grace
		s.phase = phaseDraining
	}
	s.mu.Unlock()
	s.stop()
}

// endpoint gives where listener i of the instance can be called, if it is ready.
func (s *slot) endpoint(i int, l workload.Listen) (snapshot.Endpoint, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseReady || s.retired || s.ended || i >= len(s.ports) {
		return snapshot.Endpoint{}, false
	}
	return snapshot.Endpoint{ID: endpointID(s.id, l), Address: local(s.ports[i]), Protocol: protocolOf(l), Instance: s.id}, true
}

func endpointID(instance string, l workload.Listen) string {
	if l.Name == "" {
		return instance
	}
	return instance + "/" + l.Name
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func protocolOf(l workload.Listen) snapshot.Protocol {
	switch l.Protocol {
	case workload.H2C:
		return snapshot.H2C
	case workload.TCP:
		return snapshot.TCP
	}
	return snapshot.HTTP1
}

// run starts one instance after another until the slot is retired.
func (s *slot) run() {
	var history probe.Restarts
	for s.ctx.Err() == nil {
		wellFor, why := s.once()
		if s.ctx.Err() != nil {
			return
		}
		var wait time.Duration
		history, wait = history.Died(time.Now(), wellFor, rand.Float64())
		bad := *why
		if history.Looping {
			bad.Reason = "CrashLoop"
			bad.Message = fmt.Sprintf("%s, %d times within %s", bad.Message, len(history.Deaths), span(history.Deaths))
		}
		s.d.failed(bad.Message)
		s.set(func() {
			s.phase, s.pid, s.bad = phaseBackoff, 0, &bad
			s.restarts++
		})
		s.d.changed()
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
		}
	}
}

func span(t []time.Time) string { return t[len(t)-1].Sub(t[0]).Round(time.Second).String() }

// once starts an instance and follows it to its end. It gives how long it had been
// ready when it ended, and what went wrong.
func (s *slot) once() (wellFor time.Duration, why *core.Condition) {
	instance := id.New()
	s.set(func() { s.id, s.phase, s.ports = instance, phaseWaiting, nil })
	m := s.d.m
	no := func(reason string, err error) (time.Duration, *core.Condition) {
		return 0, &core.Condition{Status: core.False, Reason: reason, Message: err.Error(), Hint: fault.HintOf(err)}
	}
	doc := s.release.doc
	g, err := m.grant(s.ctx, host.Instance{ID: instance, Doc: doc, State: m.p.State()})
	if err != nil {
		return no("NotGranted", err)
	}
	defer g.free()
	ports, free, err := hold(doc)
	if err != nil {
		return no("NoPort", err)
	}
	defer free()
	env, err := m.environment(doc, nil, g, ports)
	if err != nil {
		return no("BadEnvironment", err)
	}
	argv, dir, err := m.command(s.release)
	if err != nil {
		return no("NoProgram", err)
	}
	out := &tailer{secrets: g.secrets}
	sink := func(stream string) process.Sink {
		return func(line []byte, _ bool) { m.p.Line(doc.Name, instance, stream, out.add(line)) }
	}
	in, err := m.starter.Start(s.ctx, process.Spec{
		Argv: argv, Dir: dir, Env: env, Mark: m.p.MarkID() + "/" + instance, Stdout: sink("stdout"), Stderr: sink("stderr"),
	})
	if err != nil {
		return no("NotStarted", err)
	}
	began := time.Now()
	s.set(func() { s.pid, s.ports, s.began, s.phase = in.Pid(), ports, began, phaseStarting })
	s.d.changed()

	w := watcher{s: s, in: in, out: out, plan: planOf(doc), ready: probeOf(doc, ports, env, dir, false), live: probeOf(doc, ports, env, dir, true)}
	h := w.watch()

	if s.ctx.Err() != nil {
		s.drain(in)
	} else if h.Phase.Final() { // it does not answer: nobody waits for it
		_ = in.Stop(context.WithoutCancel(s.ctx), workload.StopSection.Of(doc).Grace.D())
	}
	<-in.Done()
	wellFor = h.WellFor(time.Now())
	bad := &core.Condition{Status: core.False, Evidence: out.lines()}
	switch {
	case h.Phase == probe.Late:
		bad.Reason, bad.Message = "NotReady", fmt.Sprintf("was not ready within %s: %s", w.plan.StartFor, h.Reason)
		bad.Hint = w.hint()
	case h.Phase == probe.Dead:
		bad.Reason, bad.Message = "NotLive", "does not live: "+h.Reason
	default:
		bad.Reason, bad.Message = "Exited", in.Exit().String()
		bad.Hint = "See stoa logs " + doc.Name
	}
	return wellFor, bad
}

// drain ends an instance: in-flight requests first, then SIGTERM, SIGKILL when the grace is over.
func (s *slot) drain(in *process.Instance) {
	s.set(func() { s.phase = phaseDraining })
	s.d.publish() // it is not among the endpoints any more
	s.mu.Lock()
	grace, doc, ports, instance := s.grace, s.release.doc, s.ports, s.id
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), grace)
	defer cancel()
	for i, l := range workload.Listeners(doc) {
		if i < len(ports) && protocolOf(l) != snapshot.TCP {
			_ = s.d.m.p.Drained(ctx, endpointID(instance, l)) // an error says that the grace is over
		}
	}
	left, _ := ctx.Deadline()
	_ = in.Stop(context.WithoutCancel(s.ctx), max(0, time.Until(left)))
}

// A watcher follows one instance by its probes.
type watcher struct {
	s           *slot
	in          *process.Instance
	out         *tailer
	plan        probe.Plan
	ready, live probe.Probe
	elsewhere   string // where it listens instead; "" if that is not the trouble
}

// watch returns when the instance has ended, must be replaced, or the slot is retired.
func (w *watcher) watch() probe.Health {
	m := w.s.d.m
	asker := m.prober()
	h := probe.Begin(time.Now())
	if w.ready.Kind == probe.None {
		w.plan.StartEvery = probe.AliveFor
	}
	first := true
	for {
		which, at := h.Due(w.plan)
		if which == "" {
			return h
		}
		if w.ready.Kind == probe.None && first { // alive for so long is ready
			at = h.Began.Add(probe.AliveFor)
		}
		first = false
		select {
		case <-time.After(time.Until(at)):
		case <-w.in.Done():
			return h
		case <-w.s.ctx.Done():
			return h
		}
		q := w.ready
		if which == probe.Live {
			q = w.live
		}
		ctx, cancel := context.WithTimeout(w.s.ctx, w.plan.Timeout)
		err := asker.Check(ctx, q)
		cancel()
		if w.s.ctx.Err() != nil {
			return h
		}
		select {
		case <-w.in.Done(): // what was asked may not be what answered
			return h
		default:
		}
		reason := ""
		if err != nil {
			reason = err.Error()
		}
		was := h.Phase
		h = h.After(w.plan, which, reason, time.Now())
		w.tell(was, h)
	}
}

// tell makes a change of phase known.
func (w *watcher) tell(was probe.Phase, h probe.Health) {
	s := w.s
	if h.Phase == probe.Starting {
		if time.Since(h.Began) > lookAfter && w.look() {
			s.set(func() { s.bad = w.starting(h) })
			s.d.m.p.Kick(core.Ref{Kind: core.KindService, Name: s.d.service})
		}
		return
	}
	if h.Phase == was {
		return
	}
	switch h.Phase {
	case probe.Well:
		s.set(func() {
			if !s.retired {
				s.phase, s.bad = phaseReady, nil
			}
		})
	case probe.Unready:
		s.d.failed(h.Reason)
		s.set(func() {
			if !s.retired {
				s.phase = phaseUnready
				s.bad = &core.Condition{Status: core.Pending, Reason: "Unready", Message: "was ready and is not: " + h.Reason, Evidence: w.out.lines()}
			}
		})
	default:
		s.d.failed(h.Reason)
		s.set(func() { s.phase = phaseUnready })
	}
	s.d.changed()
}

// look finds out whether the instance listens elsewhere, and says whether that is new.
func (w *watcher) look() bool {
	w.s.mu.Lock()
	ports := w.s.ports
	w.s.mu.Unlock()
	if w.elsewhere != "" || len(ports) == 0 {
		return false
	}
	var others []string
	for _, l := range w.in.Listening() {
		if int(l.Addr.Port()) == ports[0] {
			return false
		}
		others = append(others, strconv.Itoa(int(l.Addr.Port())))
	}
	w.elsewhere = strings.Join(others, ", ")
	return w.elsewhere != ""
}

func (w *watcher) starting(h probe.Health) *core.Condition {
	return &core.Condition{Status: core.Pending, Reason: "OtherPort", Hint: w.hint(), Evidence: w.out.lines(),
		Message: fmt.Sprintf("listens on port %s, but was given %d", w.elsewhere, w.s.ports[0])}
}

func (w *watcher) hint() string {
	if w.elsewhere == "" {
		return "See stoa logs " + w.s.d.service + ", or give it longer with health.startup."
	}
	for _, l := range workload.Listeners(w.s.release.doc) {
		if l.Env != "" {
			return "Make it listen on $" + l.Env + ", or write listen: [{port: " + strings.Split(w.elsewhere, ", ")[0] + "}]."
		}
	}
	return "Correct the port in listen."
}

// planOf gives how a service is probed.
func planOf(doc core.Document) probe.Plan {
	h := workload.HealthSection.Of(doc)
	p := probe.DefaultPlan()
	p.StartEvery, p.StartFor, p.Every, p.Timeout = startEvery, h.Startup.D(), h.Interval.D(), h.Timeout.D()
	p.Live = h.Live != ""
	return p
}

// probeOf gives the ready or the live question of an instance.
func probeOf(doc core.Document, ports []int, env []string, dir string, live bool) probe.Probe {
	h := workload.HealthSection.Of(doc)
	how := h.Ready
	if live {
		how = h.Live
	}
	var listen workload.Listen
	addr := ""
	for i, l := range workload.Listeners(doc) {
		if i < len(ports) && (addr == "" || h.Listener != "" && l.Name == h.Listener) {
			listen, addr = l, local(ports[i])
		}
	}
	switch {
	case how == "" && addr != "" || how == "tcp":
		return probe.Probe{Kind: probe.TCP, Addr: addr}
	case strings.HasPrefix(how, "/"):
		return probe.Probe{Kind: probe.HTTP, Addr: addr, Path: how, H2C: listen.Protocol == workload.H2C}
	case how == "grpc":
		return probe.Probe{Kind: probe.GRPC, Addr: addr}
	case how == "exec":
		return probe.Probe{Kind: probe.Exec, Argv: h.Exec, Dir: dir, Env: env}
	}
	return probe.Probe{Kind: probe.None}
}

// prober gives the one that asks.
func (m *Module) prober() *probe.Prober {
	m.askOnce.Do(func() { m.ask = &probe.Prober{Starter: m.starter} })
	return m.ask
}
