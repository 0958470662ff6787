package command

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apiblueprint "stoa/api/blueprint"
	"stoa/api/core"
	"stoa/api/workload"
	"stoa/internal/app/develop"
)

// A service as a story writes it: name:state[:revision[:error]].
func status(text string) (st workload.Status) {
	for _, f := range strings.Fields(text) {
		parts := append(strings.Split(f, ":"), "", "", "")
		v := workload.Service{Name: parts[0], State: parts[1], LastError: parts[3]}
		fmt.Sscan(parts[2], &v.Revision)
		if v.State == "blocked" {
			v.State, v.Blocked, v.LastError = workload.StateRolling, parts[3], ""
		}
		st.Services = append(st.Services, v)
	}
	return st
}

// Before the first build is applied nothing is final: what is wrong is of an earlier time.
func TestNothingIsFinalBeforeTheFirstApply(t *testing.T) {
	behind := awaits([]lag{{service: "a", why: "no certificate", final: true}, {service: "b"}})
	for _, l := range behind {
		if l.final {
			t.Errorf("%+v", l)
		}
	}
	if len(behind) != 2 || behind[0].why != "no certificate" {
		t.Errorf("%+v", behind)
	}
}

func TestLags(t *testing.T) {
	for _, c := range []struct {
		status   string
		revision uint64
		want     string
	}{
		{"a:ready:3 b:external:3 c:stopped:3", 3, ""},
		{"a:ready:2", 3, "a is ready: not looked at for revision 3 yet"},
		{"a:starting:3", 3, "a is starting: it has not become ready"},
		{"a:starting:3:503", 3, "a is starting: 503"},
		{"a:down:3:127.0.0.1:1", 3, "a is down: 127.0.0.1"},
		{"a:building:3 b:ready:3", 3, "a is building: its build has not ended"},
		{"a:failed:3:broken", 3, "a is failed: broken!"},
		{"a:blocked:3:job/m", 3, "a is rolling: job/m!"},
		{"a:blocked:2:job/m", 3, "a is rolling: its new release has not become ready"},
	} {
		var got []string
		for _, l := range lags(status(c.status), c.revision) {
			text := l.service + " is " + l.state + ": " + l.why
			if l.final {
				text += "!"
			}
			got = append(got, text)
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s at %d: %q, want %q", c.status, c.revision, s, c.want)
		}
	}
}

// "All ready" is said once after the start and after each change, and not before the change is in force.
func TestSettling(t *testing.T) {
	at := time.Unix(1000, 0)
	for _, c := range []struct{ what, story, want string }{
		{"the start", "build:a a:building a:starting built:a applied:1 settled a:starting:1 a:ready:1 a:ready:1", "ready after 7s"},
		{"a change", "applied:1 settled a:ready:1 build:a a:ready:1 built:a a:ready:1 applied:2 a:ready:1 settled a:ready:1 a:rolling:2 a:ready:2", "ready after 2s, ready after 9s"},
		{"a change of the blueprint", "applied:1 settled a:ready:1 applied:2 settled a:ready:1 a:ready:2", "ready after 2s, ready after 3s"},
		{"a build that gives the same", "applied:1 settled a:ready:1 build:a built:a settled a:ready:1", "ready after 2s, ready after 3s"},
		{"a build that fails, and is mended", "applied:1 settled a:ready:1 build:a build-failed:a settled a:ready:1 build:a built:a settled a:ready:1", "ready after 2s, ready after 7s"},
		{"one that does not build goes away", "applied:1 settled a:ready:1 build:b build-failed:b settled a:ready:1 gone:b settled a:ready:1", "ready after 2s, ready after 6s"},
		{"a broken blueprint", "applied:1 settled a:ready:1 refused settled a:ready:1 mended settled a:ready:1", "ready after 2s, ready after 5s"},
		{"a crash", "applied:1 settled a:ready:1 a:crashing:1 a:ready:1 a:ready:1", "ready after 2s, ready after 1s"},
		{"files that are not watched", "applied:1 settled a:ready:1 unwatched watched a:ready:1", "ready after 2s"},
		{"nothing in force", "a:ready", ""},
		{"no services", "applied:1 settled -", ""},
	} {
		var s settling
		var got []string
		s.begin(at)
		for i, f := range strings.Fields(c.story) {
			now := at.Add(time.Duration(i) * time.Second)
			kind, arg, _ := strings.Cut(f, ":")
			switch kind {
			case "a", "-":
				st := status(f)
				if kind == "-" {
					st = workload.Status{}
				}
				if took, ready := s.status(st, now); ready {
					got = append(got, "ready after "+took.String())
				}
			case develop.Applied:
				e := develop.Event{Kind: kind}
				fmt.Sscan(arg, &e.Revision)
				s.event(e, now)
			default:
				s.event(develop.Event{Kind: kind, Document: arg}, now)
			}
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: %q, want %q", c.what, text, c.want)
		}
	}
}

func TestEventText(t *testing.T) {
	for _, c := range []struct {
		e    develop.Event
		want string
	}{
		{develop.Event{Kind: develop.BuildBegan, Document: "service/web"}, "web            building"},
		{develop.Event{Kind: develop.Built, Document: "job/load", Took: core.Duration(1234 * time.Millisecond)}, "job/load       built in 1.23s"},
		{develop.Event{Kind: develop.BuildFailed, Document: "service/web", Text: "no go\n", Hint: "Install Go."}, "web            does not build: no go\n               Install Go."},
		{develop.Event{Kind: develop.Mended, Changes: 1}, "blueprint      is good again: 1 change applied"},
		{develop.Event{Kind: develop.Mended}, "blueprint      is good again: nothing changed"},
		{develop.Event{Kind: develop.Refused, Text: "what runs goes on", Problems: []apiblueprint.Problem{{Message: "no"}}}, ": no\nblueprint      what runs goes on"},
		{develop.Event{Kind: develop.Applied, Revision: 3}, ""},
		{develop.Event{Kind: develop.Settled}, ""},
	} {
		if got := eventText(c.e, "."); got != c.want {
			t.Errorf("%s: %q, want %q", c.e.Kind, got, c.want)
		}
	}
}
