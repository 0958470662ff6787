package process_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stoa/internal/engine/process"
)

// The test binary is also the shim, and every program that the tests start.
func TestMain(m *testing.M) {
	if process.IsShim() {
		os.Exit(process.RunShim())
	}
	if role := os.Getenv("ROLE"); role != "" {
		os.Exit(roles[role]())
	}
	os.Exit(m.Run())
}

// roles are the programs, by the variable ROLE. DIR is where they leave their pid.
var roles map[string]func() int

func init() {
	roles = map[string]func() int{
		"stoa": stoaRole, "parent": parentRole, "orphaner": orphanerRole, "daemoniser": daemoniserRole,
		"middle": middleRole, "sitter": sitterRole, "obstinate": obstinateRole, "echo": echoRole,
		"exit3": func() int { return 3 }, "env": envRole, "listen": listenRole, "polite": politeRole, "npm": npmRole,
		"long": longRole, "forgetful": forgetfulRole,
	}
}

// sitter stays until it is killed, whatever it is asked.
func sitterRole() int {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	announce("sitter")
	forever()
	return 0
}

// parent has a child in its group and a daemon in none, and stays.
func parentRole() int {
	signal.Ignore(syscall.SIGTERM)
	spawn("sitter", false, os.Environ())
	spawn("middle", true, os.Environ())
	announce("parent")
	fmt.Println("ready")
	forever()
	return 0
}

// forgetful bears no mark any more when it has a child, and the child bears none.
func forgetfulRole() int {
	clean := []string{"DIR=" + os.Getenv("DIR"), "ROLE=forgetful"}
	if os.Getenv(process.MarkName) != "" {
		must(syscall.Exec(exe(), []string{exe()}, clean))
	}
	spawn("sitter", false, clean)
	announce("forgetful")
	forever()
	return 0
}

// orphaner leaves its children when it is asked to by closing GATE.
func orphanerRole() int {
	spawn("sitter", false, os.Environ())
	spawn("middle", true, os.Environ())
	awaitPids(3 - 1)
	announce("orphaner")
	fmt.Println("ready")
	await(func() bool { _, err := os.Stat(filepath.Join(os.Getenv("DIR"), "go")); return err == nil })
	return 7
}

// daemoniser is a classic daemon: it forks twice, leaves session, group and even its
// environment behind, and returns.
func daemoniserRole() int {
	spawn("middle", true, []string{"ROLE=middle", "DIR=" + os.Getenv("DIR")})
	awaitPids(1)
	fmt.Println("ready")
	return 0
}

// middle is the child that forks the daemon and goes.
func middleRole() int {
	spawn("sitter", true, os.Environ())
	return 0
}

func obstinateRole() int {
	signal.Ignore(syscall.SIGTERM)
	fmt.Println("ready")
	forever()
	return 0
}

func politeRole() int {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGUSR1)
	fmt.Println("ready")
	for sig := range c {
		fmt.Println("got", sig)
		if sig == syscall.SIGTERM {
			if os.Getenv("DIR") != "" {
				announce("polite")
			}
			return 0
		}
	}
	return 1
}

// npm starts a server and goes at SIGTERM, at once; the server still has to drain.
func npmRole() int {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	cmd := self("polite")
	cmd.Stdout = os.Stdout
	must(cmd.Start())
	<-c
	return 0
}

func echoRole() int {
	fmt.Print("one\ntwo\r\n\nunfinished")
	fmt.Fprintln(os.Stderr, "to stderr")
	return 0
}

func longRole() int {
	w := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(w, strings.Repeat("x", 2*process.MaxLine+10))
	fmt.Fprintln(w, "short")
	w.Flush()
	return 0
}

func envRole() int {
	for _, v := range os.Environ() {
		fmt.Println(v)
	}
	var core syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_CORE, &core))
	wd, _ := os.Getwd()
	fds, _ := os.ReadDir("/proc/self/fd")
	var open []string
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		ours := strings.Contains(to, "anon_inode") || strings.HasPrefix(to, "/sys/fs/cgroup") // the Go runtime's
		if err == nil && !ours {
			open = append(open, strings.TrimRight(to, ":[]0123456789"))
		}
	}
	fmt.Printf("core=%d dir=%s open=%s leader=%v\n", core.Max, wd, open, os.Getpid() == syscall.Getpgrp())
	return 0
}

// listen is a server like any: net.Listen on ADDR.
func listenRole() int {
	l, err := net.Listen("tcp", os.Getenv("ADDR"))
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("ready")
	for {
		c, err := l.Accept()
		if err != nil {
			return 1
		}
		c.Close()
	}
}

// stoa is a Stoa with one instance: the program of the role CHILD.
func stoaRole() int {
	grace, _ := time.ParseDuration(os.Getenv("GRACE")) // none is none
	s := process.New(process.Options{})
	in, err := s.Start(context.Background(), process.Spec{
		Argv: []string{exe()}, Env: []string{"ROLE=" + os.Getenv("CHILD"), "DIR=" + os.Getenv("DIR")},
		Mark: os.Getenv("MARK"), Grace: grace,
		Stdout: func(line []byte, _ bool) { fmt.Printf("%s\n", line) },
	})
	must(err)
	<-in.Done()
	fmt.Println(in.Exit())
	return 0
}

// ---

func exe() string {
	path, err := os.Executable()
	must(err)
	return path
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func self(role string) *exec.Cmd {
	cmd := exec.Command(exe())
	cmd.Env = append(os.Environ(), "ROLE="+role)
	return cmd
}

func spawn(role string, setsid bool, env []string) {
	cmd := self(role)
	cmd.Env = append(env, "ROLE="+role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: setsid}
	must(cmd.Start())
	if role == "middle" {
		_ = cmd.Wait() // only its daemon is to be left
	}
}

// announce leaves a file named after this process.
func announce(role string) {
	must(os.WriteFile(filepath.Join(os.Getenv("DIR"), strconv.Itoa(os.Getpid())), []byte(role), 0o600))
}

// announced gives the pids that are announced in dir.
func announced(dir string) []int {
	entries, _ := os.ReadDir(dir)
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func awaitPids(n int) { await(func() bool { return len(announced(os.Getenv("DIR"))) >= n }) }

// await polls, in a program of a test, which its starter ends if the wait is in vain.
func await(done func() bool) {
	for !done() {
		<-time.After(2 * time.Millisecond)
	}
}

func forever() {
	for {
		<-time.After(time.Hour)
	}
}

// eventually polls until done, and fails the test if that takes longer than any healthy
// machine takes.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for t0 := time.Now(); !done(); <-time.After(2 * time.Millisecond) {
		if time.Since(t0) > 30*time.Second {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// output is a Sink that keeps what it gets.
type output struct {
	mu    sync.Mutex
	lines []string
	cuts  []bool
}

func (o *output) sink(line []byte, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines, o.cuts = append(o.lines, string(line)), append(o.cuts, more)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.lines, "\n")
}

func (o *output) has(line string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.lines {
		if l == line {
			return true
		}
	}
	return false
}
