// Package secrets is the capability that gives services what nobody else may see.
//
// First form: a dotenv file that only its owner may read. Its values reach an instance
// where its env says ${secret:NAME}, are read anew at each start, are never stored, and
// are taken out of whatever the instance writes to its output.
//
// Because nothing is stored, a server needs the file for as long as it lives, under its
// own user: a plan says so when a System's file is one in the folder it was applied from,
// and stoa server --secrets FILE is stronger than any System.
package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/secrets"
	"stoa/api/workload"
	"stoa/internal/engine/build"
	"stoa/internal/ground/nearest"
	"stoa/internal/ground/veil"
	"stoa/internal/kernel/blueprint"
	"stoa/internal/kernel/host"
)

// maxFile bounds the file, in bytes.
const maxFile = 1 << 20

// Ports are what the module needs of others.
type Ports struct {
	// File gives the file named by a flag, which is stronger than the System's, or "".
	File func() string
	// Serves says whether this is a server, which outlives the folder that was applied
	// and may be another user than who applied it. nil means that it is not.
	Serves func() bool
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
	c.Effect("secrets", m.effects)
}

func (m *Module) grant(_ context.Context, in host.Instance) (host.Grant, error) {
	var g host.Grant
	wanted := names(in.Doc)
	if len(wanted) == 0 {
		return g, nil
	}
	file, err := m.file(in.State)
	if err != nil {
		return g, err
	}
	if file == "" {
		return g, fault.New(fault.NotFound, in.Doc.Ref().String(), "needs the secret %s, but no file of secrets is named", wanted[0]).
			WithHint("Write secrets: {file: secrets.env} in the System, or give --secrets FILE.")
	}
	values, err := Read(file)
	if err != nil {
		return g, m.server(err)
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
		if v != "" && len(v) < veil.MinLength {
			return g, fault.New(fault.Invalid, file, "%s has fewer than %d bytes, which could not be told from other text in output", name, veil.MinLength).
				WithHint("Choose a longer one; or, if it is no secret, write it into env of %s.", in.Doc.Ref())
		}
		g.Values["secret:"+name] = v
		g.Secret = append(g.Secret, v)
	}
	return g, nil
}

// file gives where the secrets are, absolute, or "" if nobody says.
func (m *Module) file(state core.State) (string, error) {
	if f := m.p.File(); f != "" {
		return f, nil
	}
	sys, ok := state.System()
	if !ok {
		return "", nil
	}
	f := FileOf(sys)
	if f != "" && !filepath.IsAbs(f) { // it was applied by a name
		return "", fault.New(fault.NotFound, sys.Ref().String(), "its file of secrets, %s, lies in a folder that is not known here: it was applied as %s", secrets.SecretsSection.Of(sys).File, sys.Source).
			WithHint("Give the server the file: stoa server --secrets FILE; or write an absolute path in the System.")
	}
	return f, nil
}

// server adds to the hint of a failure what only who runs a server can do.
func (m *Module) server(err error) error {
	if m.p.Serves == nil || !m.p.Serves() || m.p.File() != "" || fault.Is(err, fault.Invalid) {
		return err
	}
	return &fault.Error{Kind: fault.KindOf(err), Err: err, Hint: strings.TrimSuffix(fault.HintOf(err), ".") + ". Or give the server a file of its own: stoa server --secrets FILE."}
}

// effects says of a System's file of secrets that the server goes on needing it, when the
// file is named or is first needed.
func (m *Module) effects(before, after core.State) []host.PlanLine {
	sys, ok := after.System()
	if !ok || m.p.Serves == nil || !m.p.Serves() || m.p.File() != "" || !needed(after) {
		return nil
	}
	file := FileOf(sys)
	was := ""
	if old, ok := before.System(); ok && needed(before) {
		was = FileOf(old)
	}
	if file == "" || file == was {
		return nil
	}
	text := "secrets are read from " + file + " whenever a service starts: keep it there, for the server's user to read, or use stoa server --secrets FILE"
	if !filepath.IsAbs(file) {
		text = "secrets are in no file that the server can find: it needs stoa server --secrets FILE"
	}
	return []host.PlanLine{{Ref: sys.Ref(), Effect: "none", Text: text}}
}

// needed says whether any service asks for a secret.
func needed(state core.State) bool {
	return slices.ContainsFunc(state.Of(core.KindService), func(d core.Document) bool { return len(names(d)) > 0 })
}

// FileOf gives where a System says that the secrets are, or "". It is absolute, unless the
// System was applied by a name instead of from a folder.
func FileOf(sys core.Document) string {
	return fileOf(sys, secrets.SecretsSection.Of(sys))
}

func fileOf(sys core.Document, s secrets.Secrets) string {
	if s.File == "" || filepath.IsAbs(s.File) {
		return s.File
	}
	return filepath.Join(sys.Source, filepath.Dir(filepath.FromSlash(sys.File)), s.File)
}

// FilesOf gives the files of secrets of all environments of a blueprint, of which none
// belongs into an artefact, whichever is in force.
func FilesOf(set *blueprint.Set) []string {
	sys, ok := set.State().System()
	if !ok {
		return nil
	}
	var out []string
	for _, raw := range set.Said(secrets.SecretsSection.Name) {
		var s secrets.Secrets
		if json.Unmarshal(raw, &s) != nil {
			continue // a problem of the set
		}
		if f := fileOf(sys, s); f != "" {
			out = append(out, f)
		}
	}
	return out
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
		return nil, unreadable(file, nil, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Denied, file, "others may read it: its mode is %#o", info.Mode().Perm()&fs.ModePerm).WithHint("chmod 0600 %s", file)
	}
	if info.Size() > maxFile {
		return nil, fault.New(fault.Exhausted, file, "larger than %d bytes", maxFile)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable(file, info, err)
	}
	return build.ParseEnvFile(file, b)
}

// unreadable says why a file cannot be read, whose it is, and who should be able to read
// it. info is nil if not even that can be found out.
func unreadable(file string, info fs.FileInfo, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, file, "the file of secrets is not there: %w", bare(err)).
			WithHint("Make it, with lines NAME=value, and chmod 0600 %s", file)
	}
	me := userName(os.Geteuid())
	if !errors.Is(err, fs.ErrPermission) {
		return fault.New(fault.Unavailable, file, "the file of secrets cannot be read: %w", bare(err)).WithHint("See that %s can read it: ls -l %s", me, file)
	}
	whose := "a folder above it is closed to " + me
	if info != nil {
		whose = fmt.Sprintf("its mode is %#o, and Stoa runs as %s", info.Mode().Perm(), me)
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			whose = "it belongs to " + userName(int(st.Uid)) + ", " + whose
		}
	}
	return fault.New(fault.Denied, file, "the file of secrets cannot be read: %w; %s", bare(err), whose).
		WithHint("Let %s alone read it: chown %s %s && chmod 0600 %s", me, me, file, file)
}

// bare gives an error of a path without the path, which the subject names.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "user " + strconv.Itoa(uid)
}
