package build

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"stoa/api/contracts"
	"stoa/api/core"
	"stoa/api/workload"
)

// Inputs are the files whose change may change what a document is built to.
type Inputs struct {
	Tree  string   // a folder with all below it; "" for none
	Dirs  []string // folders without what is below them
	Files []string // single files
}

// Has says whether the path is among them.
func (in Inputs) Has(p string) bool {
	if in.Tree != "" && (p == in.Tree || strings.HasPrefix(p, in.Tree+string(filepath.Separator))) {
		return true
	}
	return slices.Contains(in.Files, p) || slices.Contains(in.Dirs, filepath.Dir(p))
}

// InputsOf finds out what a document is built from. For a Go program that is, besides its own
// folder, every package of its module (and of modules in a workspace or replaced by a
// folder) that it imports, and the files that name its modules; if the go tool cannot
// tell, because the program is broken, just its own folder.
func InputsOf(ctx context.Context, d core.Document) Inputs {
	in := Inputs{Tree: DirOf(d)}
	var pkg, dir string
	switch d.Kind {
	case core.KindService:
		r := workload.RunSection.Of(d)
		pkg, dir = r.Go, filepath.Join(in.Tree, r.Dir)
		in.Tree = dir
		if r.Static != "" && len(r.Build) == 0 {
			in.Tree = filepath.Join(dir, r.Static)
		}
		in.Files = append(in.Files, files(d)...)
	case core.KindJob:
		pkg, dir = workload.JobBody.Of(d).Go, in.Tree
	}
	if pkg == "" {
		return in
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-e", "-f", `{{if and (not .Standard) .Module}}{{if not .Module.Version}}{{.Dir}}{{"\n"}}{{.Module.GoMod}}{{end}}{{if .Module.Replace}}{{if not .Module.Replace.Version}}{{"\n"}}{{.Dir}}{{end}}{{end}}{{end}}`, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		return in
	}
	for line := range strings.Lines(string(out)) {
		switch p := strings.TrimSpace(line); {
		case p == "":
		case strings.HasSuffix(p, "go.mod"):
			in.Files = append(in.Files, p, filepath.Join(filepath.Dir(p), "go.sum"))
		default:
			in.Dirs = append(in.Dirs, p)
		}
	}
	slices.Sort(in.Dirs)
	slices.Sort(in.Files)
	in.Dirs, in.Files = slices.Compact(in.Dirs), slices.Compact(in.Files)
	return in
}

// files gives the paths of what Files stores.
func files(d core.Document) []string {
	c := contracts.ContractSection.Of(d)
	var out []string
	for _, f := range []string{c.OpenAPI, c.Proto, workload.EnvFileSection.Of(d)} {
		if f != "" {
			out = append(out, filepath.Join(DirOf(d), filepath.FromSlash(f)))
		}
	}
	return out
}
