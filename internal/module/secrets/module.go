// Package secrets is the capability that gives services what nobody else may see.
//
// First form: a dotenv file that only its owner may read. Its values reach an instance
// where its env says ${secret:NAME}, are read anew at each start, are never stored, and
// are taken out of whatever the instance writes to its output.
package secrets

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/secrets"
	"stoa/api/workload"
	"stoa/internal/engine/build"
	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/blueprint"
	"stoa/internal/kernel/host"
)

// maxFile bounds the file, in bytes.
const maxFile = 1 << 20

// Ports are what the module needs of others.
type Ports struct {
	// File gives the file named by a flag, which is stronger than the System's, or "".
	File func() string
}

// Module is the capability.
type Module struct{ p Ports }

var _ host.Module = (*Module)(nil)

// New returns the module.
func New(p Ports) *Module { return &Module{p: p} }

// Name is the module's name.
func (m *Module) Name() string { return "secrets" }

// Declare states the section and the grant.
func (m *Module) Declare(c *host.Catalog) {
	host.Owns(c, secrets.SecretsSection, nil)
	c.Grant("secrets", m.grant)
}

func (m *Module) grant(_ context.Context, in host.Instance) (host.Grant, error) {
	var g host.Grant
	wanted := names(in.Doc)
	if len(wanted) == 0 {
		return g, nil
	}
	file := m.file(in.State)
	if file == "" {
		return g, fault.New(fault.NotFound, in.Doc.Ref().String(), "needs the secret %s, but no file of secrets is named", wanted[0]).
			WithHint("Write secrets: {file: secrets.env} in the System, or give --secrets FILE.")
	}
	values, err := Read(file)
	if err != nil {
		return g, err
	}
	g.Values = map[string]string{}
	for _, name := range wanted {
		v, ok := values[name]
		if !ok {
			var known []string
			for n := range values {
				known = append(known, n)
			}
			slices.Sort(known)
			return g, fault.New(fault.NotFound, file, "holds no %s, which %s needs", name, in.Doc.Ref()).
				WithHint("Add the line %s=..., %s", name, nearest.Hint(name, known))
		}
		g.Values["secret:"+name] = v
		g.Secret = append(g.Secret, v)
	}
	return g, nil
}

// file gives where the secrets are, absolute, or "".
func (m *Module) file(state core.State) string {
	if f := m.p.File(); f != "" {
		return f
	}
	sys, ok := state.System()
	if !ok {
		return ""
	}
	return FileOf(sys)
}

// FileOf gives where a System says that the secrets are, absolute, or "".
func FileOf(sys core.Document) string {
	f := secrets.SecretsSection.Of(sys).File
	if f == "" || filepath.IsAbs(f) {
		return f
	}
	return filepath.Join(sys.Source, filepath.Dir(filepath.FromSlash(sys.File)), f)
}

// names gives the secrets that a service's env asks for, sorted.
func names(doc core.Document) []string {
	var out []string
	for _, text := range workload.EnvSection.Of(doc) {
		subs, err := blueprint.Substitutions(text)
		if err != nil {
			continue // it was checked
		}
		for _, s := range subs {
			if s.Kind == "secret" {
				out = append(out, s.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Read reads a file of secrets. It refuses one that others may read.
func Read(file string) (map[string]string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fault.New(fault.NotFound, file, "the file of secrets cannot be read: %w", err).WithHint("Make it, with lines NAME=value, and chmod 0600 %s", file)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Denied, file, "others may read it: its mode is %#o", info.Mode().Perm()&fs.ModePerm).WithHint("chmod 0600 %s", file)
	}
	if info.Size() > maxFile {
		return nil, fault.New(fault.Exhausted, file, "larger than %d bytes", maxFile)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	return build.ParseEnvFile(file, b)
}
