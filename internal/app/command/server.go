package command

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"stoa/api/fault"
	"stoa/internal/app"
	"stoa/internal/door/cli"
)

// ServerIn are the arguments of stoa server.
type ServerIn struct {
	Gateway string `json:"gateway,omitempty" flag:"gateway" env:"STOA_GATEWAY" help:"address of the gateway, stronger than the System's"`
	Engine  string `json:"engine,omitempty" flag:"engine" env:"STOA_ENGINE" help:"what carries HTTP: own, or portable, which is Go's net/http (default own)"`
	Admin   string `json:"admin,omitempty" flag:"admin" env:"STOA_ADMIN" help:"address of dashboard and admin API (default 127.0.0.1:7070; none for none)"`
	Secrets string `json:"secrets,omitempty" flag:"secrets" help:"file of secrets, NAME=value lines, mode 0600, stronger than the System's"`
	Metrics bool   `json:"metrics,omitempty" flag:"open-metrics" help:"let /metrics be read without a login"`
}

func serverCommand() cli.Command {
	c := cli.Cmd("server", "run the platform on this machine, for production", "stoa server --data /var/lib/stoa", server)
	c.More = "Runs what was applied to its data folder, without building or watching; stoa apply DIR --data FOLDER\n" +
		"changes it. After a restart everything comes back as it was. It serves until SIGTERM or stoa down."
	return c
}

func server(ctx context.Context, s *cli.Session, in ServerIn) error {
	data := s.Data
	if data == "" {
		data = s.Getenv("STOA_DATA")
	}
	if data == "" {
		return cli.Misuse("no data folder is named", "stoa server --data /var/lib/stoa")
	}
	if !filepath.IsAbs(data) {
		data = filepath.Join(s.Dir, data)
	}
	admin := in.Admin
	switch admin {
	case "":
		admin = "127.0.0.1:7070"
	case "none":
		admin = ""
	}
	portable, err := portableEngine("server", in.Engine)
	if err != nil {
		return err
	}
	p := app.New(app.Options{
		Portable: portable,
		Data:     data, Mode: app.ModeServer, Gateway: in.Gateway, Admin: admin, Secrets: absolute(s.Dir, in.Secrets), Metrics: in.Metrics, Log: slog.Default(), Getenv: s.Getenv,
	})
	return p.Run(ctx, func() {
		p.Reconcile()
		text := "serving " + data
		if url := p.AdminURL(); url != "" {
			text += ", dashboard " + url + " (stoa dash gives a link)"
		}
		_ = s.Event(map[string]string{"kind": "up", "data": data, "admin": p.AdminURL()}, text)
		notifySystemd()
	})
}

// InstallIn are the arguments of stoa server install.
type InstallIn struct {
	User    string `json:"user,omitempty" flag:"user" help:"user that the platform runs as (default: stoa)"`
	Secrets string `json:"secrets,omitempty" flag:"secrets" help:"file of secrets that the platform is to read, for that user alone, mode 0600"`
	Stdout  bool   `json:"stdout,omitempty" flag:"stdout" help:"write the unit to stdout and install nothing"`
}

func installCommand() cli.Command {
	c := cli.Cmd("server install", "write a systemd unit that runs the platform as a user of its own", "stoa server install --data /var/lib/stoa --stdout", install)
	c.More = "Writes /etc/systemd/system/stoa.service; start it with systemctl enable --now stoa."
	return c
}

const unitPath = "/etc/systemd/system/stoa.service"

func install(_ context.Context, s *cli.Session, in InstallIn) error {
	data := s.Data
	if data == "" {
		data = "/var/lib/stoa"
	}
	name := in.User
	if name == "" {
		name = "stoa"
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	for what, v := range map[string]string{"--data": data, "--user": name, "--secrets": in.Secrets, "the binary's path": exe} {
		if strings.ContainsAny(v, " \t\n\"'\\%$") {
			return cli.Misuse(fmt.Sprintf("%s: %q cannot stand in a unit", what, v), "use a path without spaces and quotes")
		}
	}
	if !filepath.IsAbs(data) {
		return cli.Misuse("--data: want an absolute folder", "stoa server install --data /var/lib/stoa")
	}
	if in.Secrets != "" && !filepath.IsAbs(in.Secrets) {
		return cli.Misuse("--secrets: want an absolute path", "stoa server install --secrets /etc/stoa/secrets.env")
	}
	unit := Unit(exe, data, name, in.Secrets)
	if in.Stdout {
		_, err := fmt.Fprint(s.Stdout, unit)
		return err
	}
	if _, err := user.Lookup(name); err != nil {
		return fault.New(fault.NotFound, "user "+name, "does not exist").WithHint("useradd --system --home-dir %s --create-home --shell /usr/sbin/nologin %s", data, name)
	}
	if err := os.WriteFile(unitPath, []byte(unit), 0o644); err != nil {
		return fault.New(fault.Denied, unitPath, "cannot be written: %w", err).WithHint("Run it as root, or write it yourself: stoa server install --stdout")
	}
	return s.Event(map[string]string{"unit": unitPath, "user": name, "data": data},
		"Wrote "+unitPath+". To start it: systemctl daemon-reload && systemctl enable --now stoa")
}

// Unit gives the systemd unit. Its limits are those that a proxy of some thousand
// connections needs; instances get what the unit has. secrets is a file, or "" for those
// that Systems name.
func Unit(exe, data, name, secrets string) string {
	if secrets != "" {
		secrets = " --secrets " + secrets
	}
	return fmt.Sprintf(`[Unit]
Description=Stoa: the services of %[2]s
Documentation=man:systemd.service(5)
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
NotifyAccess=all
User=%[3]s
ExecStart=%[1]s server --data %[2]s%[4]s
Restart=always
RestartSec=1
RestartSteps=8
RestartMaxDelaySec=60
TimeoutStopSec=90
KillMode=mixed
LimitNOFILE=65536
TasksMax=8192
UMask=0077
RuntimeDirectory=stoa
Environment=XDG_RUNTIME_DIR=/run/stoa
NoNewPrivileges=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectControlGroups=yes
ReadWritePaths=%[2]s

[Install]
WantedBy=multi-user.target
`, exe, data, name, secrets)
}
