package command

import (
	"context"
	"errors"
	"syscall"
	"time"

	"stoa/api/admin"
	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/op"
	"stoa/client"
	"stoa/internal/app"
	"stoa/internal/door/cli"
)

// DownIn are the arguments of stoa down.
type DownIn struct {
	Timeout core.Duration `json:"timeout,omitempty" flag:"timeout" help:"how long to wait for the end (default 2m); what is being ended goes on ending" example:"30s"`
}

// defaultDown is more than instances get by default, one level of callers after the other.
const defaultDown = 2 * time.Minute

func downCommand() cli.Command {
	c := cli.Cmd(admin.DownOp.Name, admin.DownOp.Help, admin.DownOp.Example, down)
	c.More = "Comes back when everything has ended: callers first, then what they use, each with its grace."
	return c
}

func down(ctx context.Context, s *cli.Session, in DownIn) error {
	out, err := askDown(ctx, s)
	if err != nil {
		return err
	}
	s.Talk("%s", out.Message)
	wait := in.Timeout.D()
	if wait == 0 {
		wait = defaultDown
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !errors.Is(syscall.Kill(out.Process, 0), syscall.ESRCH) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "stoa down", "the platform is still ending: %w", ctx.Err()).WithHint("Instances get the grace that they declare (stop.grace). Wait for it: stoa down, again.")
		}
	}
	return s.Event(out, "Stopped; nothing is left running.")
}

// askDown asks the platform to stop. One that no longer answers but has the data folder
// open is ending already.
func askDown(ctx context.Context, s *cli.Session) (admin.DownOut, error) {
	c, err := s.Client(ctx)
	if err == nil {
		var out admin.DownOut
		if out, err = client.Call(ctx, c, admin.DownOp, op.None{}); err == nil {
			return out, nil
		}
	}
	if data := s.DataDir(); client.Unreachable(err) && data != "" {
		if pid := app.Holder(data); pid > 0 {
			return admin.DownOut{Message: "It does not answer any more, or not yet: it is waited for.", Process: pid}, nil
		}
	}
	return admin.DownOut{}, err
}
