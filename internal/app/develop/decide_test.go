package develop

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"stoa/api/core"
	"stoa/internal/engine/build"
	"stoa/internal/engine/fswatch"
)

// doc makes a document of sections: doc("service/web", "run", `{"go":"."}`). One named
// "a/b" lies in folder b.
func doc(ref string, sections ...string) core.Document {
	kind, name, _ := strings.Cut(ref, "/")
	d := core.Document{Kind: map[string]string{"service": core.KindService, "job": core.KindJob, "system": core.KindSystem}[kind], Name: name, Source: "/sys", File: "stoa.yaml", Sections: map[string]json.RawMessage{}}
	for i := 0; i < len(sections); i += 2 {
		if sections[i] == "file" {
			d.File = sections[i+1]
			continue
		}
		d.Sections[sections[i]] = json.RawMessage(sections[i+1])
	}
	return d
}

func names(refs []core.Ref) string {
	var out []string
	for _, r := range refs {
		out = append(out, r.String())
	}
	return strings.Join(out, " ")
}

func refsOf(docs []core.Document) (refs []core.Ref) {
	for _, d := range docs {
		refs = append(refs, d.Ref())
	}
	return refs
}

func TestDecide(t *testing.T) {
	web := doc("service/web", "run", `{"go":"."}`)
	webEnv := doc("service/web", "run", `{"go":"."}`, "env", `{"A":"b"}`)
	webElse := doc("service/web", "run", `{"go":"./cmd"}`)
	node := doc("service/node", "run", `{"command":["node","x.js"]}`)
	made := doc("service/made", "run", `{"command":["x"],"build":["make"]}`)
	madeWatch := doc("service/made", "run", `{"command":["x"],"build":["make"]}`, "watch", `["src/**"]`)
	far := doc("service/far", "run", `{"external":["127.0.0.1:1"]}`)
	tidy := doc("service/tidy", "run", `{"command":["x"]}`, "ignore", `["*.log"]`)
	lib := map[core.Ref]build.Inputs{web.Ref(): {Tree: "/sys/web", Dirs: []string{"/sys/lib"}, Files: []string{"/sys/go.mod"}}}
	docs := func(d ...core.Document) []core.Document { return d }
	for _, c := range []struct {
		what          string
		before, after []core.Document
		paths         string
		e             edit
		want          string
	}{
		{what: "nothing", before: docs(web), after: docs(web)},
		{what: "a source", before: docs(web), after: docs(web), paths: "/sys/main.go", want: "service/web"},
		{what: "the blueprint, by env alone", before: docs(web, node), after: docs(webEnv, node), paths: "/sys/stoa.yaml"},
		{what: "the blueprint, by env, and a source", before: docs(web), after: docs(webEnv), paths: "/sys/main.go /sys/stoa.yaml", want: "service/web"},
		{what: "the blueprint, by what is built", before: docs(web, node), after: docs(webElse, node), paths: "/sys/stoa.yaml", want: "service/web"},
		{what: "a service more", before: docs(node), after: docs(web, node), paths: "/sys/stoa.yaml", want: "service/web"},
		{what: "one less", before: docs(web, node), after: docs(node), paths: "/sys/stoa.yaml"},
		{what: "one that runs elsewhere", after: docs(far), paths: "/sys/stoa.yaml"},
		{what: "everything", before: docs(web, far), after: docs(web, far), e: edit{change: fswatch.Change{Everything: true}}, want: "service/web"},
		{what: "everything, by the writing of a build", before: docs(made), after: docs(made), e: edit{change: fswatch.Change{Everything: true}, writing: map[core.Ref]*wrote{made.Ref(): {}}}},
		{what: "a file, by the writing of a build", before: docs(made), after: docs(made), paths: "/sys/out.js", e: edit{writing: map[core.Ref]*wrote{made.Ref(): {}}}},
		{what: "a file where a build writes", before: docs(made), after: docs(made), paths: "/sys/out/b.js", e: edit{writing: map[core.Ref]*wrote{made.Ref(): {last: map[string]bool{"/sys/out": true}}}}},
		{what: "a file where it does not write, during a build", before: docs(made), after: docs(made), paths: "/sys/out/b.js /sys/src/b.ts", e: edit{writing: map[core.Ref]*wrote{made.Ref(): {last: map[string]bool{"/sys/out": true}}}}, want: "service/made"},
		{what: "such a file, during the build for one", before: docs(made), after: docs(made), paths: "/sys/src/b.ts", e: edit{writing: map[core.Ref]*wrote{made.Ref(): {last: map[string]bool{}, once: true}}}},
		{what: "a source that is watched for, during the build", before: docs(madeWatch), after: docs(madeWatch), paths: "/sys/src/a", e: edit{writing: map[core.Ref]*wrote{made.Ref(): {}}}, want: "service/made"},
		{what: "a file that is not watched for", before: docs(madeWatch), after: docs(madeWatch), paths: "/sys/out/a"},
		{what: "the build of one that is being built, asked otherwise", before: docs(node), after: docs(made), paths: "/sys/stoa.yaml", e: edit{writing: map[core.Ref]*wrote{made.Ref(): {}}}, want: "service/made"},
		{what: "a file that is ignored", before: docs(tidy), after: docs(tidy), paths: "/sys/x.log"},
		{what: "a package that it imports", before: docs(web), after: docs(web), paths: "/sys/lib/a.go", e: edit{inputs: lib}, want: "service/web"},
		{what: "one below a package that it imports", before: docs(web), after: docs(web), paths: "/sys/lib/deep/a.go", e: edit{inputs: lib}},
		{what: "its module", before: docs(web), after: docs(web), paths: "/sys/go.mod", e: edit{inputs: lib}, want: "service/web"},
		{what: "what is left out of builds", before: docs(web), after: docs(web), paths: "/sys/data/journal/1", e: edit{leave: []string{"/sys/data", ""}}},
		{what: "what is left out, other than before", before: docs(web, far), after: docs(web, far), e: edit{rebuild: true}, want: "service/web"},
		{what: "a job with a program of its own", before: docs(web), after: docs(web, doc("job/j", "", `{"of":"web","go":"./j"}`)), paths: "/sys/stoa.yaml", want: "job/j"},
		{what: "a job of the service's program", before: docs(web), after: docs(web, doc("job/j", "", `{"of":"web","args":["x"]}`)), paths: "/sys/stoa.yaml"},
	} {
		c.e.before, c.e.after = c.before, c.after
		c.e.change.Paths = strings.Fields(c.paths)
		if got := names(refsOf(decide(c.e))); got != c.want {
			t.Errorf("%s: builds %q, want %q", c.what, got, c.want)
		}
	}
}

// What comes into force, with which program: "service/web=2" is web's second blueprint with its second build.
func TestCompose(t *testing.T) {
	const (
		before = `{"of":"web","when":"before-release"}`
		own    = `{"of":"web","when":"before-release","go":"./j"}`
		byHand = `{"of":"web","go":"./j"}`
	)
	web := func(env string) core.Document {
		return doc("service/web", "run", `{"go":"."}`, "env", `{"V":"`+env+`"}`)
	}
	other := func(env string) core.Document {
		return doc("service/other", "run", `{"go":"."}`, "env", `{"V":"`+env+`"}`)
	}
	job := func(body string) core.Document { return doc("job/j", "", body) }
	with := func(d core.Document, build string) core.Document {
		d.Artefacts = map[string]string{program: build}
		return d
	}
	docs := func(d ...core.Document) []core.Document { return d }
	for _, c := range []struct {
		what           string
		wants, inForce []core.Document
		made           string // "web:b2 j:b1"
		owed           string
		want           string // NAME/V/BUILD; V of a job is its body's go
		held           string
	}{
		{"the first time, half built", docs(web("1"), other("1")), nil, "other:b1", "web", "service/other/1/b1 service/web/1/-", ""},
		{"edited and built", docs(web("2")), docs(with(web("1"), "b1")), "web:b2", "", "service/web/2/b2", ""},
		{"edited, being built", docs(web("2")), docs(with(web("1"), "b1")), "web:b1", "web", "service/web/1/b1", "service/web"},
		{"built, with nothing edited", docs(web("1")), docs(with(web("1"), "b1")), "web:b1", "web", "service/web/1/b1", ""},
		{"the others come meanwhile", docs(web("2"), other("2")), docs(with(web("1"), "b1"), with(other("1"), "b1")), "web:b1 other:b1", "web", "service/other/2/b1 service/web/1/b1", "service/web"},
		{"a job before the release of what is being built", docs(web("1"), job(before)), docs(with(web("1"), "b1")), "web:b1", "web", "service/web/1/b1", "job/j"},
		{"and when it is built", docs(web("2"), job(before)), docs(with(web("1"), "b1")), "web:b2", "", "job/j//- service/web/2/b2", ""},
		{"its job does not build", docs(web("2"), job(own)), docs(with(web("1"), "b1")), "web:b2", "j", "service/web/1/b1", "job/j service/web"},
		{"a job by hand does not build", docs(web("2"), job(byHand)), docs(with(web("1"), "b1"), with(job(byHand), "b1")), "web:b2 j:b1", "j", "job/j/./j/b1 service/web/2/b2", ""},
		{"never built: nothing runs", docs(web("2")), docs(web("1")), "", "web", "service/web/2/-", ""},
		{"built and not in force yet, being built again", docs(web("2")), nil, "web:b1", "web", "service/web/2/-", ""},
		{"its job went away while it is being built", docs(web("2")), docs(with(web("1"), "b1"), job(before)), "web:b1", "web", "job/j//- service/web/1/b1", "job/j service/web"},
		{"it went away", docs(other("1")), docs(with(web("1"), "b1"), with(other("1"), "b1")), "other:b1", "web", "service/other/1/b1", ""},
	} {
		m, owed := made{}, map[core.Ref]bool{}
		ref := func(name string) core.Ref {
			if name == "j" {
				return core.Ref{Kind: core.KindJob, Name: name}
			}
			return core.Ref{Kind: core.KindService, Name: name}
		}
		for _, f := range strings.Fields(c.made) {
			name, b, _ := strings.Cut(f, ":")
			m[ref(name)] = map[string]string{program: b}
		}
		for _, name := range strings.Fields(c.owed) {
			owed[ref(name)] = true
		}
		got, held := compose(c.wants, c.inForce, m, owed)
		var text []string
		for _, d := range got {
			var v struct {
				V  string
				Go string
			}
			for _, raw := range []json.RawMessage{d.Sections["env"], d.Sections[""]} {
				if len(raw) > 0 {
					if err := json.Unmarshal(raw, &v); err != nil {
						t.Fatal(err)
					}
				}
			}
			b := d.Artefacts[program]
			if b == "" {
				b = "-"
			}
			text = append(text, d.Ref().String()+"/"+v.V+v.Go+"/"+b)
		}
		if s := strings.Join(text, " "); s != c.want || names(held) != c.held {
			t.Errorf("%s:\n got %s, held %q\nwant %s, held %q", c.what, s, names(held), c.want, c.held)
		}
	}
}

const program = build.Program

// Whatever is built, in whatever order, no document comes into force with a program of another edit.
func FuzzCompose(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3})
	f.Add([]byte{7, 7, 1, 0, 2, 2, 5})
	f.Fuzz(func(t *testing.T, steps []byte) {
		// A service and its job, each edited (env or args) and rebuilt together: version n of the
		// blueprint goes with version n of the program. Every composition must be of one version.
		var inForce []core.Document
		m, owed := made{}, map[core.Ref]bool{}
		version := 0
		wants := func() []core.Document {
			v := string(rune('a' + version%26))
			return []core.Document{doc("job/j", "", `{"of":"web","when":"before-release","args":["`+v+`"]}`), doc("service/web", "run", `{"go":"."}`, "env", `{"V":"`+v+`"}`)}
		}
		web := core.Ref{Kind: core.KindService, Name: "web"}
		for _, s := range steps {
			switch s % 4 {
			case 0: // an edit of both
				version++
				owed[web] = true
			case 1: // the build ends well
				m[web] = map[string]string{program: string(rune('a' + version%26))}
				delete(owed, web)
			case 2, 3: // something has it composed
				inForce, _ = compose(wants(), inForce, m, owed)
			}
			for _, d := range inForce {
				b := inForce[slices.IndexFunc(inForce, func(d core.Document) bool { return d.Ref() == web })].Artefacts[program]
				if text := string(d.Canonical()); b != "" && !strings.Contains(text, `"`+b+`"]`) && !strings.Contains(text, `"V":"`+b+`"`) {
					t.Fatalf("%v: program %q with %s", steps, b, text)
				}
			}
		}
	})
}
