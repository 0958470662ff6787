// Package e2e runs the real binary on real systems and is unkind to them.
//
// Nothing here asserts a time: what must happen is waited for, with deadlines that only
// a platform that hangs can miss.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stoa/api/workload"
)

// patience is how long something may take that must happen.
const patience = 3 * time.Minute

var stoaBin, serverBin string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	build := func(out, pkg string) string {
		out = filepath.Join(dir, out)
		cmd := exec.Command("go", "build", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("go build %s: %v\n%s", pkg, err, text))
		}
		return out
	}
	if stoaBin = os.Getenv("STOA_BIN"); stoaBin == "" {
		stoaBin = build("stoa", "stoa/cmd/stoa")
	}
	serverBin = build("testserver", "stoa/test/e2e/testserver")
	return m.Run()
}

// A platform is a stoa dev or stoa server under test.
type platform struct {
	t       *testing.T
	data    string
	runtime string // folder of its socket
	cmd     *exec.Cmd
	ended   chan struct{}
	out     *output
	gateway string // URL
}

// output is what the platform wrote.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// prepare gives a platform that was not started.
func prepare(t *testing.T) *platform {
	t.Helper()
	runtime, err := os.MkdirTemp("/tmp", "st") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(runtime) })
	return &platform{t: t, data: filepath.Join(t.TempDir(), "data"), runtime: runtime}
}

// start runs "stoa args..." until the test ends.
func (p *platform) start(args ...string) {
	p.t.Helper()
	p.out, p.ended = &output{}, make(chan struct{})
	p.cmd = exec.Command(stoaBin, append(args, "--data", p.data, "--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0")...)
	p.cmd.Env = append(os.Environ(), "STOA_RUNTIME="+p.runtime)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd, ended := p.cmd, p.ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	p.t.Cleanup(func() {
		p.stop()
		if p.t.Failed() {
			p.t.Logf("stoa %s said:\n%s", strings.Join(args, " "), p.out)
		}
	})
}

// stop ends the platform as Ctrl-C does.
func (p *platform) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		p.t.Error("stoa did not end after SIGINT")
	}
}

// stoa runs a command line against the platform.
func (p *platform) stoa(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, stoaBin, append(args, "--data", p.data)...)
	cmd.Env = append(os.Environ(), "STOA_RUNTIME="+p.runtime)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatalf("stoa %v: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must is stoa that has to succeed.
func (p *platform) must(args ...string) string {
	p.t.Helper()
	out, errs, code := p.stoa(args...)
	if code != 0 {
		p.t.Fatalf("stoa %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// status asks for the status; ok is false while nobody answers.
func (p *platform) status() (s workload.Status, ok bool) {
	out, _, code := p.stoa("status", "--json")
	return s, code == 0 && json.Unmarshal([]byte(out), &s) == nil
}

// until waits until cond holds.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(25 * time.Millisecond) // between two looks at the world, not for something to happen
	}
}

// ready waits until every service is ready and the gateway is open, and notes its address.
func (p *platform) ready() workload.Status {
	p.t.Helper()
	var last workload.Status
	until(p.t, "every service ready", func() bool {
		select {
		case <-p.ended:
			p.t.Fatalf("stoa ended:\n%s", p.out)
		default:
		}
		s, ok := p.status()
		last = s
		if !ok || s.Gateway == "" || len(s.Services) == 0 {
			return false
		}
		for _, v := range s.Services {
			if v.State != workload.StateReady && v.State != workload.StateExternal {
				return false
			}
		}
		return true
	})
	p.gateway = last.Gateway
	return last
}

// service gives one service of a status.
func service(t *testing.T, s workload.Status, name string) workload.Service {
	t.Helper()
	for _, v := range s.Services {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("no service %s in %+v", name, s)
	return workload.Service{}
}

// get asks for a URL and gives status and body.
func get(url string) (int, string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// write makes a blueprint, or changes it.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// pair is a system of two services: front calls back; both run the test server.
func pair(t *testing.T, answer string, instances int) string {
	t.Helper()
	dir := t.TempDir()
	writePair(t, dir, answer, instances)
	return dir
}

func writePair(t *testing.T, dir, answer string, instances int) {
	t.Helper()
	write(t, dir, "stoa.yaml", fmt.Sprintf(`kind: System
name: pair
---
kind: Service
name: front
run: {command: [%[1]s]}
env: {ANSWER: front}
expose: [{path: /}]
uses: [{service: back}]
health: {ready: /readyz}
---
kind: Service
name: back
run: {command: [%[1]s]}
env: {ANSWER: %[2]s}
scale: {min: %[3]d}
expose: [{path: /back, stripPrefix: true}]
health: {ready: /readyz}
`, serverBin, answer, instances))
}

// marked gives the processes that run as instances of the platform's data folder.
func (p *platform) marked() []int {
	node, err := os.ReadFile(filepath.Join(p.data, "node"))
	if err != nil {
		return nil
	}
	mark := []byte("STOA_INSTANCE=" + strings.TrimSpace(string(node)) + "/")
	var pids []int
	procs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range procs {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, mark) {
			pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// child gives the process of the platform under its parent.
func (p *platform) child() int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.cmd.Process.Pid, p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for _, f := range strings.Fields(string(b)) {
		pid, _ := strconv.Atoi(f)
		return pid
	}
	return 0
}
