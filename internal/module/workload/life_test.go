package workload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/workload"
)

// An old instance leaves balancing when the new one is ready, and is asked to end when
// nothing is in flight to it any more, not before.
func TestDrainComesBeforeSIGTERM(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	flight := make(chan struct{})
	asked := make(chan string, 10)
	s.drained = func(ctx context.Context, endpoint string) error {
		asked <- endpoint
		select {
		case <-flight:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.declare(service("serve", "stop", `{"grace":"5m"}`))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	old := s.status().Instances[0]
	s.declare(service("serve", "stop", `{"grace":"5m"}`, "env", `{"ROLE":"serve","ANSWER":"two"}`))
	s.until("it drains", func() bool { return len(asked) > 0 })
	if got := <-asked; got != old.ID {
		t.Fatalf("drains %s, want %s", got, old.ID)
	}
	if eps := s.endpoints(); len(eps) != 1 || eps[0].ID == old.ID {
		t.Errorf("while the old one drains, calls go to %v", eps)
	}
	if syscall.Kill(old.PID, 0) != nil {
		t.Error("the old one ended with requests in flight")
	}
	close(flight)
	s.until("the old one has ended", func() bool { return len(s.status().Instances) == 1 })
}

// A stream that never ends leaves the program time for its own ending: it is asked, not killed unasked.
func TestEndlessStreamLeavesTimeForSIGTERM(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.drained = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
	s.declare(service("polite", "stop", `{"grace":"8s"}`))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	s.ask(s.m.stop)
	s.until("it said goodbye", func() bool { return s.said("goodbye") })
}

// A stop of Stoa cuts what drains already: all are gone within the grace of the platform.
func TestShutdownShortensADrainUnderWay(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	draining := make(chan struct{}, 10)
	s.drained = func(ctx context.Context, _ string) error { draining <- struct{}{}; <-ctx.Done(); return ctx.Err() }
	s.m.o.StopGrace = 200 * time.Millisecond
	s.declare(service("obstinate", "stop", `{"grace":"1h"}`))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	pid := s.status().Instances[0].PID
	s.ask(s.m.stop)
	s.until("it drains", func() bool { return len(draining) > 0 })
	s.shut()
	if syscall.Kill(pid, 0) == nil {
		t.Error("it lives")
	}
}

// A corrected probe counts at once, for the instance that runs: it is not started again.
func TestCorrectedProbeNeedsNoRestart(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve", "health", `{"ready":"/nope","startup":"1h"}`))
	s.until("it runs", func() bool { v := s.status(); return len(v.Instances) == 1 && v.Instances[0].PID != 0 })
	pid := s.status().Instances[0].PID
	s.declare(service("serve", "health", `{"ready":"/ok"}`))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	if now := s.status().Instances[0].PID; now != pid {
		t.Errorf("process %d was replaced by %d", pid, now)
	}
}

// One that is not ready in time is replaced, and says what was asked and answered.
func TestNeverReady(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve", "health", `{"ready":"/nope","startup":"1s"}`))
	s.until("it is told, with the answer", func() bool { // on a busy machine the first may not have listened yet
		c, ok := s.last("NotReady")
		return ok && strings.Contains(c.Message, "404")
	})
	if c, _ := s.last("NotReady"); c.Status != core.False || !strings.Contains(c.Message, "was not ready within 1s") || c.Hint == "" {
		t.Errorf("%+v", c)
	}
}

// One that does not live any more is replaced by another.
func TestDeadIsReplaced(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sick := filepath.Join(t.TempDir(), "sick")
	s.declare(service("serve", "health", `{"ready":"tcp","live":"/alive","interval":"50ms"}`, "env", `{"ROLE":"serve","SICK":"`+sick+`"}`))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	old := s.status().Instances[0].PID
	if err := os.WriteFile(sick, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.until("it is told", func() bool { _, ok := s.last("NotLive"); return ok })
	if err := os.Remove(sick); err != nil {
		t.Fatal(err)
	}
	s.until("another serves", func() bool { v := s.status(); return v.Ready == 1 && v.Instances[0].PID != old })
}

// One that is unready for a while gets no calls, and is not replaced.
func TestUnreadyComesBack(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sick := filepath.Join(t.TempDir(), "sick")
	s.declare(service("serve", "health", `{"ready":"/alive","interval":"50ms"}`, "env", `{"ROLE":"serve","SICK":"`+sick+`"}`))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	pid := s.status().Instances[0].PID
	if err := os.WriteFile(sick, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.until("it gets no calls", func() bool { return len(s.endpoints()) == 0 })
	if c, ok := s.last("Unready"); !ok || !strings.Contains(c.Message, "503") || strings.Contains(c.Message, "planted-secret") {
		t.Errorf("%+v", c)
	}
	if err := os.Remove(sick); err != nil {
		t.Fatal(err)
	}
	s.until("it gets calls again", func() bool { return len(s.endpoints()) == 1 })
	if now := s.status().Instances[0].PID; now != pid {
		t.Errorf("process %d was replaced by %d", pid, now)
	}
}

// A server that does not set SO_REUSEADDR gets its port at the second start.
func TestServerWithoutReuseAddr(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("strict"))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
}

// A service without a port is ready when it has lived for a while.
func TestNoPort(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve", "listen", `[]`, "env", `{"ROLE":"obstinate","PORT":"0"}`, "stop", `{"grace":"0s"}`))
	s.until("ready", func() bool { return s.status().State == workload.StateReady })
}

// Who has a fixed port is named; when he has gone, the service starts.
func TestFixedPortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	s := newStage(t)
	s.declare(service("serve", "listen", fmt.Sprintf(`[{"env":"PORT","port":%d}]`, port)))
	s.until("it is told", func() bool { _, ok := s.last("PortTaken"); return ok })
	if c, _ := s.last("PortTaken"); !strings.Contains(c.Message, fmt.Sprintf("port %d", port)) || !strings.Contains(c.Message, fmt.Sprintf("(process %d)", os.Getpid())) || c.Hint == "" {
		t.Errorf("%+v", c)
	}
	l.Close()
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
}

// What is deleted ends and is forgotten; one of the same name that comes later was never stopped.
func TestDeletedService(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve"))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	pid := s.status().Instances[0].PID
	s.ask(s.m.stop)
	s.remove(service("serve"))
	s.until("forgotten", func() bool { return s.m.deployment("a", false) == nil })
	if syscall.Kill(pid, 0) == nil || len(s.endpoints()) != 0 {
		t.Error("it lives")
	}
	s.declare(service("serve"))
	s.until("ready again", func() bool { return len(s.endpoints()) == 1 })
}

// A service that becomes files leaves no process behind.
func TestProgramBecomesFiles(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve"))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	pid := s.status().Instances[0].PID
	s.declare(service("serve", "run", `{"static":"dist"}`))
	s.until("it has ended", func() bool { return syscall.Kill(pid, 0) != nil && len(s.endpoints()) == 0 })
}

// An instance is called at the ports of its own listeners, whatever the document says by now.
func TestListenersAreTakenFromTheRelease(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve", "listen", `[{"env":"PORT"},{"name":"admin","env":"ADMIN_PORT"}]`))
	s.until("both ports are known", func() bool { return len(s.at("a")) == 1 && len(s.at("a/admin")) == 1 })
	main := s.at("a")[0]
	s.declare(service("serve", "listen", `[{"name":"main","env":"PORT"}]`))
	s.until("renamed", func() bool { return len(s.at("a/main")) == 1 && len(s.at("a")) == 0 && len(s.at("a/admin")) == 0 })
	for _, e := range s.history() {
		if e.upstream == "a/main" && slices.ContainsFunc(e.eps, func(ep string) bool { return ep == main.ID }) {
			t.Errorf("the old instance was called as a/main: %v", e)
		}
	}
}

// What runs elsewhere is probed, balanced while it answers, and never started; an edited
// list leaves the addresses that stay alone.
func TestExternal(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	sick := false
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if sick {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	one, two := httptest.NewServer(h), httptest.NewServer(h)
	defer one.Close()
	defer two.Close()
	a, b := strings.TrimPrefix(one.URL, "http://"), strings.TrimPrefix(two.URL, "http://")
	external := func(addrs string) core.Document {
		return declared(core.KindService, "a", "run", `{"external":[`+addrs+`]}`, "health", `{"ready":"/ok","interval":"50ms"}`)
	}
	s := newStage(t)
	s.declare(external(`"` + a + `"`))
	s.until("it is balanced", func() bool { return len(s.endpoints()) == 1 && s.endpoints()[0].Address == a })
	s.declare(external(`"` + a + `","` + b + `"`))
	s.until("both are", func() bool { return len(s.endpoints()) == 2 })
	if s.wasEmpty() {
		t.Error("the address that stayed was away for a moment")
	}
	if v := s.status(); v.State != workload.StateExternal || v.Instances[0].PID != 0 {
		t.Errorf("%+v", v)
	}
	mu.Lock()
	sick = true
	mu.Unlock()
	s.until("none is", func() bool { return len(s.endpoints()) == 0 && s.status().State == workload.StateDown })
	s.until("it is told", func() bool {
		c, ok := s.last("Unreachable")
		return ok && strings.Contains(c.Message, "503") && c.Hint != ""
	})
	mu.Lock()
	sick = false
	mu.Unlock()
	s.until("both are again", func() bool { return len(s.endpoints()) == 2 })
	s.declare(service("serve"))
	s.until("a program takes their place", func() bool { eps := s.endpoints(); return len(eps) == 1 && eps[0].Address != a && eps[0].Address != b })
}

// A pause ends the instances and lets none come until it is over; then jobs run again,
// because what they have done is gone.
func TestPause(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(job(s, "echo migrated", ""), service("serve"))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	pid := s.status().Instances[0].PID
	resume, err := s.m.Pause(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if syscall.Kill(pid, 0) == nil {
		t.Error("it lives")
	}
	s.declare(service("serve", "env", `{"ROLE":"serve","ANSWER":"two"}`))
	s.until("it is told", func() bool { _, ok := s.last("Paused"); return ok })
	if v := s.status(); len(v.Instances) != 0 || v.State == workload.StateReady {
		t.Errorf("%+v", v)
	}
	resume()
	s.until("ready again", func() bool { return len(s.endpoints()) == 1 })
	if runs, _ := s.m.listJobs(t.Context(), struct{}{}); len(runs.Runs) != 2 {
		t.Errorf("%d runs of the job, want 2", len(runs.Runs))
	}
	if _, err := s.m.Pause(t.Context(), "nobody"); err != nil {
		t.Error(err)
	}
}

// An environment is lent as the instance would have it; an attached program takes the
// instances' place for as long as it is there.
func TestBorrowAndAttach(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve"))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	own := s.endpoints()[0].ID

	ctx, hangUp := context.WithCancel(t.Context())
	seq, err := s.m.borrow(ctx, workload.BorrowIn{Service: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for l, err := range seq {
		if err != nil || l.State != "lent" || !slices.Contains(l.Env, "ROLE=serve") || !slices.ContainsFunc(l.Env, func(kv string) bool { return strings.HasPrefix(kv, "PORT=") }) {
			t.Errorf("%+v, %v", l, err)
		}
		hangUp()
	}
	if eps := s.endpoints(); len(eps) != 1 || eps[0].ID != own {
		t.Errorf("a loan moved calls to %v", eps)
	}

	ctx, hangUp = context.WithCancel(t.Context())
	defer hangUp()
	if seq, err = s.m.borrow(ctx, workload.BorrowIn{Service: "a", Attach: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.m.borrow(ctx, workload.BorrowIn{Service: "a", Attach: true}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second one gave %v", err)
	}
	var l net.Listener
	var states []string
	for loan, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, loan.State)
		switch loan.State {
		case "lent":
			if v := s.status(); len(v.Instances) != 1 || v.Instances[0].ID != loan.ID {
				t.Errorf("its own instances: %+v", v.Instances)
			}
			i := slices.IndexFunc(loan.Env, func(kv string) bool { return strings.HasPrefix(kv, "PORT=") })
			if l, err = net.Listen("tcp", "127.0.0.1:"+strings.TrimPrefix(loan.Env[i], "PORT=")); err != nil {
				t.Fatal(err)
			}
		case "ready":
			if eps := s.endpoints(); len(eps) != 1 || eps[0].ID != loan.ID {
				t.Errorf("calls go to %v, want %s", eps, loan.ID)
			}
			s.declare(service("serve", "listen", `[{"env":"PORT"},{"name":"grpc","env":"G"}]`)) // more ports than it has
			s.until("reconciled", func() bool { return s.status().Revision == 2 })
			l.Close()
		case "unready":
			hangUp()
		}
	}
	if got := strings.Join(states, " "); got != "lent ready unready" {
		t.Errorf("states %q", got)
	}
	s.until("its own instances are back", func() bool { return len(s.endpoints()) == 1 })

	// A stream that nobody ever reads is given back when its caller goes.
	ctx, hangUp = context.WithCancel(t.Context())
	if _, err = s.m.borrow(ctx, workload.BorrowIn{Service: "a", Attach: true}); err != nil {
		t.Fatal(err)
	}
	hangUp()
	s.until("ready", func() bool { return len(s.endpoints()) == 1 && s.status().State == workload.StateReady })
	if _, err := s.m.borrow(t.Context(), workload.BorrowIn{Service: "nobody"}); !fault.Is(err, fault.NotFound) || !strings.Contains(fault.HintOf(err), "a") {
		t.Errorf("%v", err)
	}
}

// The order in which endpoints are told is that in which they became known: whatever
// happens at once, the last word is the present state.
func TestPublishesDoNotOvertake(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve", "scale", `{"min":4}`))
	s.until("four", func() bool { return len(s.endpoints()) == 4 })
	d := s.m.deployment("a", false)
	d.mu.Lock()
	slots := slices.Clone(d.slots)
	d.mu.Unlock()
	for range 50 {
		var all sync.WaitGroup
		for _, sl := range slots {
			all.Go(func() {
				sl.set(func() { sl.phase = phaseUnready })
				d.publish()
				sl.set(func() { sl.phase = phaseReady })
				d.publish()
			})
		}
		all.Wait()
		if n := len(s.endpoints()); n != 4 {
			t.Fatalf("%d endpoints were told last, want 4", n)
		}
	}
}

// What cannot be started says why, is tried again, and is no crash loop.
func TestNotGranted(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var mu sync.Mutex
	refused := errors.New("no file of secrets")
	s.granted = func() error { mu.Lock(); defer mu.Unlock(); return refused }
	s.declare(service("serve"))
	s.until("six tries", func() bool { v := s.status(); return len(v.Instances) == 1 && v.Instances[0].Failures > 5 })
	if c, ok := s.last("NotGranted"); !ok || c.Message != "could not start: test: no file of secrets" {
		t.Errorf("%+v", c)
	}
	if _, ok := s.last("CrashLoop"); ok {
		t.Error("it was called a crash loop")
	}
	mu.Lock()
	refused = nil
	mu.Unlock()
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
}
