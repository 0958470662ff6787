package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/gateway"
	"stoa/api/platform"
	"stoa/client"
	"stoa/internal/app"
	"stoa/internal/app/develop"
	"stoa/internal/door/cli"
	"stoa/internal/engine/process"
	"stoa/internal/kernel/blueprint"
)

// DevIn are the arguments of stoa dev.
type DevIn struct {
	Dir      string        `json:"dir,omitempty" arg:"DIR,optional" help:"folder of the blueprint (default: this one)"`
	Services []string      `json:"services,omitempty" arg:"SERVICE,rest" help:"only these and what they use (default: all)"`
	Env      string        `json:"env,omitempty" flag:"env" help:"environment (default: dev)"`
	Gateway  string        `json:"gateway,omitempty" flag:"gateway" env:"STOA_GATEWAY" help:"address of the gateway (default 127.0.0.1:8080, or a free port)"`
	TLS      bool          `json:"tls,omitempty" flag:"tls" help:"serve the gateway over TLS, with certificates of a development CA that is made in the data folder"`
	Admin    string        `json:"admin,omitempty" flag:"admin" env:"STOA_ADMIN" help:"address of dashboard and admin API (default 127.0.0.1:7070, or a free port)"`
	Engine   string        `json:"engine,omitempty" flag:"engine" env:"STOA_ENGINE" help:"what carries HTTP: own, or portable, which is Go's net/http (default own)"`
	Secrets  string        `json:"secrets,omitempty" flag:"secrets" help:"file of secrets, NAME=value lines, mode 0600"`
	Fresh    bool          `json:"fresh,omitempty" flag:"fresh" help:"throw the data of all services away first"`
	Wait     bool          `json:"wait,omitempty" flag:"wait" help:"wait until all is ready, run the command after --, stop, and exit as it did"`
	Timeout  core.Duration `json:"timeout,omitempty" flag:"timeout" help:"how long --wait and -d wait until all is ready (default 5m)"`
	Attach   string        `json:"attach,omitempty" flag:"attach" help:"a service that you start yourself, in a debugger: its environment is printed"`
	Load     int           `json:"load,omitempty" flag:"load" help:"run the job named load with LOAD_RATE set to this many requests a second"`
	Detach   bool          `json:"detach,omitempty" flag:"detach,d" help:"go on in the background once all is ready; stoa down ends it"`
	NoWatch  bool          `json:"noWatch,omitempty" flag:"no-watch" help:"do not build again when files change"`
	Metrics  bool          `json:"metrics,omitempty" flag:"open-metrics" help:"let /metrics be read without a login"`
	Command  []string      `json:"command,omitempty" arg:"COMMAND,after" help:"for --wait"`
}

func devCommand() cli.Command {
	c := cli.Cmd("dev", "build, run and connect the services of a blueprint, and follow changes", "stoa dev examples/shop", dev)
	c.More = "Builds and starts every service, shows a live view, and rebuilds what changes. Ctrl-C drains\n" +
		"and stops everything. A blueprint with problems, or a build that fails, leaves what runs alone."
	return c
}

// devGrace bounds the drain of an instance when stoa dev stops.
const devGrace = 5 * time.Second

func dev(ctx context.Context, s *cli.Session, in DevIn) error {
	dir := in.Dir
	if dir == "" {
		dir = "."
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(s.Dir, dir)
	}
	if in.Wait != (len(in.Command) > 0) {
		return cli.Misuse("--wait goes with a command after --", "stoa dev --wait "+in.Dir+" -- go test ./e2e")
	}
	since := time.Now()
	set, err := loadGood(ctx, s, dir, in.Env)
	if err != nil {
		return err
	}
	data := s.Data
	if data == "" {
		data = s.Getenv("STOA_DATA")
	}
	if data == "" {
		data = filepath.Join(set.Dir, cli.DataName)
	} else if !filepath.IsAbs(data) {
		data = filepath.Join(s.Dir, data)
	}
	if in.Load > 0 {
		if err := hasLoad(set); err != nil {
			return err
		}
	}
	if err := alone(ctx, s, data); err != nil {
		return err
	}
	if in.Detach {
		if in.Wait {
			return cli.Misuse("-d leaves the platform running, --wait ends it with the command: one or the other", "stoa dev "+in.Dir+" --wait -- "+strings.Join(in.Command, " "))
		}
		return detach(ctx, s, data, in.Timeout)
	}
	if err := ignoreData(set.Dir, data); err != nil {
		return err
	}
	again := s.Getenv(childVariable) == laterChild
	if again && in.Wait {
		return fault.New(fault.Unavailable, "stoa dev", "the platform was lost while the command ran; it is not run again").WithHint("See stoa logs stoa --data %s", data)
	}
	in.Fresh = in.Fresh && !again
	if in.Fresh {
		if err := s.Confirm(ctx, "The data of all services in "+data+" will be thrown away."); err != nil {
			return err
		}
	}
	gate, note, err := gatewayAddress(s, in.Gateway, set)
	if err != nil {
		return err
	}
	admin := in.Admin
	if admin == "" {
		admin = "127.0.0.1:7070"
	}
	portable, err := portableEngine("dev", in.Engine)
	if err != nil {
		return err
	}
	p := app.New(app.Options{
		Portable: portable,
		Data:     data, Mode: app.ModeDev, Gateway: gate, GatewayNote: note, TLS: in.TLS, Admin: admin, AdminFree: in.Admin == "",
		Secrets: in.Secrets, Metrics: in.Metrics, StopGrace: devGrace, Log: devLog(s), Getenv: s.Getenv,
	})
	d := &developer{s: s, in: in, p: p, set: set, since: since}
	return d.run(ctx)
}

// loadGood reads a blueprint and prints every problem.
func loadGood(ctx context.Context, s *cli.Session, dir, env string) (*blueprint.Set, error) {
	return load(ctx, s, dir, blueprint.Options{Env: env})
}

func problems(n int) string {
	if n == 1 {
		return "the blueprint has a problem"
	}
	return fmt.Sprintf("the blueprint has %d problems", n)
}

// relative gives dir as seen from the working folder, if that is shorter.
func relative(from, dir string) string {
	if rel, err := filepath.Rel(from, dir); err == nil && len(rel) < len(dir) {
		return rel
	}
	return dir
}

// ignoreData keeps the data folder out of version control, if it lies beside the blueprint.
func ignoreData(dir, data string) error {
	if filepath.Dir(data) != dir {
		return nil
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	file := filepath.Join(data, ".gitignore")
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	return os.WriteFile(file, []byte("*\n"), 0o600)
}

// gatewayAddress gives the address of the gateway. One that was given and is taken is an
// error that names who has it; one that is declared is replaced by a free one, so that two
// copies run side by side: note says that.
func gatewayAddress(s *cli.Session, given string, set *blueprint.Set) (at, note string, err error) {
	addr := given
	if addr == "" {
		addr = gateway.DefaultListen
		if sys, ok := set.State().System(); ok {
			addr = gateway.GatewaySection.Of(sys).Listen
		}
	}
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return addr, "", l.Close()
	}
	hostName, number, _ := net.SplitHostPort(addr)
	taken := errors.Is(err, syscall.EADDRINUSE)
	if taken {
		err = fmt.Errorf("the port is taken by %s", holder(number))
	}
	if !taken || given != "" {
		return "", "", &fault.Error{Op: "dev", Subject: "gateway " + addr, Kind: fault.Unavailable, Err: err,
			Hint: "Give another: --gateway 127.0.0.1:0 takes a free port."}
	}
	note = fmt.Sprintf("%s is taken by %s: a free port is used", addr, holder(number))
	s.Talk("gateway %s", note)
	l, err = net.Listen("tcp", net.JoinHostPort(hostName, "0"))
	if err != nil {
		return "", "", err
	}
	defer l.Close()
	return l.Addr().String(), note, nil
}

// holder names who listens on a port.
func holder(port string) string {
	n, _ := strconv.Atoi(port) // one that is no number is 0, which nobody has
	return cmp.Or(process.Holder(n), "another process; to see which: ss -ltnp")
}

// A developer is one run of stoa dev.
type developer struct {
	s     *cli.Session
	in    DevIn
	p     *app.Platform
	set   *blueprint.Set
	since time.Time // before the blueprint was read

	c    *client.Client
	view *view
	by   time.Time // when --wait and --load have waited for as long as they may
}

func (d *developer) run(ctx context.Context) error {
	c, err := d.p.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	d.c = c
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- d.p.Run(ctx, func() { close(up) }) }()
	select {
	case <-up:
	case err := <-ended:
		return err
	}
	d.view = newView(d.s, d.p, c, d.set, d.since)
	d.by = d.since.Add(d.limit())
	result := d.work(ctx)
	cancel()
	d.view.stopping()
	err = <-ended
	d.view.stopped()
	if result != nil && !errors.Is(result, context.Canceled) {
		return result
	}
	return err
}

// absolute gives a path as the caller in dir meant it, or "" for "".
func absolute(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// work runs the loop and whatever was asked for beside it, until ctx ends or one of them does.
func (d *developer) work(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var lives sync.WaitGroup
	defer lives.Wait()
	defer cancel()
	began := make(chan struct{})
	var once, rest, refused sync.Once
	results := make(chan error, 4) // one of each that can send
	settled := make(chan struct{})
	loop, err := develop.New(develop.Ports{
		Catalog: d.p.Catalog, Observe: d.p.Board.Set,
		Line: func(service, line string) { d.p.Telemetry.Line(service, "", "build", []byte(line)) },
		Apply: func(ctx context.Context, source string, docs []core.Document, message string) (uint64, error) {
			rev, err := d.apply(ctx, source, docs, message)
			if err == nil {
				once.Do(func() { d.p.Reconcile(); close(began) })
			}
			return rev, err
		},
		Tell: func(e develop.Event) {
			d.view.event(e)
			d.p.Refused(d.view.refused())
			switch {
			case e.Kind == develop.Settled:
				rest.Do(func() { close(settled) })
			case e.Kind == develop.Refused && !e.Retried && d.unattended() && !over(began):
				refused.Do(func() {
					results <- fault.New(fault.Invalid, d.view.dir, "is not in force: %s", d.view.refused()).WithHint("%s", e.Hint)
				})
			}
		},
	}, d.set, develop.Options{Dir: d.set.Dir, Env: d.in.Env, Services: d.in.Services, Cache: filepath.Join(d.p.Data(), "build"), Leave: []string{d.p.Data(), absolute(d.s.Dir, d.in.Secrets)}, Since: d.since})
	if err != nil {
		return err
	}
	if d.in.Fresh {
		if err := d.fresh(ctx); err != nil {
			return err
		}
	}
	lives.Go(func() { loop.Run(ctx, d.p.Artefacts(), !d.in.NoWatch) })
	lives.Go(func() { d.view.follow(ctx) })
	if d.in.Attach != "" {
		lives.Go(func() {
			if wait(ctx, began) {
				results <- d.attach(ctx)
			}
		})
	}
	if d.in.Load > 0 {
		lives.Go(func() {
			if wait(ctx, began) {
				d.load(ctx)
			}
		})
	}
	commanded := make(chan error, 1)
	if d.in.Wait {
		lives.Go(func() { commanded <- d.command(ctx, settled) })
	}
	select {
	case err := <-results:
		return err
	case err := <-commanded:
		if ctx.Err() == nil {
			return err
		}
		return cutShort(err)
	case <-ctx.Done():
	case <-d.p.Done():
	}
	if !d.in.Wait {
		return nil
	}
	cancel()
	return cutShort(<-commanded)
}

// cutShort gives how stoa ends whose command was not let finish: never as if all were well.
func cutShort(err error) error {
	if exit := cli.Exit(0); errors.As(err, &exit) && exit != 0 {
		return err
	}
	return cli.Exit(cli.CodeInterrupted)
}

// fresh throws the data of all services away. The folder is ours and nothing runs yet, all
// else that could keep the platform from starting was looked at.
func (d *developer) fresh(ctx context.Context) error {
	if err := os.RemoveAll(filepath.Join(d.p.Data(), "stores")); err != nil {
		return fmt.Errorf("--fresh: %w", err)
	}
	return d.p.ForgetMarks(ctx, "workload/job/") // they have run against data that is gone
}

// over says whether a channel is closed.
func over(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func wait(ctx context.Context, c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

// apply puts documents in force through the platform's own door.
func (d *developer) apply(ctx context.Context, source string, docs []core.Document, message string) (uint64, error) {
	out, err := client.Call(ctx, d.c, platform.ApplyOp, platform.ApplyIn{Source: source, Documents: docs, Message: message, TakeOver: true})
	return out.Revision, err
}
