// Package stores is the capability that gives services their databases.
//
// First form: SQLite, a file of the service's own in a folder of its own. The data
// belongs to the service's name and is kept over restarts, rebuilds and even the
// deletion of the service; only reset throws it away.
package stores

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/stores"
	"stoa/internal/kernel/host"
)

// Ports are what the module needs of others.
type Ports struct {
	State func() core.State
	// Pause stops a service, if it runs, until resume is called.
	Pause func(ctx context.Context, service string) (resume func(), err error)
	// Dir gives the folder in which data is kept. It is not asked before Run.
	Dir func() string
}

// Module is the capability.
type Module struct{ p Ports }

var _ host.Module = (*Module)(nil)

// New returns the module.
func New(p Ports) *Module { return &Module{p: p} }

// Name is the module's name.
func (m *Module) Name() string { return "stores" }

// Declare states the section, the grant and the operation.
func (m *Module) Declare(c *host.Catalog) {
	host.Owns(c, stores.StoresSection, check)
	host.Handle(c, stores.ResetOp, m.reset, nil)
	c.Grant("stores", m.grant)
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func check(k *host.Checker, all []stores.Store) {
	names, envs := map[string]int{}, map[string]int{}
	for i, s := range all {
		at := fmt.Sprintf("[%d]", i)
		if err := core.CheckName(s.Name); err != nil {
			k.Bad(at+".name", err.Error(), "")
			continue
		}
		k.OneOf(at+".engine", s.Engine, stores.SQLite)
		if j, twice := names[s.Name]; twice {
			k.Bad(at+".name", fmt.Sprintf("is the store of stores[%d]", j), "give it a name of its own")
		}
		names[s.Name] = i
		if s.Env != "" && !variable.MatchString(s.Env) {
			k.Bad(at+".env", fmt.Sprintf("%q is no name of a variable", s.Env), "letters, digits and _")
		}
		if j, twice := envs[env(i, s)]; twice {
			k.Bad(at+".env", fmt.Sprintf("%s holds the address of stores[%d] already", env(i, s), j), "give it a variable of its own")
		}
		envs[env(i, s)] = i
		if owner := owners(k)[s.Name]; owner != k.Doc.Name {
			k.Bad(at+".name", fmt.Sprintf("service/%s owns the store %q: a store has one owner", owner, s.Name), "call "+owner+" for its data, or give this store another name")
		}
	}
}

// owners gives the first service, in the order of names, that names each store.
func owners(k *host.Checker) map[string]string {
	return host.Once(k, "stores.owners", func() map[string]string {
		first := map[string]string{}
		for _, d := range k.State.Of(core.KindService) {
			for _, s := range stores.StoresSection.Of(d) {
				if _, taken := first[s.Name]; !taken {
					first[s.Name] = d.Name
				}
			}
		}
		return first
	})
}

// env gives the variable that holds the address of store i.
func env(i int, s stores.Store) string {
	switch {
	case s.Env != "":
		return s.Env
	case i == 0:
		return "DATABASE_URL"
	}
	return strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_")) + "_URL"
}

// path gives the folder of a store.
func (m *Module) path(service, store string) string { return filepath.Join(m.p.Dir(), service, store) }

// grant makes the folders of a service's stores, and gives their addresses.
func (m *Module) grant(_ context.Context, in host.Instance) (host.Grant, error) {
	g := host.Grant{Env: map[string]string{}}
	for i, s := range stores.StoresSection.Of(in.Doc) {
		dir := m.path(in.Doc.Name, s.Name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return g, fmt.Errorf("store %s: %w", s.Name, err)
		}
		file := filepath.Join(dir, s.Name+".sqlite")
		// The file is made here, so that it has its mode whatever the service's umask is.
		f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return g, fmt.Errorf("store %s: %w", s.Name, err)
		}
		if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
			return g, fmt.Errorf("store %s: %w", s.Name, err)
		}
		g.Env[env(i, s)] = "sqlite://" + file
	}
	return g, nil
}

// reset throws the data of a service away, or of all. A service that runs is stopped for it.
func (m *Module) reset(ctx context.Context, in stores.ResetIn) (stores.ResetOut, error) {
	out := stores.ResetOut{Removed: []string{}}
	if in.Service != "" {
		if err := core.CheckName(in.Service); err != nil {
			return out, err
		}
	}
	entries, err := os.ReadDir(m.p.Dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, fmt.Errorf("reset: %w", err)
	}
	found := false
	for _, e := range entries {
		if in.Service != "" && e.Name() != in.Service {
			continue
		}
		found = true
		removed, err := m.resetOne(ctx, e.Name())
		out.Removed = append(out.Removed, removed...)
		if err != nil {
			return out, err
		}
	}
	if _, declared := m.p.State().Docs[core.Ref{Kind: core.KindService, Name: in.Service}]; in.Service != "" && !found && !declared {
		return out, fault.New(fault.NotFound, "service/"+in.Service, "not found, and it has no data").WithHint("See stoa status for the names of services.")
	}
	return out, nil
}

func (m *Module) resetOne(ctx context.Context, service string) (removed []string, err error) {
	resume, err := m.p.Pause(ctx, service)
	if err != nil {
		return nil, err
	}
	defer resume()
	dir := filepath.Join(m.p.Dir(), service)
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reset %s: %w", service, err)
	}
	for _, n := range names {
		removed = append(removed, service+"/"+n.Name())
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("reset %s: %w", service, err)
	}
	return removed, nil
}
