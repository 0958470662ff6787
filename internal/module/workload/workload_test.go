package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/workload"
	"stoa/internal/engine/process"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/id"
	"stoa/internal/kernel/host"
)

// The test binary is the shim, and by $ROLE the programs that are run.
func TestMain(m *testing.M) {
	if process.IsShim() {
		os.Exit(process.RunShim())
	}
	if role := os.Getenv("ROLE"); role != "" {
		os.Exit(program(role))
	}
	os.Exit(m.Run())
}

func program(role string) int {
	fmt.Println("secret is", os.Getenv("SECRET"), "answer", os.Getenv("ANSWER"))
	port := os.Getenv("PORT")
	switch role {
	case "crash":
		fmt.Fprintln(os.Stderr, "no database here")
		return 3
	case "job":
		if _, err := os.Stat(os.Getenv("LET")); err != nil {
			fmt.Println("the way is not clear")
			return 7
		}
		return 0
	case "elsewhere":
		port = "0"
	case "obstinate":
		signal.Ignore(syscall.SIGTERM)
	}
	var lc net.ListenConfig
	if role == "strict" { // as servers are that do not set SO_REUSEADDR
		lc.Control = func(_, _ string, c syscall.RawConn) (err error) {
			_ = c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0) })
			return err
		}
	}
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	s := &http.Server{Handler: http.HandlerFunc(answer)}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	done := make(chan struct{})
	context.AfterFunc(ctx, func() { _ = s.Shutdown(context.Background()); close(done) })
	_ = s.Serve(l)
	<-done
	fmt.Println("goodbye")
	return 0
}

// answer is well at /ok, and at /alive while the file $SICK is not there.
func answer(w http.ResponseWriter, r *http.Request) {
	_, err := os.Stat(os.Getenv("SICK"))
	switch {
	case r.URL.Path == "/ok", r.URL.Path == "/alive" && err != nil:
	case r.URL.Path == "/alive":
		http.Error(w, "sick, with "+os.Getenv("SECRET"), http.StatusServiceUnavailable)
	default:
		http.NotFound(w, r)
	}
}

// A stage is a module with everything around it made small.
type stage struct {
	t    *testing.T
	m    *Module
	self string

	mu     sync.Mutex
	state  core.State
	eps    map[string][]snapshot.Endpoint
	closed map[string]snapshot.Closed
	empty  bool // the upstream that had endpoints had none for a moment
	seen   []core.Condition
	lines  []string
	marks  map[string]string
	kicks  chan core.Ref
	told   []telling

	drained func(context.Context, string) error // set before the first service is declared
	granted func() error                        // the same
	quiet   func(context.Context)               // closes the gateways; set before the stop
	shut    func()                              // stops the module and waits for it
}

// A telling is one set of endpoints, by id.
type telling struct {
	upstream string
	eps      []string
}

const patience = 2 * time.Minute

func newStage(t *testing.T) *stage {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, self: self, eps: map[string][]snapshot.Endpoint{}, closed: map[string]snapshot.Closed{}, marks: map[string]string{}, kicks: make(chan core.Ref, 1024),
		state: core.State{Docs: map[core.Ref]core.Document{}}}
	work, mark := t.TempDir(), id.New()
	s.m = New(Ports{
		State: func() core.State { s.mu.Lock(); defer s.mu.Unlock(); return s.state },
		Kick: func(r core.Ref) {
			select {
			case s.kicks <- r:
			default:
			}
		},
		Grants: func() []host.Grantor {
			return []host.Grantor{{Name: "test", Do: func(context.Context, host.Instance) (host.Grant, error) {
				if s.granted != nil {
					if err := s.granted(); err != nil {
						return host.Grant{}, err
					}
				}
				return host.Grant{Env: map[string]string{"SECRET": "planted-secret"}, Secret: []string{"planted-secret"}}, nil
			}}}
		},
		Program: func(string, string) (string, error) { return s.self, nil },
		Folder:  func(string) (string, error) { return work, nil },
		WorkDir: func(string) (string, error) { return work, nil },
		Endpoints: func(up string, eps []snapshot.Endpoint) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.eps[up]) > 0 && len(eps) == 0 {
				s.empty = true
			}
			s.eps[up] = eps
			delete(s.closed, up)
			t := telling{upstream: up}
			for _, e := range eps {
				t.eps = append(t.eps, e.ID)
			}
			s.told = append(s.told, t)
		},
		Close: func(up string, why snapshot.Closed) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.empty = s.empty || len(s.eps[up]) > 0
			s.eps[up], s.closed[up] = nil, why
			s.told = append(s.told, telling{upstream: up})
		},
		CloseGateways: func(ctx context.Context) {
			if s.quiet != nil {
				s.quiet(ctx)
			}
		},
		Drained: func(ctx context.Context, endpoint string) error {
			if s.drained != nil {
				return s.drained(ctx, endpoint)
			}
			return nil
		},
		Observe: func(_ core.Ref, c core.Condition) { s.mu.Lock(); defer s.mu.Unlock(); s.seen = append(s.seen, c) },
		Forget:  func(core.Ref) {},
		Line:    func(_, _, _ string, l []byte) { s.mu.Lock(); defer s.mu.Unlock(); s.lines = append(s.lines, string(l)) },
		Rates:   func(string) (float64, float64, float64) { return 0, 0, 0 },
		Mark: func(_ context.Context, k, v string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.marks[k] = v
			return nil
		},
		MarkOf: func(_ context.Context, k string) (string, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.marks[k], nil
		},
		MarkID: func() string { return mark },
		Facts:  func(*workload.Status) {},
	}, Options{BaseEnv: []string{"PATH=" + os.Getenv("PATH")}, StopGrace: 10 * time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.m.run(ctx, func() { close(ready) }) }()
	<-ready
	reconciled := make(chan struct{})
	go func() {
		defer close(reconciled)
		for {
			select {
			case r := <-s.kicks:
				if _, err := s.m.reconcile(ctx, r); err != nil && ctx.Err() == nil {
					t.Errorf("reconcile %s: %v", r, err)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	s.shut = sync.OnceFunc(func() {
		cancel()
		<-reconciled
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.shut)
	return s
}

// declare puts documents in force and has them reconciled.
func (s *stage) declare(docs ...core.Document) {
	s.mu.Lock()
	next := map[core.Ref]core.Document{}
	for r, d := range s.state.Docs {
		next[r] = d
	}
	for _, d := range docs {
		next[d.Ref()] = d
	}
	s.state = core.State{Revision: s.state.Revision + 1, Docs: next}
	s.mu.Unlock()
	for _, d := range docs {
		s.kicks <- d.Ref()
	}
}

func service(role string, sections ...string) core.Document {
	d := core.Document{Kind: core.KindService, Name: "a", Artefacts: map[string]string{"program": "p"}, Sections: map[string]json.RawMessage{
		"run": json.RawMessage(`{"go":"."}`), "env": json.RawMessage(`{"ROLE":"` + role + `"}`),
	}}
	for i := 0; i < len(sections); i += 2 {
		d.Sections[sections[i]] = json.RawMessage(sections[i+1])
	}
	return d
}

func (s *stage) until(what string, cond func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.t.Fatalf("never: %s; conditions %v; lines %q", what, s.seen, s.lines)
		}
		<-time.After(5 * time.Millisecond) // between two looks
	}
}

func (s *stage) status() workload.Service {
	st, err := s.m.status(s.t.Context(), workload.StatusIn{})
	if err != nil {
		s.t.Fatal(err)
	}
	return st.Services[0]
}

// last gives the latest condition with the reason.
func (s *stage) last(reason string) (core.Condition, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Backward(s.seen) {
		if c.Reason == reason {
			return c, true
		}
	}
	return core.Condition{}, false
}

func (s *stage) endpoints() []snapshot.Endpoint { return s.at("a") }

func (s *stage) at(upstream string) []snapshot.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eps[upstream]
}

func (s *stage) history() []telling { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.told) }
func (s *stage) wasEmpty() bool     { s.mu.Lock(); defer s.mu.Unlock(); return s.empty }
func (s *stage) said(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.lines, text)
}

// answered counts the starts of programs with an answer.
func (s *stage) answered(answer string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if l == "secret is [redacted] answer "+answer {
			n++
		}
	}
	return n
}

// ask carries out an operation on the service.
func (s *stage) ask(do func(context.Context, workload.ServiceIn) (workload.Done, error)) {
	s.t.Helper()
	if _, err := do(s.t.Context(), workload.ServiceIn{Service: "a"}); err != nil {
		s.t.Fatal(err)
	}
}

// remove takes documents out of force.
func (s *stage) remove(docs ...core.Document) {
	s.mu.Lock()
	next := maps.Clone(s.state.Docs)
	for _, d := range docs {
		delete(next, d.Ref())
	}
	s.state = core.State{Revision: s.state.Revision + 1, Docs: next}
	s.mu.Unlock()
	for _, d := range docs {
		s.kicks <- d.Ref()
	}
}

// An instance becomes ready and can be called; one that dies is replaced by another with
// an id of its own; a new release replaces it without a moment in which nobody can be called.
func TestLifeOfAService(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve", "scale", `{"min":2}`))
	s.until("two endpoints", func() bool { return len(s.endpoints()) == 2 })
	old := s.endpoints()[0]
	if err := syscall.Kill(s.status().Instances[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.until("another instance in its place", func() bool {
		eps := s.endpoints()
		return len(eps) == 2 && s.status().Restarts == 1 && (eps[0].ID != old.ID || eps[1].ID != old.ID)
	})
	before := s.endpoints()
	s.declare(service("serve", "scale", `{"min":2}`, "env", `{"ROLE":"serve","ANSWER":"two"}`))
	s.until("two of the new release", func() bool {
		v := s.status()
		return v.State == workload.StateReady && v.Updated == 2 && !slices.ContainsFunc(s.endpoints(), func(e snapshot.Endpoint) bool {
			return e.ID == before[0].ID || e.ID == before[1].ID
		})
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.empty {
		t.Error("for a moment nobody could be called")
	}
	if all := strings.Join(s.lines, "\n"); strings.Contains(all, "planted-secret") || !strings.Contains(all, "secret is [redacted] answer two") {
		t.Errorf("lines %q", s.lines)
	}
}

// A program that ends again and again is a crash loop, with its last words as evidence.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("crash"))
	s.until("a crash loop is told", func() bool { _, ok := s.last("CrashLoop"); return ok })
	c, _ := s.last("CrashLoop")
	if c.Status != core.False || !strings.Contains(c.Message, "exited with code 3") || !slices.Contains(c.Evidence, "no database here") || c.Hint == "" {
		t.Errorf("%+v", c)
	}
	if v := s.status(); v.State != workload.StateCrashing || v.Ready != 0 || v.Blocked == "" || v.Restarts != 0 {
		t.Errorf("%+v", v)
	}
	s.until("nobody waits for a start that is far away", func() bool { return s.refusal().Text == "a ends again and again" })
}

// A program that listens elsewhere than it was told is told so, with what to do.
func TestListensElsewhere(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("elsewhere", "health", `{"ready":"/readyz"}`))
	s.until("the other port is told", func() bool { _, ok := s.last("OtherPort"); return ok })
	if c, _ := s.last("OtherPort"); !strings.Contains(c.Message, "but was given") || !strings.Contains(c.Hint, "$PORT") {
		t.Errorf("%+v", c)
	}
}

// A job before a release runs first and once; while it fails nothing of the release starts,
// and restart tries it again.
func TestJobBeforeRelease(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	let := filepath.Join(t.TempDir(), "let")
	env := `{"ROLE":"serve","LET":"` + let + `"}`
	job := core.Document{Kind: core.KindJob, Name: "migrate", Artefacts: map[string]string{"folder": "f"}, Sections: map[string]json.RawMessage{
		"": json.RawMessage(`{"of":"a","command":["sh","-c","ROLE=job exec ` + s.self + `"],"when":"before-release"}`)}}
	s.declare(job, service("serve", "env", env))
	s.until("the failure is told", func() bool { _, ok := s.last("JobFailed"); return ok })
	if c, _ := s.last("JobFailed"); !strings.Contains(strings.Join(c.Evidence, "\n"), "the way is not clear") || len(s.endpoints()) != 0 {
		t.Errorf("%+v, endpoints %v", c, s.endpoints())
	}
	if err := os.WriteFile(let, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.m.restart(t.Context(), workload.ServiceIn{Service: "a"}); err != nil {
		t.Fatal(err)
	}
	s.until("it serves after its job", func() bool { return len(s.endpoints()) == 1 })
	runs, err := s.m.listJobs(t.Context(), struct{}{})
	if err != nil || len(runs.Runs) != 2 || runs.Runs[0].State != "succeeded" || runs.Runs[1].State != "failed" {
		t.Errorf("%+v, %v", runs, err)
	}
}

// A stopped service stays stopped, and is remembered; a start brings it back.
func TestStopAndStart(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.declare(service("serve"))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	if _, err := s.m.stop(t.Context(), workload.ServiceIn{Service: "a"}); err != nil {
		t.Fatal(err)
	}
	s.until("stopped", func() bool {
		return len(s.endpoints()) == 0 && s.status().State == workload.StateStopped && len(s.status().Instances) == 0
	})
	if s.marks["workload/stopped/a"] == "" {
		t.Error("a restart of Stoa would not know that it is stopped")
	}
	if _, err := s.m.start(t.Context(), workload.ServiceIn{Service: "a"}); err != nil {
		t.Fatal(err)
	}
	s.until("ready again", func() bool { return len(s.endpoints()) == 1 })
}

// A fixed port is given to one instance at a time: the old one ends before the new one starts.
func TestFixedPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	listen := fmt.Sprintf(`[{"env":"PORT","port":%d}]`, port)
	s := newStage(t)
	s.declare(service("serve", "listen", listen))
	s.until("ready", func() bool { return len(s.endpoints()) == 1 })
	if want := fmt.Sprintf("127.0.0.1:%d", port); s.endpoints()[0].Address != want {
		t.Errorf("it is called at %s, want %s", s.endpoints()[0].Address, want)
	}
	s.declare(service("serve", "listen", listen, "env", `{"ROLE":"serve","ANSWER":"two"}`))
	s.until("the new release is ready", func() bool { v := s.status(); return v.Updated == 1 && v.State == workload.StateReady })
	if s.status().Restarts != 0 {
		t.Errorf("it took %d restarts: two met on one port", s.status().Restarts)
	}
}
