package workload

import (
	"context"
	"slices"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/workload"
	"stoa/internal/engine/probe"
	"stoa/internal/engine/snapshot"
)

// reconcileExternal keeps one slot for each address of a service that runs elsewhere: it
// is probed and balanced like an instance, and never started or stopped.
func (d *deployment) reconcileExternal(run workload.Run, doc core.Document, state core.State) error {
	rel, err := newRelease(doc, 0)
	if err != nil {
		return err
	}
	d.prune()
	d.mu.Lock()
	d.doc, d.asked, d.want, d.revision, d.desired, d.blocked = doc, rel.id, rel, state.Revision, len(run.External), nil
	have := map[string]bool{}
	var gone, fresh []*slot
	for _, s := range d.slots {
		addr := s.address()
		switch {
		case s.retiring():
		case isExternal(s.document()) && slices.Contains(run.External, addr):
			have[addr] = true
			s.adopt(doc)
		default:
			gone = append(gone, s)
		}
	}
	for _, addr := range run.External {
		if !have[addr] {
			have[addr] = true
			s := newSlot(d, rel)
			s.id = addr
			fresh = append(fresh, s)
		}
	}
	d.slots = append(d.slots, fresh...)
	d.mu.Unlock()
	for _, s := range gone {
		s.retire(d.grace(s))
	}
	for _, s := range fresh {
		s.launch(s.watchExternal)
	}
	d.publish()
	d.report(state.Revision)
	return nil
}

func (s *slot) address() string { s.mu.Lock(); defer s.mu.Unlock(); return s.id }

// externalPlan gives how an address elsewhere is probed: at the same pace whether it was
// ever reached or not, since nobody has just started it.
func externalPlan(doc core.Document) probe.Plan {
	p := planOf(doc)
	p.StartEvery, p.Live = p.Every, false
	return p
}

// watchExternal probes one address until the slot is retired. One that does not answer
// is asked for ever.
func (s *slot) watchExternal() {
	addr, doc := s.address(), s.document()
	plan := externalPlan(doc)
	h := probe.Begin(time.Now())
	s.set(func() { s.phase, s.began = phaseStarting, time.Now() })
	told := ""
	for {
		which, at := h.Due(plan)
		if h.Phase.Final() {
			which, at = probe.Ready, time.Now().Add(plan.Every)
			h = probe.Begin(at)
		}
		select {
		case <-time.After(time.Until(at)):
		case <-s.replan:
			doc = s.document()
			plan = externalPlan(doc)
			h = probe.Begin(time.Now()) // it is asked anew at once
			continue
		case <-s.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.ctx, plan.Timeout)
		err := s.d.m.prober().Check(ctx, externalProbe(doc, addr))
		cancel()
		if s.ctx.Err() != nil {
			return
		}
		reason := ""
		if err != nil {
			reason = err.Error()
		}
		h = h.After(plan, which, reason, time.Now())
		if h.Phase == probe.Well { // also while it has failed once or twice
			reason = ""
		}
		if phase := s.observeExternal(reason); reason != told || phase {
			told = reason
			s.d.changed()
		}
	}
}

// observeExternal takes down what is wrong with the address, "" for nothing, and says
// whether that changed its phase.
func (s *slot) observeExternal(reason string) (changed bool) {
	s.set(func() {
		was := s.phase
		if s.retired {
			return
		}
		s.phase, s.bad, s.hopeless = phaseReady, nil, reason != "" // it is not ours to start
		if reason != "" {
			s.phase = phaseUnready
			s.bad = &core.Condition{Status: core.Pending, Reason: "Unreachable", Message: s.id + " does not answer: " + reason,
				Hint: "Start it, or correct run.external of " + s.d.service + "."}
		}
		changed = s.phase != was
	})
	return changed
}

func externalProbe(doc core.Document, addr string) probe.Probe {
	h := workload.HealthSection.Of(doc)
	host, tls := externalHost(addr)
	switch {
	case strings.HasPrefix(h.Ready, "/"):
		return probe.Probe{Kind: probe.HTTP, Addr: host, Path: h.Ready, TLS: tls, H2C: externalProtocol(doc, addr) == snapshot.H2C}
	case h.Ready == "grpc":
		return probe.Probe{Kind: probe.GRPC, Addr: host, TLS: tls}
	case h.Ready == "none":
		return probe.Probe{Kind: probe.None}
	}
	return probe.Probe{Kind: probe.TCP, Addr: host}
}

// externalHost gives host:port of an address, and whether it is an https origin.
func externalHost(addr string) (host string, tls bool) {
	host, tls = strings.CutPrefix(addr, "https://")
	host = strings.TrimSuffix(host, "/")
	if tls && !strings.Contains(host[strings.LastIndex(host, "]")+1:], ":") {
		host += ":443"
	}
	return host, tls
}

// externalProtocol gives what is spoken with an external address.
func externalProtocol(doc core.Document, addr string) snapshot.Protocol {
	if strings.HasPrefix(addr, "https://") {
		return snapshot.HTTPS
	}
	for _, l := range workload.ListenSection.Of(doc) {
		return protocolOf(l)
	}
	return snapshot.HTTP1
}
