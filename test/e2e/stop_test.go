package e2e

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stoa/api/workload"
)

// A service that is in the middle of a request when Stoa is stopped can still call what
// it needs for it: callers end before what they use, over two levels.
func TestStopLetsCallersFinish(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "stoa.yaml", fmt.Sprintf(`kind: System
name: levels
---
kind: Service
name: aback
run: {command: [%[1]s]}
env: {ANSWER: aback}
health: {ready: /readyz}
---
kind: Service
name: middle
run: {command: [%[1]s]}
env: {ANSWER: middle}
uses: [{service: aback}]
health: {ready: /readyz}
---
kind: Service
name: zfront
run: {command: [%[1]s]}
env: {ANSWER: front}
expose: [{path: /}]
uses: [{service: middle}]
health: {ready: /readyz}
`, serverBin))
	for range 10 {
		took, answer := stopWhileAsked(t, dir)
		if strings.HasPrefix(answer, "200 aback ") {
			return
		}
		if took < time.Second { // well within the turn of those outside
			t.Fatalf("a request that needed another service after the stop had begun got %q", answer)
		}
		t.Logf("%v after the stop the service was told to go on, which may be after its turn: %q", took, answer)
	}
	t.Fatal("this machine is too busy to tell: ten times the turn of a service was over before it could be told to go on")
}

// stopWhileAsked stops Stoa while a request waits in the middle, which then needs aback. It
// gives how long after the stop the middle was told to go on, and what was answered.
func stopWhileAsked(t *testing.T, dir string) (took time.Duration, answer string) {
	p := prepare(t)
	p.start("server") // its grace is that of the services: time enough
	until(t, "the server answers", func() bool { _, ok := p.status(); return ok })
	p.must("apply", dir, "--wait")
	p.ready()
	gate := filepath.Join(t.TempDir(), "gate")
	got := make(chan string, 1)
	go func() {
		status, body, err := get(p.gateway + "/via/middle/call/aback/?until=" + gate)
		got <- fmt.Sprint(status, " ", body, err)
	}()
	until(t, "the request is with the middle", func() bool { return strings.Contains(p.must("logs", "middle"), "waits for") })
	stopped := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	until(t, "the stop has begun: nothing new is let in", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.gateway, "http://"))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	write(t, filepath.Dir(gate), "gate", "")
	took = time.Since(stopped)
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("stoa did not end")
	}
	if left := p.marked(); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	return took, <-got
}

// The checker of the tests of loads notices what is lost: where nothing is drained, and
// where an instance is killed with requests in its hands.
func TestLoadNoticesLosses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "stoa.yaml", fmt.Sprintf(`kind: System
name: careless
---
kind: Service
name: back
run: {command: [%s]}
env: {ANSWER: back}
expose: [{path: /}]
stop: {grace: 0s}
health: {ready: /readyz}
`, serverBin))
	p := prepare(t)
	p.start("dev", dir, "--no-watch")
	p.ready()
	for _, c := range []struct {
		claim string
		blow  func(workload.Service)
	}{
		{"a replacement that drains nothing", func(workload.Service) { p.must("restart", "back") }},
		{"kill -9", func(v workload.Service) {
			for pid := range pids(v) {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone already
			}
		}},
	} {
		t.Run(c.claim, func(t *testing.T) {
			l := beginWith(t, http.MethodPost, p.gateway+"/slow?ms=200", 16)
			l.reach(t, 16)
			deadline := time.Now().Add(patience)
			for l.failed.Load() == 0 && time.Now().Before(deadline) {
				c.blow(service(t, p.ready(), "back"))
				l.reach(t, 32)
			}
			l.stop()
			if l.failed.Load() == 0 {
				t.Errorf("no request failed, so the checker sees nothing: %s", l)
			}
			t.Log(l)
		})
	}
}

// Nor is a POST lost by rolling replacements, which nobody would repeat: each is finished
// by the instance that has it, or given to one that stays.
func TestRollingReplacementFailsNoPost(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	p.start("dev", pair(t, "one", 2), "--no-watch")
	p.ready()
	l := beginWith(t, http.MethodPost, p.gateway+"/back/slow?ms=10", 16)
	rolls := 0
	for ; rolls < 6 || l.sent.Load() < 2_000; rolls++ {
		old := pids(service(t, p.ready(), "back"))
		p.must("restart", "back")
		until(t, "all were replaced", func() bool {
			s, ok := p.status()
			if !ok {
				return false
			}
			for pid := range pids(service(t, s, "back")) {
				if old[pid] {
					return false
				}
			}
			return service(t, s, "back").State == workload.StateReady
		})
		l.reach(t, 200)
	}
	l.stop()
	t.Logf("%d rolls under load: %s", rolls, l)
	if l.failed.Load() > 0 {
		t.Errorf("requests failed during a roll: %s", l)
	}
}
