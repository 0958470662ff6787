package command

import (
	"context"

	"stoa/api/core"
	"stoa/api/platform"
	"stoa/client"
	"stoa/internal/door/cli"
	"stoa/internal/kernel/resources"
)

// RollbackIn are the arguments of stoa rollback: those of the operation, and how to wait.
type RollbackIn struct {
	platform.RollbackIn
	Waiting
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
	limit := w.Timeout.D()
	if limit == 0 {
		limit = defaultWait
	}
	if err := untilReady(ctx, c, revision, limit); err != nil {
		return err
	}
	s.Talk("Every service is ready.")
	return nil
}

func rollbackCommand() cli.Command {
	o := platform.RollbackOp
	c := cli.Cmd(o.Name, o.Help, o.Example, rollback)
	c.More = "Builds nothing: the artefacts of the earlier revision are still there."
	return c
}

func rollback(ctx context.Context, s *cli.Session, in RollbackIn) error {
	c, err := s.Client(ctx)
	if err != nil {
		return err
	}
	out, err := client.Call(ctx, c, platform.RollbackOp, in.RollbackIn)
	if err != nil {
		return err
	}
	if err := show(s, out, resources.PrintApplied); err != nil || in.OnlyPlan {
		return err
	}
	return in.forReady(ctx, s, c, out.Revision)
}
