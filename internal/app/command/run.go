package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stoa/api/fault"
	"stoa/api/workload"
	"stoa/client"
	"stoa/internal/app"
	"stoa/internal/door/cli"
)

// RunIn are the arguments of stoa run.
type RunIn struct {
	Service string   `json:"service" arg:"SERVICE" help:"whose environment"`
	Command []string `json:"command" arg:"COMMAND,after" help:"the program and its arguments"`
}

func runCommand() cli.Command {
	return cli.Cmd("run", "run a command with the environment of a service", "stoa run orders -- env", run)
}

func run(ctx context.Context, s *cli.Session, in RunIn) error {
	if len(in.Command) == 0 {
		return cli.Misuse("there is no command", "stoa run "+in.Service+" -- COMMAND")
	}
	c, err := s.Client(ctx)
	if err != nil {
		return err
	}
	lent, end := context.WithCancel(ctx)
	defer end()
	loans, err := client.Follow(lent, c, workload.BorrowOp, workload.BorrowIn{Service: in.Service})
	if err != nil {
		return err
	}
	for loan, err := range loans {
		if err != nil {
			return err
		}
		return execute(ctx, s, in.Command, append(ofTerminal(s), loan.Env...)) // the loan ends with it
	}
	return fault.New(fault.Internal, in.Service, "the platform lent no environment")
}

// ofTerminal gives what a program must know of the terminal that it talks to. All else of
// its environment is the service's: what that lacks must not be found here.
func ofTerminal(s *cli.Session) []string {
	var env []string
	for _, name := range []string{"TERM", "COLORTERM", "NO_COLOR", "EDITOR", "PAGER"} {
		if v := s.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// RestoreIn are the arguments of stoa restore.
type RestoreIn struct {
	Backup string `json:"backup" arg:"BACKUP" help:"folder that stoa backup has written"`
}

func restoreCommand() cli.Command {
	c := cli.Cmd("restore", "make a data folder of a backup", "stoa restore /var/backups/shop-1 --data /var/lib/stoa", restore)
	c.More = "Only reads the backup, and leaves nothing behind if it fails. The databases of services are not in a\n" +
		"backup, so jobs that come before a release run again: they must do no harm when they have run already."
	return c
}

func restore(ctx context.Context, s *cli.Session, in RestoreIn) error {
	data := s.Data
	if data == "" {
		return cli.Misuse("no data folder is named", "stoa restore "+in.Backup+" --data DIR")
	}
	for _, p := range []*string{&data, &in.Backup} {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(s.Dir, *p)
		}
	}
	out, err := app.Restore(ctx, in.Backup, data)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s holds revision %d. To run it: stoa server --data %s", data, out.Revision, data)
	if out.Jobs > 0 {
		text += fmt.Sprintf("\nDatabases of services are not in a backup: what jobs did to them is not known, and those before a release (%d) run again.", out.Jobs)
	}
	return s.Event(map[string]any{"data": data, "revision": out.Revision, "jobsAgain": out.Jobs}, text)
}

// InitIn are the arguments of stoa init.
type InitIn struct {
	Dir string `json:"dir,omitempty" arg:"DIR,optional" help:"folder, made if need be (default: this one)"`
}

func initCommand() cli.Command {
	return cli.Cmd("init", "write the smallest viable system: one service that runs", "stoa init hello", initSystem)
}

// InitServiceIn are the arguments of stoa init service.
type InitServiceIn struct {
	Name string `json:"name" arg:"NAME" help:"name of the service, and of its folder"`
	Dir  string `json:"dir,omitempty" flag:"dir" help:"folder of the system (default: this one)"`
}

func initServiceCommand() cli.Command {
	return cli.Cmd("init service", "add a service to a system", "stoa init service greetings", initService)
}

func initSystem(_ context.Context, s *cli.Session, in InitIn) error {
	dir := filepath.Join(s.Dir, in.Dir)
	if filepath.IsAbs(in.Dir) {
		dir = in.Dir
	}
	name := systemName(filepath.Base(dir))
	files := map[string]string{
		"stoa.yaml": fmt.Sprintf(systemYAML, name, name),
		"main.go":   fmt.Sprintf(serviceGo, "Hello from "+name),
		"go.mod":    "module " + name + "\n\ngo 1.24\n",
	}
	if err := writeNew(dir, files); err != nil {
		return err
	}
	if err := ignore(dir, cli.DataName+"/", "secrets.env"); err != nil {
		return err
	}
	at := relative(s.Dir, dir)
	return s.Event(map[string]any{"dir": dir, "system": name}, fmt.Sprintf("Wrote %s: a system with one service. To run it: stoa dev %s\nTo add a service: stoa init service NAME --dir %s", at, at, at))
}

func initService(_ context.Context, s *cli.Session, in InitServiceIn) error {
	root := filepath.Join(s.Dir, in.Dir)
	if filepath.IsAbs(in.Dir) {
		root = in.Dir
	}
	if _, err := os.Stat(filepath.Join(root, "stoa.yaml")); err != nil {
		return fault.New(fault.NotFound, filepath.Join(root, "stoa.yaml"), "there is no system here").WithHint("Make one: stoa init")
	}
	if n := systemName(in.Name); n != in.Name {
		return fault.New(fault.Invalid, in.Name, "is no name: lower-case letters, digits and hyphens").WithHint("stoa init service %s", n)
	}
	files := map[string]string{
		"stoa.yaml": fmt.Sprintf(serviceYAML, in.Name, in.Name),
		"main.go":   fmt.Sprintf(serviceGo, "Hello from "+in.Name),
	}
	if !inModule(root) {
		files["go.mod"] = "module " + in.Name + "\n\ngo 1.24\n"
	}
	if err := writeNew(filepath.Join(root, in.Name), files); err != nil {
		return err
	}
	return s.Event(map[string]any{"service": in.Name}, fmt.Sprintf("Wrote %s. stoa dev starts it; the gateway serves it at /%s.\nFor another service to call it: uses: [{service: %s}] gives it $%s_URL.",
		filepath.Join(relative(s.Dir, root), in.Name), in.Name, in.Name, strings.ToUpper(strings.ReplaceAll(in.Name, "-", "_"))))
}

// inModule says whether a Go module reaches into dir.
func inModule(dir string) bool {
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
		dir = filepath.Dir(dir)
	}
}

// systemName makes a name of a folder's.
func systemName(s string) string {
	s = strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, s), "-0123456789")
	if s == "" {
		return "hello"
	}
	return s[:min(len(s), 40)]
}

// writeNew writes files into dir, all or none: one that exists is left alone and refused.
func writeNew(dir string, files map[string]string) error {
	for name := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fault.New(fault.Conflict, filepath.Join(dir, name), "exists already; nothing was written").WithHint("Name another folder.")
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("init: %w", err)
		}
	}
	return nil
}

// ignore keeps paths out of version control: it adds to the .gitignore of a folder those
// that are not in it.
func ignore(dir string, paths ...string) error {
	file := filepath.Join(dir, ".gitignore")
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("init: %w", err)
	}
	text := string(b)
	have := strings.Split(text, "\n")
	for _, p := range paths {
		if slices.Contains(have, p) {
			continue
		}
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		text += p + "\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	return nil
}

const systemYAML = `# A system of one service. stoa explain tells what can be written here;
# stoa check tells what is wrong with it.
kind: System
name: %s
---
kind: Service
name: %s
run: {go: .}              # or command: [node, server.js]
expose:
  - {path: /}             # http://127.0.0.1:8080/
health: {ready: /readyz}
`

const serviceYAML = `kind: Service
name: %s
run: {go: .}
expose:
  - {path: /%s, stripPrefix: true}
health: {ready: /readyz}
# uses:                   # whom it calls: gives it e.g. $INVENTORY_URL
#   - {service: inventory}
# stores:                 # a database of its own: gives it $DATABASE_URL
#   - {name: my-data, engine: sqlite}
`

const serviceGo = `package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	http.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {})
	http.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, %q)
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT")}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { server.Shutdown(context.Background()) }) // finishes what it has begun
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}
`
