package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/gateway"
	"stoa/api/workload"
	"stoa/client"
	"stoa/internal/app"
	"stoa/internal/door/cli"
	"stoa/internal/engine/build"
	"stoa/internal/kernel/blueprint"
)

// DoctorIn are the arguments of stoa doctor.
type DoctorIn struct {
	Dir     string `json:"dir,omitempty" arg:"DIR,optional" help:"folder of a blueprint, whose tools are looked for (default: this one, if there is one)"`
	Gateway string `json:"gateway,omitempty" flag:"gateway" env:"STOA_GATEWAY" help:"address at which the gateway is to open (default: the System's, else 127.0.0.1:8080)"`
	Admin   string `json:"admin,omitempty" flag:"admin" env:"STOA_ADMIN" help:"address of dashboard and admin API (default 127.0.0.1:7070)"`
}

// A Finding is one thing that the doctor looked at.
type Finding struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// Diagnosis is what the doctor found.
type Diagnosis struct {
	Findings []Finding `json:"findings"`
}

// ExitCode is 1 if something is wrong.
func (d Diagnosis) ExitCode() int {
	for _, f := range d.Findings {
		if !f.OK {
			return cli.CodeFailed
		}
	}
	return cli.CodeDone
}

func doctorCommand() cli.Command {
	return cli.Cmd("doctor", "look for what would keep a system from running here", "stoa doctor examples/shop", doctor)
}

func doctor(ctx context.Context, s *cli.Session, in DoctorIn) error {
	var d Diagnosis
	add := func(what string, ok bool, text, hint string) {
		if ok {
			hint = ""
		}
		d.Findings = append(d.Findings, Finding{what, ok, text, hint})
	}
	add("platform", runtime.GOOS == "linux", runtime.GOOS+"/"+runtime.GOARCH, "On this platform instances of a Stoa that was killed with -9 may outlive it.")
	dir := filepath.Join(s.Dir, in.Dir)
	if filepath.IsAbs(in.Dir) {
		dir = in.Dir
	}
	gate := gateway.DefaultListen
	if _, err := os.Stat(filepath.Join(dir, "stoa.yaml")); err == nil {
		gate = tools(ctx, dir, add)
	} else if in.Dir != "" {
		add("blueprint", false, "there is no stoa.yaml in "+in.Dir, "Make one: stoa init "+in.Dir)
	} else {
		tool("go", nil, add)
	}
	data := s.DataDir()
	running := false
	if data != "" {
		running = platformRuns(ctx, data, s.Getenv)
		add("data folder", true, data+map[bool]string{true: ", in use by a running platform", false: ""}[running], "")
		space(data, add)
	}
	port("gateway port", cmp.Or(in.Gateway, gate), in.Gateway != "", running, add)
	if in.Admin != "none" { // of stoa server: no listener
		port("admin port", cmp.Or(in.Admin, "127.0.0.1:7070"), in.Admin != "", running, add)
	}
	limits(add)
	if err := show(s, d, printDiagnosis); err != nil {
		return err
	}
	if code := d.ExitCode(); code != cli.CodeDone {
		return cli.Exit(code)
	}
	return nil
}

// tools looks for what a blueprint's services are built and run with. It gives the
// address at which the System wants the gateway.
func tools(ctx context.Context, dir string, add func(string, bool, string, string)) (gate string) {
	gate = gateway.DefaultListen
	set, err := blueprint.Load(ctx, dir, app.New(app.Options{}).Catalog, blueprint.Options{})
	if err != nil {
		add("blueprint", false, err.Error(), fault.HintOf(err))
		return gate
	}
	if sys, ok := set.State().System(); ok {
		gate = gateway.GatewaySection.Of(sys).Listen
	}
	add("blueprint", len(set.Problems) == 0, fmt.Sprintf("%s, %s, %s", dir, count(len(set.Docs), "document"), count(len(set.Problems), "problem")), "stoa check "+dir)
	users := map[string][]string{}
	for _, d := range set.Docs {
		if d.Kind != core.KindService {
			continue
		}
		r := workload.RunSection.Of(d)
		if r.Go != "" {
			users["go"] = append(users["go"], d.Name)
		}
		for _, argv := range [][]string{r.Command, r.Build} {
			if len(argv) > 0 && !strings.Contains(argv[0], "/") {
				users[argv[0]] = append(users[argv[0]], d.Name)
			}
		}
	}
	for _, d := range set.Docs { // in the order of documents, so that the answer is always the same
		r := workload.Run{}
		if d.Kind == core.KindService {
			r = workload.RunSection.Of(d)
		}
		for _, name := range []string{map[bool]string{true: "go"}[r.Go != ""], first(r.Command), first(r.Build)} {
			if who, ok := users[name]; ok {
				tool(name, who, add)
				delete(users, name)
			}
		}
	}
	return gate
}

// count gives a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func first(argv []string) string {
	if len(argv) == 0 {
		return ""
	}
	return argv[0]
}

func tool(name string, users []string, add func(string, bool, string, string)) {
	text := ""
	path, err := exec.LookPath(name)
	if err == nil {
		text = path
	} else {
		text = "not on PATH"
	}
	if len(users) > 0 {
		text += " (for " + strings.Join(users, ", ") + ")"
	}
	add(name, err == nil, text, build.Install(name))
}

// platformRuns says whether the platform of a data folder answers.
func platformRuns(ctx context.Context, data string, getenv func(string) string) bool {
	socket, err := client.FindSocket(data, getenv)
	if err != nil {
		return false
	}
	c, err := client.New("unix:"+socket, client.Options{})
	if err != nil {
		return false
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = client.Call(ctx, c, workload.StatusOp, workload.StatusIn{})
	return err == nil
}

// port tries to listen on an address. given says that it was asked for, and is not replaced by a free one.
func port(name, addr string, given, running bool, add func(string, bool, string, string)) {
	l, err := net.Listen("tcp", addr)
	_, number, _ := net.SplitHostPort(addr) // of one that is none Listen has told
	switch {
	case err == nil && number == "0":
		l.Close()
		add(name, true, addr+": a free one is taken", "")
	case err == nil:
		l.Close()
		add(name, true, addr+" is free", "")
	case running:
		add(name, true, addr+" is taken, perhaps by the running platform", "")
	case !errors.Is(err, syscall.EADDRINUSE):
		add(name, false, addr+" cannot be listened on: "+err.Error(), "Give an address of this machine, as 127.0.0.1:8080")
	case given:
		add(name, false, addr+" is taken", "Give another, or 127.0.0.1:0 for a free one. Who has it: ss -ltnp")
	default:
		add(name, false, addr+" is taken", "stoa dev takes a free one by itself; stoa server wants --gateway or --admin. Who has it: ss -ltnp")
	}
}

// space looks at what is left of the data folder's disk. The journal refuses writes
// before the disk is full.
func space(dir string, add func(string, bool, string, string)) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			add("disk", false, err.Error(), "")
		}
		return
	}
	free, all := uint64(st.Bavail)*uint64(st.Bsize), uint64(st.Blocks)*uint64(st.Bsize)
	ok := free > 1<<30
	add("disk", ok, fmt.Sprintf("%.1f GiB of %.1f free", float64(free)/(1<<30), float64(all)/(1<<30)), "Free some: the journal refuses writes below 512 MiB or 5 %, whichever is less.")
}

func limits(add func(string, bool, string, string)) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		add("open files", files.Cur >= 4096, fmt.Sprint(files.Cur), "ulimit -n 65536")
	}
	if b, err := os.ReadFile("/proc/sys/fs/inotify/max_user_watches"); err == nil {
		var n int
		_, _ = fmt.Sscan(string(b), &n)
		add("file watches", n >= 8192, strings.TrimSpace(string(b)), "sysctl fs.inotify.max_user_watches=524288")
	}
}

func printDiagnosis(w io.Writer, d Diagnosis) {
	bad := 0
	for _, f := range d.Findings {
		mark := "ok "
		if !f.OK {
			mark = "BAD"
			bad++
		}
		fmt.Fprintf(w, "%s  %-14s %s\n", mark, f.What, f.Text)
		if f.Hint != "" {
			fmt.Fprintf(w, "     %-14s %s\n", "", f.Hint)
		}
	}
	fmt.Fprintln(w, "\nWhat stoa dev and stoa server do not protect yet:")
	for _, u := range app.Unprotected {
		fmt.Fprintln(w, " -", u)
	}
	if bad == 0 {
		fmt.Fprintln(w, "\nNothing stands in the way.")
	}
}
