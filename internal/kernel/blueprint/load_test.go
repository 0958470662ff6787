package blueprint_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/internal/kernel/blueprint"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each testdata/*.txtar is a blueprint with the messages that it earns in the file
// "problems". Its comment may name an environment: "env: prod".
func TestMessages(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			a := parseArchive(string(b))
			want := ""
			if n := len(a.files) - 1; n >= 0 && a.files[n][0] == "problems" {
				want, a.files = a.files[n][1], a.files[:n]
			}
			var o blueprint.Options
			for line := range strings.Lines(a.comment) {
				if env, ok := strings.CutPrefix(line, "env: "); ok {
					o.Env = strings.TrimSpace(env)
				}
			}
			dir := a.write(t)
			if _, err := os.Stat(filepath.Join(dir, "system")); err == nil {
				dir = filepath.Join(dir, "system") // so that an include can lead outside
			}
			s, err := blueprint.Load(t.Context(), dir, catalog(), o)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(problems(s), dir, "DIR")
			if *update {
				a.files = append(a.files, [2]string{"problems", got})
				if err := os.WriteFile(f, []byte(a.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

const good = `kind: System
name: shop
gateway: {listen: 127.0.0.1:8080}
contexts:
  - {name: sales, owner: team-sales, uses: [{context: warehouse, relation: customer-supplier}]}
  - {name: warehouse, owner: team-warehouse}
environments:
  prod:
    gateway: {listen: ":443"}
    services:
      orders: {scale: {min: 3}, env: {LOG_LEVEL: warn, NEW: 1}}
      inventory: {run: {external: [10.0.0.1:80]}}
---
kind: Service
name: orders
context: sales
run: {go: ./cmd/orders, args: [-port, 8080, -v, true]}
env: {LOG_LEVEL: info, PORT: 0x10, DEBUG: true, RATE: 1.50, NO: no}
uses:
  - {service: inventory, timeout: 60m, operations: [reserve]}
health:
  ready: /readyz
  live: {grpc: svc}
scale: {min: 2, max: 0x10, cpu: 1.5}
---
kind: Job
name: migrate
of: orders
command: [./migrate]
when: before-release
-- inventory/stoa.yml --
kind: Service
name: inventory
run: {command: [node, index.js]}
`

func TestDocumentsComeOutCanonical(t *testing.T) {
	text := strings.Replace("-- stoa.yaml --\n"+good, "timeout: 60m", "timeout: 6000ms", 1)
	s := load(t, text, blueprint.Options{})
	if len(s.Problems) > 0 {
		t.Fatalf("problems\n%s", problems(s))
	}
	var refs []string
	for _, d := range s.Docs {
		refs = append(refs, d.Ref().String())
		if d.Source != s.Dir {
			t.Errorf("%s: source %q, want %q", d.Ref(), d.Source, s.Dir)
		}
	}
	if got, want := strings.Join(refs, " "), "context/sales context/warehouse job/migrate service/inventory service/orders system/shop"; got != want {
		t.Errorf("documents %s, want %s", got, want)
	}
	orders := s.State().Docs[core.Ref{Kind: "Service", Name: "orders"}]
	for section, want := range map[string]string{
		"run":    `{"args":["-port","8080","-v","true"],"go":"./cmd/orders"}`,
		"env":    `{"DEBUG":"true","LOG_LEVEL":"info","NO":"no","PORT":"0x10","RATE":"1.50"}`,
		"uses":   `[{"operations":["reserve"],"service":"inventory","timeout":"6s"}]`,
		"health": `{"live":{"grpc":"svc"},"ready":{"http":"/readyz"}}`,
		"scale":  `{"cpu":1.5,"max":16,"min":2}`,
	} {
		if got := string(orders.Sections[section]); got != want {
			t.Errorf("%s: got %s, want %s", section, got, want)
		}
	}
	if orders.Context != "sales" || orders.File != "stoa.yaml" {
		t.Errorf("context %q in %q", orders.Context, orders.File)
	}
	if d := s.State().Docs[core.Ref{Kind: "Service", Name: "inventory"}]; d.File != "inventory/stoa.yml" {
		t.Errorf("inventory is in %q", d.File)
	}
	if d := s.State().Docs[core.Ref{Kind: "Job", Name: "migrate"}]; string(d.Sections[""]) != `{"command":["./migrate"],"of":"orders","when":"before-release"}` {
		t.Errorf("the body of the job is %s", d.Sections[""])
	}
	for _, c := range []struct{ path, want string }{
		{"uses[0].timeout", "stoa.yaml:20:35"}, {"uses[0]", "stoa.yaml:20:5"}, {"uses[0].retry.attempts", "stoa.yaml:20:5"},
		{"nothing", "stoa.yaml:14:1"}, {"scale", "stoa.yaml:24:8"}, {"health", "stoa.yaml:21:1"}, {"health.ready.http", "stoa.yaml:22:10"},
	} {
		if got := s.Position(core.Ref{Kind: "Service", Name: "orders"}, c.path).String(); got != c.want {
			t.Errorf("%s is at %s, want %s", c.path, got, c.want)
		}
	}
}

func TestAnEnvironmentIsLaidOver(t *testing.T) {
	text := strings.Replace("-- stoa.yaml --\n"+good, "timeout: 60m", "timeout: 6s", 1)
	s := load(t, text, blueprint.Options{Env: "prod"})
	if len(s.Problems) > 0 {
		t.Fatalf("problems\n%s", problems(s))
	}
	docs := s.State().Docs
	orders, inventory, shop := core.Ref{Kind: "Service", Name: "orders"}, core.Ref{Kind: "Service", Name: "inventory"}, core.Ref{Kind: "System", Name: "shop"}
	for _, c := range []struct {
		ref           core.Ref
		section, want string
	}{
		{orders, "scale", `{"cpu":1.5,"max":16,"min":3}`},
		{orders, "env", `{"DEBUG":"true","LOG_LEVEL":"warn","NEW":"1","NO":"no","PORT":"0x10","RATE":"1.50"}`},
		{inventory, "run", `{"external":["10.0.0.1:80"]}`},
		{shop, "gateway", `{"listen":":443"}`},
	} {
		if got := string(docs[c.ref].Sections[c.section]); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.ref, c.section, got, c.want)
		}
	}
	if got := s.Position(orders, "scale.min").String(); got != "stoa.yaml:11:29" {
		t.Errorf("scale.min is at %s, want where the environment sets it", got)
	}
	if got := s.Position(orders, "scale.max").String(); got != "stoa.yaml:24:22" {
		t.Errorf("scale.max is at %s, want where the service sets it", got)
	}
}

func TestAFolderWithoutABlueprintIsAnError(t *testing.T) {
	for name, dir := range map[string]string{"empty": t.TempDir(), "absent": filepath.Join(t.TempDir(), "x")} {
		_, err := blueprint.Load(t.Context(), dir, catalog(), blueprint.Options{})
		if !fault.Is(err, fault.NotFound) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v (%s), want not found with a hint", name, err, fault.HintOf(err))
		}
	}
}

// All of 16 different mistakes are told at once, and nothing else.
func TestSixteenProblemsAtOnce(t *testing.T) {
	b, err := os.ReadFile("testdata/sixteen.txtar")
	if err != nil {
		t.Fatal(err)
	}
	a := parseArchive(string(b))
	s, err := blueprint.Load(t.Context(), archive{files: a.files[:len(a.files)-1]}.write(t), catalog(), blueprint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	planted := strings.Count(a.String(), "# wrong")
	if planted != 16 || len(s.Problems) != planted {
		t.Errorf("%d mistakes, %d told:\n%s", planted, len(s.Problems), problems(s))
	}
	for _, p := range s.Problems {
		if p.Line == 0 || p.Column == 0 || p.Rule == "" {
			t.Errorf("%+v: want line, column and rule", p)
		}
		line := strings.Split(file(a, p.File), "\n")[p.Line-1]
		if !strings.Contains(line, "# wrong") {
			t.Errorf("%s: told of the line %q", p, line)
		}
	}
}

func file(a archive, name string) string {
	for _, f := range a.files {
		if f[0] == name {
			return f[1]
		}
	}
	return ""
}
