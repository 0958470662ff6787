package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/op"
	"stoa/client"
	"stoa/internal/door/cli"
	"stoa/internal/door/httpapi"
	"stoa/internal/kernel/host"
)

type getIn struct {
	Ref   core.Ref      `json:"ref" arg:"KIND/NAME,optional" help:"only this one"`
	Limit int           `json:"limit,omitempty" flag:"limit,n" help:"at most so many"`
	Since core.Duration `json:"since,omitempty" flag:"since" help:"only younger ones"`
	Sort  string        `json:"sort,omitempty" flag:"sort" help:"order" enum:"name,age"`
}

type thing struct {
	Ref       core.Ref  `json:"ref"`
	State     string    `json:"state"`
	Restarts  int       `json:"restarts"`
	Rate      float64   `json:"rate"`
	LastError string    `json:"lastError,omitempty"`
	Began     core.Time `json:"began,omitzero"`
}

type getOut struct {
	Revision uint64  `json:"revision"`
	Things   []thing `json:"things"`
}

type serviceIn struct {
	Service string `json:"service" arg:"SERVICE" help:"name of the service"`
}

type done struct {
	Message string `json:"message"`
}

type logsIn struct {
	Services []string `json:"services,omitempty" arg:"SERVICE,rest" help:"only these"`
	Follow   bool     `json:"follow,omitempty" flag:"follow,f" help:"go on as lines arrive"`
}

type logLine struct {
	Service string `json:"service"`
	Text    string `json:"text"`
}

type checkIn struct {
	Dir string `json:"dir" arg:"DIR,optional" help:"folder of the blueprint"`
}

type checkOut struct {
	Problems []string `json:"problems"`
}

func (c checkOut) ExitCode() int { return min(1, len(c.Problems)) }

type planIn struct {
	Codes bool `json:"codes,omitempty" flag:"exit-code" help:"2 for changes"`
}

func (p planIn) FailureCode(code int) int {
	if p.Codes {
		return 1
	}
	return code
}

type secretIn struct {
	Token string `json:"token"`
}

type failIn struct {
	Kind string `json:"kind" arg:"KIND"`
}

// fake declares one operation of each sort.
type fake struct {
	resets atomic.Int32
	began  chan struct{} // told when logs follow
}

func (*fake) Name() string { return "fake" }

func (f *fake) Declare(c *host.Catalog) {
	c.Kind(core.KindService, "a service", true)
	c.Kind("Saga", "a saga", true)
	svc := func(name string) core.Ref { return core.Ref{Kind: core.KindService, Name: name} }
	host.Handle(c, op.Op[getIn, getOut]{Name: "get", Help: "show what is declared", Example: "stoa get service/orders"},
		func(_ context.Context, in getIn) (getOut, error) {
			if in.Ref.Kind == "Saga" {
				return getOut{}, &fault.Error{Op: "store.get", Subject: in.Ref.String(), Kind: fault.NotFound, Hint: "Declare it, then: stoa apply DIR"}
			}
			return getOut{Revision: 7, Things: []thing{
				{Ref: svc("orders"), State: "ready", Restarts: 2, Rate: 12.5},
				{Ref: svc("cart"), State: "注文中\x1b[2J", Restarts: 10, Rate: float64(in.Limit)},
			}}, nil
		}, nil)
	host.Handle(c, op.Op[serviceIn, done]{Name: "service.restart", Help: "replace the instances", Example: "stoa service restart orders", Effect: op.Write},
		func(ctx context.Context, in serviceIn) (done, error) {
			return done{"restarted " + in.Service + " for " + op.CallerOf(ctx).Via}, nil
		}, nil)
	host.Handle(c, op.Op[serviceIn, op.None]{Name: "service.reset", Help: "lose the data of a service", Example: "stoa service reset orders", Effect: op.Destroy},
		func(context.Context, serviceIn) (op.None, error) { f.resets.Add(1); return op.None{}, nil }, nil)
	host.Follow(c, op.Op[logsIn, logLine]{Name: "logs", Help: "show what services wrote", Example: "stoa logs -f orders"},
		func(ctx context.Context, in logsIn) (iter.Seq2[logLine, error], error) {
			return func(yield func(logLine, error) bool) {
				for _, s := range in.Services {
					if !yield(logLine{s, "hello"}, nil) {
						return
					}
				}
				if in.Follow {
					f.began <- struct{}{}
					<-ctx.Done()
				}
			}, nil
		}, func(w io.Writer, l logLine) { fmt.Fprintf(w, "%s | %s\n", l.Service, l.Text) })
	host.Handle(c, op.Op[checkIn, checkOut]{Name: "check", Help: "check a blueprint", Example: "stoa check examples/shop", Local: true},
		func(ctx context.Context, in checkIn) (checkOut, error) {
			if in.Dir == "bad" {
				return checkOut{[]string{"stoa.yaml:3:7: unknown field"}}, nil
			}
			return checkOut{}, nil
		}, nil)
	host.Handle(c, op.Op[planIn, done]{Name: "plan", Help: "say what would change", Example: "stoa plan"},
		func(context.Context, planIn) (done, error) {
			return done{}, fault.New(fault.Conflict, "", "changed meanwhile")
		}, nil)
	host.Handle(c, op.Op[secretIn, done]{Name: "borrow", Help: "for programs only"},
		func(context.Context, secretIn) (done, error) { return done{}, nil }, nil)
	host.Handle(c, op.Op[failIn, done]{Name: "fail", Help: "fail with a kind", Example: "stoa fail denied", Effect: op.Write},
		func(_ context.Context, in failIn) (done, error) {
			return done{}, fault.New(fault.Kind(in.Kind), "it", "no")
		}, nil)
}

type devIn struct {
	Dir      string   `json:"dir" arg:"DIR" help:"folder of the blueprint"`
	Services []string `json:"services" arg:"SERVICE,rest" help:"only these and what they use"`
	Wait     bool     `json:"wait" flag:"wait" help:"run COMMAND when all is ready"`
	Gateway  string   `json:"gateway" flag:"gateway" env:"STOA_GATEWAY" default:"127.0.0.1:8080" help:"address of the gateway"`
	Command  []string `json:"command" arg:"COMMAND,after" help:"what to run"`
}

// asStoa makes the test binary the program stoa, with the fake's operations.
const asStoa = "STOA_TEST_AS_STOA"

func TestMain(m *testing.M) {
	if os.Getenv(asStoa) == "" {
		os.Exit(m.Run())
	}
	r := &rig{fake: &fake{}}
	r.cat = host.Build(r.fake)
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	os.Exit(cli.Run(context.Background(), cli.Env{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Dir: dir}, r.options()))
}

// A rig runs command lines against a fake platform.
type rig struct {
	*fake
	t      *testing.T
	cat    *host.Catalog
	env    cli.Env
	vars   map[string]string
	socket string
	dev    devIn // as the command dev got it
}

func newRig(t *testing.T) *rig {
	t.Helper()
	t.Setenv("TZ", "UTC")
	r := &rig{fake: &fake{began: make(chan struct{}, 4)}, t: t, vars: map[string]string{}}
	r.cat = host.Build(r.fake)
	run, err := os.MkdirTemp("/tmp", "stoa-t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	r.vars["STOA_RUNTIME"] = run // no platform of this machine is seen
	r.env = cli.Env{Getenv: func(k string) string { return r.vars[k] }, Dir: t.TempDir(), Stdin: strings.NewReader("")}
	return r
}

// serve runs the platform of the data folder beside the working folder.
func (r *rig) serve() (stop func()) { return r.serveData(filepath.Join(r.env.Dir, cli.DataName)) }

func (r *rig) serveData(data string) (stop func()) {
	r.t.Helper()
	if err := os.MkdirAll(data, 0o700); err != nil {
		r.t.Fatal(err)
	}
	socket, err := client.SocketPath(data, r.env.Getenv)
	if err != nil {
		r.t.Fatal(err)
	}
	r.socket = socket
	server, err := httpapi.New(httpapi.Options{Catalog: r.cat, Socket: socket, Data: data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- server.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		r.t.Fatalf("the platform did not start: %v", err)
	case <-time.After(30 * time.Second):
		r.t.Fatal("the platform was not ready within 30 s")
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-ended
		}
	}
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) options() cli.Options {
	return cli.Options{
		Catalog: r.cat, Version: "v1.2.3", Example: "stoa dev examples/shop", About: "Stoa runs a distributed system.",
		Commands: []cli.Command{
			cli.Cmd("dev", "run a system here", "stoa dev examples/shop", func(_ context.Context, s *cli.Session, in devIn) error {
				r.dev = in
				if len(in.Command) > 0 && in.Command[0] == "false" {
					return cli.Exit(17)
				}
				if in.Dir == "broken" {
					return errors.New("it does not build")
				}
				return nil
			}),
		},
	}
}

// run gives the exit code, stdout and stderr of one command line.
func (r *rig) run(args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	return r.runCtx(context.Background(), args...)
}

func (r *rig) runCtx(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	var out, errs bytes.Buffer
	env := r.env
	env.Args, env.Stdout, env.Stderr = args, &out, &errs
	code = cli.Run(ctx, env, r.options())
	return code, out.String(), errs.String()
}
