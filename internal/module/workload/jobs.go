package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
	c   core.Condition // how the job stands
}

// before sees to the jobs that come before a release. It gives nil when all have
// succeeded, else why the release waits; it is asked again when a run has ended. Of one
// service, one job runs at a time: two migrations do not meet.
func (m *Module) before(ctx context.Context, d *deployment, state core.State, rel release) (*core.Condition, error) {
	for _, job := range jobsBefore(rel.doc.Name, state) {
		want := rel.content + "+" + jobID(job)
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
		case d.running || d.paused > 0: // one of an earlier release, or its data is being reset
			return &pending, nil
		}
		d.wait, d.running = &wait{want, pending}, true
		m.lives.Go(func() { m.runBefore(d, job, rel.doc, want) })
		return &pending, nil
	}
	return nil, nil
}

// runBefore runs a job that comes before a release, and has the service looked at again.
func (m *Module) runBefore(d *deployment, job, service core.Document, want string) {
	run := m.runJob(m.jobs, job, service, m.p.State(), nil)
	if run.State == "succeeded" {
		if err := m.p.Mark(m.ctx, jobKey(job.Name), want); err != nil {
			run.State, run.ExitCode, run.Output = "failed", -1, []string{"it is not known as done: " + err.Error()}
		}
	}
	d.mu.Lock()
	d.running = false
	if d.wait != nil && d.wait.key == want {
		d.wait = nil
		if run.State != "succeeded" {
			d.lastErr = fmt.Sprintf("job/%s failed: %s", job.Name, how(run))
			d.wait = &wait{want, core.Condition{
				Status: core.False, Reason: "JobFailed", Message: d.lastErr, Evidence: run.Output,
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

// jobMissing says whether a job has a program of its own that was never built.
func jobMissing(job core.Document) bool {
	j := workload.JobBody.Of(job)
	return j.Go != "" && job.Artefacts[build.Program] == "" || len(j.Command) > 0 && job.Artefacts[build.Folder] == ""
}

// runJob runs a job with its retries, to its end, and remembers how it went.
func (m *Module) runJob(ctx context.Context, job, service core.Document, state core.State, extra map[string]string) workload.JobRun {
	j := workload.JobBody.Of(job)
	run := workload.JobRun{Job: job.Name, ID: id.New(), State: "running", Began: core.At(time.Now())}
	m.remember(run)
	for run.Attempt = 1; ; run.Attempt++ {
		var err error
		run.ExitCode, run.Output, err = m.attempt(ctx, run.ID, job, service, state, extra)
		switch {
		case err == nil && run.ExitCode == 0:
			run.State = "succeeded"
		case err != nil:
			run.State, run.ExitCode = "failed", -1
			run.Output = append(run.Output, err.Error())
		default:
			run.State = "failed"
		}
		if run.State == "succeeded" || run.Attempt > j.Retries || ctx.Err() != nil {
			break
		}
		select { // a moment, doubled each time: what it waits for may be starting
		case <-time.After(time.Second << (run.Attempt - 1)):
		case <-ctx.Done():
		}
	}
	run.Ended = core.At(time.Now())
	m.remember(run)
	c := core.Condition{Type: "Succeeded", Status: core.True, Reason: "Succeeded", Message: "succeeded", Since: run.Ended}
	if run.State != "succeeded" {
		c.Status, c.Reason, c.Message, c.Evidence = core.False, "Failed", how(run), run.Output
		c.Hint = "To run it again: stoa job run " + job.Name
	}
	m.p.Observe(job.Ref(), c)
	return run
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
	out := newTailer(g.secrets)
	in, err := m.starter.Start(ctx, process.Spec{
		Argv: argv, Dir: dir, Env: env, Mark: m.p.MarkID() + "/" + runID,
		Stdout: m.sink(out, service.Name, runID, "stdout"), Stderr: m.sink(out, service.Name, runID, "stderr"),
	})
	if err != nil {
		return 0, nil, err
	}
	select {
	case <-in.Done():
	case <-ctx.Done():
		if err := in.Stop(context.WithoutCancel(ctx), jobGrace); err != nil {
			return 0, out.lines(), err
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return 0, out.lines(), fault.New(fault.Unavailable, job.Ref().String(), "did not end within %s", j.Timeout)
		}
		return 0, out.lines(), fault.New(fault.Unavailable, job.Ref().String(), "was ended before it was done: %w", ctx.Err())
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
	return m.runJob(ctx, job, service, state, in.Env), nil
}

func (m *Module) listJobs(context.Context, op.None) (workload.JobsOut, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	runs := slices.Clone(m.runs)
	slices.Reverse(runs)
	return workload.JobsOut{Runs: runs}, nil
}

// A tailer keeps the last lines of output, with secrets taken out.
type tailer struct {
	veil veil

	mu   sync.Mutex
	last []string // at most maxTail; guarded by mu
}

func newTailer(secrets []string) *tailer { return &tailer{veil: newVeil(secrets)} }

// add keeps line and gives it back without secrets.
func (t *tailer) add(line []byte) []byte {
	line = t.veil.hide(line)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last = append(t.last, presentable(line)); len(t.last) > maxTail {
		t.last = slices.Delete(t.last, 0, 1)
	}
	return line
}

func (t *tailer) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.last)
}

// sink gives what takes one stream of a program's output.
func (m *Module) sink(out *tailer, service, instance, stream string) process.Sink {
	return func(line []byte, _ bool) { m.p.Line(service, instance, stream, out.add(line)) }
}
