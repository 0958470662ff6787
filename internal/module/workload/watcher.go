package workload

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/workload"
	"stoa/internal/engine/probe"
	"stoa/internal/engine/process"
)

// startEvery is the time between probes of an instance that was never ready: short,
// because most programs listen after some 50 ms and somebody waits for it.
const startEvery = 100 * time.Millisecond

// lookAfter is how long an instance may not be ready before it is looked at whether it
// listens on another port than the one it was given.
const lookAfter = 3 * time.Second

// A watcher follows one instance by its probes.
type watcher struct {
	s     *slot
	in    *process.Instance
	out   *tailer
	ports []int
	env   []string
	dir   string
	mark  string

	plan        probe.Plan
	ready, live probe.Probe
	elsewhere   string // where it listens instead; "" if that is not the trouble
}

// learn reads from the document how the instance is probed.
func (w *watcher) learn() {
	doc := w.s.document()
	w.plan = planOf(doc)
	w.ready, w.live = probeOf(doc, w.ports, w.env, w.dir, false), probeOf(doc, w.ports, w.env, w.dir, true)
}

// watch returns when the instance has ended, must be replaced, or the slot is retired.
func (w *watcher) watch() probe.Health {
	w.learn()
	h := probe.Begin(time.Now())
	for {
		which, at := h.Due(w.plan)
		if which == "" {
			return h
		}
		if alive := h.Began.Add(probe.AliveFor); w.ready.Kind == probe.None && h.Phase == probe.Starting && at.Before(alive) {
			at = alive // to live for so long is to be ready
		}
		select {
		case <-time.After(time.Until(at)):
		case <-w.s.replan:
			w.learn()
			continue
		case <-w.in.Done():
			return h
		case <-w.s.ctx.Done():
			return h
		}
		reason := w.ask(which)
		if w.s.ctx.Err() != nil {
			return h
		}
		select {
		case <-w.in.Done(): // what was asked may not be what answered
			return h
		default:
		}
		was := h.Phase
		h = h.After(w.plan, which, reason, time.Now())
		w.tell(was, h)
	}
}

// ask asks one of the two questions and gives what is wrong, or "".
func (w *watcher) ask(which probe.Which) string {
	q := w.ready
	if which == probe.Live {
		q = w.live
	}
	q.Mark = w.mark
	ctx, cancel := context.WithTimeout(w.s.ctx, w.plan.Timeout)
	defer cancel()
	if err := w.s.d.m.prober().Check(ctx, q); err != nil {
		return string(w.out.veil.Hide([]byte(err.Error()))) // it may quote what the program said
	}
	return ""
}

// tell makes a change of phase known.
func (w *watcher) tell(was probe.Phase, h probe.Health) {
	s := w.s
	if h.Phase == probe.Starting {
		if time.Since(h.Began) > lookAfter && w.look() {
			bad := w.otherPort()
			s.set(func() { s.bad = bad })
			s.d.changed()
		}
		return
	}
	if h.Phase == was {
		return
	}
	s.set(func() {
		switch {
		case s.retired:
		case h.Phase == probe.Well:
			s.phase, s.bad, s.served, s.failures = phaseReady, nil, true, 0
		default:
			s.phase = phaseUnready
			s.bad = &core.Condition{Status: core.Pending, Reason: "Unready", Message: "was ready and is not: " + h.Reason,
				Hint: "See stoa logs " + s.d.service, Evidence: w.out.lines()}
		}
	})
	s.d.changed()
}

// look finds out whether the instance listens elsewhere, and says whether that is new.
func (w *watcher) look() bool {
	if w.elsewhere != "" || len(w.ports) == 0 {
		return false
	}
	var others []string
	for _, l := range w.in.Listening() {
		if int(l.Addr.Port()) == w.ports[0] {
			return false
		}
		others = append(others, strconv.Itoa(int(l.Addr.Port())))
	}
	w.elsewhere = strings.Join(others, ", ")
	return w.elsewhere != ""
}

func (w *watcher) otherPort() *core.Condition {
	return &core.Condition{Status: core.Pending, Reason: "OtherPort", Hint: w.hint(), Evidence: w.out.lines(),
		Message: fmt.Sprintf("listens on port %s, but was given %d", w.elsewhere, w.ports[0])}
}

func (w *watcher) hint() string {
	if w.elsewhere == "" {
		return "See stoa logs " + w.s.d.service + "; give it longer with health.startup, or correct health.ready."
	}
	for _, l := range workload.Listeners(w.s.document()) {
		if l.Env != "" {
			return "Make it listen on $" + l.Env + ", or write listen: [{port: " + strings.Split(w.elsewhere, ", ")[0] + "}]."
		}
	}
	return "Correct the port in listen."
}

// verdict says what was wrong with an instance that has ended with this health.
func (w *watcher) verdict(h probe.Health) core.Condition {
	bad := core.Condition{Status: core.False, Evidence: w.out.lines()}
	switch h.Phase {
	case probe.Late:
		bad.Reason, bad.Message, bad.Hint = "NotReady", fmt.Sprintf("was not ready within %s: %s", w.plan.StartFor, h.Reason), w.hint()
	case probe.Dead:
		bad.Reason, bad.Message, bad.Hint = "NotLive", "does not live: "+h.Reason, "See stoa logs "+w.s.d.service+", or correct health.live."
	default:
		bad.Reason, bad.Message, bad.Hint = "Exited", w.in.Exit().String(), "See stoa logs "+w.s.d.service
		if w.in.Exit().Signal != 0 { // whoever sent it, the program could not say
			bad.Hint = "See stoa why " + w.s.d.service
		}
	}
	return bad
}

// planOf gives how a service is probed.
func planOf(doc core.Document) probe.Plan {
	h := workload.HealthSection.Of(doc)
	p := probe.DefaultPlan()
	p.StartEvery, p.StartFor, p.Every, p.Timeout = startEvery, h.Startup.D(), h.Interval.D(), h.Timeout.D()
	p.Live = h.Live != "" && h.Live != "none"
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
