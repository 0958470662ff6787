package command

import (
	"context"
	"fmt"

	"stoa/api/fault"
	api "stoa/api/inject"
	"stoa/api/workload"
	"stoa/client"
	"stoa/internal/app"
	"stoa/internal/door/cli"
	"stoa/internal/module/inject"
)

func injectCommand() cli.Command {
	o := api.InjectOp
	c := cli.Cmd(o.Name, o.Help, o.Example, injectFault)
	c.More = "The caller's side acts as if the service did: it retries, breaks, falls back. The answer, its trace and\n" +
		"the metrics say that it was injected (Stoa-Injected). Several faults add up: the longest delay, the first abort.\n" +
		"A fault ends by itself, whatever becomes of Stoa, survives a restart until then, and is no part of the blueprint.\n" +
		"On a stoa server, which may have customers, this asks, or wants --yes. Those in force: stoa faults. To end them:\n" +
		"stoa faults clear."
	return c
}

// injectFault makes a fault, and asks first where there may be customers.
func injectFault(ctx context.Context, s *cli.Session, in api.FaultIn) error {
	c, err := s.Client(ctx)
	if err != nil {
		return err
	}
	status, err := client.Call(ctx, c, workload.StatusOp, workload.StatusIn{})
	if err != nil {
		return err
	}
	if status.Mode == app.ModeServer && !s.Yes {
		what := fmt.Sprintf("%s runs under stoa server (%s)", status.System, count(len(status.Services), "service"))
		if !s.StdinTTY || !s.StderrTTY || s.JSON {
			return fault.New(fault.Denied, "service/"+in.Service, "%s, and nobody is there to ask, so nothing was injected", what).WithHint("Pass --yes if whoever uses it may meet the fault.")
		}
		if err := s.Confirm(ctx, what+". Whoever uses it may meet the fault."); err != nil {
			return err
		}
	}
	out, err := client.Call(ctx, c, api.InjectOp, in)
	if err != nil {
		return err
	}
	return show(s, out, inject.PrintInjected)
}
