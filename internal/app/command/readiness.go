package command

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/platform"
	"stoa/api/workload"
	"stoa/client"
	"stoa/internal/door/cli"
)

// defaultWait is how long --wait and -d wait without --timeout.
const defaultWait = 5 * time.Minute

// A lag is a service that is not ready with what is asked for.
type lag struct {
	service string
	state   string
	why     string
	final   bool // it will not become ready by itself
}

// lags gives the services of a status that are not ready with what a revision asks for,
// and why. It is pure.
func lags(status workload.Status, revision uint64) (out []lag) {
	for _, v := range status.Services {
		l := lag{service: v.Name, state: v.State, why: v.LastError}
		switch {
		case v.Blocked != "" && v.Revision >= revision:
			l.why, l.final = v.Blocked, true
		case v.State == workload.StateFailed:
			l.final = true
		case v.State == workload.StateReady, v.State == workload.StateExternal, v.State == workload.StateStopped:
			if v.Revision >= revision {
				continue
			}
			l.why = cmp.Or(l.why, fmt.Sprintf("not looked at for revision %d yet", revision))
		}
		l.why = cmp.Or(l.why, waitsFor[v.State])
		out = append(out, l)
	}
	return out
}

// awaits are lags as they stand before the first build is applied: whatever is wrong may be over then.
func awaits(behind []lag) []lag {
	for i := range behind {
		behind[i].final = false
	}
	return behind
}

// waitsFor says what a service waits for of which nothing is known to be wrong.
var waitsFor = map[string]string{
	workload.StateBuilding: "its build has not ended",
	workload.StateStarting: "it has not become ready",
	workload.StateRolling:  "its new release has not become ready",
	workload.StatePartial:  "fewer instances are ready than declared",
	workload.StateCrashing: "it ends again and again",
	workload.StateDown:     "it does not answer",
}

// Waiting are the arguments of a command that puts something in force.
type Waiting struct {
	Wait    bool          `json:"wait,omitempty" flag:"wait" help:"wait until every service is ready"`
	Timeout core.Duration `json:"timeout,omitempty" flag:"timeout" help:"how long --wait waits (default 5m)"`
}

// forReady waits, if that was asked for, until every service is ready with what a revision
// asks for, and says so.
func (w Waiting) forReady(ctx context.Context, s *cli.Session, c *client.Client, revision uint64) error {
	if !w.Wait {
		return nil
	}
	limit := cmp.Or(w.Timeout.D(), defaultWait)
	if err := readyBy(ctx, c, revision, time.Now().Add(limit), limit); err != nil {
		return err
	}
	s.Talk("Every service is ready.")
	return nil
}

// readyBy waits until every service of a platform is ready with what the revision asks
// for, or the moment by, at which a wait of limit is over. One that cannot become ready by
// itself is an error at once. Both errors name the services, why each is not ready, and
// what to do.
func readyBy(ctx context.Context, c *client.Client, revision uint64, by time.Time, limit time.Duration) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := client.Call(ctx, c, workload.StatusOp, workload.StatusIn{})
		if err != nil {
			return err
		}
		if !status.Awaits && revision == 0 {
			revision = status.Revision // what was observed of an earlier one says nothing of it
		}
		behind := lags(status, revision)
		if status.Awaits {
			behind = awaits(behind)
		}
		if len(behind) == 0 && !status.Awaits && len(status.Services) > 0 {
			return nil
		}
		var hopeless []lag
		for _, l := range behind {
			if l.final {
				hopeless = append(hopeless, l)
			}
		}
		switch {
		case len(hopeless) > 0:
			return notReady(ctx, c, hopeless, 0)
		case time.Now().After(by):
			return notReady(ctx, c, behind, limit)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// overdue is a time limit that was reached: exit code 3.
type overdue string

func (e overdue) Error() string { return string(e) }
func (e overdue) Unwrap() error { return context.DeadlineExceeded }

// notReady names the services that are not ready within limit, or, with limit 0, will
// not be at all. What is known beyond a status is asked of the platform.
func notReady(ctx context.Context, c *client.Client, behind []lag, limit time.Duration) error {
	var b strings.Builder
	if limit > 0 {
		fmt.Fprintf(&b, "not ready within %s:", limit)
	} else {
		b.WriteString("will not become ready by itself:")
	}
	if len(behind) == 0 {
		b.WriteString("\n  nothing is in force yet")
	}
	for _, l := range behind {
		fmt.Fprintf(&b, "\n  %s is %s: %s", l.service, l.state, firstLine(l.why))
		why, err := client.Call(ctx, c, platform.WhyOp, platform.WhyIn{What: l.service})
		if err != nil {
			continue // what the status says must do
		}
		for _, cond := range why.Conditions {
			if cond.Status == core.True && cond.Reason != "OldRelease" || cond.Reason == "Starting" {
				continue
			}
			for _, e := range cond.Evidence[max(0, len(cond.Evidence)-shownEvidence):] {
				fmt.Fprintf(&b, "\n    | %s", e)
			}
			if cond.Hint != "" {
				fmt.Fprintf(&b, "\n    %s", cond.Hint)
			}
		}
	}
	e := &fault.Error{Subject: subject(behind), Kind: fault.Unavailable, Err: overdue(b.String())}
	if limit == 0 {
		e.Err = fmt.Errorf("%s", b.String())
	}
	if len(behind) > 0 {
		e.Hint = "See stoa why " + behind[0].service + " and stoa logs " + behind[0].service
	}
	return e
}

// shownEvidence is how many last lines of output are shown of each service.
const shownEvidence = 5

// subject names the one service that an error is about, if there is one.
func subject(behind []lag) string {
	if len(behind) != 1 {
		return ""
	}
	return "service/" + behind[0].service
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
