package workload

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/workload"
	"stoa/internal/engine/snapshot"
)

// A deployment is the instances of one service.
type deployment struct {
	m       *Module
	service string

	mu       sync.Mutex
	doc      core.Document              // as last reconciled; guarded by mu
	form     string                     // go, command, static or external; guarded by mu
	want     release                    // guarded by mu
	revision uint64                     // that it was last reconciled to; guarded by mu
	desired  int                        // instances; guarded by mu
	slots    []*slot                    // guarded by mu
	paused   int                        // counts who keeps it stopped for a moment; guarded by mu
	stopped  bool                       // by the stop operation; guarded by mu
	asked    bool                       // whether stopped was read from its mark; guarded by mu
	nonce    int                        // counts restarts that were asked for; guarded by mu
	loan     *loan                      // an attached program that takes the instances' place; guarded by mu
	blocked  *core.Condition            // why the wanted release is not started; guarded by mu
	restarts int                        // of slots that are gone; guarded by mu
	lastErr  string                     // guarded by mu
	jobs     map[string]*core.Condition // how jobs before a release stand, by release and job; guarded by mu
}

// reconcile brings the deployment to its document, one step. Slots kick it again when something changes.
func (d *deployment) reconcile(ctx context.Context, doc core.Document, state core.State) error {
	run := workload.RunSection.Of(doc)
	d.mu.Lock()
	d.doc, d.form = doc, formOf(run)
	if !d.asked {
		d.mu.Unlock()
		mark, err := d.m.p.MarkOf(ctx, stoppedKey(d.service))
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.stopped, d.asked = mark != "", true
	}
	count := workload.ScaleSection.Of(doc).Min
	if d.stopped || d.paused > 0 || d.loan != nil && d.loan.attach {
		count = 0
	}
	d.desired, d.revision = count, state.Revision
	form, nonce := d.form, d.nonce
	d.mu.Unlock()

	switch form {
	case formStatic:
		d.observe(staticCondition(doc, state.Revision))
		return nil
	case formExternal:
		return d.reconcileExternal(run, doc, state)
	}
	rel, err := newRelease(doc, nonce)
	if err != nil {
		return err
	}
	ready, err := d.releasable(ctx, doc, state, rel)
	if err != nil {
		return err
	}

	d.mu.Lock()
	if ready {
		d.want = rel
	}
	if d.want.id == "" { // nothing was ever releasable
		d.mu.Unlock()
		d.report(state.Revision)
		return nil
	}
	d.slots = slices.DeleteFunc(d.slots, func(s *slot) bool {
		if s.over() {
			d.restarts += s.restartCount()
			return true
		}
		return false
	})
	views := make([]view, len(d.slots))
	for i, s := range d.slots {
		views[i] = view{current: s.release.id == d.want.id, ready: s.isReady(), retiring: s.retiring()}
	}
	alone := fixedPort(d.want.doc)
	next := roll(count, alone, views)
	var retire []*slot
	for _, i := range next.retire {
		retire = append(retire, d.slots[i])
	}
	for range next.start {
		d.slots = append(d.slots, newSlot(d, d.want))
	}
	started := d.slots[len(d.slots)-next.start:]
	d.mu.Unlock()

	for _, s := range retire {
		s.retire(d.grace(s))
	}
	if len(retire) > 0 {
		d.publish()
	}
	for _, s := range started {
		s.launch()
	}
	d.report(state.Revision)
	return nil
}

// releasable says whether rel can be started now: it is built, and the jobs that come
// before it have succeeded. If not, the reason is kept for the report.
func (d *deployment) releasable(ctx context.Context, doc core.Document, state core.State, rel release) (bool, error) {
	block := func(c *core.Condition) (bool, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.blocked = c
		return c == nil, nil
	}
	if rel.program == "" && rel.folder == "" {
		return block(&core.Condition{Status: core.Pending, Reason: "NotBuilt", Message: "waits for its first build"})
	}
	d.mu.Lock()
	running, idle := d.want.id == rel.id, d.desired == 0
	d.mu.Unlock()
	if running || idle {
		_, err := block(nil)
		return running, err // an idle one is released when it is started, after its jobs
	}
	c, err := d.m.before(ctx, d, doc, state, rel)
	if err != nil {
		return false, err
	}
	return block(c)
}

// publish tells the data plane which instances can be called, port by port.
func (d *deployment) publish() {
	d.mu.Lock()
	doc, slots, l := d.doc, slices.Clone(d.slots), d.loan
	d.mu.Unlock()
	if d.isExternal() {
		var eps []snapshot.Endpoint
		for _, s := range slots {
			if ep, ok := s.externalEndpoint(); ok {
				eps = append(eps, ep)
			}
		}
		d.m.p.Endpoints(d.service, eps)
		return
	}
	for i, listen := range workload.Listeners(doc) {
		var eps []snapshot.Endpoint
		for _, s := range slots {
			if ep, ok := s.endpoint(i, listen); ok {
				eps = append(eps, ep)
			}
		}
		if l != nil && l.attach && l.isReady() {
			eps = append(eps, l.endpoint(i, listen))
		}
		d.m.p.Endpoints(workload.Upstream(d.service, listen), eps)
	}
}

func (d *deployment) isExternal() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.form == formExternal
}

// retireAll retires every slot and says how many are not over yet.
func (d *deployment) retireAll() int {
	d.mu.Lock()
	d.desired = 0
	slots := slices.Clone(d.slots)
	d.mu.Unlock()
	left := 0
	for _, s := range slots {
		s.retire(d.grace(s))
		if !s.over() {
			left++
		}
	}
	d.publish()
	return left
}

// grace is how long a slot's instance may take to end.
func (d *deployment) grace(s *slot) time.Duration {
	g := workload.StopSection.Of(s.release.doc).Grace.D()
	if most := d.m.o.StopGrace; most > 0 && d.m.isStopping() {
		g = min(g, most)
	}
	return g
}

func (m *Module) isStopping() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopping
}

// changed is called by a slot when it became ready, unready or ended.
func (d *deployment) changed() {
	d.publish()
	d.m.p.Kick(core.Ref{Kind: core.KindService, Name: d.service})
}

// failed keeps what went wrong last.
func (d *deployment) failed(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lastErr = text
}

// report observes the Ready condition that follows from the slots.
func (d *deployment) report(revision uint64) {
	c := d.condition()
	c.Type, c.Revision = "Ready", revision
	d.observe(c)
}

func (d *deployment) observe(c core.Condition) {
	c.Since = core.At(time.Now())
	d.m.p.Observe(core.Ref{Kind: core.KindService, Name: d.service}, c)
}

// condition sums up the slots.
func (d *deployment) condition() core.Condition {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ready, starting int
	var worst *core.Condition
	for _, s := range d.slots {
		if s.retiring() {
			continue
		}
		switch {
		case s.isReady():
			ready++
		default:
			starting++
		}
		if c := s.trouble(); c != nil && (worst == nil || c.Status == core.False) {
			worst = c
		}
	}
	switch {
	case d.stopped:
		return core.Condition{Status: core.False, Reason: "Stopped", Message: "was stopped", Hint: "To start it: stoa start " + d.service}
	case d.loan != nil && d.loan.attach:
		if d.loan.isReady() {
			return core.Condition{Status: core.True, Reason: "Attached", Message: "a program that you started takes its place"}
		}
		return core.Condition{Status: core.Pending, Reason: "Attached", Message: "waits for the program that you start, on port " + d.loan.port()}
	case worst != nil && ready < d.desired:
		return *worst
	case d.blocked != nil:
		if ready > 0 { // the old release serves
			return core.Condition{Status: core.True, Reason: "OldRelease", Message: "the release before goes on: " + d.blocked.Message, Hint: d.blocked.Hint, Evidence: d.blocked.Evidence}
		}
		return *d.blocked
	case worst != nil:
		return core.Condition{Status: core.True, Reason: "OldRelease", Message: "the release before goes on, because the new one " + worst.Message, Hint: worst.Hint, Evidence: worst.Evidence}
	case ready >= d.desired:
		return core.Condition{Status: core.True, Reason: "Ready", Message: plural(ready, "instance") + " ready"}
	case ready > 0:
		return core.Condition{Status: core.Pending, Reason: "Partial", Message: fmt.Sprintf("%d of %d instances ready", ready, d.desired)}
	}
	return core.Condition{Status: core.Pending, Reason: "Starting", Message: "starting"}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// The forms of a service.
const (
	formGo       = "go"
	formCommand  = "command"
	formStatic   = "static"
	formExternal = "external"
)

func formOf(r workload.Run) string {
	switch {
	case r.Go != "":
		return formGo
	case len(r.Command) > 0:
		return formCommand
	case r.Static != "":
		return formStatic
	}
	return formExternal
}

// fixedPort says whether two instances of the service cannot run at once.
func fixedPort(doc core.Document) bool {
	return slices.ContainsFunc(workload.Listeners(doc), func(l workload.Listen) bool { return l.Port != 0 })
}

func staticCondition(doc core.Document, revision uint64) core.Condition {
	c := core.Condition{Type: "Ready", Status: core.True, Reason: "Ready", Message: "files are served", Revision: revision}
	if doc.Artefacts["static"] == "" {
		c.Status, c.Reason, c.Message = core.Pending, "NotBuilt", "waits for its first build"
	}
	return c
}

func stoppedKey(service string) string { return "workload/stopped/" + service }

func notFound(kind, name string, docs []core.Document) error {
	var names []string
	for _, d := range docs {
		names = append(names, d.Name)
	}
	f := fault.New(fault.NotFound, kind+"/"+name, "not found")
	return f.WithHint("%s", hintAmong(name, names))
}

func hintAmong(name string, names []string) string {
	if len(names) == 0 {
		return "Nothing is applied: stoa apply DIR."
	}
	return "There are " + strings.Join(names, ", ") + "."
}
