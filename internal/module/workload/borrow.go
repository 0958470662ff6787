package workload

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/workload"
	"stoa/internal/ground/id"
	"stoa/internal/kernel/host"
)

// attachWait is how long an attached program waits for the instances whose place it takes to end.
const attachWait = 30 * time.Second

// A loan is the environment of a service, lent to a program that somebody else starts:
// stoa run orders -- CMD, or with attach stoa dev --attach orders, where the program
// takes the place of the service's own instances.
type loan struct {
	id    string
	doc   core.Document
	ports []int
	began time.Time

	mu    sync.Mutex
	ready bool // guarded by mu
}

func (l *loan) isReady() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.ready }

func (l *loan) port() string {
	if len(l.ports) == 0 {
		return "none"
	}
	return strconv.Itoa(l.ports[0])
}

func (l *loan) observed() workload.Instance {
	in := workload.Instance{ID: l.id, State: phaseStarting, Started: core.At(l.began)}
	if len(l.ports) > 0 {
		in.Address = local(l.ports[0])
	}
	if l.isReady() {
		in.State = phaseReady
	}
	return in
}

// borrow lends until the caller hangs up.
func (m *Module) borrow(ctx context.Context, in workload.BorrowIn) (iter.Seq2[workload.Loan, error], error) {
	d, err := m.deploymentOf(in.Service)
	if err != nil {
		return nil, err
	}
	doc, err := m.service(in.Service)
	if err != nil {
		return nil, err
	}
	l := &loan{id: id.New(), doc: doc, began: time.Now()}
	g, err := m.grant(ctx, host.Instance{ID: l.id, Doc: doc, State: m.p.State()})
	if err != nil {
		return nil, err
	}
	ports, free, err := hold(doc)
	if err != nil {
		g.free()
		return nil, err
	}
	l.ports = ports
	env, err := m.environment(doc, nil, g, ports)
	if err == nil && in.Attach {
		err = d.lend(l)
	}
	end := sync.OnceFunc(func() {
		if in.Attach {
			d.takeBack(l)
		}
		free()
		g.free()
	})
	if err != nil {
		end()
		return nil, err
	}
	context.AfterFunc(ctx, end) // also if nobody ever reads the stream
	return func(yield func(workload.Loan, error) bool) {
		defer end()
		if in.Attach {
			m.p.Kick(doc.Ref())
			if err := d.emptied(ctx); err != nil {
				yield(workload.Loan{}, err)
				return
			}
		}
		if !yield(workload.Loan{ID: l.id, Env: env, State: "lent"}, nil) {
			return
		}
		if !in.Attach {
			<-ctx.Done()
			return
		}
		m.follow(ctx, d, l, env, yield)
	}, nil
}

// lend gives the instances' place to another program.
func (d *deployment) lend(l *loan) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.loan != nil {
		return fault.New(fault.Conflict, l.doc.Ref().String(), "another program is attached").WithHint("End that one first.")
	}
	d.loan = l
	return nil
}

// takeBack gives the place back to the service's own instances, if l has it.
func (d *deployment) takeBack(l *loan) {
	d.mu.Lock()
	had := d.loan == l
	if had {
		d.loan = nil
	}
	d.mu.Unlock()
	if had {
		d.changed()
	}
}

// busy says whether an instance, or the job that comes before them, is not over.
func (d *deployment) busy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.first != nil || slices.ContainsFunc(d.slots, func(s *slot) bool { return !s.over() })
}

// emptied waits until the service's own instances are gone, and the job that comes before
// them, so that a fixed port is free and nothing has its data open. What keeps new ones
// from coming (see step, before) must have been set.
func (d *deployment) emptied(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attachWait)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		if !d.busy() {
			tick.Stop()
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return fault.New(fault.Unavailable, "service/"+d.service, "its own instances did not end within %s", attachWait).
				WithHint("Shorten stop.grace, or see what they do: stoa logs %s", d.service)
		}
	}
}

// follow probes the attached program and tells when its readiness changes.
func (m *Module) follow(ctx context.Context, d *deployment, l *loan, env []string, yield func(workload.Loan, error) bool) {
	plan := planOf(l.doc)
	plan.Every = min(plan.Every, time.Second) // somebody is watching
	q := probeOf(l.doc, l.ports, env, "", false)
	for tick := time.NewTicker(plan.StartEvery); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return
		}
		asked, cancel := context.WithTimeout(ctx, plan.Timeout)
		ready := m.prober().Check(asked, q) == nil
		cancel()
		if ready == l.isReady() || ctx.Err() != nil {
			continue
		}
		l.mu.Lock()
		l.ready = ready
		l.mu.Unlock()
		d.changed()
		state := "unready"
		if ready {
			state = "ready"
			tick.Reset(plan.Every)
		} else {
			tick.Reset(plan.StartEvery)
		}
		if !yield(workload.Loan{ID: l.id, State: state}, nil) {
			tick.Stop()
			return
		}
	}
}
