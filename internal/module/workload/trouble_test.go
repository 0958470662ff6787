package workload

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/workload"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/snapshot"
	"stoa/internal/kernel/host"
)

// What was wrong is forgotten when the service is ready again, and starts that came to
// nothing were no restarts.
func TestRecoveredServiceHasNoError(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var mu sync.Mutex
	refused := errors.New("no file of secrets")
	s.granted = func() error { mu.Lock(); defer mu.Unlock(); return refused }
	s.declare(service("serve"))
	s.until("enough tries", func() bool { return s.status().Blocked != "" })
	if v := s.status(); v.State != workload.StateCrashing || v.LastError != "could not start: test: no file of secrets" || v.Blocked != v.LastError || v.Restarts != 0 {
		t.Errorf("%+v", v)
	}
	s.until("a call fails at once", func() bool { return s.refusal().Reason == hop.Failing })
	if c := s.refusal(); c.Text != "a cannot be started" || !strings.Contains(c.Hint, "stoa why a") {
		t.Errorf("a caller is told %+v", c)
	}
	mu.Lock()
	refused = nil
	mu.Unlock()
	s.until("ready", func() bool { return s.status().State == workload.StateReady })
	if v := s.status(); v.LastError != "" || v.Blocked != "" || v.Restarts != 0 || v.Instances[0].Failures != 0 {
		t.Errorf("recovered: %+v", v)
	}
	if c := s.refusal(); c != (snapshot.Closed{}) {
		t.Errorf("calls still fail: %+v", c)
	}
}

// One that had been ready and ended was restarted, once, and what it died of is no news.
func TestRestartCounts(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sick := filepath.Join(t.TempDir(), "sick")
	s.declare(service("serve", "health", `{"ready":"tcp","live":"/alive","interval":"50ms"}`, "env", `{"ROLE":"serve","SICK":"`+sick+`"}`))
	s.until("ready", func() bool { return s.status().State == workload.StateReady })
	if err := os.WriteFile(sick, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.until("it is told", func() bool { return strings.HasPrefix(s.status().LastError, "does not live: ") })
	if err := os.Remove(sick); err != nil {
		t.Fatal(err)
	}
	s.until("another is ready", func() bool { v := s.status(); return v.State == workload.StateReady && v.Restarts > 0 })
	if v := s.status(); v.LastError != "" {
		t.Errorf("%+v", v)
	}
}

// A new release that does not come up keeps the one before, in a sentence, and is stuck
// after a few tries.
func TestNewReleaseThatDoesNotComeUp(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve"))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	s.granted = nil
	s.declare(service("crash"))
	s.until("it is stuck", func() bool { return s.status().Blocked != "" })
	v := s.status()
	if want := "the release before goes on, because the new one exited with code 3"; v.State != workload.StateRolling || !strings.HasPrefix(v.LastError, want) || v.Restarts != 0 {
		t.Errorf("%+v, want %s", v, want)
	}
	if c := s.refusal(); c != (snapshot.Closed{}) || len(s.endpoints()) != 1 {
		t.Errorf("the release before is not called: %+v", c)
	}
	s.declare(service("serve"))
	s.until("corrected", func() bool {
		v := s.status()
		return v.State == workload.StateReady && v.LastError == "" && v.Blocked == ""
	})
}

// Sentences join, whatever the trouble.
func TestOldReleaseReads(t *testing.T) {
	for _, c := range []struct {
		c            core.Condition
		reason, want string
	}{
		{core.Condition{Status: core.False, Reason: "NotGranted", Message: "could not start: secrets: no A"}, "OldRelease", "the release before goes on, because the new one could not start: secrets: no A"},
		{core.Condition{Status: core.False, Reason: "JobFailed", Message: "job/migrate failed: exit code 4"}, "OldRelease", "the release before goes on, because job/migrate failed: exit code 4"},
		{core.Condition{Status: core.Pending, Reason: "Job", Message: "job/migrate runs first"}, "Waiting", "the release before goes on, because job/migrate runs first"},
		{core.Condition{Status: core.Pending, Reason: "NotBuilt", Message: "waits for its first build"}, "Waiting", "the release before goes on, because the new one waits for its first build"},
	} {
		if got := oldRelease(&c.c); got.Message != c.want || got.Reason != c.reason || got.Status != core.True {
			t.Errorf("%+v, want %s: %s", got, c.reason, c.want)
		}
	}
}

// While a slot waits before its next start, a secret that was corrected ends the wait, as
// does a changed document. One that is as it was does not, nor one that cannot be read.
func TestCorrectionIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve"))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	sl := newSlot(s.m.deployment("a", false), release{doc: service("serve")})
	asked := make(chan bool, 100)
	answers := make(chan host.Grant, 1)
	g := &granted{given: []string{"wrong"}, again: []host.Grantor{{Name: "secrets", Do: func(context.Context, host.Instance) (host.Grant, error) {
		asked <- true
		select {
		case a := <-answers:
			return a, nil
		default:
			return host.Grant{}, errors.New("is being written")
		}
	}}}}
	rested := make(chan bool)
	rest := func() { go func() { sl.rest(24*time.Hour, g); rested <- true }() }
	awake := func(why string) {
		t.Helper()
		select {
		case <-rested:
		case <-time.After(patience):
			t.Fatalf("it rests on: %s", why)
		}
	}
	rest()
	<-asked // cannot be read
	<-asked // nor now
	answers <- host.Grant{Secret: []string{"wrong"}}
	<-asked
	<-asked
	select {
	case <-rested:
		t.Fatal("it was woken by nothing new")
	default:
	}
	answers <- host.Grant{Secret: []string{"right"}}
	awake("the secret was corrected")
	rest()
	sl.adopt(service("serve", "health", `{"ready":"/ok"}`))
	awake("the document was changed")
	sl.stop()
}

// A call to a service that was stopped fails at once; one that is starting is waited for.
func TestStoppedServiceIsClosed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve", "listen", `[{"env":"PORT"},{"name":"admin","env":"ADMIN_PORT"}]`))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	s.ask(s.m.stop)
	s.until("closed", func() bool { return s.refusal().Reason == hop.Stopped })
	if c := s.refusal(); c.Text != "a was stopped" || !strings.Contains(c.Hint, "stoa start a") {
		t.Errorf("a caller is told %+v", c)
	}
	s.until("at every port", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.closed["a/admin"].Reason == hop.Stopped })
	s.ask(s.m.start)
	s.until("open again", func() bool { return s.refusal() == (snapshot.Closed{}) })
	s.until("ready again", func() bool { return len(s.endpoints()) == 1 })
}

// A service whose first release waits for a job that failed is not waited for.
func TestFailedJobCloses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(job(s, "exit 4", ""), service("serve"))
	s.until("closed", func() bool { return s.refusal().Reason == hop.Failing })
	if c := s.refusal(); c.Text != "a waits for a job that failed" {
		t.Errorf("a caller is told %+v", c)
	}
	s.declare(job(s, "exit 0", ""))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
}

// refusal is what callers of the service are told at once, zero if they wait.
func (s *stage) refusal() snapshot.Closed { s.mu.Lock(); defer s.mu.Unlock(); return s.closed["a"] }
