// Package build turns a service's folder into artefacts.
//
// Building is done by whoever applies: the command line or stoa dev, never the
// platform. What is built follows from the folder and the toolchain alone: a Go
// program is built without cgo and with trimmed paths, so that the same source gives
// the same bytes and the same digest; a program of any other language is a copy of its
// folder, made after its build command has run in it.
//
// Tools run under a shim, as instances do: nothing of a build outlives it. Secrets are in
// no artefact: neither the files that are to be left, nor a dotenv file that only its
// owner may read. Nor are blueprints, which are stored as documents.
package build

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"stoa/api/fault"
	"stoa/api/workload"
	"stoa/internal/engine/artefact"
)

// The roles of artefacts in a document.
const (
	Program = "program" // a file that is run
	Folder  = "folder"  // a tree in which a command runs
	Static  = "static"  // a tree that the gateway serves
)

// Builder builds into a store. It may be used concurrently.
type Builder struct {
	Out *artefact.Store
	// Cache is a folder in which binaries stay from one build to the next, so that the go
	// tool need not link what has not changed (measured: 0.4 s instead of 1.5 s of CPU a
	// program). It belongs to one Builder at a time; "" means a temporary one for each build.
	Cache string
	// Leave gives files and folders that are part of no tree, wherever they lie: secrets, data.
	// It may be nil, and is called concurrently.
	Leave func() []string
	Log   func(service, line string) // receives the output of tools, a line at a time; may be nil
	Warn  func(service, text string) // receives what to know of a build that succeeds; nil means Log
}

// Service builds a service whose blueprint lies in dir. It gives the digests by role;
// none for one that runs elsewhere.
func (b *Builder) Service(ctx context.Context, name, dir string, run workload.Run, skip Skip) (map[string]string, error) {
	switch {
	case run.Go != "":
		return one(Program)(b.golang(ctx, name, filepath.Join(dir, run.Dir), run.Go))
	case len(run.Command) > 0:
		return one(Folder)(b.folder(ctx, name, filepath.Join(dir, run.Dir), run.Build, skip))
	case run.Static != "":
		home := filepath.Join(dir, run.Dir)
		if len(run.Build) > 0 {
			if err := b.tool(ctx, name, home, run.Build); err != nil {
				return nil, err
			}
		}
		root := filepath.Join(home, run.Static)
		if info, err := os.Stat(root); err != nil || !info.IsDir() {
			return nil, fault.New(fault.NotFound, root, "there is no such folder").WithHint("Make it, or correct run.static of %s.", name)
		}
		return one(Static)(b.Out.PutTree(root, b.without(name, root, skip)))
	}
	return nil, nil
}

// Job builds a job that has a program of its own; one without runs its service's.
func (b *Builder) Job(ctx context.Context, name, dir string, job workload.Job, skip Skip) (map[string]string, error) {
	switch {
	case job.Go != "":
		return one(Program)(b.golang(ctx, name, dir, job.Go))
	case len(job.Command) > 0:
		return one(Folder)(b.folder(ctx, name, dir, nil, skip))
	}
	return nil, nil
}

func one(role string) func(string, error) (map[string]string, error) {
	return func(digest string, err error) (map[string]string, error) {
		if err != nil {
			return nil, err
		}
		return map[string]string{role: digest}, nil
	}
}

func (b *Builder) golang(ctx context.Context, name, dir, pkg string) (string, error) {
	out, done, err := b.place(name)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	defer done()
	bin := filepath.Join(out, name)
	if err := b.tool(ctx, name, dir, goBuild(bin, pkg), "CGO_ENABLED=0"); err != nil {
		return "", err
	}
	return b.program(bin, name, pkg)
}

// goBuild gives the command that builds packages to the file, or into the folder, out.
func goBuild(out string, pkgs ...string) []string {
	return append([]string{"go", "build", "-trimpath", "-buildvcs=false", "-o", out}, pkgs...)
}

// place gives a folder to build into, and what to call when it is no longer needed.
func (b *Builder) place(name string) (dir string, done func(), err error) {
	if b.Cache != "" {
		dir = filepath.Join(b.Cache, name)
		return dir, func() {}, os.MkdirAll(dir, 0o700)
	}
	dir, err = os.MkdirTemp("", "stoa-build-")
	return dir, func() { os.RemoveAll(dir) }, err
}

// program stores what the go tool has built. It writes an archive, which cannot be
// executed, for a package that is not main.
func (b *Builder) program(bin, name, pkg string) (string, error) {
	if info, err := os.Stat(bin); err != nil || info.Mode()&0o100 == 0 {
		return "", fault.New(fault.Invalid, pkg, "is not a program: it is no package main").WithHint("Name the package of the program in run.go of %s, as in ./cmd/%s.", name, name)
	}
	return b.Out.PutFile(bin)
}

func (b *Builder) folder(ctx context.Context, name, dir string, cmd []string, skip Skip) (string, error) {
	if len(cmd) > 0 {
		if err := b.tool(ctx, name, dir, cmd); err != nil {
			return "", err
		}
	}
	return b.Out.PutTree(dir, b.without(name, dir, skip))
}

// without is skip that leaves out what is to be left as well, and what looks like secrets
// that nobody has declared here, which it says: a dotenv file that only its owner may read.
func (b *Builder) without(name, root string, skip Skip) Skip {
	var out []os.FileInfo
	if b.Leave != nil {
		for _, p := range b.Leave() {
			if info, err := os.Stat(p); err == nil {
				out = append(out, info)
			}
		}
	}
	return func(rel string, isDir bool) bool {
		if skip != nil && skip(rel, isDir) {
			return true
		}
		info, err := os.Stat(filepath.Join(root, filepath.FromSlash(rel)))
		switch {
		case err != nil:
			return false
		case slices.ContainsFunc(out, func(o os.FileInfo) bool { return os.SameFile(o, info) }):
			return true
		case info.Mode().IsRegular() && info.Mode().Perm()&0o077 == 0 && dotenv(path.Base(rel)):
			if warn := b.warn(); warn != nil {
				warn(name, rel+" is left out: it is no part of a release while only its owner may read it (chmod 0644 if it holds no secrets)")
			}
			return true
		}
		return false
	}
}

func (b *Builder) warn() func(service, text string) {
	if b.Warn != nil {
		return b.Warn
	}
	return b.Log
}

// dotenv says whether a file is named as those with settings and secrets are: .env, .env.local, prod.env.
func dotenv(base string) bool {
	return strings.HasSuffix(base, ".env") || strings.HasPrefix(base, ".env.")
}
