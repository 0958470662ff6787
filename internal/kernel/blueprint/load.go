// Package blueprint reads blueprints. It is the only home of YAML.
//
// A blueprint is the stoa.yaml of a folder, every stoa.yaml below it, and the folders
// that its System includes. Load turns that into documents and problems:
//
//	find files -> split into documents -> YAML nodes -> vet -> walk by shape -> overlay -> checks
//	              (source.go)             (node.go)           (walk.go)        (overlay.go) (check.go)
//
// All problems are found at once, each with file, line and column, what would be valid
// and the nearest valid name. Four things make that possible:
//
//   - A line that begins with --- always ends a YAML document (YAML 1.2, section 9.1.2),
//     so a syntax error costs one document and not the rest of the file.
//   - The walker keeps what is good of a broken document and remembers the broken places.
//   - Checks run on what was kept. A report at, above or below a broken place is dropped,
//     since it may only be an echo; so is one that speaks of a broken document (echo.go).
//   - A document that cannot be read still holds its name, so that others may refer to it.
//     If not even that can be found out, dangling references are not reported.
//
// What is read is a strict subset of YAML 1.2 with the core schema: no anchors, aliases,
// merge keys, tags or directives. `no` is a text, `0777` is 777. A number or boolean in a
// list or map of texts (env, args) means its text as written.
//
// Reading is bounded: see the limits in source.go. The blueprint may come from a stranger.
//
// The package also declares the kinds System and Context and the operations check,
// schema and explain (module.go), and checks documents that did not come from YAML
// (CheckState, Strict).
package blueprint

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	api "stoa/api/blueprint"
	"stoa/api/core"
	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/host"
)

// Options tune Load. The zero value is a good default.
type Options struct {
	Env string // environment to lay over; "" means dev

	// Part takes a folder without a System for a part of one, which is applied from
	// elsewhere: what its documents refer to and is not here may be there.
	Part bool

	// Beside looks at the files that documents name too: that they are there and can be read.
	Beside bool
}

// A Set is a blueprint as read. It is immutable.
type Set struct {
	Dir      string          // absolute; the Source of every document
	Env      string          // environment that was laid over
	Envs     []string        // names of all environments: dev, then those that are written, in their order
	Docs     []core.Document // ordered by kind and name; only what was good of them if there are Problems
	Problems []api.Problem   // ordered by file and position
	Files    []string        // absolute paths of the files read, ordered
	Folders  []string        // absolute paths of the folder and of those included: where a new stoa.yaml would be found
	Part     bool            // it has no System: see Options.Part

	drafts map[core.Ref]*draft
	said   map[string][]json.RawMessage
}

// Said gives what the System says in a section: for all environments, and in each of them
// what it lays over. A section that decodes gives values that do, if not all fields of them.
func (s *Set) Said(section string) []json.RawMessage { return s.said[section] }

// State gives the documents as a state at revision 0.
func (s *Set) State() core.State {
	st := core.State{Docs: make(map[core.Ref]core.Document, len(s.Docs))}
	for _, d := range s.Docs {
		st.Docs[d.Ref()] = d
	}
	return st
}

// Position gives the place where the field at path of document ref is written, or the
// nearest field around it that is. It is zero for a document that is not in the set.
func (s *Set) Position(ref core.Ref, path string) api.Position {
	if d := s.drafts[ref]; d != nil {
		return d.at(path)
	}
	return api.Position{}
}

// Load reads the blueprint in folder dir. It fails only if there is nothing to read: no
// such folder, no stoa.yaml in it, ctx cancelled. Everything else is in Set.Problems.
func Load(ctx context.Context, dir string, cat *host.Catalog, o Options) (*Set, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("blueprint folder: %w", err)
	}
	l := &loader{
		ctx: ctx, cat: cat, dir: abs, o: o, env: cmp.Or(o.Env, api.DefaultEnvironment),
		shapes: shapesOf(cat), seen: map[string]bool{}, byRef: map[core.Ref]*draft{}, counts: map[string]int{},
	}
	if err := l.readRoot(); err != nil {
		return nil, err
	}
	if err := l.readIncludes(); err != nil {
		return nil, err
	}
	switch {
	case l.system != nil || l.unread:
	case o.Part:
		l.part = true
	default:
		l.report(api.Position{File: l.files[0].rel}, "", "", RuleSystem, "there is no System", "add a document with kind: System and a name to "+api.FileName)
	}
	l.overlay()
	l.check()
	return l.set(), nil
}

// A loader is one Load at work.
type loader struct {
	ctx    context.Context
	cat    *host.Catalog
	dir    string // absolute, root of the blueprint
	o      Options
	env    string
	shapes shapes

	files   []*file
	folders []string
	seen    map[string]bool // real paths of files and folders that were read
	bytes   int64           // read so far
	nodes   int             // seen so far

	drafts       []*draft
	byRef        map[core.Ref]*draft
	system       *draft                       // the System, once it is read
	part         bool                         // there is no System, nor need be
	unread       bool                         // whether the name of some document is not known, so that what seems to be missing may be that one
	environments []string                     // see Set.Envs
	said         map[string][]json.RawMessage // see Set.Said
	problems     []api.Problem
	counts       map[string]int // of problems, by file
}

// report adds a problem. Of one file only the first maxOfFile are kept.
func (l *loader) report(at api.Position, doc, path, rule, msg, hint string) {
	l.counts[at.File]++
	if l.counts[at.File] > maxOfFile {
		return
	}
	l.problems = append(l.problems, api.Problem{
		Position: at, Document: shorten(doc, 80), Path: shorten(path, 200), Message: shorten(msg, 400), Hint: shorten(hint, 400), Rule: rule,
	})
}

// full says whether more problems of a file would be dropped.
func (l *loader) full(file string) bool { return l.counts[file] >= maxOfFile }

// keep adds a draft, unless its name is taken.
func (l *loader) keep(d *draft) {
	ref := d.doc.Ref()
	if first, ok := l.byRef[ref]; ok {
		l.report(d.at("name"), ref.String(), "name", RuleDuplicateDocument,
			fmt.Sprintf("there is a %s %q already, at %s", ref.Kind, ref.Name, first.at("name")), "rename one, or delete it")
		return
	}
	if k, ok := l.cat.KindOf(ref.Kind); ok && !k.Many {
		for _, o := range l.drafts {
			if o.doc.Kind == ref.Kind && !o.stub {
				l.report(d.at("kind"), ref.String(), "kind", RuleDuplicateDocument,
					fmt.Sprintf("there is a %s already, %q at %s", ref.Kind, o.doc.Name, o.at("kind")), "a blueprint has one")
				return
			}
		}
	}
	l.byRef[ref] = d
	l.drafts = append(l.drafts, d)
	if ref.Kind == core.KindSystem {
		l.system = d
	}
}

// check runs every check over what was kept.
func (l *loader) check() {
	st := core.State{Docs: make(map[core.Ref]core.Document, len(l.drafts))}
	for _, d := range l.drafts {
		st.Docs[d.doc.Ref()] = d.doc
	}
	e := newEchoes(l.drafts)
	found := CheckState(l.cat, st)
	if l.o.Beside {
		found = append(found, checkBeside(l.cat, st)...)
	}
	for _, f := range found {
		d := l.byRef[f.Ref]
		if d == nil {
			l.report(api.Position{}, f.Ref.String(), f.Path, RuleReference, f.Msg, f.Hint)
			continue
		}
		if d.touches(f.Path) || f.Dangling && (l.unread || l.part) || !f.Dangling && e.may(d, f) {
			continue
		}
		rule := ruleOf(l.cat, f)
		if f.Dangling {
			rule = RuleReference
		}
		l.report(d.at(f.Path), f.Ref.String(), f.Path, rule, f.Msg, f.Hint)
	}
}

// ruleOf names the rule behind a finding: the section whose owner found it.
func ruleOf(cat *host.Catalog, f host.Finding) string {
	section, _, _ := strings.Cut(f.Path, ".")
	section, _, _ = strings.Cut(section, "[")
	kind := strings.ToLower(f.Ref.Kind)
	if section == "" || !slices.ContainsFunc(cat.SectionsOf(f.Ref.Kind), func(s host.Section) bool { return s.Name == section }) {
		return kind
	}
	return kind + "." + section
}

func (l *loader) set() *Set {
	s := &Set{Dir: l.dir, Env: l.env, Envs: l.environments, Folders: l.folders, Part: l.part, drafts: l.byRef, said: l.said}
	for _, d := range l.drafts {
		if !d.stub {
			s.Docs = append(s.Docs, d.doc)
		}
	}
	slices.SortFunc(s.Docs, func(a, b core.Document) int { return a.Ref().Compare(b.Ref()) })
	for _, f := range l.files {
		s.Files = append(s.Files, f.path)
	}
	slices.Sort(s.Files)
	for f, n := range l.counts {
		if n > maxOfFile {
			l.problems = append(l.problems, api.Problem{
				Position: api.Position{File: f, Line: math.MaxInt32}, Rule: RuleLimit, // after all others of the file
				Message: fmt.Sprintf("%d more problems are not shown", n-maxOfFile), Hint: "mend the first ones and check again",
			})
		}
	}
	slices.SortStableFunc(l.problems, func(a, b api.Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			strings.Compare(a.Path, b.Path), strings.Compare(a.Message, b.Message))
	})
	for i := range l.problems {
		if l.problems[i].Line == math.MaxInt32 {
			l.problems[i].Line = 0
		}
	}
	s.Problems = slices.Compact(l.problems)
	if more := len(s.Problems) - maxProblems; more > 0 {
		s.Problems = append(s.Problems[:maxProblems:maxProblems], api.Problem{
			Position: api.Position{File: s.Problems[maxProblems].File}, Rule: RuleLimit,
			Message: fmt.Sprintf("%d more problems are not shown", more), Hint: "mend the first ones and check again",
		})
	}
	return s
}

// near gives a hint that offers the name closest to name and lists what is valid.
func near(name string, valid []string) string {
	if n := nearest.To(name, valid); n != "" && len(valid) > 1 {
		return "did you mean " + n + "?"
	}
	return nearest.Hint(name, valid)
}
