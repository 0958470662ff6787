package workload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/op"
	"stoa/api/workload"
	"stoa/internal/engine/build"
	"stoa/internal/engine/process"
	"stoa/internal/ground/id"
	"stoa/internal/kernel/host"
)

// maxRuns is how many runs of jobs are remembered.
const maxRuns = 100

// jobGrace is how long a job has to end when its time is over, or Stoa's.
const jobGrace = 5 * time.Second

// maxTail is how many last lines of output are kept as evidence.
const maxTail = core.MaxEvidence

// jobsBefore gives the jobs that come before a release of the service, in the order of their names.
func jobsBefore(service string, state core.State) []core.Document {
	return slices.DeleteFunc(state.Of(core.KindJob), func(d core.Document) bool {
		j := workload.JobBody.Of(d)
		return j.Of != service || j.When != workload.BeforeRelease
	})
}

// A wait is a job that a release waits for.
type wait struct {
	key string         // of release and job
	job string         // its name
	c   core.Condition // how the job stands
}

// A firstRun is a run of a job that comes before a release, under way.
type firstRun struct {
	key string                  // of release and job
	job string                  // its name
	end context.CancelCauseFunc // ends it: it is asked, and killed after jobGrace
}

// errSuperseded ends a run whose release nobody asks for any more.
var errSuperseded = errors.New("another release took the place of the one it ran for")

// Why else a run is ended before it is done.
var (
	errStopped = errors.New("somebody stopped it")
	errDeleted = errors.New("the job was deleted")
)

// A jobLife is a run under way.
type jobLife struct {
	job    string
	manual bool                    // it was asked for, and comes before no release
	end    context.CancelCauseFunc // asks it to end, and kills it after jobGrace
}

// endRuns ends the runs of a job, or those alone that were asked for, and says how many there are.
func (m *Module) endRuns(job string, manual bool, why error) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.running {
		if l.job == job && (l.manual || !manual) {
			l.end(why)
			n++
		}
	}
	return n
}

// stopJob carries out the operation job.stop.
func (m *Module) stopJob(_ context.Context, in workload.JobIn) (workload.Done, error) {
	job := strings.TrimPrefix(in.Job, "job/")
	n := m.endRuns(job, false, errStopped)
	state := m.p.State()
	if _, ok := state.Docs[core.Ref{Kind: core.KindJob, Name: job}]; !ok && n == 0 {
		return workload.Done{}, notFound("job", job, state.Of(core.KindJob))
	}
	if n == 0 {
		return workload.Done{}, fault.New(fault.Conflict, "job/"+job, "does not run").WithHint("Which have run: stoa job list")
	}
	return workload.Done{Message: fmt.Sprintf("job/%s is asked to end (%s), and is killed after %s if it does not. To see it: stoa job list", job, plural(n, "run"), jobGrace)}, nil
}

// firstKey names a job before a release: it changes with what either is made from.
func firstKey(rel release, job core.Document) string { return rel.content + "+" + jobID(job) }

// supersede ends the run of a job before a release that is not asked for any more, or
// whose job has changed since. Those of the release asked for go on.
func (d *deployment) supersede(rel release, state core.State) {
	d.mu.Lock()
	run := d.first
	d.mu.Unlock()
	if run == nil {
		return
	}
	for _, job := range jobsBefore(d.service, state) {
		if rel.content != "" && firstKey(rel, job) == run.key {
			return
		}
	}
	run.end(errSuperseded)
}

// waitingFor gives the services that wait for a run of the job.
func (m *Module) waitingFor(job string) (services []string) {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.deployments))
	m.mu.Unlock()
	for _, d := range all {
		d.mu.Lock()
		if d.first != nil && d.first.job == job || d.wait != nil && d.wait.job == job {
			services = append(services, d.service)
		}
		d.mu.Unlock()
	}
	return services
}

// before sees to the jobs that come before a release. It gives nil when all have
// succeeded and none runs, else why the release waits; it is asked again when a run has
// ended. Of one service, one job runs at a time: two migrations do not meet, and a
// release does not meet the migration of one that it took the place of.
func (m *Module) before(ctx context.Context, d *deployment, state core.State, rel release) (*core.Condition, error) {
	for _, job := range jobsBefore(rel.doc.Name, state) {
		want := firstKey(rel, job)
		done, err := m.p.MarkOf(ctx, jobKey(job.Name))
		if err != nil {
			return nil, err
		}
		if done == want {
			continue
		}
		if jobMissing(job) {
			return &core.Condition{Status: core.Pending, Reason: "NotBuilt", Message: "waits for the first build of job/" + job.Name}, nil
		}
		pending := core.Condition{Status: core.Pending, Reason: "Job", Message: "job/" + job.Name + " runs first"}
		d.mu.Lock()
		defer d.mu.Unlock()
		switch {
		case d.wait != nil && d.wait.key == want:
			c := d.wait.c
			return &c, nil
		case d.first != nil && d.first.key != want:
			return d.first.inTheWay(), nil
		case d.first != nil || d.paused > 0: // it runs, or its data is being reset
			return &pending, nil
		}
		live, end := context.WithCancelCause(m.jobs)
		d.wait, d.first = &wait{want, job.Name, pending}, &firstRun{want, job.Name, end}
		m.lives.Go(func() { m.runBefore(live, d, job, rel.doc, want) })
		return &pending, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first != nil {
		return d.first.inTheWay(), nil
	}
	return nil, nil
}

// inTheWay says that a release waits for the end of a run that is not its own.
func (r *firstRun) inTheWay() *core.Condition {
	return &core.Condition{Status: core.Pending, Reason: "Job", Message: "waits until job/" + r.job + " has ended, which runs already"}
}

// runBefore runs a job that comes before a release, and has the service looked at again.
func (m *Module) runBefore(ctx context.Context, d *deployment, job, service core.Document, want string) {
	run := m.runJob(ctx, job, service, m.p.State(), false, nil)
	if run.State == workload.JobSucceeded {
		if err := m.p.Mark(m.ctx, jobKey(job.Name), want); err != nil {
			run.State, run.ExitCode, run.Output = workload.JobFailed, -1, []string{"it is not known as done: " + err.Error()}
		}
	}
	d.mu.Lock()
	d.first.end(nil)
	d.first = nil
	if d.wait != nil && d.wait.key == want {
		d.wait = nil
		if run.Failed() {
			d.wait = &wait{want, job.Name, core.Condition{
				Status: core.False, Reason: "JobFailed", Message: fmt.Sprintf("job/%s failed: %s", job.Name, how(run)), Evidence: run.Output,
				Hint: "See stoa logs " + service.Name + "; correct it, or try it again: stoa restart " + service.Name,
			}}
		}
	}
	d.mu.Unlock()
	d.changed()
}

// how says in a few words how a run failed.
func how(run workload.JobRun) string {
	if run.ExitCode < 0 && len(run.Output) > 0 {
		return run.Output[len(run.Output)-1]
	}
	return fmt.Sprintf("exit code %d", run.ExitCode)
}

func jobKey(job string) string { return "workload/job/" + job }

// jobID changes with whatever a job is run from.
func jobID(job core.Document) string {
	return digest(slices.Concat(job.Sections[""], []byte("\n"+job.Artefacts[build.Program]+"\n"+job.Artefacts[build.Folder])))
}

// jobsID changes with the jobs that come before a release of the service.
func jobsID(service string, state core.State) string {
	var ids []byte
	for _, job := range jobsBefore(service, state) {
		ids = append(ids, job.Name+" "+jobID(job)+"\n"...)
	}
	return digest(ids)
}

// jobMissing says whether a job has a program of its own that was never built.
func jobMissing(job core.Document) bool {
	j := workload.JobBody.Of(job)
	return j.Go != "" && job.Artefacts[build.Program] == "" || len(j.Command) > 0 && job.Artefacts[build.Folder] == ""
}

// runJob runs a job with its retries, to its end, and remembers how it went.
func (m *Module) runJob(ctx context.Context, job, service core.Document, state core.State, manual bool, extra map[string]string) workload.JobRun {
	j := workload.JobBody.Of(job)
	run := workload.JobRun{Job: job.Name, ID: id.New(), State: workload.JobRunning, Began: core.At(time.Now())}
	ctx, end := context.WithCancelCause(ctx)
	m.mu.Lock()
	m.running[run.ID] = &jobLife{job.Name, manual, end}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.running, run.ID)
		m.mu.Unlock()
		end(nil)
	}()
	m.remember(run)
	for run.Attempt = 1; ; run.Attempt++ {
		var err error
		run.ExitCode, run.Output, err = m.attempt(ctx, run.ID, job, service, state, extra)
		switch {
		case err == nil && run.ExitCode == 0:
			run.State = workload.JobSucceeded
		case err != nil:
			run.State, run.ExitCode = workload.JobFailed, -1
			run.Output = append(run.Output, err.Error())
		default:
			run.State = workload.JobFailed
		}
		if run.State == workload.JobSucceeded || run.Attempt > j.Retries {
			break
		}
		select { // a moment, doubled each time: what it waits for may be starting
		case <-time.After(time.Second << (run.Attempt - 1)):
			continue
		case <-ctx.Done():
		}
		break
	}
	switch why := context.Cause(ctx); {
	case run.State == workload.JobSucceeded:
	case errors.Is(why, errSuperseded):
		run.State = workload.JobSuperseded
	case errors.Is(why, errStopped), errors.Is(why, errDeleted):
		run.State = workload.JobStopped
	}
	run.Ended = core.At(time.Now())
	m.remember(run)
	if !errors.Is(context.Cause(ctx), errDeleted) {
		m.p.Observe(job.Ref(), succeeded(run))
	}
	return run
}

// succeeded gives the condition of a job after a run of it.
func succeeded(run workload.JobRun) core.Condition {
	c := core.Condition{Type: "Succeeded", Status: core.True, Reason: "Succeeded", Message: "succeeded", Since: run.Ended}
	switch run.State {
	case workload.JobSuperseded:
		c.Status, c.Reason, c.Message, c.Evidence = core.Pending, "Superseded", "was ended: "+errSuperseded.Error(), run.Output
	case workload.JobStopped:
		c.Status, c.Reason, c.Message, c.Evidence = core.Pending, "Stopped", "was ended: "+errStopped.Error(), run.Output
		c.Hint = "To run it again: stoa job run " + run.Job
	case workload.JobFailed:
		c.Status, c.Reason, c.Message, c.Evidence = core.False, "Failed", how(run), run.Output
		c.Hint = "To run it again: stoa job run " + run.Job
	}
	return c
}

func (m *Module) attempt(ctx context.Context, runID string, job, service core.Document, state core.State, extra map[string]string) (code int, tail []string, err error) {
	j := workload.JobBody.Of(job)
	ctx, cancel := context.WithTimeout(ctx, j.Timeout.D())
	defer cancel()
	g, err := m.grant(ctx, host.Instance{ID: runID, Doc: service, Job: job.Name, State: state})
	if err != nil {
		return 0, nil, err
	}
	defer g.free()
	env, err := m.environment(service, extra, g, nil)
	if err != nil {
		return 0, nil, err
	}
	program, folder, command, args := job.Artefacts[build.Program], job.Artefacts[build.Folder], j.Command, j.Args
	if program == "" && folder == "" { // it is the service's program with other arguments
		program, folder = service.Artefacts[build.Program], service.Artefacts[build.Folder]
		command = workload.RunSection.Of(service).Command
	}
	argv, dir, err := m.commandOf(service.Name, program, folder, command, args)
	if err != nil {
		return 0, nil, err
	}
	out := m.tailer(g.secrets)
	// A start that was cut short would kill a program that has begun its work already: what
	// is not wanted any more is asked to end, like any other.
	in, err := m.starter.Start(context.WithoutCancel(ctx), process.Spec{
		Argv: argv, Dir: dir, Env: env, Mark: m.p.MarkID() + "/" + runID,
		Stdout: m.sink(out, service.Name, runID, "stdout"), Stderr: m.sink(out, service.Name, runID, "stderr"),
	})
	cut := func() error { // why it was ended
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fault.New(fault.Unavailable, job.Ref().String(), "did not end within %s", j.Timeout)
		}
		return fault.New(fault.Unavailable, job.Ref().String(), "was ended before it was done: %w", context.Cause(ctx))
	}
	if err != nil {
		return 0, nil, err
	}
	select {
	case <-in.Done():
	case <-ctx.Done():
		if err := in.Stop(context.WithoutCancel(ctx), jobGrace); err != nil {
			return 0, out.lines(), err
		}
		return 0, out.lines(), cut()
	}
	exit := in.Exit()
	if exit.Code != 0 {
		return exit.Code, append(out.lines(), "it "+exit.String()), nil
	}
	return 0, out.lines(), nil
}

// remember keeps a run, in place of an earlier state of it.
func (m *Module) remember(run workload.JobRun) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.IndexFunc(m.runs, func(r workload.JobRun) bool { return r.ID == run.ID }); i >= 0 {
		m.runs[i] = run
		return
	}
	if m.runs = append(m.runs, run); len(m.runs) > maxRuns {
		m.runs = slices.Delete(m.runs, 0, 1)
	}
}

// runJobNow carries out the operation job.run.
func (m *Module) runJobNow(ctx context.Context, in workload.JobIn) (workload.JobRun, error) {
	state := m.p.State()
	job, ok := state.Docs[core.Ref{Kind: core.KindJob, Name: in.Job}]
	if !ok {
		return workload.JobRun{}, notFound("job", in.Job, state.Of(core.KindJob))
	}
	service, ok := state.Docs[core.Ref{Kind: core.KindService, Name: workload.JobBody.Of(job).Of}]
	if !ok || jobMissing(job) || service.Artefacts[build.Program] == "" && service.Artefacts[build.Folder] == "" {
		return workload.JobRun{}, fault.New(fault.Unavailable, job.Ref().String(), "was not built yet").WithHint("See stoa status.")
	}
	if !m.enter() {
		return workload.JobRun{}, errStopping
	}
	defer m.lives.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.jobs, cancel)() // it ends with Stoa, whoever waits for it
	return m.runJob(ctx, job, service, state, true, in.Env), nil
}

func (m *Module) listJobs(context.Context, op.None) (workload.JobsOut, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	runs := slices.Clone(m.runs)
	slices.Reverse(runs)
	return workload.JobsOut{Runs: runs}, nil
}
