package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"stoa/api/workload"
)

// pids gives the processes of a service's instances.
func pids(v workload.Service) map[int]bool {
	out := map[int]bool{}
	for _, in := range v.Instances {
		if in.PID != 0 {
			out[in.PID] = true
		}
	}
	return out
}

// A rolling replacement under load fails no request of 10,000: by restart, by a changed
// environment, and by another scale.
func TestRollingReplacementFailsNoRequest(t *testing.T) {
	t.Parallel()
	dir := pair(t, "one", 2)
	p := prepare(t)
	p.start("dev", dir)
	p.ready()
	l := begin(t, p.gateway+"/call/back/", 16)
	rolls := 0
	roll := func(what string, change func()) {
		s, _ := p.status()
		old := pids(service(t, s, "back"))
		change()
		until(t, what, func() bool {
			s, ok := p.status()
			if !ok {
				return false
			}
			v := service(t, s, "back")
			for pid := range pids(v) {
				if old[pid] {
					return false
				}
			}
			return v.State == workload.StateReady
		})
		rolls++
	}
	for l.sent.Load() < 10_000 || rolls < 4 {
		if rolls%2 == 0 {
			roll("restarted", func() { p.must("restart", "back") })
		} else {
			roll("another release", func() { writePair(t, dir, fmt.Sprintf("release-%d", rolls), 2) })
		}
		l.reach(t, 500)
	}
	l.stop()
	t.Logf("%d rolls under load: %s", rolls, l)
	if l.failed.Load() > 0 {
		t.Errorf("requests failed during a roll: %s", l)
	}
}

// An instance that is killed under load is replaced by itself, and only requests that it
// held fail.
func TestKilledInstanceHealsAndCostsOnlyWhatItHeld(t *testing.T) {
	t.Parallel()
	const clients = 20
	p := prepare(t)
	p.start("dev", pair(t, "one", 2))
	p.ready()
	l := begin(t, p.gateway+"/back/", clients)
	l.reach(t, 500)
	kills := 0
	for range 5 {
		s := p.ready()
		for pid := range pids(service(t, s, "back")) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			kills++
			until(t, "the killed instance is replaced", func() bool {
				s, ok := p.status()
				return ok && !pids(service(t, s, "back"))[pid] && service(t, s, "back").State == workload.StateReady
			})
			break
		}
		l.reach(t, 300)
	}
	l.stop()
	t.Logf("%d kills under load: %s", kills, l)
	if most := int64(kills * clients); l.failed.Load() > most {
		t.Errorf("%d requests failed; the instances that were killed held at most %d", l.failed.Load(), most)
	}
	if l.sent.Load() < 2000 {
		t.Errorf("only %d requests were sent: the test says little", l.sent.Load())
	}
}

// A change of the blueprint is seen by callers, and one with problems leaves everything as it was.
func TestChangesArriveAndBrokenOnesDoNot(t *testing.T) {
	t.Parallel()
	dir := pair(t, "one", 1)
	p := prepare(t)
	p.start("dev", dir)
	p.ready()
	answers := func(want string) {
		t.Helper()
		until(t, "the answer is "+want, func() bool {
			status, body, err := get(p.gateway + "/call/back/")
			return err == nil && status == 200 && strings.HasPrefix(body, want+" ")
		})
	}
	answers("one")
	writePair(t, dir, "two", 1)
	answers("two")
	good, err := os.ReadFile(dir + "/stoa.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "stoa.yaml", strings.Replace(string(good), "uses: [{service: back}]", "uses: [{service: bakc}]", 1))
	until(t, "the problem is told", func() bool {
		return strings.Contains(p.out.String(), "did you mean back?") && strings.Contains(p.out.String(), "what runs goes on")
	})
	answers("two")
	writePair(t, dir, "three", 1)
	answers("three")
}

// Ctrl-C drains and leaves nothing running.
func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	p.start("dev", pair(t, "one", 3))
	p.ready()
	if n := len(p.marked()); n < 4 {
		t.Fatalf("%d processes bear the mark of 4 instances: the test looks for the wrong thing", n)
	}
	slow := make(chan string, 1)
	go func() {
		status, body, err := get(p.gateway + "/back/slow?ms=1500")
		slow <- strconv.Itoa(status) + " " + body + fmt.Sprint(err)
	}()
	until(t, "the slow request is in flight", func() bool {
		out, _, _ := p.stoa("top", "--json")
		return out != "" // the platform answers; the request was sent before
	})
	pause()
	p.stop()
	if got := <-slow; !strings.HasPrefix(got, "200 one") {
		t.Errorf("a request in flight at the stop got %q", got)
	}
	if left := p.marked(); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if !strings.Contains(p.out.String(), "nothing is left running") {
		t.Errorf("the end was not told:\n%s", p.out)
	}
}
