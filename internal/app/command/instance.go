package command

import (
	"context"
	"fmt"
	"net"

	"stoa/api/fault"
	"stoa/client"
	"stoa/internal/app"
	"stoa/internal/door/cli"
)

// alone fails if a platform runs on the data folder already, and says which and what to do.
func alone(ctx context.Context, s *cli.Session, data string) error {
	if !platformRuns(ctx, data, s.Getenv) {
		if pid := app.Holder(data); pid > 0 {
			return fault.New(fault.Conflict, data, "a platform (pid %d) has it open, and does not answer: it starts, or it ends", pid).
				WithHint("Wait for its end: stoa down --data %s", relative(s.Dir, data))
		}
		return nil
	}
	who := "a platform runs there already"
	if pid := listenerOf(ctx, data, s.Getenv); pid > 0 {
		who += fmt.Sprintf(" (pid %d)", pid)
	}
	at := relative(s.Dir, data)
	return fault.New(fault.Conflict, data, "%s", who).
		WithHint("It follows changes by itself. To look at it: stoa status --data %s; to end it: stoa down --data %s; for a second one: --data OTHER", at, at)
}

// listenerOf gives the process that listens on the socket of a data folder, or 0.
func listenerOf(ctx context.Context, data string, getenv func(string) string) int {
	socket, err := client.FindSocket(data, getenv)
	if err != nil {
		return 0
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return 0
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	if err := raw.Control(func(fd uintptr) { pid = peerOf(int(fd)) }); err != nil {
		return 0
	}
	return pid
}
