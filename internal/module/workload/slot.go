package workload

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
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

// A slot is the place of one instance. Its life is run, in one goroutine.
type slot struct {
	d       *deployment
	release release
	stop    context.CancelFunc
	ctx     context.Context // ends when the slot is retired
	replan  chan struct{}   // holds one: the document has changed; see adopt
	gone    chan struct{}   // closed when it is over

	mu       sync.Mutex
	doc      core.Document // of the release, with what may change without a restart; guarded by mu, like all below
	id       string        // of the instance in it, or the address of an external service
	phase    string        // see the phases
	pid      int
	ports    []int
	began    time.Time
	restarts int             // how often an instance that had been ready ended
	served   bool            // the instance in it was ready
	failures int             // starts in a row that made none ready
	retryAt  time.Time       // when it is started again; zero: it is not waiting for that
	hopeless bool            // it waits, and longer than a caller would
	bad      *core.Condition // what is wrong with it
	retired  bool
	ended    bool
	endBy    time.Time   // when the instance is killed if it still lives; zero: it is not being ended
	clock    *time.Timer // fires at endBy, while end waits
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
	return &slot{d: d, release: rel, doc: rel.doc, ctx: ctx, stop: stop, replan: make(chan struct{}, 1), gone: make(chan struct{}), phase: phaseWaiting}
}

// launch begins the slot's life.
func (s *slot) launch(run func()) {
	s.d.m.lives.Go(func() {
		run()
		s.set(func() { s.ended, s.pid = true, 0 })
		close(s.gone)
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

func (s *slot) document() core.Document { s.mu.Lock(); defer s.mu.Unlock(); return s.doc }

// trouble gives what is wrong with the slot, or nil.
func (s *slot) trouble() *core.Condition { s.mu.Lock(); defer s.mu.Unlock(); return s.bad }

// adopt takes over a document that changes nothing an instance learns at its start: how
// it is probed and ended follows from now on.
func (s *slot) adopt(doc core.Document) {
	s.mu.Lock()
	same := bytes.Equal(s.doc.Canonical(), doc.Canonical())
	s.doc = doc
	s.mu.Unlock()
	if same {
		return
	}
	select {
	case s.replan <- struct{}{}:
	default: // it has not looked yet, and will see this one
	}
}

// retire takes the slot out of balancing and ends its instance within grace. A second
// call can shorten the grace, not lengthen it.
func (s *slot) retire(grace time.Duration) {
	by := time.Now().Add(grace)
	s.set(func() {
		s.retired, s.phase = true, phaseDraining
		if s.endBy.IsZero() || by.Before(s.endBy) {
			s.endBy = by
			if s.clock != nil {
				s.clock.Reset(grace)
			}
		}
	})
	s.stop()
}

// endpoints adds where the instance can be called, by upstream, if it is ready.
func (s *slot) endpoints(into map[string][]snapshot.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseReady || s.retired || s.ended {
		return
	}
	if isExternal(s.doc) {
		host, _ := externalHost(s.id)
		into[s.d.service] = append(into[s.d.service], snapshot.Endpoint{
			ID: s.d.service + "@" + s.id, Address: host, Protocol: externalProtocol(s.doc, s.id), Instance: s.id,
		})
		return
	}
	endpointsOf(s.doc, s.id, s.ports, into)
}

// endpointsOf adds the endpoints of an instance whose listeners have the ports.
func endpointsOf(doc core.Document, instance string, ports []int, into map[string][]snapshot.Endpoint) {
	for i, l := range workload.Listeners(doc) {
		if i < len(ports) {
			up := workload.Upstream(doc.Name, l)
			into[up] = append(into[up], snapshot.Endpoint{ID: endpointID(instance, l), Address: local(ports[i]), Protocol: protocolOf(l), Instance: instance})
		}
	}
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

// An ending is how one instance came to its end.
type ending struct {
	bad     core.Condition
	ran     bool          // it was started
	early   bool          // it ended by itself before it was ever ready
	wellFor time.Duration // how long it had been well
	granted *granted      // given back by now; nil if it did not come so far
}

// retryStart is the longest wait before another try to start what could not be started,
// and how often it is looked whether what made an instance end has been corrected.
const retryStart = time.Second

// run starts one instance after another until the slot is retired.
func (s *slot) run() {
	var history probe.Restarts
	free := false
	for s.ctx.Err() == nil {
		e := s.once(free)
		if s.ctx.Err() != nil {
			return
		}
		// A server that does not set SO_REUSEADDR cannot listen on a port that is held for
		// it, and ends. So every other start of one that ends early finds its port free.
		free = e.early && !free
		failures := s.failed()
		var wait time.Duration
		if e.ran {
			history, wait = history.Died(time.Now(), e.wellFor, rand.Float64())
			if history.Looping {
				e.bad.Reason = "CrashLoop"
				e.bad.Message = fmt.Sprintf("%s, %d times within %s", e.bad.Message, len(history.Deaths), span(history.Deaths))
			}
		} else { // nothing was run, so to try is cheap, and what is missing may come at any time
			wait = min(probe.FirstWait<<min(failures, 10), retryStart)
		}
		s.set(func() {
			s.phase, s.pid, s.bad, s.retryAt = phaseBackoff, 0, &e.bad, time.Now().Add(wait)
			s.hopeless = wait > snapshot.DefaultHold || !e.ran && failures >= enough
		})
		s.d.changed()
		s.rest(wait, e.granted)
		s.set(func() { s.retryAt, s.hopeless = time.Time{}, false })
	}
}

// enough is how many starts in a row must come to nothing before nobody waits for the next.
const enough = 4

// failed counts the end of an instance: a restart, if it had been ready, else a failure
// to start, of which the number in a row is given.
func (s *slot) failed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.served {
		s.restarts++
	} else {
		s.failures++
	}
	s.served = false
	return s.failures
}

// rest waits before the next start, no longer than something is as it was: a correction
// of the document or of a secret is tried at once.
func (s *slot) rest(wait time.Duration, g *granted) {
	over := time.NewTimer(wait)
	defer over.Stop()
	look := time.NewTicker(retryStart)
	defer look.Stop()
	for {
		select {
		case <-over.C:
			return
		case <-s.ctx.Done():
			return
		case <-s.replan:
			return
		case <-look.C:
			m := s.d.m
			if g != nil && g.outdated(s.ctx, host.Instance{ID: s.address(), Doc: s.document(), State: m.p.State()}) {
				return
			}
		}
	}
}

func span(t []time.Time) string { return t[len(t)-1].Sub(t[0]).Round(time.Second).String() }

// once starts an instance and follows it to its end. free says to let go of its ports
// before the start.
func (s *slot) once(free bool) ending {
	instance := id.New()
	s.set(func() { s.id, s.phase, s.ports = instance, phaseWaiting, nil })
	m, doc := s.d.m, s.document()
	no := func(reason string, err error) ending {
		return ending{bad: core.Condition{Status: core.False, Reason: reason, Message: "could not start: " + err.Error(), Hint: fault.HintOf(err)}}
	}
	if err := vacant(doc); err != nil {
		return no("PortTaken", err)
	}
	g, err := m.grant(s.ctx, host.Instance{ID: instance, Doc: doc, State: m.p.State()})
	if err != nil {
		return no("NotGranted", err)
	}
	defer g.free()
	ports, letGo, err := hold(doc)
	if err != nil {
		return no("NoPort", err)
	}
	defer letGo()
	env, err := m.environment(doc, nil, g, ports)
	if err != nil {
		return no("BadEnvironment", err)
	}
	argv, dir, err := m.command(s.release)
	if err != nil {
		return no("NoProgram", err)
	}
	if free {
		letGo()
	}
	out, mark := m.tailer(g.secrets), m.p.MarkID()+"/"+instance
	in, err := m.starter.Start(s.ctx, process.Spec{
		Argv: argv, Dir: dir, Env: env, Mark: mark,
		Stdout: m.sink(out, doc.Name, instance, "stdout"), Stderr: m.sink(out, doc.Name, instance, "stderr"),
	})
	if err != nil {
		return no("NotStarted", err)
	}
	s.set(func() {
		s.pid, s.ports, s.began = in.Pid(), ports, time.Now()
		if !s.retired {
			s.phase = phaseStarting
		}
	})
	s.d.changed()

	w := watcher{s: s, in: in, out: out, ports: ports, env: env, dir: dir, mark: mark}
	h := w.watch()
	switch {
	case s.ctx.Err() != nil:
		s.end(in, true)
	case h.Phase.Final():
		s.end(in, false) // it does not answer: nobody waits for it
	}
	<-in.Done()
	return ending{bad: w.verdict(h), ran: true, granted: g, wellFor: h.WellFor(time.Now()), early: h.Phase == probe.Starting}
}

// keptForTerm is the most of a grace that in-flight requests leave to the program's own
// ending. Streams that nobody ends would otherwise take all of it, and the program would
// be killed without having been asked.
const keptForTerm = 5 * time.Second

// end ends an instance within the grace: with drain in-flight requests first, then
// SIGTERM, and SIGKILL when the grace is over, which retire can bring forward.
func (s *slot) end(in *process.Instance, drain bool) {
	ctx, cut := context.WithCancel(context.WithoutCancel(s.ctx))
	defer cut()
	s.mu.Lock()
	if s.endBy.IsZero() {
		s.endBy = time.Now().Add(workload.StopSection.Of(s.doc).Grace.D())
	}
	grace := max(0, time.Until(s.endBy))
	s.clock = time.AfterFunc(grace, cut)
	listeners, ports, instance := workload.Listeners(s.doc), s.ports, s.id
	s.mu.Unlock()

	if drain {
		s.d.publish() // it is not among the endpoints any more
		flight, done := context.WithTimeout(ctx, grace-min(grace/4, keptForTerm))
		for i, l := range listeners {
			if i < len(ports) && protocolOf(l) != snapshot.TCP { // connections of TCP end when they end
				_ = s.d.m.p.Drained(flight, endpointID(instance, l)) // an error says that the time is over
			}
		}
		done()
	}
	s.mu.Lock()
	left := max(0, time.Until(s.endBy))
	s.mu.Unlock()
	if in.Stop(ctx, left) != nil { // its time is over, perhaps sooner than was said
		_ = in.Stop(context.WithoutCancel(s.ctx), 0)
	}
	s.set(func() {
		s.clock.Stop()
		s.clock = nil
		if !s.retired {
			s.endBy = time.Time{}
		}
	})
}
