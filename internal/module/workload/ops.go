package workload

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/workload"
)

// restart replaces the instances of a service, one by one.
func (m *Module) restart(ctx context.Context, in workload.ServiceIn) (workload.Done, error) {
	d, err := m.deploymentOf(in.Service)
	if err != nil {
		return workload.Done{}, err
	}
	d.mu.Lock()
	d.nonce++
	d.wait = nil // a job that failed is tried again
	d.mu.Unlock()
	if err := m.setStopped(ctx, d, false); err != nil {
		return workload.Done{}, err
	}
	return workload.Done{Message: in.Service + " is being replaced. To see it come up: stoa watch service/" + in.Service}, nil
}

func (m *Module) stop(ctx context.Context, in workload.ServiceIn) (workload.Done, error) {
	if job, ok := strings.CutPrefix(in.Service, "job/"); ok {
		return m.stopJob(ctx, workload.JobIn{Job: job})
	}
	in.Service = strings.TrimPrefix(in.Service, "service/")
	d, err := m.deploymentOf(in.Service)
	if _, job := m.p.State().Docs[core.Ref{Kind: core.KindJob, Name: in.Service}]; job && fault.Is(err, fault.NotFound) {
		return workload.Done{}, fault.New(fault.NotFound, "service/"+in.Service, "not found; it is the name of a job").WithHint("To end its runs: stoa stop job/%s", in.Service)
	}
	if err != nil {
		return workload.Done{}, err
	}
	return workload.Done{Message: in.Service + " is being stopped; calls to it fail. To start it again: stoa start " + in.Service}, m.setStopped(ctx, d, true)
}

func (m *Module) start(ctx context.Context, in workload.ServiceIn) (workload.Done, error) {
	d, err := m.deploymentOf(in.Service)
	if err != nil {
		return workload.Done{}, err
	}
	return workload.Done{Message: in.Service + " is being started. To see it come up: stoa watch service/" + in.Service}, m.setStopped(ctx, d, false)
}

// setStopped keeps and brings about whether a service is stopped.
func (m *Module) setStopped(ctx context.Context, d *deployment, stopped bool) error {
	mark := ""
	if stopped {
		mark = "stopped"
	}
	if err := m.p.Mark(ctx, stoppedKey(d.service), mark); err != nil {
		return err
	}
	d.mu.Lock()
	d.stopped, d.recalled = stopped, true
	d.mu.Unlock()
	m.p.Kick(core.Ref{Kind: core.KindService, Name: d.service})
	return nil
}

// Pause ends the instances of a service and keeps it so until resume is called. A
// service that nothing is known of is no trouble.
func (m *Module) Pause(ctx context.Context, service string) (resume func(), err error) {
	d := m.deployment(service, false)
	if d == nil {
		return func() {}, nil
	}
	count := func(n int) {
		d.mu.Lock()
		d.paused += n
		d.mu.Unlock()
		m.p.Kick(core.Ref{Kind: core.KindService, Name: service})
	}
	count(1)
	if err := d.emptied(ctx); err != nil {
		count(-1)
		return nil, err
	}
	return func() {
		// Its jobs have run against what is gone: they are for the next release again.
		for _, job := range jobsBefore(service, m.p.State()) {
			_ = m.p.Mark(context.WithoutCancel(ctx), jobKey(job.Name), "") // then it does not run again, as after a restart
		}
		d.mu.Lock()
		d.want = release{}
		d.mu.Unlock()
		count(-1)
	}, nil
}

// deploymentOf finds the deployment of a service that Stoa runs.
func (m *Module) deploymentOf(service string) (*deployment, error) {
	doc, err := m.service(service)
	if err != nil {
		return nil, err
	}
	if f := formOf(workload.RunSection.Of(doc)); f == formExternal || f == formStatic {
		return nil, fault.New(fault.Invalid, doc.Ref().String(), "is %s: Stoa runs no instance of it", f)
	}
	d := m.deployment(service, true)
	if d == nil {
		return nil, errStopping
	}
	return d, nil
}

// status gives every service, in the order of their names.
func (m *Module) status(_ context.Context, in workload.StatusIn) (workload.Status, error) {
	state := m.p.State()
	out := workload.Status{Revision: state.Revision}
	if sys, ok := state.System(); ok {
		out.System = sys.Name
	}
	if _, ok := state.Docs[core.Ref{Kind: core.KindService, Name: in.Service}]; !ok && in.Service != "" {
		return out, notFound("service", in.Service, state.Of(core.KindService))
	}
	for _, doc := range state.Of(core.KindService) {
		if in.Service == "" || doc.Name == in.Service {
			out.Services = append(out.Services, m.observed(doc, state))
		}
	}
	m.p.Facts(&out)
	return out, nil
}

// addresses gives the address of the first ready instance, and how many more there are.
func addresses(v workload.Service) string {
	if v.Ready > 1 && v.Address != "" {
		return fmt.Sprintf("%s +%d", v.Address, v.Ready-1)
	}
	return v.Address
}

// observed gives what is known of the service that doc declares in a state.
func (m *Module) observed(doc core.Document, state core.State) workload.Service {
	s := workload.Service{Name: doc.Name, Context: doc.Context, State: workload.StateBuilding, Desired: workload.ScaleSection.Of(doc).Min}
	s.Rate, s.P99Millis, s.ErrorRate = m.p.Rates(doc.Name)
	form := formOf(workload.RunSection.Of(doc))
	if form == formStatic {
		s.Desired, s.Revision = 0, state.Revision
		if staticCondition(doc, 0).Status == core.True {
			s.State = workload.StateReady
		}
		return s
	}
	d := m.deployment(doc.Name, false)
	if d == nil {
		return s
	}
	c := d.condition()
	d.mu.Lock()
	slots, l := slices.Clone(d.slots), d.loan
	s.Desired, s.Restarts, s.Revision = d.desired, d.restarts, d.revision
	asked, last, jobs, blocked := d.asked, d.doc, d.jobs, d.blocked
	d.mu.Unlock()
	s.Blocked = d.stuck()
	same := bytes.Equal(last.Canonical(), doc.Canonical()) && (blocked == nil || jobs == jobsID(doc.Name, state))
	if revision := state.Revision; s.Revision < revision && same {
		s.Revision = revision // it did not change since: nobody looks at its instances again
	}
	for _, slot := range slots {
		if slot.over() {
			continue
		}
		in := slot.observed()
		s.Restarts += in.Restarts
		if in.State == phaseReady {
			s.Ready++
			updated := form == formExternal || slot.release.id == asked
			if s.Address == "" || updated && s.Updated == 0 { // of one that stays, if there is one
				s.Address = in.Address
			}
			if updated {
				s.Updated++
			}
		}
		s.Instances = append(s.Instances, in)
	}
	if l != nil {
		s.Desired = 1
		if in := l.observed(); in.State == phaseReady {
			s.Ready, s.Updated, s.Address = s.Ready+1, s.Updated+1, in.Address
		}
		s.Instances = append(s.Instances, l.observed())
	}
	s.State = stateOf(c, s, form)
	if ails(c) {
		s.LastError = c.Message
	}
	return s
}

func stateOf(c core.Condition, s workload.Service, form string) string {
	switch {
	case c.Reason == "Stopped":
		return workload.StateStopped
	case form == formExternal && s.Ready > 0:
		return workload.StateExternal
	case form == formExternal:
		return workload.StateDown
	case c.Reason == "NotBuilt":
		return workload.StateBuilding
	case c.Reason == "JobFailed" || c.Reason == "BuildFailed":
		return workload.StateFailed
	case s.Ready >= s.Desired && s.Updated < s.Desired:
		return workload.StateRolling
	case s.Ready >= s.Desired && s.Ready > 0:
		return workload.StateReady
	case s.Ready > 0:
		return workload.StatePartial
	case c.Status == core.False:
		return workload.StateCrashing
	}
	return workload.StateStarting
}

func (s *slot) observed() workload.Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := workload.Instance{ID: s.id, State: s.phase, PID: s.pid, Restarts: s.restarts, Failures: s.failures, Started: core.At(s.began), Release: short(s.release.id)}
	if !s.retryAt.IsZero() && !s.retired {
		in.RetryAt = core.At(s.retryAt)
	}
	if len(s.ports) > 0 {
		in.Address = local(s.ports[0])
	}
	if isExternal(s.doc) {
		in.Address, in.Release = s.id, ""
	}
	return in
}

func short(id string) string { return id[:min(12, len(id))] }

func printDone(w io.Writer, d workload.Done) { fmt.Fprintln(w, d.Message) }

func printStatus(w io.Writer, s workload.Status) {
	ready := 0
	for _, v := range s.Services {
		if v.State == workload.StateReady || v.State == workload.StateExternal {
			ready++
		}
	}
	fmt.Fprintf(w, "%s (%s), revision %d: %d of %s ready\n", s.System, s.Mode, s.Revision, ready, plural(len(s.Services), "service"))
	if s.Refused != "" {
		fmt.Fprintf(w, "blueprint  on disk is not in force: %s\n", firstLine(s.Refused))
	}
	switch {
	case s.Gateway != "" && s.GatewayError != "":
		fmt.Fprintln(w, "gateway    is not open as declared:", s.GatewayError)
		fmt.Fprintln(w, "gateway   ", s.Gateway, "  (as it was before)")
	case s.GatewayError != "":
		fmt.Fprintln(w, "gateway    is not open:", s.GatewayError)
	case s.GatewayNote != "":
		fmt.Fprintf(w, "gateway    %s   (%s)\n", s.Gateway, s.GatewayNote)
	case s.Gateway != "":
		fmt.Fprintln(w, "gateway   ", s.Gateway)
	}
	if s.Root != "" {
		fmt.Fprintln(w, "trust     ", s.Root)
	}
	if s.Admin != "" {
		fmt.Fprintln(w, "dashboard ", s.Admin, "  (stoa dash gives a link that logs you in)")
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tSTATE\tREADY\tADDRESS\tRESTARTS\tREQ/S\tP99\tLAST ERROR")
	for _, v := range s.Services {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", v.Name, v.State, readiness(v), dash(addresses(v)), v.Restarts, rate(v.Rate), millis(v.P99Millis, v.Rate), firstLine(cmp.Or(v.LastError, strings.Join(v.Guarded, "; ")))+again(v, time.Now()))
	}
	t.Flush()
	guarded := false
	for _, v := range s.Services {
		for _, g := range v.Guarded {
			if !guarded {
				fmt.Fprintln(w, "\nCalls are kept from services (stoa why SERVICE tells more):")
				guarded = true
			}
			fmt.Fprintf(w, " - %s: %s\n", v.Name, g)
		}
	}
	injected := false
	for _, v := range s.Services {
		for _, f := range v.Faults {
			if !injected {
				fmt.Fprintln(w, "\nFaults are injected (stoa faults clear ends them):")
				injected = true
			}
			fmt.Fprintln(w, " -", f)
		}
	}
	if len(s.Unprotected) > 0 {
		fmt.Fprintln(w, "\nNot protected in this mode:")
		for _, u := range s.Unprotected {
			fmt.Fprintln(w, " -", u)
		}
	}
}

func readiness(v workload.Service) string {
	if v.Desired == 0 && v.Ready == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", v.Ready, v.Desired)
}

// again says when a service of which nothing runs is started the next time.
func again(v workload.Service, now time.Time) string {
	var next time.Time
	for _, in := range v.Instances {
		if in.RetryAt.IsZero() {
			return ""
		}
		if next.IsZero() || in.RetryAt.Before(next) {
			next = in.RetryAt.Time
		}
	}
	if wait := next.Sub(now).Round(time.Second); !next.IsZero() && wait > 0 {
		return " (again in " + wait.String() + ")"
	}
	return ""
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func rate(r float64) string {
	switch {
	case r == 0:
		return "-"
	case r < 10:
		return fmt.Sprintf("%.1f", r)
	}
	return fmt.Sprintf("%.0f", r)
}

func millis(ms, rate float64) string {
	if rate == 0 {
		return "-"
	}
	return (time.Duration(ms*1000) * time.Microsecond).Round(100 * time.Microsecond).String()
}

// firstLine gives the first line of a text, short enough for a table.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if r := []rune(s); len(r) > 80 {
		s = string(r[:77]) + "..."
	}
	return dash(s)
}

func printRun(w io.Writer, r workload.JobRun) {
	for _, line := range r.Output {
		fmt.Fprintln(w, " ", line)
	}
	fmt.Fprintf(w, "job/%s %s after %s, attempt %d\n", r.Job, r.State, r.Ended.Sub(r.Began.Time).Round(time.Millisecond), r.Attempt)
}

func printRuns(w io.Writer, out workload.JobsOut) {
	if len(out.Runs) == 0 {
		fmt.Fprintln(w, "No job has run. To run one: stoa job run NAME")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "JOB\tSTATE\tBEGAN\tTOOK\tEXIT\tATTEMPT")
	for _, r := range out.Runs {
		took := "-"
		if !r.Ended.IsZero() {
			took = r.Ended.Sub(r.Began.Time).Round(time.Millisecond).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\n", r.Job, r.State, r.Began.Local().Format(time.DateTime), took, r.ExitCode, r.Attempt)
	}
	t.Flush()
}
