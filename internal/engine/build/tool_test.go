package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stoa/api/workload"
	"stoa/internal/engine/process"
)

func TestMain(m *testing.M) {
	if process.IsShim() {
		os.Exit(process.RunShim())
	}
	os.Exit(m.Run())
}

// A build that is cancelled has ended, with what it started, when Service returns: also
// what ignores SIGTERM, and what has left its process group.
func TestACancelledBuildLeavesNothing(t *testing.T) {
	dir := folder(t, map[string]string{"app.sh": "echo hello\n"})
	ctx, cancel := context.WithCancel(t.Context())
	b := builder(t)
	begun := make(chan struct{})
	b.Log = func(_, line string) {
		if line == "begun" {
			close(begun)
		}
	}
	go func() {
		<-begun
		cancel()
	}()
	script := `trap '' TERM
		sleep 1000 & echo $! > stays; setsid sleep 1000 & echo $! > leaves
		echo $$ > leader; echo begun; sleep 1000; sleep 1000`
	if _, err := b.Service(ctx, "app", dir, workload.Run{Command: []string{"sh", "app.sh"}, Build: []string{"sh", "-c", script}}, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled build gives %v, want context.Canceled", err)
	}
	for _, name := range []string{"stays", "leaves", "leader"} {
		wantGone(t, filepath.Join(dir, name))
	}
}

// A build that ends leaves nothing either.
func TestABuildThatEndsLeavesNothing(t *testing.T) {
	dir := folder(t, map[string]string{"app.sh": "echo hello\n"})
	run := workload.Run{Command: []string{"sh", "app.sh"}, Build: []string{"sh", "-c", "setsid sleep 1000 & echo $! > leaves"}}
	if _, err := builder(t).Service(t.Context(), "app", dir, run, nil); err != nil {
		t.Fatal(err)
	}
	wantGone(t, filepath.Join(dir, "leaves"))
}

// wantGone fails unless the process whose id a file holds is gone.
func wantGone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); syscall.Kill(pid, 0) == nil; { // init may be slow to reap it
		if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s, process %d, runs on", filepath.Base(file), pid)
		}
		<-time.After(5 * time.Millisecond) // between two looks
	}
}

// A tool that is given by a path lies in the folder of the service, wherever Stoa runs.
func TestAToolOfTheFolder(t *testing.T) {
	dir := folder(t, map[string]string{"build.sh": "#!/bin/sh\necho made > made\n", "sub/app.sh": ""})
	if err := os.Chmod(filepath.Join(dir, "build.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, run := range []workload.Run{
		{Command: []string{"sh", "app.sh"}, Build: []string{"./build.sh"}},
		{Command: []string{"sh", "app.sh"}, Build: []string{"../build.sh"}, Dir: "sub"},
	} {
		if _, err := builder(t).Service(t.Context(), "app", dir, run, nil); err != nil {
			t.Errorf("%s: %v", run.Build, err)
		}
	}
	if _, err := builder(t).Service(t.Context(), "app", dir, workload.Run{Command: []string{"sh"}, Build: []string{"./nothing.sh"}}, nil); err == nil || !strings.Contains(err.Error(), "nothing.sh") || strings.Contains(err.Error(), "PATH") {
		t.Errorf("a tool that is not there: got %v", err)
	}
}

// What a tool said last is in its error, of both streams, whatever it said.
func TestOutputOfAToolThatFails(t *testing.T) {
	dir := folder(t, map[string]string{"app.sh": ""})
	script := `i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo to stderr >&2; printf 'no newline'; exit 7`
	_, err := builder(t).Service(t.Context(), "app", dir, workload.Run{Command: []string{"sh", "app.sh"}, Build: []string{"sh", "-c", script}}, nil)
	var failed *Error
	if !errors.As(err, &failed) {
		t.Fatalf("got %v, want an Error", err)
	}
	if failed.Exit.Code != 7 || len(failed.Output) > MaxOutput {
		t.Errorf("exit %d with %d bytes of output, want 7 with at most %d", failed.Exit.Code, len(failed.Output), MaxOutput)
	}
	for _, want := range []string{"line 2999", "to stderr", "no newline"} {
		if !strings.Contains(failed.Output, want) {
			t.Errorf("the output holds no %q: %q", want, failed.Output[max(0, len(failed.Output)-100):])
		}
	}
	run := workload.Run{Command: []string{"sh", "app.sh"}, Build: []string{"false", "x"}}
	if _, err := builder(t).Service(t.Context(), "app", dir, run, nil); err == nil || !strings.HasSuffix(err.Error(), "false x exited with code 1, and said nothing") {
		t.Errorf("a tool that says nothing: got %v", err)
	}
	if strings.Contains(failed.Output, "line 3\n") {
		t.Error("the output holds its beginning, too")
	}
}
