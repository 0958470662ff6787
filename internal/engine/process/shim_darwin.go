package process

import (
	"syscall"
	"time"
)

// settle does what this system can of what Linux does: no core files.
func settle() {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}

// outputs gives none: a pipe cannot be opened by name here. A program that logs after
// Stoa's death dies of it, whatever its grace.
func outputs() []int { return nil }

func programAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// supervise waits for the program, then ends its group. What has left the group is out
// of reach here.
func (s *shim) supervise() {
	var status syscall.WaitStatus
	var usage syscall.Rusage
	for {
		if _, err := syscall.Wait4(s.program, &status, 0, &usage); err != syscall.EINTR {
			break
		}
	}
	s.mu.Lock()
	s.reaped = true
	ending := s.ending
	s.mu.Unlock()
	left := s.tree()
	s.report(report{Exited: &exited{
		Status: status,
		Left:   len(left),
		User:   time.Duration(usage.Utime.Nano()),
		System: time.Duration(usage.Stime.Nano()),
		MaxRSS: usage.Maxrss, // bytes on this system
	}})
	if !ending {
		go s.kill()
	}
	for len(s.tree()) > 0 { // bounded by kill
		time.Sleep(20 * time.Millisecond)
	}
}

// tree gives the group while it has members: who they are cannot be asked cheaply.
func (s *shim) tree() []int {
	if syscall.Kill(-s.program, 0) != nil {
		return nil
	}
	return []int{s.program}
}

func (s *shim) killTree(sig syscall.Signal) { _ = syscall.Kill(-s.program, sig) }
