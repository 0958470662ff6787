package workload

import (
	"context"
	"reflect"
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
	health := workload.HealthSection.Of(doc)
	d.mu.Lock()
	d.desired = len(run.External)
	var keep, gone, fresh []*slot
	have := map[string]bool{}
	for _, s := range d.slots {
		if s.over() {
			continue
		}
		same := s.release.id == rel.id && reflect.DeepEqual(workload.HealthSection.Of(s.release.doc), health)
		if !same {
			gone = append(gone, s)
		} else if !s.retiring() {
			have[s.address()] = true
		}
		keep = append(keep, s)
	}
	for _, addr := range run.External {
		if !have[addr] {
			s := newSlot(d, rel)
			s.id = addr
			fresh = append(fresh, s)
		}
	}
	d.slots = append(keep, fresh...)
	d.mu.Unlock()
	for _, s := range gone {
		s.retire(0)
	}
	for _, s := range fresh {
		d.m.lives.Go(func() {
			s.watchExternal()
			s.set(func() { s.ended = true })
			d.changed()
		})
	}
	d.publish()
	d.report(state.Revision)
	return nil
}

func (s *slot) address() string { s.mu.Lock(); defer s.mu.Unlock(); return s.id }

// watchExternal probes one address until the slot is retired. One that was never
// reached is asked for ever, every interval.
func (s *slot) watchExternal() {
	addr := s.address()
	plan := planOf(s.release.doc)
	h := probe.Begin(time.Now())
	s.set(func() { s.phase, s.began = phaseStarting, time.Now() })
	for {
		which, at := h.Due(plan)
		if h.Phase.Final() {
			h, which, at = probe.Begin(time.Now()), probe.Ready, time.Now().Add(plan.Every)
		}
		select {
		case <-time.After(time.Until(at)):
		case <-s.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.ctx, plan.Timeout)
		err := s.d.m.prober().Check(ctx, externalProbe(s.release.doc, addr))
		cancel()
		if s.ctx.Err() != nil {
			return
		}
		reason := ""
		if err != nil {
			reason = err.Error()
		}
		was := h.Phase
		h = h.After(plan, which, reason, time.Now())
		well := h.Phase == probe.Well
		if h.Phase != was || !well {
			s.set(func() {
				s.phase, s.bad = phaseReady, nil
				if !well {
					s.phase = phaseUnready
					s.bad = &core.Condition{Status: core.Pending, Reason: "Unreachable", Message: addr + " does not answer: " + reason,
						Hint: "Start it, or correct run.external of " + s.d.service + "."}
				}
			})
		}
		if h.Phase != was || !well && s.d.lastError() != reason {
			if !well {
				s.d.failed(reason)
			}
			s.d.changed()
		}
	}
}

func (d *deployment) lastError() string { d.mu.Lock(); defer d.mu.Unlock(); return d.lastErr }

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

// externalEndpoint is the endpoint of an external slot that is ready.
func (s *slot) externalEndpoint() (snapshot.Endpoint, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	host, _ := externalHost(s.id)
	ep := snapshot.Endpoint{ID: s.d.service + "@" + s.id, Address: host, Protocol: externalProtocol(s.release.doc, s.id), Instance: s.id}
	return ep, s.phase == phaseReady && !s.retired && !s.ended
}
