package blueprint

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	api "stoa/api/blueprint"
	"stoa/api/core"
	"stoa/internal/kernel/host"
	"stoa/internal/kernel/shape"
)

// What an environment may set. What a service uses, promises or may do is the same in
// all environments: what was tested is what runs.
var (
	systemSettings  = []string{"gateway", "secrets"}
	serviceSettings = []string{"env", "scale", "secrets", "run"}
)

// fieldServices is the field of an environment that holds settings by service.
const fieldServices = "services"

// externalRun is the only field of run that an environment may set. It says that the
// service runs elsewhere, so it takes the place of all of run.
const externalRun = "external"

// overlay checks all environments and lays the chosen one over the documents.
func (l *loader) overlay() {
	names := []string{api.DefaultEnvironment}
	defer func() { l.environments = names }()
	if l.part && l.env != api.DefaultEnvironment {
		l.report(api.Position{File: l.files[0].rel}, "", "", RuleEnvironment,
			fmt.Sprintf("there is no environment %q: this folder has no System, in which environments are written", l.env), "leave --env away")
	}
	if l.system == nil {
		return
	}
	l.said = map[string][]json.RawMessage{}
	for _, name := range systemSettings {
		if raw, ok := l.system.doc.Sections[name]; ok {
			l.said[name] = append(l.said[name], raw)
		}
	}
	if envs := l.system.environments; envs != nil {
		w := l.overlayWalker()
		for k, v := range w.fields(envs, fieldEnvironments) {
			path := join(fieldEnvironments, k.Value)
			w.mark(k, v, path)
			if err := core.CheckName(k.Value); err != nil {
				w.report(k, path, RuleName, strings.TrimPrefix(err.Error(), k.Value+": "), "")
			}
			if !slices.Contains(names, k.Value) {
				names = append(names, k.Value)
			}
			l.environment(w, v, path, k.Value == l.env)
		}
	}
	if !slices.Contains(names, l.env) && !l.system.touches(fieldEnvironments) {
		l.report(l.system.at(fieldEnvironments), l.system.doc.Ref().String(), fieldEnvironments, RuleEnvironment,
			fmt.Sprintf("there is no environment %q", l.env), near(l.env, names))
	}
}

// overlayWalker walks inside the System's environments.
func (l *loader) overlayWalker() *walker {
	d := l.system
	return &walker{
		report: func(n *yaml.Node, path, rule, msg, hint string) {
			l.report(d.position(n), d.doc.Ref().String(), path, rule, msg, hint)
		},
		spoil: func(string) {},
		full:  func() bool { return l.full(d.file.rel) },
		place: func(n *yaml.Node, path string) { d.places[path] = d.position(n) },
	}
}

// environment checks one environment and, if it is chosen, lays it over.
func (l *loader) environment(w *walker, n *yaml.Node, path string, chosen bool) {
	if !w.mapping(n, path, "settings") {
		return
	}
	settings := l.settable(core.KindSystem, systemSettings)
	valid := append(slices.Clone(settings), fieldServices)
	for k, v := range w.fields(n, path) {
		at := join(path, k.Value)
		w.mark(k, v, at)
		switch {
		case k.Value == fieldServices:
			l.environmentServices(w, v, at, chosen)
		case slices.Contains(settings, k.Value):
			l.lay(w, l.system, k.Value, v, at, chosen)
		default:
			l.refuse(w, k, at, core.KindSystem, valid)
		}
	}
}

func (l *loader) environmentServices(w *walker, n *yaml.Node, path string, chosen bool) {
	if !w.mapping(n, path, "services") {
		return
	}
	settings := l.settable(core.KindService, serviceSettings)
	for k, v := range w.fields(n, path) {
		at := join(path, k.Value)
		w.mark(k, v, at)
		d := l.byRef[core.Ref{Kind: core.KindService, Name: k.Value}]
		if d == nil {
			if !l.unread {
				var names []string
				for _, d := range l.drafts {
					if d.doc.Kind == core.KindService {
						names = append(names, d.doc.Name)
					}
				}
				slices.Sort(names)
				w.report(k, at, RuleReference, fmt.Sprintf("there is no Service %q", cut(k.Value)), near(k.Value, names))
			}
			continue
		}
		if !w.mapping(v, at, "settings") {
			continue
		}
		for k, v := range w.fields(v, at) {
			at := join(at, k.Value)
			w.mark(k, v, at)
			switch {
			case !slices.Contains(settings, k.Value):
				l.refuse(w, k, at, core.KindService, settings)
			case k.Value == "run":
				l.layRun(w, d, v, at, chosen)
			default:
				l.lay(w, d, k.Value, v, at, chosen)
			}
		}
	}
}

// mapping reports n unless it is a mapping.
func (w *walker) mapping(n *yaml.Node, path, of string) bool {
	if n.Kind != yaml.MappingNode && n.Kind != broken {
		w.report(n, path, RuleType, fmt.Sprintf("want a mapping of %s, not %s", of, describe(n)), "")
	}
	return n.Kind == yaml.MappingNode
}

// settable gives those of names that are sections of kind here.
func (l *loader) settable(kind string, names []string) []string {
	var out []string
	for _, n := range names {
		if _, ok := l.section(kind, n); ok {
			out = append(out, n)
		}
	}
	return out
}

func (l *loader) section(kind, name string) (host.Section, bool) {
	for _, s := range l.cat.SectionsOf(kind) {
		if s.Name == name {
			return s, true
		}
	}
	return host.Section{}, false
}

// refuse reports a field that no environment may set: unknown, or the same in all of them.
func (l *loader) refuse(w *walker, k *yaml.Node, path, kind string, valid []string) {
	if _, ok := l.section(kind, k.Value); ok {
		w.report(k, path, RuleEnvironment, fmt.Sprintf("%s is the same in all environments", k.Value), "an environment may set "+strings.Join(valid, ", "))
		return
	}
	w.report(k, path, RuleUnknownField, fmt.Sprintf("unknown field %q", cut(k.Value)), near(k.Value, valid))
}

// lay reads the settings n of a section and, if chosen, lays them over draft d.
func (l *loader) lay(w *walker, d *draft, name string, n *yaml.Node, path string, chosen bool) {
	sec, _ := l.section(d.doc.Kind, name)
	s := l.shapes.of(sec)
	in := l.laying(w, d, name, path, chosen)
	v, ok := in.value(n, s, want{partial: true}, name)
	if ok && d == l.system {
		raw, _ := json.Marshal(v) // comes from value: cannot fail
		l.said[name] = append(l.said[name], raw)
	}
	if !ok || !chosen || d.stub {
		return
	}
	if over, ok := v.(map[string]any); ok && (s.Kind == shape.Map || s.Kind == shape.Object) {
		merged := map[string]json.RawMessage{}
		if raw, ok := d.doc.Sections[name]; ok {
			if json.Unmarshal(raw, &merged) != nil {
				return // a broken place, reported there
			}
		}
		for k, v := range over {
			merged[k], _ = json.Marshal(v) // comes from value: cannot fail
		}
		l.put(in, n, d, sec, merged)
		return
	}
	l.put(in, n, d, sec, v)
}

// layRun reads run.external and, if chosen, puts it in the place of run.
func (l *loader) layRun(w *walker, d *draft, n *yaml.Node, path string, chosen bool) {
	if !w.mapping(n, path, "settings") {
		return
	}
	sec, _ := l.section(core.KindService, "run")
	s := l.shapes.of(sec)
	external, ok := s.Field(externalRun)
	if !ok {
		l.refuse(w, n, path, core.KindService, serviceSettings)
		return
	}
	in := l.laying(w, d, "run", path, chosen)
	for k, v := range w.fields(n, path) {
		if k.Value != externalRun {
			w.report(k, join(path, k.Value), RuleEnvironment, "an environment may set run.external only", "that the service runs elsewhere is all that may differ")
			continue
		}
		if v, ok := in.value(v, external.Shape, want{enum: external.Enum, example: external.Example}, "run."+externalRun); ok && chosen && !d.stub {
			if at, ok := d.places["run."+externalRun]; ok {
				maps.DeleteFunc(d.places, func(p string, _ api.Position) bool { return within(p, "run") })
				d.places["run"], d.places["run."+externalRun] = at, at
			}
			l.put(in, n, d, sec, map[string]any{externalRun: v})
		}
	}
}

// laying gives a walker that reports in the System at path, and notes places in draft d at section name.
func (l *loader) laying(w *walker, d *draft, name, path string, chosen bool) *walker {
	there := func(p string) string { return path + strings.TrimPrefix(p, name) }
	return &walker{
		full: w.full,
		report: func(n *yaml.Node, p, rule, msg, hint string) {
			if chosen {
				d.spoil(p)
			}
			w.report(n, there(p), rule, msg, hint)
		},
		spoil: func(p string) {
			if chosen {
				d.spoil(p)
			}
		},
		place: func(n *yaml.Node, p string) {
			w.place(n, there(p))
			if chosen && d.places != nil {
				d.places[p] = l.system.position(n)
			}
		},
	}
}

// put sets a section of d to v.
func (l *loader) put(in *walker, n *yaml.Node, d *draft, sec host.Section, v any) {
	raw, err := json.Marshal(v)
	if err == nil {
		err = decodes(raw, sec)
	}
	if err != nil {
		in.report(n, sec.Name, RuleType, strings.TrimPrefix(err.Error(), "json: "), "")
		return
	}
	d.doc = d.doc.Clone()
	if d.doc.Sections == nil {
		d.doc.Sections = map[string]json.RawMessage{}
	}
	d.doc.Sections[sec.Name] = raw
}
