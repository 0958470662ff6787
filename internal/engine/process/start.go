package process

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"stoa/api/fault"
)

// Spec is one program to start.
type Spec struct {
	Argv []string // the program, see Find, and its arguments
	Dir  string   // where it runs; empty for Stoa's own directory
	Env  []string // all of its environment, NAME=value; of one name twice the last counts
	Mark string   // the value of MarkName, which is added to Env; empty for none

	Stdout, Stderr Sink // nil discards

	// Grace is between SIGTERM and SIGKILL when Stoa itself has died. 0 is SIGKILL at
	// once, so that the next Stoa finds the ports free.
	Grace time.Duration
}

// Options tune a Starter. The zero value is good where main calls RunShim.
type Options struct {
	Exe     string        // the binary that is the shim; empty means this one
	Timeout time.Duration // for a shim to start its program; 0 means 10s, as a busy machine may need

	// Patience is how long beyond its grace a shim may take to end its tree. One that
	// takes longer is itself hung, and killed. 0 means 35s, which is more than it fights
	// for. Tests have less.
	Patience time.Duration
}

// Starter starts instances and owns what they need. It may be used concurrently.
type Starter struct {
	o Options

	mu     sync.Mutex
	closed bool               // guarded by mu
	live   map[*Instance]bool // guarded by mu
	idle   sync.WaitGroup     // one for each Start under way and each live instance
}

// New returns a starter. It starts nothing.
func New(o Options) *Starter {
	o.Exe = cmp.Or(o.Exe, self())
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.Patience = cmp.Or(o.Patience, stuckAfter+5*time.Second)
	return &Starter{o: o, live: make(map[*Instance]bool)}
}

// Start starts a program and returns when it runs, or cannot. ctx bounds the start
// only; the instance ends by itself, by Stop or by Close.
//
// Faults: NotFound for a program, interpreter or directory that is not there; Invalid
// for what cannot be run; Denied, Exhausted and Unavailable as the kernel says.
func (s *Starter) Start(ctx context.Context, sp Spec) (*Instance, error) {
	l, path, err := prepare(sp)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fault.New(fault.Unavailable, path, "not started: Stoa is stopping")
	}
	s.idle.Add(1)
	s.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	in, err := s.launch(ctx, l, path, sp)
	if err != nil {
		s.idle.Done()
		return nil, err
	}
	s.mu.Lock()
	s.live[in] = true
	closed := s.closed
	s.mu.Unlock()
	go func() {
		defer s.idle.Done()
		in.run()
		s.mu.Lock()
		delete(s.live, in)
		s.mu.Unlock()
	}()
	if closed { // Close did not see this one
		in.hasten(0)
	}
	return in, nil
}

// Close ends every instance with SIGKILL, refuses new ones, and returns when all are
// over. Stop them first where they deserve a grace.
func (s *Starter) Close() {
	s.mu.Lock()
	s.closed = true
	for in := range s.live {
		in.hasten(0)
	}
	s.mu.Unlock()
	s.idle.Wait()
}

// prepare checks a spec as far as can be seen from here, so that errors name files.
func prepare(sp Spec) (l launch, path string, err error) {
	if len(sp.Argv) == 0 {
		_, err := Find("", "", nil)
		return l, "", err
	}
	dir, err := filepath.Abs(sp.Dir)
	if err != nil {
		return l, "", fmt.Errorf("resolve %s: %w", sp.Dir, err)
	}
	if err := home(dir); err != nil {
		return l, "", err
	}
	env := environment(sp.Env, sp.Mark)
	for _, v := range slices.Concat(sp.Argv, env) {
		if strings.ContainsRune(v, 0) {
			name, _, _ := strings.Cut(v, "=")
			return l, "", fault.New(fault.Invalid, strings.ReplaceAll(name, "\x00", "?"), "holds a NUL byte").
				WithHint("Put binary values into a file, and give its path.")
		}
	}
	if path, err = Find(sp.Argv[0], dir, env); err == nil {
		err = runnable(path)
	}
	return launch{Path: text(path), Argv: texts(sp.Argv), Env: texts(env), Dir: text(dir), Grace: sp.Grace}, path, err
}

// environment is env with the mark and without doubles: the last of a name stays.
func environment(env []string, mark string) []string {
	if mark != "" {
		env = append(slices.Clip(env), MarkName+"="+mark)
	}
	out := make([]string, 0, len(env))
	at := make(map[string]int, len(env))
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		if i, double := at[name]; double {
			out[i] = v
			continue
		}
		at[name] = len(out)
		out = append(out, v)
	}
	return out
}

// shimEnv keeps the runtime of a shim small: one processor, and no garbage collection
// before there is something worth collecting.
var shimEnv = []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=16MiB"}

// launch starts a shim, tells it what to start, and waits for its first report.
func (s *Starter) launch(ctx context.Context, l launch, path string, sp Spec) (*Instance, error) {
	unavailable := func(err error) error {
		kind := fault.Unavailable
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOMEM) {
			kind = fault.Exhausted
		}
		return &fault.Error{Op: "process.start", Subject: path, Kind: kind, Err: err,
			Hint: "See the limits with stoa doctor."}
	}
	var p pipes
	defer p.closeTheirs()
	if err := p.open(); err != nil {
		p.closeOurs()
		return nil, unavailable(fmt.Errorf("open pipes: %w", err))
	}
	cmd := &exec.Cmd{
		Path: s.o.Exe, Args: []string{shimName, sp.Mark}, Env: shimEnv, Dir: "/",
		Stdout: p.out.w, Stderr: p.err.w, ExtraFiles: []*os.File{p.orders.r, p.reports.w},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, // no terminal's Ctrl-C, and a session to know the tree by
	}
	if err := cmd.Start(); err != nil {
		p.closeOurs()
		return nil, unavailable(fmt.Errorf("start the shim: %w", err))
	}
	p.closeTheirs()
	in := &Instance{
		shim: cmd, mark: sp.Mark, started: time.Now(), done: make(chan struct{}),
		patience: s.o.Patience,
		orders:   p.orders.w, reports: json.NewDecoder(p.reports.r), pipes: &p,
	}
	in.pumps.Go(func() { pour(p.out.r, orDiscard(sp.Stdout)) })
	in.pumps.Go(func() { pour(p.err.r, orDiscard(sp.Stderr)) })

	// When ctx ends, the pipes are closed under the shim, which then ends.
	stop := context.AfterFunc(ctx, func() {
		now := time.Now()
		_ = p.orders.w.SetDeadline(now)
		_ = p.reports.r.SetDeadline(now)
	})
	defer stop()
	var r report
	err := json.NewEncoder(p.orders.w).Encode(l)
	if err == nil || errors.Is(err, syscall.EPIPE) {
		err = in.reports.Decode(&r)
	}
	if err == nil && r.Started != 0 && stop() {
		in.pid = r.Started
		return in, nil
	}
	if r.Started != 0 { // too late: it runs, and is ended as any other
		in.pid = r.Started
		_ = p.orders.w.SetDeadline(time.Time{})
		_ = p.reports.r.SetDeadline(time.Time{})
		in.hasten(0)
		in.run()
	} else {
		in.abandon(r.Failed == nil)
	}
	switch {
	case r.Failed != nil:
		return nil, refused(path, r.Failed)
	case ctx.Err() != nil:
		return nil, unavailable(fmt.Errorf("start: %w", context.Cause(ctx)))
	default:
		return nil, &fault.Error{Op: "process.start", Subject: path, Kind: fault.Internal,
			Err:  fmt.Errorf("the shim ended before it reported: %v", cmp.Or(err, errors.New("no report"))),
			Hint: "See that nothing else ends it, then start again."}
	}
}

func orDiscard(s Sink) Sink {
	if s == nil {
		return func([]byte, bool) {}
	}
	return s
}

type pipe struct{ r, w *os.File }

// pipes are the four between Stoa and a shim.
type pipes struct{ orders, reports, out, err pipe }

func (p *pipes) open() (err error) {
	for _, one := range []*pipe{&p.orders, &p.reports, &p.out, &p.err} {
		if one.r, one.w, err = os.Pipe(); err != nil {
			return err
		}
	}
	return nil
}

func (p *pipes) closeTheirs() { shut(p.orders.r, p.reports.w, p.out.w, p.err.w) }
func (p *pipes) closeOurs()   { shut(p.orders.w, p.reports.r, p.out.r, p.err.r) }

// shut closes files that may be nil or closed already.
func shut(files ...*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
