package app

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"stoa/api/admin"
	"stoa/api/fault"
	"stoa/api/op"
	"stoa/internal/kernel/host"
)

// house declares the operations on the platform as a whole.
type house struct{ p *Platform }

var _ host.Module = house{}

// Name is the module's name.
func (house) Name() string { return "platform" }

// Declare states the operations.
func (h house) Declare(c *host.Catalog) {
	host.Handle(c, admin.DownOp, h.down, func(w printer, d admin.DownOut) { fmt.Fprintln(w, d.Message) })
	host.Handle(c, admin.LoginOp, h.login, func(w printer, o admin.LoginOut) { fmt.Fprintln(w, o.URL) })
	c.Endpoint("PUT "+artefactsPath+"{digest}", "store an artefact, sent as a tar stream", http.HandlerFunc(h.p.takeArtefact))
	c.Endpoint("HEAD "+artefactsPath+"{digest}", "ask whether an artefact is there", http.HandlerFunc(h.p.hasOne))
	host.Handle(c, admin.BackupOp, h.backup, printBackup)
}

func (h house) down(context.Context, op.None) (admin.DownOut, error) {
	// The answer must leave before the door closes.
	time.AfterFunc(50*time.Millisecond, h.p.Down)
	return admin.DownOut{Message: "Stopping: every instance is drained and ended.", Process: os.Getpid()}, nil
}

func (h house) login(context.Context, op.None) (admin.LoginOut, error) {
	url := h.p.server.Login(time.Minute)
	if url == "" {
		return admin.LoginOut{}, fault.New(fault.Unavailable, "dashboard", "this platform has no admin listener").WithHint("Start it with --admin 127.0.0.1:7070.")
	}
	return admin.LoginOut{URL: url}, nil
}
