package command

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/workload"
	"stoa/client"
	"stoa/internal/door/cli"
)

// detachedVariable marks a stoa dev whose start somebody waits for, who sees of it only
// what it says when it ends.
const detachedVariable = "STOA_DETACHED"

// detach starts stoa dev again in a session of its own and waits until all is ready.
func detach(ctx context.Context, s *cli.Session, data string, limit core.Duration) error {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	logName := filepath.Join(data, "dev.log")
	log, err := os.OpenFile(logName, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(exe, withoutDetach(s.Args)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, log, log
	cmd.Env = append(os.Environ(), detachedVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	wait := cmp.Or(limit.D(), defaultWait)
	ready := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the wait below, whose answer nobody needs then
	go func() { ready <- upAndReady(ctx, s, data, wait) }()
	select {
	case <-ended:
		b, _ := os.ReadFile(logName)
		fmt.Fprint(s.Stderr, string(b))
		return fault.New(fault.Unavailable, "stoa dev", "ended before all was ready").WithHint("Its output is above, and in %s.", logName)
	case err := <-ready:
		if err != nil && ctx.Err() == nil {
			return &fault.Error{Kind: fault.KindOf(err), Err: err,
				Hint: "It goes on in the background: stoa status and stoa why SERVICE tell more, stoa down ends it; its output is in " + logName}
		}
		if err != nil {
			return err
		}
	}
	socket, err := client.FindSocket(data, s.Getenv)
	if err != nil {
		return err
	}
	c, err := client.New("unix:"+socket, client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	status, err := client.Call(ctx, c, workload.StatusOp, workload.StatusIn{})
	if err != nil {
		return err
	}
	gate := status.Gateway
	if status.GatewayNote != "" {
		gate += "  (" + status.GatewayNote + ")"
	}
	if status.Root != "" {
		gate += "\ntrust      " + status.Root
	}
	return s.Event(status, fmt.Sprintf("%s runs in the background.\ngateway    %s\ndashboard  %s  (stoa dash gives a link)\noutput     %s\nstoa down ends it.", status.System, gate, status.Admin, logName))
}

// upAndReady waits until the platform of data answers, and every service is ready.
func upAndReady(ctx context.Context, s *cli.Session, data string, limit time.Duration) error {
	by := time.Now().Add(limit)
	for !platformRuns(ctx, data, s.Getenv) {
		if time.Now().After(by) {
			return &fault.Error{Subject: data, Kind: fault.Unavailable, Err: overdue(fmt.Sprintf("no platform answers there after %s", limit))}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	socket, err := client.FindSocket(data, s.Getenv)
	if err != nil {
		return err
	}
	c, err := client.New("unix:"+socket, client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	return readyBy(ctx, c, 0, by, limit)
}

// withoutDetach gives the command line without the flag.
func withoutDetach(args []string) []string {
	var out []string
	for i, a := range args {
		if a == "--" {
			return append(out, args[i:]...)
		}
		if a != "-d" && a != "--detach" && a != "-detach" {
			out = append(out, a)
		}
	}
	return out
}
