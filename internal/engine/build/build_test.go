package build

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/workload"
	"stoa/internal/engine/artefact"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		glob, rel string
		want      bool
	}{
		{"node_modules", "node_modules", true},
		{"node_modules", "a/node_modules/x.js", true},
		{"*.go", "cmd/main.go", true},
		{"*.go", "cmd/main.js", false},
		{"**/*.go", "main.go", true},
		{"cmd/*.go", "cmd/main.go", true},
		{"cmd/*.go", "x/cmd/main.go", false},
		{"dist/**", "dist/a/b", true},
		{"a/**/z", "a/b/c/z", true},
		{"a/**/z", "a/z", true},
		{"a/**/z", "b/z", false},
	} {
		if got := Match(c.glob, c.rel); got != c.want {
			t.Errorf("Match(%q, %q) = %v, want %v", c.glob, c.rel, got, c.want)
		}
	}
	if CheckGlob("a/[b") == nil {
		t.Error("an open bracket passed as a glob")
	}
}

func builder(t *testing.T) *Builder {
	s, err := artefact.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &Builder{Out: s}
}

func folder(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The same source gives the same digest; a source that does not compile gives what the compiler said.
func TestGoProgram(t *testing.T) {
	dir := folder(t, map[string]string{"go.mod": "module m\n", "main.go": "package main\nfunc main() {}\n", "lib/lib.go": "package lib\n"})
	b := builder(t)
	first, err := b.Service(context.Background(), "m", dir, workload.Run{Go: "."}, Ignore(nil))
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Service(context.Background(), "m", dir, workload.Run{Go: "."}, Ignore(nil))
	if err != nil || again[Program] != first[Program] {
		t.Errorf("two builds gave %v and %v (%v)", first, again, err)
	}
	if _, err := b.Service(context.Background(), "m", dir, workload.Run{Go: "./lib"}, nil); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
		t.Errorf("a library gave %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\nfunc main() { x }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var said []string
	b.Log = func(_, line string) { said = append(said, line) }
	_, err = b.Service(context.Background(), "m", dir, workload.Run{Go: "."}, nil)
	var failed *Error
	if !errors.As(err, &failed) || !strings.Contains(failed.Output, "undefined: x") || !strings.Contains(strings.Join(said, "\n"), "main.go:2") {
		t.Errorf("a broken program gave %v, and said %q", err, said)
	}
}

// A command's folder is copied after its build ran, without what is ignored; a missing tool is named.
func TestFolder(t *testing.T) {
	dir := folder(t, map[string]string{"server.js": "x", "tmp/junk": "y", ".git/HEAD": "z", "stoa.yaml": "kind: Service"})
	b := builder(t)
	got, err := b.Service(context.Background(), "web", dir, workload.Run{Command: []string{"node", "server.js"}, Build: []string{"sh", "-c", "echo built > out"}}, Ignore([]string{"tmp"}))
	if err != nil {
		t.Fatal(err)
	}
	root, err := b.Out.Path(got[Folder])
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"server.js": true, "out": true, "tmp": false, ".git": false, "stoa.yaml": false} {
		if _, err := os.Stat(filepath.Join(root, name)); (err == nil) != want {
			t.Errorf("%s in the copy: %v, want %v", name, err == nil, want)
		}
	}
	_, err = b.Service(context.Background(), "web", dir, workload.Run{Command: []string{"x"}, Build: []string{"no-such-tool-here"}}, nil)
	if !fault.Is(err, fault.NotFound) || !strings.Contains(fault.HintOf(err), "no-such-tool-here") {
		t.Errorf("a missing tool gave %v with hint %q", err, fault.HintOf(err))
	}
}

// What is to be left is in no copy, by whatever path it is named: neither secrets nor the data folder.
func TestLeave(t *testing.T) {
	dir := folder(t, map[string]string{"server.js": "x", "secrets.env": "key=value", "data/journal": "z"})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	b := builder(t)
	b.Leave = func() []string {
		return []string{filepath.Join(link, "secrets.env"), filepath.Join(dir, "data"), filepath.Join(dir, "nothing"), ""}
	}
	for _, run := range []workload.Run{{Command: []string{"node", "server.js"}}, {Static: "."}} {
		made, err := b.Service(context.Background(), "web", dir, run, Ignore(nil))
		if err != nil {
			t.Fatal(err)
		}
		for role, digest := range made {
			root, err := b.Out.Path(digest)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]bool{"server.js": true, "secrets.env": false, "data": false} {
				if _, err := os.Stat(filepath.Join(root, name)); (err == nil) != want {
					t.Errorf("%s in the %s: %v, want %v", name, role, err == nil, want)
				}
			}
		}
	}
}

// A dotenv file that only its owner may read is published by nobody who has not said so.
func TestPrivateDotenvIsLeftOut(t *testing.T) {
	dir := folder(t, map[string]string{"server.js": "x", "prod.env": "PW=x", ".env": "PW=y", "sub/.env.local": "PW=z", "public.env": "COLOR=red", "key": "k"})
	for _, private := range []string{"prod.env", ".env", "sub/.env.local", "key"} {
		if err := os.Chmod(filepath.Join(dir, private), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := builder(t)
	var said []string
	b.Log = func(_, line string) { said = append(said, line) }
	made, err := b.Service(t.Context(), "web", dir, workload.Run{Static: "."}, Ignore(nil))
	if err != nil {
		t.Fatal(err)
	}
	root, err := b.Out.Path(made[Static])
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"server.js": true, "public.env": true, "key": true, "prod.env": false, ".env": false, "sub/.env.local": false} {
		if _, err := os.Stat(filepath.Join(root, name)); (err == nil) != want {
			t.Errorf("%s in the artefact: %v, want %v", name, err == nil, want)
		}
	}
	if len(said) != 3 {
		t.Errorf("said %q, want a line for each of three files", said)
	}
}

func service(t *testing.T, sections map[string]string) core.Document {
	d := core.Document{Kind: core.KindService, Name: "web", Source: "/sys", File: "web/stoa.yaml", Sections: map[string]json.RawMessage{}}
	for name, raw := range sections {
		d.Sections[name] = json.RawMessage(raw)
	}
	return d
}

// Only what a build depends on changes a recipe.
func TestRecipe(t *testing.T) {
	for _, c := range []struct {
		what          string
		before, after map[string]string
		same          bool
	}{
		{"env", map[string]string{"run": `{"go":"."}`}, map[string]string{"run": `{"go":"."}`, "env": `{"A":"b"}`}, true},
		{"arguments", map[string]string{"run": `{"go":"."}`}, map[string]string{"run": `{"go":".","args":["x"]}`}, true},
		{"a package", map[string]string{"run": `{"go":"."}`}, map[string]string{"run": `{"go":"./cmd"}`}, false},
		{"what is run in a folder", map[string]string{"run": `{"command":["a"]}`}, map[string]string{"run": `{"command":["b"]}`}, true},
		{"what is built in a folder", map[string]string{"run": `{"command":["a"]}`}, map[string]string{"run": `{"command":["a"],"build":["make"]}`}, false},
		{"what is ignored of a folder", map[string]string{"run": `{"command":["a"]}`}, map[string]string{"run": `{"command":["a"]}`, "ignore": `["tmp"]`}, false},
		{"what a Go program ignores", map[string]string{"run": `{"go":"."}`}, map[string]string{"run": `{"go":"."}`, "ignore": `["tmp"]`}, true},
		{"an env file", map[string]string{"run": `{"go":"."}`}, map[string]string{"run": `{"go":"."}`, "envFile": `"x.env"`}, false},
		{"a contract", map[string]string{"run": `{"go":"."}`}, map[string]string{"run": `{"go":"."}`, "contract": `{"openapi":"o.yaml"}`}, false},
		{"a form", map[string]string{"run": `{"command":["a"]}`}, map[string]string{"run": `{"static":"a"}`}, false},
	} {
		if got := Recipe(service(t, c.before)) == Recipe(service(t, c.after)); got != c.same {
			t.Errorf("%s: the same recipe: %v, want %v", c.what, got, c.same)
		}
	}
	moved := service(t, nil)
	moved.File = "elsewhere/stoa.yaml"
	if Recipe(moved) == Recipe(service(t, nil)) {
		t.Error("a document that moved kept its recipe")
	}
}

// Contracts and env files count among the inputs, wherever the program lies.
func TestInputsHoldWhatIsStoredBeside(t *testing.T) {
	d := service(t, map[string]string{"run": `{"static":"dist","dir":"ui"}`, "contract": `{"openapi":"openapi.yaml","proto":"x.proto"}`, "envFile": `"x.env"`})
	in := InputsOf(t.Context(), d)
	for p, want := range map[string]bool{
		"/sys/web/openapi.yaml": true, "/sys/web/x.proto": true, "/sys/web/x.env": true, "/sys/web/ui/dist/a/b": true, "/sys/web/ui/src": false, "/sys/web/other": false,
	} {
		if in.Has(p) != want {
			t.Errorf("%s is an input: %v, want %v", p, !want, want)
		}
	}
}
