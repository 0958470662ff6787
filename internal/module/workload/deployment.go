package workload

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"stoa/api/core"
	"stoa/api/workload"
	"stoa/internal/engine/snapshot"
)

// A deployment is the instances of one service.
type deployment struct {
	m       *Module
	service string

	mu       sync.Mutex
	doc      core.Document   // as last reconciled; guarded by mu, like all below
	asked    string          // id of the release that the document asks for
	want     release         // what is started: the release asked for, or that before while a job runs first
	revision uint64          // that it was last reconciled to
	desired  int             // instances
	slots    []*slot         //
	paused   int             // counts who keeps it stopped for a moment
	stopped  bool            // by the stop operation
	recalled bool            // whether stopped was read from its mark
	nonce    int             // counts restarts that were asked for
	loan     *loan           // an attached program that takes the instances' place
	blocked  *core.Condition // why the release asked for is not started
	first    *firstRun       // the job before a release that runs
	wait     *wait           // the job that the release asked for waits for
	jobs     string          // digest of the jobs before a release that it was last reconciled with
	restarts int             // of slots that are gone

	telling sync.Mutex      // one publish at a time: an older set must not be the last to be told
	told    map[string]bool // upstreams with endpoints, or closed; guarded by telling
}

// recall reads once whether the service was stopped before Stoa was started.
func (d *deployment) recall(ctx context.Context) error {
	d.mu.Lock()
	known := d.recalled
	d.mu.Unlock()
	if known {
		return nil
	}
	mark, err := d.m.p.MarkOf(ctx, stoppedKey(d.service))
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.recalled { // an operation may have been first
		d.stopped, d.recalled = mark != "", true
	}
	return nil
}

// reconcile brings the deployment to its document, one step. Slots kick it again when something changes.
func (d *deployment) reconcile(ctx context.Context, doc core.Document, state core.State) error {
	if err := d.recall(ctx); err != nil {
		return err
	}
	run := workload.RunSection.Of(doc)
	switch formOf(run) {
	case formStatic:
		d.supersede(release{}, state)
		d.retireAll() // of a form that it had before
		d.prune()
		d.set(func() { d.doc, d.asked, d.want, d.revision = doc, "", release{}, state.Revision })
		d.observe(staticCondition(doc, state.Revision))
		return nil
	case formExternal:
		d.supersede(release{}, state)
		return d.reconcileExternal(run, doc, state)
	}
	d.mu.Lock()
	nonce := d.nonce
	d.mu.Unlock()
	rel, err := newRelease(doc, nonce)
	if err != nil {
		return err
	}
	d.supersede(rel, state)
	ready, err := d.releasable(ctx, state, rel)
	if err != nil {
		return err
	}
	d.prune()
	retire, started := d.step(rel, ready, state)
	for _, s := range retire {
		s.retire(d.grace(s))
	}
	d.publish() // also for those whose upstream was renamed, or has just become known
	for _, s := range started {
		s.launch(s.run)
	}
	d.report(state.Revision)
	return nil
}

// step decides what is to be done and takes it down: the slots to retire, and new ones
// that are not launched yet.
func (d *deployment) step(rel release, ready bool, state core.State) (retire, started []*slot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doc, d.asked, d.revision, d.jobs = rel.doc, rel.id, state.Revision, jobsID(d.service, state)
	if ready {
		d.want = rel
	}
	// Counted here, not before: who pauses sees either no slot, or the one that is started now.
	d.desired = workload.ScaleSection.Of(rel.doc).Min
	if d.stopped || d.paused > 0 || d.loan != nil {
		d.desired = 0
	}
	// When Stoa stops, retireAll comes after the stop is known, in its turn: it sees every slot that is made here before.
	if d.m.isStopping() {
		return nil, nil
	}
	if d.want.id == "" { // nothing was ever releasable; what runs is of another form
		return nil, nil
	}
	views := make([]view, len(d.slots))
	for i, s := range d.slots {
		views[i] = view{current: s.release.id == d.want.id, ready: s.isReady(), retiring: s.retiring()}
		if s.release.id == rel.id {
			s.adopt(rel.doc)
		}
	}
	next := roll(d.desired, fixedPort(d.want.doc), views)
	for _, i := range next.retire {
		retire = append(retire, d.slots[i])
	}
	for range next.start {
		started = append(started, newSlot(d, d.want))
	}
	d.slots = append(d.slots, started...)
	return retire, started
}

// prune forgets slots that are over.
func (d *deployment) prune() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slots = slices.DeleteFunc(d.slots, func(s *slot) bool {
		if s.over() {
			d.restarts += s.restartCount()
			return true
		}
		return false
	})
}

func (d *deployment) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// releasable says whether rel can be started now: it is built, and the jobs that come
// before it have succeeded. If not, the reason is kept for the report.
func (d *deployment) releasable(ctx context.Context, state core.State, rel release) (bool, error) {
	block := func(c *core.Condition) (bool, error) {
		d.set(func() { d.blocked = c })
		return c == nil, nil
	}
	if rel.program == "" && rel.folder == "" {
		return block(&core.Condition{Status: core.Pending, Reason: "NotBuilt", Message: "waits for its first build"})
	}
	d.mu.Lock()
	running, idle := d.want.id == rel.id, d.stopped || d.paused > 0
	d.mu.Unlock()
	if running || idle {
		_, err := block(nil)
		return running, err // an idle one is released when it is started, after its jobs
	}
	c, err := d.m.before(ctx, d, state, rel)
	if err != nil {
		return false, err
	}
	return block(c)
}

// publish tells the data plane which instances can be called, upstream by upstream, or
// that none can and none is on its way.
func (d *deployment) publish() {
	d.telling.Lock()
	defer d.telling.Unlock()
	closed := d.closed()
	d.mu.Lock()
	doc, slots, l := d.doc, slices.Clone(d.slots), d.loan
	d.mu.Unlock()
	eps := map[string][]snapshot.Endpoint{}
	for up := range d.told {
		eps[up] = nil // one that has no endpoint any more, or is no longer of the service
	}
	if isExternal(doc) {
		eps[d.service] = nil
	} else {
		for _, listen := range workload.Listeners(doc) {
			eps[workload.Upstream(d.service, listen)] = nil
		}
	}
	for _, s := range slots {
		s.endpoints(eps)
	}
	if l != nil && l.isReady() {
		endpointsOf(l.doc, l.id, l.ports, eps)
	}
	d.told = map[string]bool{}
	for _, up := range slices.Sorted(maps.Keys(eps)) {
		if len(eps[up]) == 0 && closed != nil {
			d.m.p.Close(up, *closed)
			d.told[up] = true
			continue
		}
		d.m.p.Endpoints(up, eps[up])
		if len(eps[up]) > 0 {
			d.told[up] = true
		}
	}
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
	g := workload.StopSection.Of(s.document()).Grace.D()
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if by := d.m.stopBy; !by.IsZero() {
		g = min(g, max(0, time.Until(by)))
	}
	return g
}

func (m *Module) isStopping() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopping
}

// changed is called when a slot became ready, unready or ended, or a job has ended.
func (d *deployment) changed() {
	d.publish()
	d.m.p.Kick(core.Ref{Kind: core.KindService, Name: d.service})
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

func isExternal(doc core.Document) bool { return formOf(workload.RunSection.Of(doc)) == formExternal }

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
