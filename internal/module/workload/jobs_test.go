package workload

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stoa/api/core"
	"stoa/api/workload"
)

// A job that runs when Stoa stops is ended, however long it might go on.
func TestShutdownEndsJobs(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(job(s, "echo begun; exec sleep 1000", `"timeout":"1h"`), service("serve"))
	s.until("the job runs", func() bool { return s.said("begun") })
	s.shut()
	runs, _ := s.m.listJobs(context.Background(), struct{}{})
	if r := runs.Runs[0]; r.State != workload.JobFailed || !strings.Contains(strings.Join(r.Output, "\n"), "was ended before it was done") {
		t.Errorf("%+v", r)
	}
	if len(s.endpoints()) != 0 {
		t.Error("its service started all the same")
	}
}

// A run whose release is not asked for any more is asked to end and holds nothing back:
// what is asked for now comes up, with a run of its own if it needs one. Two never run
// at once.
func TestSupersededJobIsEnded(t *testing.T) {
	t.Parallel()
	const two = `{"ROLE":"serve","ANSWER":"two"}`
	for _, c := range []struct {
		claim  string
		change func(s *stage, script string)
		runs   string // states, newest first
	}{
		{"by another release", func(s *stage, _ string) { s.declare(service("serve", "env", two)) }, "succeeded superseded"},
		{"by another job", func(s *stage, script string) { s.declare(job(s, "ANSWER=two; "+script, `"timeout":"1h"`)) }, "succeeded superseded"},
		{"by none", func(s *stage, script string) { s.remove(job(s, script, `"timeout":"1h"`)) }, "superseded"},
		{"by the release that serves", func(s *stage, script string) { s.declare(service("serve")) }, "superseded"},
		{"by a job that was tried again", func(s *stage, _ string) {
			s.ask(s.m.restart) // this goes on: it is the same release
			s.declare(service("serve", "env", two))
		}, "succeeded superseded"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.declare(service("serve"))
			s.until("a release without a job serves", func() bool { return len(s.endpoints()) == 1 })
			lock := filepath.Join(t.TempDir(), "lock")
			script := `mkdir ` + lock + ` || { echo two at once; exit 9; }; trap 'rmdir ` + lock + `; echo asked; exit 1' TERM; echo begun
				while [ "$ANSWER" != two ]; do sleep 0.02; done; rmdir ` + lock
			s.declare(job(s, script, `"timeout":"1h"`), service("serve", "env", `{"ROLE":"serve","ANSWER":"one"}`))
			s.until("the job runs", func() bool { return s.said("begun") })
			c.change(s, script)
			var runs workload.JobsOut
			s.until("it is asked to end, and what is asked for serves", func() bool {
				v := s.status()
				runs, _ = s.m.listJobs(t.Context(), struct{}{})
				return s.said("asked") && v.State == workload.StateReady && v.Updated == 1 && runs.Runs[0].State != workload.JobRunning
			})
			var states []string
			for _, r := range runs.Runs {
				states = append(states, r.State)
			}
			if got := strings.Join(states, " "); got != c.runs {
				t.Errorf("runs %q, want %q: %+v", got, c.runs, runs.Runs)
			}
			if cond, ok := s.last("Superseded"); !ok || cond.Status == core.False {
				t.Errorf("its condition %+v", cond)
			}
			if s.said("two at once") {
				t.Error("two ran at once")
			}
			if v := s.status(); v.LastError != "" || v.Blocked != "" {
				t.Errorf("it is held against the service: %+v", v)
			}
		})
	}
}

// The run of a service that was deleted is ended, and the service forgotten.
func TestDeletedServiceEndsItsJob(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(job(s, "echo begun; exec sleep 1000", `"timeout":"1h"`), service("serve"))
	s.until("the job runs", func() bool { return s.said("begun") })
	s.remove(service("serve"))
	s.until("forgotten", func() bool { return s.m.deployment("a", false) == nil })
}

// A restart of what runs has no job run again.
func TestRestartRunsNoJob(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(job(s, "echo migrated", ""), service("serve"))
	s.until("ready", func() bool { return s.status().State == workload.StateReady })
	s.ask(s.m.restart)
	s.until("restarted", func() bool { return s.answered("") == 2 && s.status().State == workload.StateReady })
	if runs, _ := s.m.listJobs(t.Context(), struct{}{}); len(runs.Runs) != 1 {
		t.Errorf("%d runs, want 1", len(runs.Runs))
	}
}

// A service that a failed job holds back is known as looked at, and as held back, for a
// later revision that changes neither: who waits for that revision is told.
func TestLaterRevisionOfAHeldService(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve"))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	s.declare(job(s, "exit 4", ""), service("serve", "env", `{"ROLE":"serve","ANSWER":"two"}`))
	s.until("it is held back", func() bool { return s.status().Blocked != "" })
	later := core.State{Revision: s.m.p.State().Revision + 1, Docs: maps.Clone(s.m.p.State().Docs)}
	doc := later.Docs[core.Ref{Kind: core.KindService, Name: "a"}]
	if v := s.m.observed(doc, later); v.Revision != later.Revision || v.Blocked == "" {
		t.Errorf("at revision %d: %+v", later.Revision, v)
	}
	corrected := job(s, "exit 0", "")
	later.Docs[corrected.Ref()] = corrected
	if v := s.m.observed(doc, later); v.Revision == later.Revision {
		t.Errorf("the job was corrected, and nobody has looked at it: %+v", v)
	}
}

// A job that fails keeps the old release running, and says so.
func TestFailedJobKeepsTheOldRelease(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve"))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	old := s.endpoints()[0].ID
	s.declare(job(s, "echo no such table; exit 4", ""), service("serve", "env", `{"ROLE":"serve","ANSWER":"two"}`))
	s.until("it is told", func() bool {
		c, ok := s.last("OldRelease")
		return ok && strings.Contains(c.Message, "job/migrate failed: exit code 4") && slices.Contains(c.Evidence, "no such table")
	})
	if eps := s.endpoints(); len(eps) != 1 || eps[0].ID != old {
		t.Errorf("calls go to %v", eps)
	}
	if v := s.status(); v.Updated != 0 || v.State != workload.StateRolling || v.LastError == "" {
		t.Errorf("status %+v", v)
	}
}

// job gives a job before the release of the service a: a shell script.
func job(s *stage, script, more string) core.Document {
	if more != "" {
		more += ","
	}
	d := declared(core.KindJob, "migrate", "", fmt.Sprintf(`{%s"of":"a","command":["sh","-c",%q],"when":"before-release"}`, more, script))
	d.Artefacts["folder"] = "f"
	return d
}
