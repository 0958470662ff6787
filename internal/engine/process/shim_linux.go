package process

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// settle makes this process a shim. None of it can fail on a Linux that runs Go, but
// for an unusual seccomp filter, under which the shim still does most of its work.
func settle() {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // it has held secrets
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	// What Stoa itself was given open by a careless parent is not for the program.
	_ = unix.CloseRange(ordersFD, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC)
	_ = os.WriteFile("/proc/thread-self/comm", []byte(shimName), 0)
}

// outputs opens the reading ends of the pipes whose writing ends are 1 and 2. While a
// shim has them, the pipes do not break with Stoa. It works until settle.
func outputs() (fds []int) {
	for _, name := range []string{"/proc/self/fd/1", "/proc/self/fd/2"} {
		if fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

func programAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// supervise reaps until there is nothing left to reap: then the tree is empty.
func (s *shim) supervise() {
	oom := oomKills()
	for {
		// Look without reaping: a pid is free for others once it is reaped, so that is
		// done under the lock under which signals are sent.
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil { // ECHILD
			return
		}
		if status, usage, ended := s.reap(); ended {
			s.programEnded(status, usage, oom)
		}
	}
}

// reap collects all that have ended, and says whether the program is among them.
func (s *shim) reap() (status syscall.WaitStatus, usage syscall.Rusage, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var st syscall.WaitStatus
		var ru syscall.Rusage
		pid, err := syscall.Wait4(-1, &st, syscall.WNOHANG, &ru)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return status, usage, ended
		}
		if pid == s.program {
			s.reaped, status, usage, ended = true, st, ru, true
		}
	}
}

// programEnded reports the end and sees to what the program left. If it was asked to
// end, that has the rest of the grace (npm is gone before the node it started has
// drained); otherwise it is killed at once: the next instance wants its port.
func (s *shim) programEnded(status syscall.WaitStatus, usage syscall.Rusage, oom uint64) {
	left := s.tree()
	s.mu.Lock()
	ending := s.ending
	s.mu.Unlock()
	s.report(report{Exited: &exited{
		Status: status,
		OOM:    status.Signaled() && status.Signal() == syscall.SIGKILL && !ending && oomKills() > oom,
		Left:   len(left),
		User:   time.Duration(usage.Utime.Nano()),
		System: time.Duration(usage.Stime.Nano()),
		MaxRSS: usage.Maxrss << 10,
	}})
	switch {
	case len(left) == 0: // perhaps zombies, reaped next
	case ending:
		s.askStragglers()
	default:
		go s.kill()
	}
}

// tree gives the pids of the live descendants.
func (s *shim) tree() []int {
	var pids []int
	for _, p := range below(processes(), os.Getpid()) {
		if p.state != 'Z' {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

// askStragglers sends SIGTERM to what has left the program's group and so was not asked
// yet. A second SIGTERM means "at once" to many programs, so the group gets none.
func (s *shim) askStragglers() {
	for _, p := range below(processes(), os.Getpid()) {
		if p.group != s.program {
			_ = p.signal(syscall.SIGTERM)
		}
	}
}

func (s *shim) killTree(sig syscall.Signal) {
	for _, p := range below(processes(), os.Getpid()) {
		if p.state != 'Z' {
			_ = p.signal(sig)
		}
	}
}

// oomKills counts the kernel's out-of-memory kills: in our cgroup where it can be read,
// else on the whole machine. A program that died by SIGKILL while the count rose was in
// all likelihood one of them.
func oomKills() uint64 {
	if b, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		for line := range strings.Lines(string(b)) {
			if path, v2 := strings.CutPrefix(strings.TrimSpace(line), "0::"); v2 {
				if n, ok := countIn("/sys/fs/cgroup" + path + "/memory.events"); ok {
					return n
				}
			}
		}
	}
	n, _ := countIn("/proc/vmstat")
	return n
}

func countIn(file string) (uint64, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(v)), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
