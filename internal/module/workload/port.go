package workload

import (
	"errors"
	"net"
	"strconv"
	"syscall"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/workload"
	"stoa/internal/engine/process"
)

// vacant says of the fixed ports of a service who has one, or nil if nobody does. An
// instance that found it taken might go on without it, and the probe of its port would
// be answered by a stranger.
func vacant(doc core.Document) error {
	for _, l := range workload.Listeners(doc) {
		if l.Port == 0 {
			continue
		}
		if err := vacantPort(l.Port); err != nil {
			return err
		}
	}
	return nil
}

func vacantPort(port int) error {
	l, err := net.Listen("tcp", local(port))
	if err == nil {
		return l.Close()
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return &fault.Error{Subject: "port " + strconv.Itoa(port), Kind: fault.Unavailable, Err: err, Hint: "Declare another under listen, or let it be chosen: {env: PORT}."}
	}
	who := process.Holder(port)
	if who == "" {
		who = "another process"
	}
	return fault.New(fault.Unavailable, "port "+strconv.Itoa(port), "is taken by %s", who).
		WithHint("End it, or let the port be chosen: listen: [{env: PORT}]. To see who has it: ss -ltnp")
}
