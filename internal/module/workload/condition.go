package workload

import (
	"fmt"
	"slices"
	"strings"

	"stoa/api/core"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/snapshot"
)

// condition sums up the slots. What is wrong is said as the end of a sentence that the
// service begins: "exited with code 3".
func (d *deployment) condition() core.Condition {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ready int
	var worst *core.Condition
	for _, s := range d.slots {
		if s.retiring() {
			continue
		}
		if s.isReady() {
			ready++
		}
		if c := s.trouble(); c != nil && (worst == nil || c.Status == core.False) {
			worst = c
		}
	}
	switch {
	case d.stopped:
		return core.Condition{Status: core.False, Reason: "Stopped", Message: "was stopped", Hint: "To start it: stoa start " + d.service}
	case d.paused > 0:
		return core.Condition{Status: core.Pending, Reason: "Paused", Message: "is stopped for a moment, while its data is reset"}
	case d.loan != nil:
		if d.loan.isReady() {
			return core.Condition{Status: core.True, Reason: "Attached", Message: "a program that you started takes its place"}
		}
		return core.Condition{Status: core.Pending, Reason: "Attached", Message: "waits for the program that you start, on port " + d.loan.port()}
	case worst != nil && ready < d.desired:
		return *worst
	case d.blocked != nil:
		if ready > 0 { // the old release serves
			return oldRelease(d.blocked)
		}
		return *d.blocked
	case worst != nil:
		return oldRelease(worst)
	case ready >= d.desired:
		return core.Condition{Status: core.True, Reason: "Ready", Message: plural(ready, "instance") + " ready"}
	case ready > 0:
		return core.Condition{Status: core.Pending, Reason: "Partial", Message: fmt.Sprintf("%d of %d instances ready", ready, d.desired)}
	}
	return core.Condition{Status: core.Pending, Reason: "Starting", Message: "starting"}
}

// oldRelease says that the release before serves, because of c.
func oldRelease(c *core.Condition) core.Condition {
	reason, why := "OldRelease", c.Message
	if !strings.HasPrefix(why, "job/") { // that names who
		why = "the new one " + why
	}
	if c.Status == core.Pending && (c.Reason == "Job" || c.Reason == "NotBuilt") {
		reason = "Waiting" // nothing is wrong: the new one comes by itself
	}
	return core.Condition{Status: core.True, Reason: reason, Message: "the release before goes on, because " + why, Hint: c.Hint, Evidence: c.Evidence}
}

// ails says whether a condition tells of something that is wrong.
func ails(c core.Condition) bool {
	switch c.Reason {
	case "Stopped":
		return false
	case "OldRelease", "Unready", "OtherPort", "Unreachable":
		return true
	}
	return c.Status == core.False
}

// stuck says why the release asked for will not become ready by itself, or "".
func (d *deployment) stuck() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.blocked != nil && d.blocked.Status == core.False {
		return d.blocked.Message
	}
	for _, s := range d.slots {
		if why := s.stuck(); why != "" && s.release.id == d.want.id {
			return why
		}
	}
	return ""
}

// stuck says why a slot does not become ready after enough tries, or "".
func (s *slot) stuck() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired || s.ended || s.phase == phaseReady || s.bad == nil || s.failures < enough && s.bad.Reason != "CrashLoop" {
		return ""
	}
	return s.bad.Message
}

// closed says why a call to the service should not wait for an instance, or gives nil:
// one is there, or on its way. What a caller is told names no detail, for it may be
// outside: stoa why tells the rest.
func (d *deployment) closed() *snapshot.Closed {
	stopping := d.m.isStopping()
	d.mu.Lock()
	defer d.mu.Unlock()
	hint := "See why: stoa why " + d.service
	switch {
	case stopping:
		return &snapshot.Closed{Reason: hop.Stopping, Text: d.service + " is being stopped"}
	case d.stopped:
		return &snapshot.Closed{Reason: hop.Stopped, Text: d.service + " was stopped", Hint: "To start it: stoa start " + d.service}
	case d.paused > 0 || d.loan != nil:
		return nil
	}
	live := slices.DeleteFunc(slices.Clone(d.slots), (*slot).retiring)
	for _, s := range live {
		if !s.isHopeless() {
			return nil
		}
	}
	switch {
	case len(live) > 0:
		return &snapshot.Closed{Reason: hop.Failing, Text: d.service + " " + verdict(live[0].trouble()), Hint: hint}
	case d.blocked != nil && d.blocked.Status == core.False:
		return &snapshot.Closed{Reason: hop.Failing, Text: d.service + " waits for a job that failed", Hint: hint}
	}
	return nil
}

// verdict says in a few words, without details, why nothing of a service runs.
func verdict(c *core.Condition) string {
	if c != nil {
		switch c.Reason {
		case "CrashLoop", "Exited":
			return "ends again and again"
		case "NotReady":
			return "does not become ready"
		case "NotLive":
			return "does not stay alive"
		case "Unreachable":
			return "does not answer"
		}
	}
	return "cannot be started"
}

func (s *slot) isHopeless() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.hopeless }
