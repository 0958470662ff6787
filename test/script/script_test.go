// Package script tells stories: one txtar file under testdata for each thing that a user
// was told, played against the real binary.
//
// Besides what testscript offers, a story may say
//
//	ready [SERVICE...]          wait until these services, or all, are ready
//	until [!] REGEXP exec CMD...  run CMD again and again until what it prints matches (or does not)
//	replace FILE OLD NEW        change a file
//	left                        fail if a process of an instance of $STOA_DATA is left
//	plant FILE VALUE            write VALUE in base64, as a control of absent
//	[!] absent VALUE PATH...    look for VALUE in files, as it is, in base64, in hex
//
// and run the programs stoa (the real one), server (a service, see server_test.go), get
// (an HTTP request through the gateway), terminal (which gives a program a terminal) and
// events (which reads what dev --json has written). Every story has a data folder, a runtime folder and
// ports of its own, and finds them in STOA_DATA, STOA_RUNTIME, STOA_GATEWAY and STOA_ADMIN.
package script

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"stoa/api/workload"
)

// patience is how long something may take that must happen.
const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"server": serve, "get": request, "terminal": terminal, "events": events})
}

func TestStories(t *testing.T) {
	bin := t.TempDir()
	stoa := os.Getenv("STOA_BIN")
	if stoa == "" {
		stoa = filepath.Join(bin, "stoa")
		cmd := exec.Command("go", "build", "-o", stoa, "stoa/cmd/stoa")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	} else if err := os.Symlink(stoa, filepath.Join(bin, "stoa")); err != nil {
		t.Fatal(err)
	}
	shared := goEnv(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			runtime, err := os.MkdirTemp("/tmp", "st") // the path of a socket may not be long
			if err != nil {
				return err
			}
			e.Defer(func() { _ = os.RemoveAll(runtime) })
			e.Vars = append(e.Vars, shared...)
			e.Vars = append(e.Vars,
				"PATH="+bin+string(filepath.ListSeparator)+e.Getenv("PATH"),
				"STOA_DATA="+filepath.Join(e.WorkDir, ".data"), "STOA_RUNTIME="+runtime,
				"STOA_GATEWAY=127.0.0.1:0", "STOA_ADMIN=127.0.0.1:0",
				"NO_COLOR=1",
			)
			e.Values[environment{}] = e.Vars
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready, "until": until, "replace": replace, "left": left, "absent": absent, "plant": plant,
		},
	})
}

// goEnv lets every story share the caches of the go tool.
func goEnv(t *testing.T) []string {
	var vars []string
	out, err := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOPATH").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	for k, v := range all {
		vars = append(vars, k+"="+v)
	}
	return append(vars, "GOTOOLCHAIN=local", "CGO_ENABLED=0")
}

// environment is the key of a story's variables among its values.
type environment struct{}

// run runs a program as exec does, but leaves no line in the story's log: for what is
// asked again and again.
func run(ts *testscript.TestScript, argv ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, kv := range ts.Value(environment{}).([]string) { // their names; the story may have changed the values
		name, _, _ := strings.Cut(kv, "=")
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	if !strings.Contains(argv[0], "/") { // PATH is that of the story
		for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
			if p := filepath.Join(dir, argv[0]); isFile(p) {
				cmd.Path, cmd.Err = p, nil
				break
			}
		}
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// poll calls try until it says true. What it said last is told if it never does.
func poll(ts *testscript.TestScript, what string, try func() (done bool, last string)) {
	deadline := time.Now().Add(patience)
	for {
		done, last := try()
		if done {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("never: %s; the last that was seen:\n%s", what, last)
		}
		time.Sleep(50 * time.Millisecond) // between two looks at the world
	}
}

func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! ready")
	}
	poll(ts, "ready "+strings.Join(args, " "), func() (bool, string) {
		text, errs, err := run(ts, "stoa", "status", "--json")
		if err != nil {
			return false, errs
		}
		var s workload.Status
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			ts.Fatalf("stoa status --json: %v\n%s", err, text)
		}
		found := 0
		for _, v := range s.Services {
			wanted := len(args) == 0
			for _, a := range args {
				wanted = wanted || a == v.Name
			}
			if !wanted {
				continue
			}
			if v.State != workload.StateReady && v.State != workload.StateExternal {
				return false, text
			}
			found++
		}
		return found > 0 && found >= len(args) && s.Gateway != "", text
	})
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	want := true
	if len(args) > 0 && args[0] == "!" {
		want, args = false, args[1:]
	}
	if neg || len(args) < 3 || args[1] != "exec" {
		ts.Fatalf("usage: until [!] REGEXP exec CMD ARG...")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	poll(ts, strings.Join(args, " "), func() (bool, string) {
		out, errs, err := run(ts, args[2:]...)
		text := out + errs
		if err != nil {
			text += err.Error()
		}
		return re.MatchString(text) == want, text
	})
}

func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	file := ts.MkAbs(args[0])
	b, err := os.ReadFile(file)
	ts.Check(err)
	if !strings.Contains(string(b), args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(file, []byte(strings.ReplaceAll(string(b), args[1], args[2])), 0o644))
}

// left looks for the mark that every instance has in its environment.
func left(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: left")
	}
	node, err := os.ReadFile(filepath.Join(ts.Getenv("STOA_DATA"), "node"))
	ts.Check(err)
	mark := []byte("STOA_INSTANCE=" + strings.TrimSpace(string(node)) + "/")
	procs, err := filepath.Glob("/proc/[0-9]*/environ")
	ts.Check(err)
	for _, f := range procs {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, mark) {
			cmd, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
			ts.Fatalf("%s is left: %s", filepath.Dir(f), bytes.ReplaceAll(cmd, []byte{0}, []byte{' '}))
		}
	}
}

func plant(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: plant FILE VALUE")
	}
	text := "x" + base64.StdEncoding.EncodeToString([]byte("ab"+args[1]))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// absent looks into every file below the paths, and into stdout and stderr if they are named.
func absent(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] absent VALUE PATH...")
	}
	forms := spellings(args[0])
	found := ""
	look := func(name string, b []byte) {
		for how, f := range forms {
			if bytes.Contains(b, []byte(f)) {
				found = name + " holds it " + how
			}
		}
	}
	for _, p := range args[1:] {
		if p == "stdout" || p == "stderr" {
			look(p, []byte(ts.ReadFile(p)))
			continue
		}
		ts.Check(filepath.WalkDir(ts.MkAbs(p), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // it has gone
			}
			b, err := os.ReadFile(path)
			look(path, b)
			return err
		}))
	}
	switch {
	case neg && found == "":
		ts.Fatalf("it is nowhere in %v", args[1:])
	case !neg && found != "":
		ts.Fatalf("%s", found)
	}
}

// spellings gives a value as it is, in hex, and in base64 at each of the three places it may begin.
func spellings(v string) map[string]string {
	out := map[string]string{"as it is": v, "in hex": hex.EncodeToString([]byte(v)), "in upper-case hex": strings.ToUpper(hex.EncodeToString([]byte(v)))}
	for i, skip := range []int{0, 2, 3} { // characters that depend on what comes before
		b := base64.RawStdEncoding.EncodeToString(append(make([]byte, i), v...))
		b = b[skip : len(b)-2] // and on what comes after
		out["in base64, "+strings.Repeat("+", i)] = b
		out["in base64 for URLs, "+strings.Repeat("+", i)] = strings.NewReplacer("+", "-", "/", "_").Replace(b)
	}
	return out
}
