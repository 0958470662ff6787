package process

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// shimName is argv[0] of a shim, and what ps shows.
const shimName = "stoa-shim"

// stuckAfter bounds the shim's last fight: what SIGKILL has not ended by then sleeps in
// the kernel or belongs to somebody else, and waiting longer changes nothing.
const stuckAfter = 30 * time.Second

// IsShim says whether this process was started to be a shim. If so, main does nothing
// but os.Exit(RunShim()).
func IsShim() bool { return len(os.Args) > 0 && os.Args[0] == shimName }

// RunShim is the life of a shim: start one program, end with it, and end it when Stoa
// ends. It gives the exit code of the shim itself, which nobody but a debugger reads.
func RunShim() int {
	runtime.LockOSThread() // PDEATHSIG is bound to the thread that forks

	orders, reports := os.NewFile(ordersFD, "orders"), os.NewFile(reportsFD, "reports")
	if _, err := orders.Stat(); err != nil {
		fmt.Fprintln(os.Stderr, shimName+": is started by stoa, and is of no use to people")
		return 2
	}
	syscall.CloseOnExec(ordersFD)
	syscall.CloseOnExec(reportsFD)

	// A supervisor such as systemd signals every process of its unit. When an instance
	// ends is for Stoa to say. Notify rather than Ignore: an ignored signal would stay
	// ignored in the program.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)

	in := json.NewDecoder(orders)
	var l launch
	if err := in.Decode(&l); err != nil {
		return 1 // Stoa died before it said what to start
	}
	s := &shim{reports: json.NewEncoder(reports), grace: l.Grace}
	if l.Grace > 0 {
		s.outputs = outputs()
	}
	settle()
	pid, err := syscall.ForkExec(string(l.Path), stringsOf(l.Argv), &syscall.ProcAttr{
		Dir: string(l.Dir), Env: stringsOf(l.Env), Files: []uintptr{0, 1, 2}, Sys: programAttr(),
	})
	if err != nil {
		f := &failed{Text: err.Error()}
		f.Errno, _ = err.(syscall.Errno)
		s.report(report{Failed: f})
		return 1
	}
	s.program = pid
	s.report(report{Started: pid})
	go s.obey(in) // ends with the process
	s.supervise()
	s.report(report{Gone: true})
	return 0
}

// shim is the state of one shim. Two goroutines share it: the main one reaps, the other
// obeys. A third kills, once it has come to that. All end with the process.
type shim struct {
	program int           // pid and process group of the program
	grace   time.Duration // between SIGTERM and SIGKILL when Stoa is gone
	outputs []int         // the program's, to be read when Stoa is gone and there is a grace

	wmu     sync.Mutex
	reports *json.Encoder // guarded by wmu

	mu      sync.Mutex
	reaped  bool        // the program's pid may belong to somebody else now; guarded by mu
	ending  bool        // SIGTERM was sent, or more; guarded by mu
	due     time.Time   // when SIGKILL follows; guarded by mu
	timer   *time.Timer // fires at due; guarded by mu
	killing sync.Once
}

// report tells Stoa, if Stoa is still there: a dead one needs no reports.
func (s *shim) report(r report) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	_ = s.reports.Encode(r)
}

// obey carries out orders until the pipe breaks, which is the order to end.
func (s *shim) obey(in *json.Decoder) {
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			for _, fd := range s.outputs {
				go swallow(fd)
			}
			s.end(s.grace)
			return
		}
		switch {
		case o.Stop != nil:
			s.end(*o.Stop)
		case o.Signal != 0:
			s.mu.Lock()
			if !s.reaped {
				_ = syscall.Kill(s.program, o.Signal)
			}
			s.mu.Unlock()
		}
	}
}

// swallow reads what nobody else reads any more, so that a program which logs while it
// ends does not block, or die of SIGPIPE.
func swallow(fd int) {
	b := make([]byte, 4<<10)
	for {
		if n, err := syscall.Read(fd, b); n <= 0 && err != syscall.EINTR {
			return
		}
	}
}

// end asks the group to end, and kills the tree after grace. A later call can hasten
// the end, never put it off.
func (s *shim) end(grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, due := !s.ending, time.Now().Add(grace)
	s.ending = true
	if grace <= 0 {
		go s.kill()
		return
	}
	if first && !s.reaped {
		_ = syscall.Kill(-s.program, syscall.SIGTERM)
		_ = syscall.Kill(-s.program, syscall.SIGCONT) // a stopped program cannot act on it
	}
	if first || due.Before(s.due) {
		s.due = due
		if s.timer != nil {
			s.timer.Stop()
		}
		s.timer = time.AfterFunc(grace, func() {
			s.report(report{Forced: true})
			s.kill()
		})
	}
}

// kill ends the tree with SIGKILL, pass after pass, since what is being killed may fork.
// The main goroutine sees the tree empty and exits; kill gives up after stuckAfter.
func (s *shim) kill() {
	s.killing.Do(func() {
		pause := time.Millisecond
		for t0 := time.Now(); time.Since(t0) < stuckAfter; {
			s.killTree(syscall.SIGKILL)
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
		}
		s.report(report{Gone: true, Stuck: s.tree()})
		os.Exit(1)
	})
}
