// Package arch holds the house rules as tests: who may import whom, with the reason for
// each rule, and what every package owes its reader. docs/ARCHITECTURE.md is the picture.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "stoa/"

// A pkg is what go list tells of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
	Standard     bool
}

func (p pkg) place() string { return strings.TrimPrefix(p.ImportPath, module) }

// packages lists the module, for this platform.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Imports,TestImports,XTestImports,GoFiles,Standard", "stoa/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 20 {
		t.Fatalf("go list found %d packages: the test looks in the wrong place", len(all))
	}
	return all
}

// within says whether place is room or below it.
func within(place, room string) bool { return place == room || strings.HasPrefix(place, room+"/") }

// floors are the floors and what each may import of the house, with the reason. A path
// stands for itself and all below. The first floor that fits a package counts.
var floors = []struct {
	floor  string
	may    []string
	reason string
}{
	{"cmd", []string{"internal/app"}, "main is one call into app"},
	{"internal/app", []string{"internal", "api", "client"}, "the roof may see everything below it"},
	{"internal/arch", nil, "the rules look at the house from outside"},
	{"internal/door", []string{"internal/door", "internal/kernel", "internal/ground", "api", "client"}, "doors project the kernel's tables and name no capability"},
	{"internal/module", []string{"internal/kernel", "internal/engine", "internal/ground", "api", "client"}, "modules are connected in app"},
	{"internal/kernel", []string{"internal/kernel", "internal/ground", "api"}, "the platform without its capabilities or machinery"},
	{"internal/engine", []string{"internal/engine", "internal/ground", "api"}, "machinery knows nothing of the platform"},
	{"client", []string{"client", "api"}, "what others may link"},
	{"internal/ground", []string{"internal/ground", "api/fault"}, "could be anyone's"},
	{"api", []string{"api"}, "what we promise; see TestAPI"},
	{"test", []string{"internal", "api", "client"}, "tests may see what they test"},
}

// Imports point down.
func TestFloors(t *testing.T) {
	for _, p := range packages(t) {
		floor := -1
		for i, f := range floors {
			if within(p.place(), f.floor) {
				floor = i
				break
			}
		}
		if floor < 0 {
			t.Errorf("%s is on no floor: put it where a newcomer would look, or add a floor with its reason", p.place())
			continue
		}
		for _, imp := range p.Imports {
			place, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			if !slices.ContainsFunc(floors[floor].may, func(m string) bool { return within(place, m) }) {
				t.Errorf("%s imports %s: %s", p.place(), place, floors[floor].reason)
			}
		}
	}
}

// Modules do not know each other: what one needs of another is a port, connected in app.
func TestModulesAreStrangers(t *testing.T) {
	for _, p := range packages(t) {
		if !within(p.place(), "internal/module") {
			continue
		}
		mine := strings.Join(strings.SplitN(p.place(), "/", 4)[:3], "/")
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if place, ours := strings.CutPrefix(imp, module); ours && within(place, "internal/module") && !within(place, mine) {
				t.Errorf("%s imports %s: say what you need in Ports", p.place(), place)
			}
		}
	}
}

// What we promise stands on the standard library, and twins share nothing but core, fault and op.
func TestAPI(t *testing.T) {
	for _, p := range packages(t) {
		if !within(p.place(), "api") {
			continue
		}
		for _, imp := range p.Imports {
			place, ours := strings.CutPrefix(imp, module)
			switch {
			case ours && (place == "api/core" || place == "api/fault" || place == "api/op"):
			case ours:
				t.Errorf("%s imports %s: twins share api/core, api/fault and api/op only", p.place(), place)
			case strings.Contains(strings.SplitN(imp, "/", 2)[0], "."):
				t.Errorf("%s imports %s: api stands on the standard library", p.place(), imp)
			}
		}
	}
}

// homes are the outside libraries and the one place that may import each.
var homes = map[string][]string{
	"github.com/cockroachdb/pebble/v2": {"internal/engine/pebblestore"},
	"go.yaml.in/yaml/v4":               {"internal/kernel/blueprint"},
	"github.com/fsnotify/fsnotify":     {"internal/engine/fswatch"},
	"golang.org/x/crypto":              {"internal/engine/certs"},
	"golang.org/x/net":                 {"internal/engine/h2/hpack"},
	"golang.org/x/sys":                 {"internal/engine/process", "internal/engine/pebblestore", "internal/door/httpapi", "internal/app/command"},
}

// Every outside library has one home, and every home's library is in use.
func TestLibrariesHaveOneHome(t *testing.T) {
	used := map[string]bool{}
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, module) || !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
				continue
			}
			lib := ""
			for l := range homes {
				if imp == l || strings.HasPrefix(imp, l+"/") {
					lib = l
				}
			}
			if lib == "" {
				t.Errorf("%s imports %s, which has no home: write an ADR and name its home here", p.place(), imp)
				continue
			}
			used[lib] = true
			if !slices.ContainsFunc(homes[lib], func(h string) bool { return within(p.place(), h) }) {
				t.Errorf("%s imports %s, whose home is %s", p.place(), imp, strings.Join(homes[lib], ", "))
			}
		}
	}
	for l := range homes {
		if !used[l] {
			t.Errorf("%s has a home and is not imported: take the rule away", l)
		}
	}
}

// A package says what it gives.
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && len(p.Doc) < 20 {
			t.Errorf("%s has no package comment that says what it gives", p.place())
		}
	}
}

// maxLines is the length past which a file wants to become two things with names of their own.
const maxLines = 600

// Files are of one concern, are named by it, and register nothing by init.
func TestFiles(t *testing.T) {
	for _, p := range packages(t) {
		for _, bad := range []string{"util", "utils", "common", "helper", "helpers", "misc", "types"} {
			if filepath.Base(p.Dir) == bad || slices.Contains(p.GoFiles, bad+".go") {
				t.Errorf("%s: %q says nothing of what it gives", p.place(), bad)
			}
		}
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if n := fset.Position(f.End()).Line; n > maxLines && !ast.IsGenerated(f) {
				t.Errorf("%s/%s has %d lines: which two things is it?", p.place(), name, n)
			}
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s/%s registers something by init: pass it, or make it a table", p.place(), name)
				}
			}
		}
	}
}

// maxShare is the share of the lines that one package may have: more, and it swallows the project.
const maxShare = 0.10

// No package swallows the project.
func TestNoPackageSwallowsTheProject(t *testing.T) {
	lines, all := map[string]int{}, 0
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			b, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			n := bytes.Count(b, []byte("\n"))
			lines[p.place()] += n
			all += n
		}
	}
	for place, n := range lines {
		if float64(n) > maxShare*float64(all) {
			t.Errorf("%s has %d of %d lines: which two things is it?", place, n, all)
		}
	}
}

// The rules themselves must be able to fail: a forbidden import is found.
func TestRulesBite(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"internal/kernel/store", "internal/engine/proxy", false},
		{"internal/engine/proxy", "internal/kernel/store", false},
		{"internal/door/cli", "internal/module/mesh", false},
		{"internal/ground/life", "api/core", false},
		{"internal/module/mesh", "internal/engine/route", true},
		{"internal/app", "internal/module/mesh", true},
	} {
		for _, f := range floors {
			if !within(c.from, f.floor) {
				continue
			}
			if got := slices.ContainsFunc(f.may, func(m string) bool { return within(c.to, m) }); got != c.allowed {
				t.Errorf("%s importing %s is allowed: %v, want %v", c.from, c.to, got, c.allowed)
			}
			break
		}
	}
}
