package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	apifault "stoa/api/fault"
	"stoa/internal/ground/journal"
)

// These tests fill a real volume: a tmpfs of a few MiB, mounted in a mount namespace
// of a process of its own, so that it is gone with the process whatever happens.

const volumeMiB = 64

// onSmallVolume runs this test again as a child with a small volume. Where mounting is
// refused the test fails, unless someone decided to go without it.
func onSmallVolume(t *testing.T, do func(t *testing.T, dir string)) {
	if dir := os.Getenv("STOA_VOLUME"); dir != "" {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatalf("making mounts private: %v", err)
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", volumeMiB)); err != nil {
			t.Fatalf("mounting a tmpfs: %v", err)
		}
		do(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "90s")
	cmd.Env = append(os.Environ(), "STOA_VOLUME="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	refused := errors.Is(err, os.ErrPermission) || strings.Contains(string(out), "mounting a tmpfs") || strings.Contains(string(out), "making mounts")
	switch {
	case err == nil:
		t.Logf("%s", out)
	case refused && os.Getenv("STOA_NO_MOUNT") == "1":
		t.Skipf("STOA_NO_MOUNT=1: not tested on a full volume, since mounting is refused here: %v\n%s", err, out)
	case refused:
		t.Fatalf("mounting a tmpfs is refused here: %v\nTo go without this test, set STOA_NO_MOUNT=1.\n%s", err, out)
	default:
		t.Fatalf("%v\n%s", err, out)
	}
}

// free gives the bytes that are free in dir.
func free(t *testing.T, dir string) int64 {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Frsize
}

// fill writes a file until all but left bytes are taken, as another program would.
func fill(t *testing.T, dir string, left int64) {
	f, err := os.OpenFile(filepath.Join(dir, "someone-elses"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for n := free(t, dir) - left; n > 0; n -= int64(len(block)) {
		if _, err := f.Write(block[:min(n, int64(len(block)))]); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return
			}
			t.Fatal(err)
		}
	}
}

// An append on a nearly full disk is refused at once and says what to do; nothing
// acknowledged is lost; reads, cuts and deletes go on; and once there is room so do
// appends, by themselves.
func TestAFullDiskIsRefusedBeforeItIsFull(t *testing.T) {
	onSmallVolume(t, func(t *testing.T, dir string) {
		o := Options{Dir: filepath.Join(dir, "journal"), Fatal: failTest(t), Log: quiet(), Reserve: 16 << 20, Ballast: 1 << 20, CutStep: 1 << 20}
		s, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.Log(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		item, last := make([]byte, 100<<10), journal.Seq(0)
		rng := rand.New(rand.NewPCG(1, 2)) // what does not compress
		for ; ; last++ {
			for i := 0; i < len(item); i += 8 {
				binary.LittleEndian.PutUint64(item[i:], rng.Uint64())
			}
			began := time.Now()
			if _, err = l.Append(t.Context(), last, item); err != nil {
				if took := time.Since(began); took > 30*time.Second { // it waited for something
					t.Errorf("the refusal took %v", took)
				}
				break
			}
			if last > 100_000 {
				t.Fatal("a volume of 64 MiB took 10 GB")
			}
		}
		if !errors.Is(err, journal.ErrFull) || apifault.KindOf(err) != apifault.Exhausted || apifault.HintOf(err) == "" {
			t.Fatalf("got %v (%s, hint %q), want ErrFull with a hint", err, apifault.KindOf(err), apifault.HintOf(err))
		}
		t.Logf("after %d entries, %d MiB free: %v. %s", last, free(t, dir)>>20, err, apifault.HintOf(err))
		if left := free(t, dir); left < 8<<20 {
			t.Errorf("only %d MiB of the reserve are left", left>>20)
		}
		if _, e, err := l.Bounds(t.Context()); err != nil || e != last {
			t.Errorf("log ends at %d (%v), acknowledged were %d", e, err, last)
		}
		// Cutting makes room, and appends go on by themselves.
		if err := l.Cut(t.Context(), last); err != nil {
			t.Fatalf("a cut on a full disk: %v", err)
		}
		waitFor(t, "an append after the cut", func() error { _, err := l.Append(t.Context(), last, item); return err })
		// So does another program that gives its space back.
		waitFor(t, "a refusal", func() error {
			fill(t, dir, 8<<20) // again and again: what was cut is freed meanwhile
			if _, err := l.Append(t.Context(), last+1, nil); !errors.Is(err, journal.ErrFull) {
				last++
				return fmt.Errorf("got %v, want ErrFull", err)
			}
			return nil
		})
		if _, err := s.Table(context.Background(), "t"); !errors.Is(err, journal.ErrFull) {
			t.Errorf("a new table on a full disk: got %v, want ErrFull", err)
		}
		if sp := s.Space(); sp.Open || sp.Free > 16<<20 {
			t.Errorf("space is %+v, want shut", sp)
		}
		if err := os.Remove(filepath.Join(dir, "someone-elses")); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(t.Context(), last+1, item); err != nil {
			t.Errorf("the first append after there was room: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Another program takes the last byte within a moment, so that no gate can help: the
// process ends with its reason, or refuses if a flush meets it first, a full disk is named when it is started again, and
// with room it goes on where it was.
func TestADiskThatFillsInAMomentLosesNothing(t *testing.T) {
	onSmallVolume(t, func(t *testing.T, dir string) {
		told := runFullChild(t, dir)
		t.Logf("exit %d after %d acknowledgements; it said: %s", told.exit, told.acks, told.rest)
		if told.exit != ExitDisk && told.exit != exitRefuses {
			t.Errorf("exit %d, want %d or %d", told.exit, ExitDisk, exitRefuses)
		}
		if _, err := os.Stat(filepath.Join(dir, "journal", ballastName)); err == nil {
			t.Errorf("the ballast was not given up")
		}
		fill(t, dir, 0)
		s, err := Open(t.Context(), Options{Dir: filepath.Join(dir, "journal"), Log: quiet(), Reserve: -1, Ballast: -1, Fatal: failTest(t)})
		if err == nil {
			t.Errorf("a disk with %d bytes free was opened", free(t, dir))
			_ = s.Close()
		} else if apifault.KindOf(err) != apifault.Exhausted || apifault.HintOf(err) == "" {
			t.Errorf("opening on a full disk: got %v (%s), want Exhausted with a hint", err, apifault.KindOf(err))
		} else {
			t.Logf("opening on a full disk: %v. %s", err, apifault.HintOf(err))
		}
		for _, n := range []string{"someone-elses", "filler"} {
			if err := os.Remove(filepath.Join(dir, n)); err != nil {
				t.Fatal(err)
			}
		}
		checkTold(t, dir, told)
	})
}

// runFullChild starts the child of the error suite with a "fault" that fills the volume.
func runFullChild(t *testing.T, dir string) told {
	return runFaultChild(t, dir, diskFault{Name: "the volume fills", File: "wal", Ops: writes, Err: "fill", Want: "dies", After: 300})
}

func waitFor(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}
