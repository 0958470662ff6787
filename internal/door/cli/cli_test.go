package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stoa/internal/door/cli"
)

// What people and scripts are told, one command line each.
func TestCommandLines(t *testing.T) {
	r := newRig(t)
	r.serve()
	for _, c := range []struct {
		line           string
		code           int
		stdout, stderr string // contained
	}{
		{"get", 0, "revision:  7\n\nREF             STATE", ""},
		{"get service/orders --limit 3", 0, "service/cart", ""},
		{"get --limit=3 service/orders", 0, "service/cart", ""},
		{"get -n 3", 0, "10     3", ""},
		{"--json get -n 3", 0, `"rate": 3`, ""},
		{"get saga/checkout", 1, "", "get saga/checkout: not found\nDeclare it, then: stoa apply DIR\n"},
		{"get saga/checkout --json", 1, "", `{"error":{"kind":"not found"`},
		{"get orders", 2, "", "KIND/NAME: orders: want kind/name"},
		{"get servce/orders", 2, "", "did you mean service?"},
		{"get --lmit 3", 2, "", "get: there is no flag --lmit\ndid you mean --limit?"},
		{"get --limit", 2, "", "get: --limit needs a value"},
		{"get --limit x", 2, "", "get: --limit: want a whole number, not \"x\"\nSee stoa help get."},
		{"get --since 5", 2, "", "want a duration"},
		{"get --sort nane", 2, "", "did you mean name?"},
		{"get --json=maybe", 2, "", "want true or false"},
		{"get a b", 2, "", "KIND/NAME"},
		{"get service/a b", 2, "", `unexpected argument "b"`},
		{"service restart orders", 0, "restarted orders for cli\n", ""},
		{"service restart", 2, "", "SERVICE is missing: name of the service"},
		{"service", 2, "", "service needs one more word\nvalid: service reset, service restart"},
		{"service restrat orders", 2, "", "did you mean service restart?"},
		{"gte", 2, "", "stoa: there is no command \"gte\"\ndid you mean stoa get?"},
		{"xyzzy", 2, "", "See stoa help"},
		{"borrow", 2, "", "there is no command"},
		{"logs orders cart", 0, "orders | hello\ncart | hello\n", ""},
		{"logs orders cart --json", 0, "{\"service\":\"orders\",\"text\":\"hello\"}\n{\"service\":\"cart\"", ""},
		{"check", 0, "no problems\n", ""},
		{"check bad", 1, "unknown field", ""},
		{"plan", 4, "", "plan: changed meanwhile"},
		{"plan --exit-code", 1, "", "changed meanwhile"},
		{"plan --exit-code --what", 1, "", "there is no flag"},
		{"fail invalid", 1, "", "fail it: no"},
		{"fail denied", 4, "", ""},
		{"fail conflict", 4, "", ""},
		{"fail unknown", 3, "", ""},
		{"fail unavailable", 1, "", ""},
		{"fail exhausted", 1, "", ""},
		{"dev broken", 1, "", "dev: it does not build"},
		{"dev d -- false", 17, "", ""},
		{"version", 0, "stoa v1.2.3 go", ""},
		{"--version", 0, "stoa v1.2.3 go", ""},
		{"completion tcsh", 2, "", "valid: bash, zsh, fish"},
		{"completion fish", 0, "complete -c stoa", ""},
	} {
		code, stdout, stderr := r.run(strings.Fields(c.line)...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("stoa %s\ngot  %d\n%s---\n%s\nwant %d\n%s---\n%s", c.line, code, stdout, stderr, c.code, c.stdout, c.stderr)
		}
		if c.code == 0 && stderr != "" {
			t.Errorf("stoa %s: stderr has %q", c.line, stderr)
		}
		if c.stderr != "" && stdout != "" {
			t.Errorf("stoa %s: failed and stdout has %q", c.line, stdout)
		}
	}
}

// Flag before environment before nothing; arguments in any order; "--" ends ours.
func TestCommandOfApp(t *testing.T) {
	r := newRig(t)
	r.vars["STOA_GATEWAY"] = "127.0.0.1:1"
	if code, _, stderr := r.run("dev", "shop", "orders", "--wait", "cart", "--", "go", "test", "--json"); code != 0 {
		t.Fatal(stderr)
	}
	if d := r.dev; d.Dir != "shop" || strings.Join(d.Services, " ") != "orders cart" || !d.Wait || strings.Join(d.Command, " ") != "go test --json" || d.Gateway != "127.0.0.1:1" {
		t.Errorf("got %+v", d)
	}
	r.run("dev", "--gateway", "127.0.0.1:2", "shop")
	if r.dev.Gateway != "127.0.0.1:2" || r.dev.Command != nil {
		t.Errorf("a flag counts before the environment: got %+v", r.dev)
	}
}

// What loses something asks a person, and wants --yes of a script.
func TestDestroy(t *testing.T) {
	r := newRig(t)
	r.serve()
	for _, c := range []struct {
		name, answer string
		tty          bool
		args         string
		code         int
		done         bool
	}{
		{"a script without --yes", "", false, "service reset orders", 4, false},
		{"a script with --yes", "", false, "service reset orders --yes", 0, true},
		{"--yes before the verb", "", false, "--yes service reset orders", 0, true},
		{"a person says yes", "yes\n", true, "service reset orders", 0, true},
		{"a person says no", "n\n", true, "service reset orders", 4, false},
		{"a person says nothing", "\n", true, "service reset orders", 4, false},
		{"a person goes away", "", true, "service reset orders", 4, false},
		{"--json never asks", "yes\n", true, "service reset orders --json", 4, false},
		{"a misspelt line does not ask", "yes\n", true, "service reset", 2, false},
	} {
		before := r.resets.Load()
		r.env.Stdin, r.env.StdinTTY, r.env.StderrTTY = strings.NewReader(c.answer), c.tty, c.tty
		code, _, stderr := r.run(strings.Fields(c.args)...)
		if code != c.code || (r.resets.Load() > before) != c.done {
			t.Errorf("%s: got code %d, carried out %v; want %d, %v\n%s", c.name, code, r.resets.Load() > before, c.code, c.done, stderr)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	r := newRig(t)
	code, _, stderr := r.run("get")
	if code != 5 || !strings.Contains(stderr, "no platform of this user runs\n") || !strings.Contains(stderr, "stoa dev DIR") {
		t.Errorf("got %d %q, want 5 and how to start one", code, stderr)
	}
	if code, _, stderr := r.run("get", "--data", "nowhere"); code != 5 || !strings.Contains(stderr, "no such data folder") {
		t.Errorf("got %d %q, want 5 and that the folder is not there", code, stderr)
	}
	if code, _, stderr := r.run("get", "--socket", "nowhere.sock"); code != 5 || !strings.Contains(stderr, "no platform runs here") {
		t.Errorf("got %d %q, want 5", code, stderr)
	}
	if code, _, stderr := r.run("check"); code != 0 {
		t.Errorf("a local operation needs no platform: got %d %q", code, stderr)
	}
	// One that was killed leaves its socket.
	stop := r.serve()
	stop()
	if code, _, stderr := r.run("get"); code != 5 {
		t.Errorf("got %d %q, want 5", code, stderr)
	}
}

// The platform is found from below its folder, by --data, by STOA_DATA, and from
// anywhere if it is the only one.
func TestFindThePlatform(t *testing.T) {
	r := newRig(t)
	home := r.env.Dir
	r.serve()
	works := func(what string, args ...string) {
		t.Helper()
		if code, _, stderr := r.run(append([]string{"get"}, args...)...); code != 0 {
			t.Errorf("%s: got %d %q", what, code, stderr)
		}
	}
	works("beside the data folder")
	r.env.Dir = filepath.Join(home, "services", "orders")
	if err := os.MkdirAll(r.env.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	works("below it")
	r.env.Dir = t.TempDir()
	works("elsewhere, the only one")
	if code, _, stderr := r.run("service", "reset", "orders", "--yes"); code != 2 || r.resets.Load() > 0 || !strings.Contains(stderr, "--data: "+home) {
		t.Errorf("elsewhere, what loses something: got %d %q, want 2 and the folder to name", code, stderr)
	}
	other := filepath.Join(t.TempDir(), "data")
	r.serveData(other)
	code, _, stderr := r.run("get")
	if code != 2 || !strings.Contains(stderr, "not said which platform") || !strings.Contains(stderr, other) {
		t.Errorf("elsewhere, of two: got %d %q, want 2 and both folders", code, stderr)
	}
	works("by flag", "--data", other)
	works("by socket", "--socket", r.socket)
	r.vars["STOA_DATA"] = filepath.Join(home, cli.DataName)
	works("by environment")
	works("the flag counts before it", "--data", other)
}

// An interrupt ends what follows, with 130 and without a word.
func TestInterrupt(t *testing.T) {
	r := newRig(t)
	r.serve()
	ctx, cancel := context.WithCancel(context.Background())
	var errs bytes.Buffer
	out := &cancelOn{want: "hello", cancel: cancel}
	env := r.env
	env.Args, env.Stdout, env.Stderr = []string{"logs", "-f", "orders"}, out, &errs
	code := cli.Run(ctx, env, r.options())
	if code != 130 || out.String() != "orders | hello\n" || errs.Len() > 0 {
		t.Errorf("got %d, %q, %q; want 130 and the line before it", code, out.String(), errs.String())
	}
}

// cancelOn is a person who interrupts on reading a word.
type cancelOn struct {
	bytes.Buffer
	want   string
	cancel func()
}

func (c *cancelOn) Write(b []byte) (int, error) {
	n, err := c.Buffer.Write(b)
	if strings.Contains(c.String(), c.want) {
		c.cancel()
	}
	return n, err
}

func TestHelp(t *testing.T) {
	r := newRig(t)
	_, all, _ := r.run()
	for _, want := range []string{"Example: stoa dev examples/shop\n", "service restart", "dev ", cli.Codes, "--yes"} {
		if !strings.Contains(all, want) {
			t.Errorf("stoa lacks %q:\n%s", want, all)
		}
	}
	if strings.Contains(all, "borrow") {
		t.Error("what is for programs only is shown to people")
	}
	_, want, _ := r.run("help", "dev")
	for _, args := range [][]string{{"dev", "--help"}, {"dev", "x", "-h"}, {"--help", "dev"}, {"dev", "--nonsense", "--help"}} {
		if code, got, _ := r.run(args...); code != 0 || got != want {
			t.Errorf("stoa %s: got %d and\n%s", strings.Join(args, " "), code, got)
		}
	}
	if golden := `Example: stoa dev examples/shop

Usage: stoa dev DIR [SERVICE...] [flags] -- COMMAND...
Run a system here.

Arguments
  DIR      folder of the blueprint
  SERVICE  only these and what they use
  COMMAND  what to run

Flags
      --wait          run COMMAND when all is ready
      --gateway TEXT  address of the gateway (environment STOA_GATEWAY) (default 127.0.0.1:8080)

Flags of every command
`; !strings.HasPrefix(want, golden) || !strings.Contains(want, cli.Codes) {
		t.Errorf("got\n%s\nwant it to begin with\n%s", want, golden)
	}
	if code, got, _ := r.run("help", "service"); code != 0 || !strings.Contains(got, "service reset") || strings.Contains(got, "logs") {
		t.Errorf("stoa help service: got %d\n%s", code, got)
	}
	if code, _, stderr := r.run("help", "dve"); code != 2 || !strings.Contains(stderr, "did you mean stoa dev?") {
		t.Errorf("stoa help dve: got %d %q", code, stderr)
	}
}

// No colour where nobody looks, or where somebody said no.
func TestColour(t *testing.T) {
	r := newRig(t)
	if _, _, stderr := r.run("nix"); strings.Contains(stderr, "\x1b") {
		t.Errorf("colour without a terminal: %q", stderr)
	}
	r.env.StderrTTY = true
	if _, _, stderr := r.run("nix"); !strings.Contains(stderr, "\x1b[1mstoa:\x1b[0m") {
		t.Errorf("no colour on a terminal: %q", stderr)
	}
	r.vars["NO_COLOR"] = "1"
	if _, _, stderr := r.run("nix"); strings.Contains(stderr, "\x1b") {
		t.Errorf("colour in spite of NO_COLOR: %q", stderr)
	}
}

// Tables are aligned by what a terminal shows, and pass no control character on.
func TestTableOfAResult(t *testing.T) {
	r := newRig(t)
	r.serve()
	_, got, _ := r.run("get")
	want := `revision:  7

REF             STATE       RESTARTS  RATE
service/orders  ready              2  12.5
service/cart    注文中�[2J        10     0
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	_, js, _ := r.run("get", "--json")
	var v struct{ Things []struct{ State string } }
	if err := json.Unmarshal([]byte(js), &v); err != nil || v.Things[1].State != "注文中\x1b[2J" {
		t.Errorf("JSON gives what is: %v %q", err, js)
	}
}

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{"": 0, "orders": 6, "\u00e9": 1, "e\u0301": 1, "注文": 4, "🚀": 2, "a\u200bb": 2, "ﾊ": 1} {
		if got := cli.Width(s); got != want {
			t.Errorf("width of %q: got %d, want %d", s, got, want)
		}
	}
}

func TestReference(t *testing.T) {
	r := newRig(t)
	page := string(cli.Reference(r.cat, r.options().Commands))
	for _, want := range []string{"## stoa service restart\n", "| `-n, --limit N` | at most so many |", "stoa logs [SERVICE...] [flags]", cli.Codes, "passes `--yes`"} {
		if !strings.Contains(page, want) {
			t.Errorf("the reference lacks %q", want)
		}
	}
	if strings.Contains(page, "borrow") {
		t.Error("what is for programs only is in it")
	}
}
