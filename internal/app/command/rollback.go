package command

import (
	"context"

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
