package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// A process is a proxy or a back end, pinned to a core, its output in a file.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan error // gets one value when it has ended
}

// launch starts a program on one core. dir is where its output goes.
func launch(name, dir string, core int, env []string, program string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".out"), done: make(chan error, 1)}
	f, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p.cmd = exec.Command("taskset", append([]string{"-c", strconv.Itoa(core), program}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = f, f, dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is ours to pass on
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	return p, nil
}

func (p *process) pids() []int { return tree(p.cmd.Process.Pid) }

// answers waits until something listens on each port.
func (p *process) answers(ports ...int) error {
	deadline := time.Now().Add(30 * time.Second)
	for _, port := range ports {
		for {
			c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err == nil {
				c.Close()
				break
			}
			select {
			case err := <-p.done:
				p.done <- err
				return fmt.Errorf("%s ended: %v\n%s", p.name, err, p.tail())
			case <-time.After(20 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s does not listen on %d: %w\n%s", p.name, port, err, p.tail())
			}
		}
	}
	return nil
}

// tail is the end of what it has said.
func (p *process) tail() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-2000):])
}

// stop ends it, by force after 5 s.
func (p *process) stop() {
	if p == nil {
		return
	}
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(group, syscall.SIGKILL)
		<-p.done
	}
}

// portFrom is where free ports are looked for: below those that the system gives to
// clients, so that no connection of the load takes one.
const portFrom = 21000

// freePorts gives n ports that nobody has.
func freePorts(n int) (ports []int, err error) {
	for port := portFrom; port < 30000 && len(ports) < n; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		l.Close()
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, errors.New("no free ports between 21000 and 30000")
	}
	return ports, nil
}
