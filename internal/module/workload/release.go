package workload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/mesh"
	"stoa/api/stores"
	"stoa/api/workload"
	"stoa/internal/engine/build"
	"stoa/internal/engine/process"
	"stoa/internal/kernel/blueprint"
	"stoa/internal/kernel/host"
)

// A release is what an instance is started from. It is immutable. Its content changes
// with whatever an instance can only learn by being started anew.
type release struct {
	id              string // 64 hex digits, of the content and how often a restart was asked for; "" for none
	content         string // 64 hex digits
	doc             core.Document
	program, folder string // digests
}

// restartSections are the sections of a service that its instances learn at their start.
var restartSections = []string{
	workload.RunSection.Name, workload.ListenSection.Name, workload.EnvSection.Name,
	workload.EnvFileSection.Name, mesh.UsesSection.Name, stores.StoresSection.Name,
}

// newRelease gives the release that a document asks for. nonce counts restarts that were asked for.
func newRelease(doc core.Document, nonce int) (release, error) {
	parts := struct {
		Artefacts map[string]string
		Sections  map[string]json.RawMessage
	}{maps.Clone(doc.Artefacts), map[string]json.RawMessage{}}
	maps.DeleteFunc(parts.Artefacts, func(role, _ string) bool { return !restartArtefact(role) })
	for _, name := range restartSections {
		raw, ok := doc.Sections[name]
		if name == mesh.UsesSection.Name {
			raw = addressed(raw)
		}
		if ok {
			parts.Sections[name] = raw
		}
	}
	b, err := json.Marshal(parts)
	if err != nil {
		return release{}, fmt.Errorf("release of %s: %w", doc.Ref(), err)
	}
	r := release{content: digest(b), doc: doc, program: doc.Artefacts[build.Program], folder: doc.Artefacts[build.Folder]}
	r.id = r.content
	if nonce > 0 {
		r.id = digest(fmt.Appendf(nil, "%s restart %d", r.content, nonce))
	}
	return r, nil
}

// addressed gives of uses what an instance learns at its start, its addresses. How calls
// are carried is the data plane's affair: a longer timeout restarts nobody.
func addressed(raw json.RawMessage) json.RawMessage {
	var uses []map[string]json.RawMessage
	if json.Unmarshal(raw, &uses) != nil {
		return raw
	}
	for _, u := range uses {
		maps.DeleteFunc(u, func(field string, _ json.RawMessage) bool {
			return !slices.Contains([]string{"service", "listener", "operations", "as"}, field)
		})
	}
	b, err := json.Marshal(uses)
	if err != nil {
		return raw
	}
	return b
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// EnvFile is the role of the artefact that holds a service's envFile.
const EnvFile = build.EnvFile

func restartArtefact(role string) bool {
	return role == build.Program || role == build.Folder || role == EnvFile
}

// granted is what an instance got before its start.
type granted struct {
	env     map[string]string
	values  map[string]string
	secrets []string
	again   []host.Grantor // those that gave secrets and hold nothing: they may be asked again at any time
	given   []string       // the secrets of these
	release []func()       // in the order of the grants
}

func (g *granted) free() {
	for i := len(g.release) - 1; i >= 0; i-- {
		g.release[i]()
	}
	g.release = nil
}

// grant asks every grantor. What was granted before one refused is given back.
func (m *Module) grant(ctx context.Context, in host.Instance) (_ *granted, err error) {
	g := &granted{env: map[string]string{}, values: map[string]string{}}
	defer func() {
		if err != nil {
			g.free()
		}
	}()
	from := map[string]string{}
	for _, gr := range m.p.Grants() {
		one, err := gr.Do(ctx, in)
		if one.Release != nil {
			g.release = append(g.release, one.Release)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", gr.Name, err)
		}
		for name, v := range one.Env {
			if other, twice := from[name]; twice {
				return nil, fault.New(fault.Conflict, in.Doc.Ref().String(), "the variable %s is given by %s and by %s", name, other, gr.Name).
					WithHint("Give one of them another name, with as: or env:.")
			}
			from[name] = gr.Name
			g.env[name] = v
		}
		maps.Copy(g.values, one.Values)
		g.secrets = append(g.secrets, one.Secret...)
		if len(one.Secret) > 0 && one.Release == nil {
			g.again, g.given = append(g.again, gr), append(g.given, one.Secret...)
		}
	}
	return g, nil
}

// outdated says whether the instance would get other secrets now than it got in g. While
// a grantor refuses there is nothing better to start with.
func (g *granted) outdated(ctx context.Context, in host.Instance) bool {
	var now []string
	for _, gr := range g.again {
		one, err := gr.Do(ctx, in)
		if one.Release != nil {
			one.Release()
		}
		if err != nil {
			return false
		}
		now = append(now, one.Secret...)
	}
	return !slices.Equal(now, g.given)
}

// environment puts the whole environment of an instance together. Later ones win:
// base, envFile, what is granted, ports, env.
func (m *Module) environment(doc core.Document, extra map[string]string, g *granted, ports []int) ([]string, error) {
	env := map[string]string{}
	for _, kv := range m.o.BaseEnv {
		name, v, _ := strings.Cut(kv, "=")
		env[name] = v
	}
	if digest := doc.Artefacts[EnvFile]; digest != "" {
		path, err := m.p.Folder(digest)
		if err != nil {
			return nil, err
		}
		file, err := readEnvFile(path)
		if err != nil {
			return nil, err
		}
		maps.Copy(env, file)
	}
	maps.Copy(env, g.env)
	for i, l := range workload.Listeners(doc) {
		if l.Env != "" && i < len(ports) {
			env[l.Env] = strconv.Itoa(ports[i])
		}
	}
	declared := maps.Clone(workload.EnvSection.Of(doc))
	if declared == nil {
		declared = map[string]string{}
	}
	maps.Copy(declared, extra)
	for name, text := range declared {
		v, err := blueprint.Expand(text, func(key string) (string, bool) { v, ok := g.values[key]; return v, ok })
		if err != nil {
			return nil, fault.New(fault.NotFound, doc.Ref().String(), "env.%s: %w", name, err)
		}
		env[name] = v
	}
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out, nil
}

// maxEnvFile bounds an env file, in bytes.
const maxEnvFile = 1 << 20

func readEnvFile(path string) (map[string]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("envFile: %w", err)
	}
	if info.Size() > maxEnvFile {
		return nil, fault.New(fault.Exhausted, path, "larger than %d bytes", maxEnvFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("envFile: %w", err)
	}
	return build.ParseEnvFile(path, b)
}

// command gives what is run and where.
func (m *Module) command(rel release) (argv []string, dir string, err error) {
	run := workload.RunSection.Of(rel.doc)
	return m.commandOf(rel.doc.Name, rel.program, rel.folder, run.Command, run.Args)
}

func (m *Module) commandOf(name, program, folder string, command, args []string) (argv []string, dir string, err error) {
	if program != "" {
		path, err := m.p.Program(program, name)
		if err != nil {
			return nil, "", err
		}
		dir, err = m.p.WorkDir(name)
		return append([]string{path}, args...), dir, err
	}
	if dir, err = m.p.Folder(folder); err != nil {
		return nil, "", err
	}
	argv = slices.Concat(command, args)
	if strings.Contains(argv[0], "/") && !filepath.IsAbs(argv[0]) {
		argv[0] = filepath.Join(dir, argv[0])
	}
	return argv, dir, nil
}

// hold takes the ports of an instance, fixed ones included, in the order of its listeners.
func hold(doc core.Document) (ports []int, free func(), err error) {
	var held []*process.Port
	free = func() {
		for _, p := range held {
			p.Release()
		}
	}
	for _, l := range workload.Listeners(doc) {
		if l.Port != 0 {
			ports = append(ports, l.Port)
			continue
		}
		p, err := process.HoldPort()
		if err != nil {
			free()
			return nil, nil, err
		}
		held = append(held, p)
		ports = append(ports, p.Number())
	}
	return ports, free, nil
}
