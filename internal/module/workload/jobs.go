package workload

import (
	"context"
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

// maxTail is how many last lines of output are kept as evidence.
const maxTail = core.MaxEvidence

// jobsBefore gives the jobs that come before a release of the service, in the order of their names.
func jobsBefore(service string, state core.State) []core.Document {
	return slices.DeleteFunc(state.Of(core.KindJob), func(d core.Document) bool {
		j := workload.JobBody.Of(d)
		return j.Of != service || j.When != workload.BeforeRelease
	})
}

// before sees to the jobs that come before a release. It gives nil when all have
// succeeded, else why the release waits; it is asked again when a run has ended.
func (m *Module) before(ctx context.Context, d *deployment, doc core.Document, state core.State, rel release) (*core.Condition, error) {
	for _, job := range jobsBefore(doc.Name, state) {
		key := jobKey(job.Name)
		want := rel.id + "+" + jobID(job)
		done, err := m.p.MarkOf(ctx, key)
		if err != nil {
			return nil, err
		}
		if done == want {
			continue
		}
		if jobMissing(job) {
			return &core.Condition{Status: core.Pending, Reason: "NotBuilt", Message: "waits for the first build of job/" + job.Name}, nil
		}
		d.mu.Lock()
		if d.jobs == nil {
			d.jobs = map[string]*core.Condition{}
		}
		state, known := d.jobs[want]
		if !known {
			state = &core.Condition{Status: core.Pending, Reason: "Job", Message: "job/" + job.Name + " runs first"}
			clear(d.jobs) // those of earlier releases
			d.jobs[want] = state
		}
		d.mu.Unlock()
		if !known {
			m.lives.Go(func() {
				run := m.runJob(m.ctx, job, rel.doc, m.p.State(), nil)
				if run.State == "succeeded" {
					if err := m.p.Mark(m.ctx, key, want); err != nil {
						run.State, run.Output = "failed", []string{err.Error()}
					}
				}
				d.mu.Lock()
				if run.State == "succeeded" {
					delete(d.jobs, want)
				} else {
					d.jobs[want] = &core.Condition{
						Status: core.False, Reason: "JobFailed", Message: fmt.Sprintf("job/%s failed: exit code %d", job.Name, run.ExitCode),
						Hint: "See stoa logs " + doc.Name + "; correct it, or try it again: stoa restart " + doc.Name, Evidence: run.Output,
					}
					d.lastErr = d.jobs[want].Message
				}
				d.mu.Unlock()
				d.changed()
			})
		}
		return state, nil
	}
	return nil, nil
}

func jobKey(job string) string { return "workload/job/" + job }

// jobID changes with whatever a job is run from.
func jobID(job core.Document) string {
	return fmt.Sprintf("%x", job.Sections[""]) + job.Artefacts[build.Program] + job.Artefacts[build.Folder]
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
		c.Status, c.Reason, c.Message, c.Evidence = core.False, "Failed", fmt.Sprintf("exit code %d", run.ExitCode), run.Output
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
	out := &tailer{secrets: g.secrets}
	sink := func(stream string) process.Sink {
		return func(line []byte, _ bool) {
			line = out.add(line)
			m.p.Line(service.Name, runID, stream, line)
		}
	}
	in, err := m.starter.Start(ctx, process.Spec{
		Argv: argv, Dir: dir, Env: env, Mark: m.p.MarkID() + "/" + runID, Stdout: sink("stdout"), Stderr: sink("stderr"),
	})
	if err != nil {
		return 0, nil, err
	}
	select {
	case <-in.Done():
	case <-ctx.Done():
		if err := in.Stop(context.WithoutCancel(ctx), 5*time.Second); err != nil {
			return 0, out.lines(), err
		}
		return 0, out.lines(), fault.New(fault.Unavailable, job.Ref().String(), "did not end within %s", j.Timeout)
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
	if m.isStopping() {
		return workload.JobRun{}, errStopping
	}
	m.lives.Add(1)
	defer m.lives.Done()
	return m.runJob(ctx, job, service, state, in.Env), nil
}

func (m *Module) jobs(context.Context, op.None) (workload.JobsOut, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	runs := slices.Clone(m.runs)
	slices.Reverse(runs)
	return workload.JobsOut{Runs: runs}, nil
}

// A tailer keeps the last lines of output, with secrets taken out.
type tailer struct {
	secrets []string

	mu   sync.Mutex
	last []string // at most maxTail; guarded by mu
}

// add keeps line and gives it back as it may be shown.
func (t *tailer) add(line []byte) []byte {
	line = redact(line, t.secrets)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last = append(t.last, string(line)); len(t.last) > maxTail {
		t.last = slices.Delete(t.last, 0, 1)
	}
	return line
}

func (t *tailer) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.last)
}
