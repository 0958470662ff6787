package process_test

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/process"
)

func starter(t *testing.T) *process.Starter {
	s := process.New(process.Options{})
	t.Cleanup(s.Close)
	return s
}

// start starts a role of this binary and keeps its output.
func start(t *testing.T, role string, env ...string) (*process.Instance, *output) {
	t.Helper()
	var out output
	in, err := starter(t).Start(t.Context(), process.Spec{
		Argv: []string{exe()}, Env: append(env, "ROLE="+role), Stdout: out.sink, Stderr: out.sink,
	})
	if err != nil {
		t.Fatal(err)
	}
	return in, &out
}

func ended(t *testing.T, in *process.Instance) process.Exit {
	t.Helper()
	select {
	case <-in.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the instance is not over after 30 s")
	}
	return in.Exit()
}

func TestExitCodeAndUsageAreReported(t *testing.T) {
	in, _ := start(t, "exit3")
	e := ended(t, in)
	if e.Reason != process.Exited || e.Code != 3 || e.Signal != 0 || e.Left != 0 || e.Forced {
		t.Errorf("exit is %+v, want exited with code 3", e)
	}
	if e.MaxRSS < 1<<20 || e.MaxRSS > 1<<30 || e.User+e.System <= 0 || e.Lived <= 0 {
		t.Errorf("usage is %+v, want that of a small Go program", e)
	}
	if got := e.String(); got != "exited with code 3" {
		t.Errorf("exit reads %q", got)
	}
}

func TestOutputComesByLines(t *testing.T) {
	in, out := start(t, "echo")
	ended(t, in)
	got := strings.Split(out.String(), "\n")
	slices.Sort(got) // the two streams are not ordered against each other
	if want := []string{"", "one", "to stderr", "two", "unfinished"}; !slices.Equal(got, want) {
		t.Errorf("lines are %q, want %q", got, want)
	}
}

func TestLongLinesComeInPieces(t *testing.T) {
	in, out := start(t, "long")
	ended(t, in)
	var sizes []int
	for _, l := range out.lines {
		sizes = append(sizes, len(l))
	}
	if want := []int{process.MaxLine, process.MaxLine, 10, 5}; !slices.Equal(sizes, want) {
		t.Errorf("pieces are %v bytes, want %v", sizes, want)
	}
	if want := []bool{true, true, false, false}; !slices.Equal(out.cuts, want) {
		t.Errorf("more is %v, want %v", out.cuts, want)
	}
}

func TestEnvironmentIsAsDeclaredAndNothingMore(t *testing.T) {
	t.Setenv("STOA_SECRET_OF_STOA", "x")
	var out output
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(err)
	in, err := starter(t).Start(t.Context(), process.Spec{
		Argv: []string{exe()}, Dir: dir, Mark: "sys/1", Stdout: out.sink,
		Env: []string{"ROLE=env", "A=1", "B=\xff not UTF-8", "A=2", "STOA_INSTANCE=forged"},
	})
	must(err)
	ended(t, in)
	want := []string{
		"ROLE=env", "A=2", "B=\xff not UTF-8", "STOA_INSTANCE=sys/1",
		"core=0 dir=" + dir + " open=[/dev/null pipe pipe] leader=true",
	}
	if got := out.String(); got != strings.Join(want, "\n") {
		t.Errorf("program saw\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestStopAsksFirst(t *testing.T) {
	in, out := start(t, "polite")
	eventually(t, "ready", func() bool { return out.has("ready") })
	must(in.Signal(syscall.SIGUSR1))
	eventually(t, "the signal", func() bool { return out.has("got user defined signal 1") })
	if err := in.Stop(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if e := in.Exit(); e.Reason != process.Stopped || e.Code != 0 || e.Forced || !out.has("got terminated") {
		t.Errorf("exit is %+v after output %q, want stopped with code 0", e, out)
	}
	if err := in.Stop(t.Context(), 0); err != nil {
		t.Errorf("a second stop gave %v, want none", err)
	}
	if err := in.Signal(syscall.SIGUSR1); err != nil {
		t.Errorf("a signal to an instance that is over gave %v, want none", err)
	}
}

func TestStopKillsAfterTheGrace(t *testing.T) {
	in, out := start(t, "obstinate")
	eventually(t, "ready", func() bool { return out.has("ready") })
	t0 := time.Now()
	must(in.Stop(t.Context(), 200*time.Millisecond))
	if d := time.Since(t0); d < 200*time.Millisecond {
		t.Errorf("it was killed after %v, want not before 200 ms", d)
	}
	if e := in.Exit(); e.Reason != process.Stopped || !e.Forced || e.Signal != syscall.SIGKILL {
		t.Errorf("exit is %+v, want stopped by force", e)
	}
}

func TestASecondStopHastensTheFirst(t *testing.T) {
	in, out := start(t, "obstinate")
	eventually(t, "ready", func() bool { return out.has("ready") })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := in.Stop(ctx, time.Hour); !fault.Is(err, fault.Unavailable) {
		t.Errorf("stop gave %v while it goes on, want unavailable", err)
	}
	must(in.Stop(t.Context(), time.Millisecond))
	if e := in.Exit(); !e.Forced {
		t.Errorf("exit is %+v, want it forced", e)
	}
}

// What npm started drains for as long as npm itself would have been given.
func TestChildrenHaveTheRestOfTheGrace(t *testing.T) {
	in, out := start(t, "npm")
	eventually(t, "ready", func() bool { return out.has("ready") })
	must(in.Stop(t.Context(), time.Minute))
	if !out.has("got terminated") || in.Exit().Forced {
		t.Errorf("the child's output is %q, exit %+v; want it to have ended by itself", out, in.Exit())
	}
}

func TestCloseEndsAllAndRefusesMore(t *testing.T) {
	s := process.New(process.Options{})
	var ins []*process.Instance
	for range 5 {
		in, err := s.Start(t.Context(), process.Spec{Argv: []string{exe()}, Env: []string{"ROLE=obstinate"}})
		must(err)
		ins = append(ins, in)
	}
	s.Close()
	for _, in := range ins {
		select {
		case <-in.Done():
		default:
			t.Error("an instance lives after Close")
		}
	}
	if _, err := s.Start(t.Context(), process.Spec{Argv: []string{exe()}}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("start after Close gave %v, want unavailable", err)
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := starter(t).Start(ctx, process.Spec{Argv: []string{exe()}, Env: []string{"ROLE=obstinate"}}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("start gave %v, want unavailable", err)
	}
}

// Whenever the context of a start ends, nothing is left of what was being started.
func TestStartsGivenUpLeaveNothing(t *testing.T) {
	s, mark := starter(t), "test"+rand.Text()+"/1"
	started := 0
	for i := range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*2*time.Millisecond)
		in, err := s.Start(ctx, process.Spec{Argv: []string{exe()}, Env: []string{"ROLE=obstinate"}, Mark: mark, Grace: time.Hour})
		cancel()
		switch {
		case err == nil:
			started++
			must(in.Stop(t.Context(), 0))
		case !fault.Is(err, fault.Unavailable):
			t.Errorf("start gave %v, want unavailable", err)
		}
		if left := bearing(mark); len(left) > 0 {
			t.Fatalf("processes %v are left of start %d, which gave %v", left, i, err)
		}
	}
	t.Logf("%d of 30 were started before their context ended", started)
}

func TestWhatCannotBeStartedIsExplained(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, []byte(text), mode))
		return path
	}
	plain := write("plain", "hello", 0o600)
	noInterpreter := write("script", "#!/no/such/interpreter\n", 0o700)
	noProgram := write("text", "hello\n", 0o700)
	long := strings.Repeat("x", 1<<20)

	for _, tc := range []struct {
		name string
		spec process.Spec
		kind fault.Kind
		text string // in the error
		hint string // in the hint
	}{
		{"no argv", process.Spec{}, fault.Invalid, "empty", "command"},
		{"no program at path", process.Spec{Argv: []string{"./nope"}, Dir: dir}, fault.NotFound, dir + "/nope", "Build it"},
		{"no program in PATH", process.Spec{Argv: []string{"nope"}, Env: []string{"PATH=/bin:" + dir}}, fault.NotFound, "nope: no such program in PATH=/bin:" + dir, "Install nope"},
		{"no PATH", process.Spec{Argv: []string{"nope"}}, fault.NotFound, "no PATH", "declare PATH"},
		{"not executable", process.Spec{Argv: []string{"./plain"}, Dir: dir}, fault.Invalid, plain + ": is not executable", "chmod +x " + plain},
		{"not executable in PATH", process.Spec{Argv: []string{"plain"}, Env: []string{"PATH=" + dir}}, fault.Invalid, plain + ": is not executable", "chmod"},
		{"a directory", process.Spec{Argv: []string{dir}}, fault.Invalid, "is a directory", "inside"},
		{"no directory", process.Spec{Argv: []string{exe()}, Dir: dir + "/gone"}, fault.NotFound, dir + "/gone: no such directory", "dir"},
		{"directory is a file", process.Spec{Argv: []string{exe()}, Dir: plain}, fault.Invalid, plain + ": is not a directory", "directory"},
		{"no interpreter", process.Spec{Argv: []string{noInterpreter}}, fault.NotFound, noInterpreter + ": its interpreter is not there", "#!"},
		{"no format", process.Spec{Argv: []string{noProgram}}, fault.Invalid, noProgram + ": is not a program", "#!/bin/sh"},
		{"too large", process.Spec{Argv: []string{exe(), long, long, long, long, long}}, fault.Invalid, "too large", "files"},
		{"NUL", process.Spec{Argv: []string{exe()}, Env: []string{"A=x\x00y"}}, fault.Invalid, "A: holds a NUL", "file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := starter(t).Start(t.Context(), tc.spec)
			if !fault.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.text) || !strings.Contains(fault.HintOf(err), tc.hint) {
				t.Errorf("got %q (%s), hint %q; want %s with %q, hint with %q",
					err, fault.KindOf(err), fault.HintOf(err), tc.kind, tc.text, tc.hint)
			}
		})
	}
}

func TestProgramIsFoundInThePATHOfItsEnvironment(t *testing.T) {
	sh, err := exec.LookPath("sh")
	must(err)
	var out output
	in, err := starter(t).Start(t.Context(), process.Spec{
		Argv: []string{"sh", "-c", "echo $0 $1", "x", "y"}, Stdout: out.sink,
		Env: []string{"PATH=relative:/nowhere:" + filepath.Dir(sh)},
	})
	must(err)
	ended(t, in)
	if out.String() != "x y" {
		t.Errorf("sh said %q", out.String())
	}
}

func TestExitReadsAsASentence(t *testing.T) {
	for want, e := range map[string]process.Exit{
		"exited with code 0":                                           {Reason: process.Exited},
		"was killed by signal 11 (segmentation fault)":                 {Reason: process.Signalled, Signal: syscall.SIGSEGV, Code: -1},
		"was killed by signal 9 (killed), probably for want of memory": {Reason: process.Signalled, Signal: syscall.SIGKILL, Code: -1, OOM: true},
		"exited with code 0, leaving 2 processes, which were killed":   {Reason: process.Exited, Left: 2},
		"was stopped": {Reason: process.Stopped, Left: 1},
		"was killed after its grace; could not be killed: [17]": {Reason: process.Stopped, Forced: true, Stuck: []int{17}},
		"was killed because its shim was killed":                {Reason: process.Lost},
	} {
		if got := e.String(); got != want {
			t.Errorf("%+v reads %q, want %q", e, got, want)
		}
	}
}
