package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	apiplatform "stoa/api/platform"
)

// rounds is how often Stoa is killed: the fifty of the promise, more in the long form.
func rounds() int {
	if os.Getenv("STOA_LONG") != "" {
		return 500
	}
	return 50
}

// Stoa is killed with -9 while applies are under way, again and again: its child, its
// parent, or both. No acknowledged revision is lost, no instance outlives it, and it
// comes back by itself if only the child died.
func TestKilledStoaLosesNothingAndLeavesNoOrphan(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := prepare(t)
	p.start("server")
	apply := func(n int) (uint64, bool) {
		write(t, dir, "stoa.yaml", fmt.Sprintf(`kind: System
name: one
---
kind: Service
name: back
run: {command: [%s]}
env: {ANSWER: answer-%d}
health: {ready: /readyz}
`, serverBin, n))
		out, _, code := p.stoa("apply", dir, "--json")
		var a apiplatform.Applied
		if code != 0 || json.Unmarshal([]byte(out), &a) != nil {
			return 0, false
		}
		return a.Revision, true
	}
	until(t, "the first apply", func() bool { _, ok := apply(0); return ok })
	began := time.Now()
	until(t, "an apply to measure", func() bool { began = time.Now(); _, ok := apply(0); return ok })
	took := time.Since(began) // on this machine, as busy as it is

	var acknowledged []uint64
	restarts, fresh := 0, 0
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for n := 1; n <= rounds(); n++ {
		done := make(chan struct{})
		go func() {
			defer close(done)
			if rev, ok := apply(n); ok {
				acknowledged = append(acknowledged, rev)
			}
		}()
		// Somewhere in the apply, or just after it: so some are acknowledged and some are not.
		select {
		case <-done:
		case <-time.After(time.Duration(r.Int64N(int64(2 * took)))):
		}
		child := p.child()
		switch how := r.IntN(3); {
		case how == 0 && child != 0: // the platform alone: its parent starts it again
			_ = syscall.Kill(child, syscall.SIGKILL)
			restarts++
		default: // parent, and with it or before it the child
			if how == 1 && child != 0 {
				_ = syscall.Kill(child, syscall.SIGKILL)
			}
			_ = p.cmd.Process.Kill()
			<-p.ended
			<-done
			until(t, "the child of a killed parent ends", func() bool { return child == 0 || syscall.Kill(child, 0) != nil })
			until(t, "no orphan", func() bool { return len(p.marked()) == 0 })
			p.start("server")
			fresh++
		}
		<-done
		until(t, "stoa answers again", func() bool { _, ok := p.status(); return ok })
		p.recall(acknowledged)
	}
	until(t, "a last apply", func() bool { _, ok := apply(rounds() + 1); return ok })
	p.ready()
	t.Logf("%d kills: %d of the child alone, %d of parent or both; %d applies acknowledged, 0 lost", rounds(), restarts, fresh, len(acknowledged))
	if len(acknowledged) == 0 || restarts == 0 || fresh == 0 {
		t.Errorf("the test says little: %d acknowledged, %d and %d kills", len(acknowledged), restarts, fresh)
	}
	p.stop()
	if left := p.marked(); len(left) > 0 {
		t.Errorf("orphans: %v", left)
	}
}

// recall checks that every acknowledged revision is in the history.
func (p *platform) recall(acknowledged []uint64) {
	p.t.Helper()
	var h apiplatform.History
	if err := json.Unmarshal([]byte(p.must("history", "--json", "--limit", "1000")), &h); err != nil {
		p.t.Fatal(err)
	}
	there := map[uint64]bool{}
	for _, r := range h.Revisions {
		there[r.Revision] = true
	}
	for _, rev := range acknowledged {
		if !there[rev] {
			p.t.Fatalf("revision %d was acknowledged and is lost; there are %v", rev, h.Revisions)
		}
	}
}

// A data folder whose disk is full refuses an apply at once and clearly, and takes it
// again by itself when there is room.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts a small disk and must run as root; leave it out with -skip TestFullDisk")
	}
	p := prepare(t)
	mount := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", mount).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		until(t, "the small disk is let go", func() bool { return exec.Command("umount", mount).Run() == nil })
	})
	p.data = filepath.Join(mount, "data")
	p.start("server")
	dir := t.TempDir()
	n := 0
	apply := func() (string, int) {
		n++
		write(t, dir, "stoa.yaml", fmt.Sprintf("kind: System\nname: one\n---\nkind: Service\nname: back\nrun: {external: [\"127.0.0.1:%d\"]}\n", 1000+n))
		_, errs, code := p.stoa("apply", dir)
		return errs, code
	}
	until(t, "the first apply", func() bool { _, code := apply(); return code == 0 })

	hog := filepath.Join(mount, "hog")
	f, err := os.Create(hog)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for {
		if _, err := f.Write(block); err != nil {
			break // full
		}
	}
	f.Close()
	var said string
	until(t, "an apply on the full disk is refused", func() bool {
		var code int
		said, code = apply()
		return code != 0 && strings.Contains(said, "full")
	})
	t.Logf("refused: %s", said)
	if _, ok := p.status(); !ok {
		until(t, "the platform answers while its disk is full", func() bool { _, ok := p.status(); return ok })
	}
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	until(t, "applies are taken again, unattended", func() bool { _, code := apply(); return code == 0 })
	p.stop()
}
