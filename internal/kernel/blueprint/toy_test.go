package blueprint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stoa/api/core"
	"stoa/internal/kernel/blueprint"
	"stoa/internal/kernel/host"
)

// toy is a small platform: enough kinds and sections for every rule of reading.
type toy struct{}

type toyRun struct {
	Go       string   `json:"go,omitempty" example:"./cmd/orders"`
	Command  []string `json:"command,omitempty" example:"[node, index.js]"`
	Args     []string `json:"args,omitempty"`
	External []string `json:"external,omitempty"`
	SPA      bool     `json:"spa,omitempty"`
}

type toyUse struct {
	Service    string        `json:"service" required:"true" example:"inventory"`
	Operations []string      `json:"operations,omitempty"`
	Timeout    core.Duration `json:"timeout,omitempty" example:"300ms" default:"2s"`
	Retry      *toyRetry     `json:"retry,omitempty"`
}

type toyRetry struct {
	Attempts int `json:"attempts,omitempty"`
}

type toyProbe struct {
	HTTP string `json:"http,omitempty"`
	GRPC string `json:"grpc,omitempty"`
}

func (toyProbe) Shorthand() string { return "http" }

type toyHealth struct {
	Ready *toyProbe `json:"ready,omitempty"`
	Live  *toyProbe `json:"live,omitempty"`
}

type toyScale struct {
	Min uint8   `json:"min"`
	Max uint8   `json:"max,omitempty"`
	CPU float64 `json:"cpu,omitempty"`
}

type toyGateway struct {
	Listen string `json:"listen,omitempty" example:"127.0.0.1:8080"`
	Admin  string `json:"admin,omitempty"`
}

type toyJob struct {
	Of      string   `json:"of" required:"true" example:"orders"`
	Command []string `json:"command" required:"true" example:"[./migrate]"`
	When    string   `json:"when,omitempty" enum:"before-release,manual"`
}

func (toy) Name() string { return "toy" }

func (toy) Declare(c *host.Catalog) {
	c.Kind(core.KindService, "A program", true)
	c.Kind(core.KindJob, "A program that ends", true)
	c.Kind("Topic", "A type of events", true)
	host.Owns(c, core.Section[toyGateway]{Kind: core.KindSystem, Name: "gateway", Help: "Where it listens", Default: func() toyGateway { return toyGateway{Listen: "127.0.0.1:8080"} }}, nil)
	host.Owns(c, core.Section[toyRun]{Kind: core.KindService, Name: "run", Help: "How it runs"}, func(k *host.Checker, r toyRun) {
		if r.Go == "" && r.Command == nil && r.External == nil {
			k.Bad("", "want one of go, command, external", "")
		}
	})
	host.Owns(c, core.Section[map[string]string]{Kind: core.KindService, Name: "env", Help: "Its environment"}, func(k *host.Checker, env map[string]string) {
		for n, v := range env {
			if _, err := blueprint.Substitutions(v); err != nil {
				k.Bad(n, err.Error(), "")
			}
		}
	})
	host.Owns(c, core.Section[[]toyUse]{Kind: core.KindService, Name: "uses", Help: "What it calls"}, func(k *host.Checker, uses []toyUse) {
		for i, u := range uses {
			k.Exists(fmt.Sprintf("[%d].service", i), core.KindService, u.Service)
			if callee, ok := k.State.Docs[core.Ref{Kind: core.KindService, Name: u.Service}]; ok && slices.Contains(u.Operations, "health") && !callee.Has("health") {
				k.Bad(fmt.Sprintf("[%d].operations", i), u.Service+" has no health", "")
			}
			if u.Timeout > core.Duration(1e10) {
				k.Bad(fmt.Sprintf("[%d].timeout", i), "is longer than 10s", "")
			}
		}
	})
	host.Owns(c, core.Section[toyHealth]{Kind: core.KindService, Name: "health", Help: "How it is probed"}, nil)
	host.Owns(c, core.Section[toyScale]{Kind: core.KindService, Name: "scale", Help: "How many", Default: func() toyScale { return toyScale{Min: 1} }}, func(k *host.Checker, s toyScale) {
		if s.Max > 0 && s.Max < s.Min {
			k.Bad("max", fmt.Sprintf("%d is less than min, %d", s.Max, s.Min), "")
		}
	})
	host.Owns(c, core.Section[[]string]{Kind: core.KindService, Name: "publishes", Help: "What it publishes"}, func(k *host.Checker, topics []string) {
		for i, t := range topics {
			k.Exists(fmt.Sprintf("[%d]", i), "Topic", t)
		}
	})
	host.Owns(c, core.Section[toyJob]{Kind: core.KindJob, Help: "The job"}, func(k *host.Checker, j toyJob) {
		k.Exists("of", core.KindService, j.Of)
	})
	host.Owns(c, core.Section[map[string]any]{Kind: "Topic", Name: "schema", Help: "Its schema"}, nil)
}

// catalog gives the toy platform.
func catalog() *host.Catalog { return host.Build(blueprint.Module{}, toy{}) }

// An archive is a folder as text: "-- name --" begins a file; what stands before the
// first is its comment.
type archive struct {
	comment string
	files   [][2]string // name, content
}

func parseArchive(s string) archive {
	var a archive
	for line := range strings.Lines(s) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "-- "); ok && strings.HasSuffix(name, " --") {
			a.files = append(a.files, [2]string{strings.TrimSuffix(name, " --"), ""})
		} else if n := len(a.files); n > 0 {
			a.files[n-1][1] += line
		} else {
			a.comment += line
		}
	}
	return a
}

func (a archive) String() string {
	var b strings.Builder
	b.WriteString(a.comment)
	for _, f := range a.files {
		fmt.Fprintf(&b, "-- %s --\n%s", f[0], f[1])
	}
	return b.String()
}

// write lays the archive out in a new folder and gives the folder.
func (a archive) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range a.files {
		p := filepath.Join(dir, filepath.FromSlash(f[0]))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(f[1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load reads a blueprint given as an archive, or as the text of one stoa.yaml.
func load(t testing.TB, text string, o blueprint.Options) *blueprint.Set {
	t.Helper()
	if !strings.HasPrefix(text, "-- ") {
		text = "-- stoa.yaml --\n" + text
	}
	s, err := blueprint.Load(t.Context(), parseArchive(text).write(t), catalog(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// problems gives the problems of a set, one a line.
func problems(s *blueprint.Set) string {
	var b strings.Builder
	for _, p := range s.Problems {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}
