package process_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stoa/internal/engine/process"
)

// However Stoa, shim or program die, no process of the instance survives.

func TestNothingSurvivesStoaKilled(t *testing.T) {
	for _, child := range []string{"parent", "daemoniser"} {
		t.Run(child, func(t *testing.T) {
			f := newFamily(t)
			stoa := self("stoa")
			stoa.Env = append(stoa.Env, "CHILD="+child, "DIR="+f.dir, "MARK="+f.mark)
			out, err := stoa.StdoutPipe()
			must(err)
			must(stoa.Start())
			// The daemoniser ends at once and its daemon with it, so Stoa may be first to
			// hear of it: in either order nothing may be left.
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil || line != "ready\n" {
				t.Fatalf("stoa said %q, %v, want ready", line, err)
			}
			if child == "parent" {
				f.complete(t, 3)
			}
			must(stoa.Process.Kill())
			_ = stoa.Wait()
			f.gone(t)
		})
	}
}

// With a grace for that case, a program is asked before it is killed.
func TestProgramOfAKilledStoaHasItsGrace(t *testing.T) {
	f := newFamily(t)
	stoa := self("stoa")
	stoa.Env = append(stoa.Env, "CHILD=polite", "DIR="+f.dir, "MARK="+f.mark, "GRACE=1m")
	out, err := stoa.StdoutPipe()
	must(err)
	must(stoa.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("stoa said %q, %v, want ready", line, err)
	}
	must(stoa.Process.Kill())
	_ = stoa.Wait()
	f.complete(t, 1)
	f.gone(t)
}

// A shim that was stopped is killed when it should long have ended.
func TestAHungShimIsGivenUp(t *testing.T) {
	f := newFamily(t)
	f.starter = process.New(process.Options{Patience: 50 * time.Millisecond})
	in := f.start(t, "parent")
	f.complete(t, 3)
	must(syscall.Kill(ppid(t, in.Pid()), syscall.SIGSTOP))
	must(in.Stop(t.Context(), 10*time.Millisecond))
	if e := in.Exit(); e.Reason != process.Lost {
		t.Errorf("exit is %+v, want lost", e)
	}
	f.gone(t)
}

func TestNothingSurvivesShimKilled(t *testing.T) {
	for child, size := range map[string]int{"parent": 3, "forgetful": 2} {
		t.Run(child, func(t *testing.T) {
			f := newFamily(t)
			in := f.start(t, child)
			f.complete(t, size)
			must(syscall.Kill(ppid(t, in.Pid()), syscall.SIGKILL))
			over(t, in)
			if e := in.Exit(); e.Reason != process.Lost {
				t.Errorf("exit is %+v, want reason lost", e)
			}
			f.gone(t)
		})
	}
}

func TestNothingSurvivesProgramKilled(t *testing.T) {
	f := newFamily(t)
	in := f.start(t, "parent")
	f.complete(t, 3)
	must(syscall.Kill(in.Pid(), syscall.SIGKILL))
	over(t, in)
	if e := in.Exit(); e.Reason != process.Signalled || e.Signal != syscall.SIGKILL || e.Code != -1 || e.Left != 2 || e.OOM {
		t.Errorf("exit is %+v, want killed by signal 9, leaving 2, not for memory", e)
	}
	f.gone(t)
}

func TestNothingSurvivesProgramThatLeavesChildren(t *testing.T) {
	f := newFamily(t)
	in := f.start(t, "orphaner")
	f.complete(t, 3)
	must(os.WriteFile(filepath.Join(f.dir, "go"), nil, 0o600))
	over(t, in)
	if e := in.Exit(); e.Reason != process.Exited || e.Code != 7 || e.Left != 2 {
		t.Errorf("exit is %+v, want exited with code 7, leaving 2", e)
	}
	f.gone(t)
}

// The daemon has no mark, no session and no group in common with the program.
func TestNothingSurvivesProgramThatDaemonises(t *testing.T) {
	f := newFamily(t)
	in := f.start(t, "daemoniser")
	over(t, in)
	if e := in.Exit(); e.Code != 0 || e.Left != 1 {
		t.Errorf("exit is %+v, want exited with code 0, leaving 1", e)
	}
	if len(announced(f.dir)) != 1 {
		t.Errorf("announced are %v, want one daemon", announced(f.dir))
	}
	f.gone(t)
}

// When both Stoa and the shim are killed, the program goes at once and the rest is swept.
func TestSweepEndsWhatADeadStoaLeft(t *testing.T) {
	f := newFamily(t)
	stoa := self("stoa")
	stoa.Env = append(stoa.Env, "CHILD=parent", "DIR="+f.dir, "MARK="+f.mark)
	must(stoa.Start())
	f.complete(t, 3)
	shim := shimOf(t, f.mark)
	must(syscall.Kill(shim, syscall.SIGSTOP)) // so that it cannot act on the death of Stoa
	must(stoa.Process.Kill())
	_ = stoa.Wait()
	must(syscall.Kill(shim, syscall.SIGKILL))
	eventually(t, "the sitters are orphans", func() bool { return len(bearing(f.mark)) == 2 })

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	system, _, _ := strings.Cut(f.mark, "/")
	swept, err := process.Sweep(ctx, system+"/")
	if err != nil || len(swept) != 2 {
		t.Errorf("sweep gave %v, %v, want two sitters", swept, err)
	}
	for _, l := range swept {
		if l.Mark != f.mark || l.Name == "" {
			t.Errorf("swept %+v, want the mark %s and a name", l, f.mark)
		}
	}
	f.gone(t)
	if swept, err = process.Sweep(ctx, system+"/"); err != nil || len(swept) != 0 {
		t.Errorf("the second sweep gave %v, %v, want nothing", swept, err)
	}
}

// A stopped shim is swept as well, and other systems' instances are not.
func TestSweepKnowsShimsAndSparesOthers(t *testing.T) {
	f, other := newFamily(t), newFamily(t)
	in, spared := f.start(t, "parent"), other.start(t, "parent")
	f.complete(t, 3)
	other.complete(t, 3)
	must(syscall.Kill(shimOf(t, f.mark), syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	system, _, _ := strings.Cut(f.mark, "/")
	if swept, err := process.Sweep(ctx, system+"/"); err != nil || len(swept) != 4 {
		t.Errorf("sweep gave %v, %v, want shim and family", swept, err)
	}
	over(t, in)
	f.gone(t)
	if n := len(bearing(other.mark)); n != 4 {
		t.Errorf("of the other system %d processes are left, want all 4", n)
	}
	must(spared.Stop(ctx, 0))
	other.gone(t)
}

func TestSweepRefusesToSweepEverything(t *testing.T) {
	for _, prefix := range []string{"", "/", "abc"} {
		if _, err := process.Sweep(context.Background(), prefix); err == nil {
			t.Errorf("Sweep(%q) was done, want it refused", prefix)
		}
	}
}

// ---

// family is the processes of one instance in a test, known by mark and by the files
// they leave in dir.
type family struct {
	mark, dir string
	starter   *process.Starter
}

func newFamily(t *testing.T) *family {
	f := &family{mark: "test" + rand.Text() + "/1", dir: t.TempDir(), starter: process.New(process.Options{})}
	t.Cleanup(func() {
		f.starter.Close()
		for _, pid := range bearing(f.mark) { // only when the test has failed
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return f
}

func (f *family) start(t *testing.T, role string) *process.Instance {
	t.Helper()
	in, err := f.starter.Start(t.Context(), process.Spec{
		Argv: []string{exe()}, Env: []string{"ROLE=" + role, "DIR=" + f.dir}, Mark: f.mark,
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func (f *family) complete(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d processes of the family", n), func() bool { return len(announced(f.dir)) == n })
}

// gone waits until no process bears the mark and none of the announced pids is alive.
func (f *family) gone(t *testing.T) {
	t.Helper()
	eventually(t, "no process bears the mark", func() bool { return len(bearing(f.mark)) == 0 })
	for _, pid := range announced(f.dir) {
		eventually(t, fmt.Sprintf("process %d is dead", pid), func() bool {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || bytes.Contains(b, []byte(") Z ")) || !bytes.Contains(b, []byte("("+filepath.Base(exe())[:min(15, len(filepath.Base(exe())))]))
		})
	}
}

func over(t *testing.T, in *process.Instance) {
	t.Helper()
	select {
	case <-in.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the instance is not over after 30 s")
	}
}

// bearing gives the live processes that bear the mark, in their environment or, as shims
// do, in their arguments. It is written apart from Sweep, which it judges.
func bearing(mark string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		env, _ := os.ReadFile(dir + "/environ")
		arg, _ := os.ReadFile(dir + "/cmdline")
		stat, _ := os.ReadFile(dir + "/stat")
		if bytes.Contains(stat, []byte(") Z ")) {
			continue
		}
		if bytes.Contains(env, []byte("STOA_INSTANCE="+mark+"\x00")) || bytes.Contains(arg, []byte("stoa-shim\x00"+mark+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}

func shimOf(t *testing.T, mark string) int {
	t.Helper()
	for _, pid := range bearing(mark) {
		if arg, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); bytes.HasPrefix(arg, []byte("stoa-shim\x00")) {
			return pid
		}
	}
	t.Fatal("there is no shim of ", mark)
	return 0
}

func ppid(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(err)
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	n, err := strconv.Atoi(f[1])
	must(err)
	return n
}
