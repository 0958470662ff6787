package workload

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stoa/api/core"
	"stoa/api/workload"
	"stoa/internal/engine/process"
	"stoa/internal/kernel/host"
)

// declared gives a document with sections, written in turn as name and JSON.
func declared(kind, name string, sections ...string) core.Document {
	d := core.Document{Kind: kind, Name: name, Sections: map[string]json.RawMessage{}, Artefacts: map[string]string{}}
	for i := 0; i < len(sections); i += 2 {
		d.Sections[sections[i]] = json.RawMessage(sections[i+1])
	}
	return d
}

func stateOfDocs(docs ...core.Document) core.State {
	s := core.State{Docs: map[core.Ref]core.Document{}}
	for _, d := range docs {
		s.Docs[d.Ref()] = d
	}
	return s
}

// findings runs the module's own checks of every section of doc.
func findings(doc core.Document, others ...core.Document) []host.Finding {
	cat := host.Build(New(Ports{}, Options{}))
	state := stateOfDocs(append(others, doc)...)
	var out []host.Finding
	for _, s := range cat.SectionsOf(doc.Kind) {
		if raw, ok := doc.Sections[s.Name]; ok {
			s.Check(host.NewChecker(doc, state, s.Name, &out), raw)
		}
	}
	return out
}

// Whatever is wrong is said at its place, with what would be right.
func TestChecks(t *testing.T) {
	run := func(json string) []string { return []string{"run", json} }
	with := func(sections ...string) []string { return append([]string{"run", `{"go":"."}`}, sections...) }
	external := func(sections ...string) []string {
		return append([]string{"run", `{"external":["127.0.0.1:9000"]}`}, sections...)
	}
	neighbour := declared(core.KindService, "a", "run", `{"go":"."}`, "listen", `[{"port":9090}]`)
	for _, c := range []struct {
		sections []string
		want     string // path: message; hint. Empty for none
	}{
		{run(`{"go":"./cmd/x","args":["-v"],"dir":"sub"}`), ""},
		{run(`{"command":["node","x.js"],"build":["npm","ci"]}`), ""},
		{run(`{"static":"dist","spa":true}`), ""},
		{run(`{"external":["127.0.0.1:9000","https://erp.example.org"]}`), ""},
		{run(`{}`), "run: says nothing that can run; give one of go, command, external, static"},
		{run(`{"go":".","static":"dist"}`), "run.static: goes not with go; give one of go, command, external, static"},
		{run(`{"go":".","spa":true}`), "run.spa: means nothing with go; take it away"},
		{run(`{"go":".","build":["make"]}`), "run.build: means nothing with go; take it away"},
		{run(`{"external":["h:1"],"args":["x"]}`), "run.args: means nothing with external; take it away"},
		{run(`{"go":".","dir":"/srv"}`), "run.dir: is absolute; write it relative to the folder of this file"},
		{run(`{"static":"/srv"}`), "run.static: is absolute; write it relative to the folder of this file"},
		{run(`{"go":"-exec=x"}`), "run.go: is no program; write a package"},
		{run(`{"command":[""]}`), "run.command: is no program; write a package"},
		{run(`{"external":["9000"]}`), `run.external[0]: "9000" is no host:port; write host:port, or https://host`},
		{run(`{"external":["h:0"]}`), `run.external[0]: "h:0" is no host:port; write host:port, or https://host`},
		{run(`{"external":["http://h"]}`), `run.external[0]: "http://h" is no https origin; write host:port, or https://host`},
		{run(`{"external":["https://h/path"]}`), `run.external[0]: "https://h/path" is no https origin; write host:port, or https://host`},
		{run(`{"external":["h:1","h:1"]}`), "run.external[1]: is external[0] already; take it away"},
		{external("listen", `[{"name":"x"},{"name":"y"}]`), "run.external: has one port only, but listen names more; declare a service for each"},

		{with("listen", `[{"env":"PORT"},{"name":"grpc","env":"GRPC_PORT","protocol":"h2c"}]`), ""},
		{with("listen", `[]`), ""},
		{[]string{"run", `{"static":"dist"}`, "listen", `[{"env":"PORT"}]`}, "listen: files have no port: the gateway serves them; take it away"},
		{with("listen", `[{"env":"PORT","protocol":"h2"}]`), `listen[0].protocol: "h2" is not valid here; did you mean h2c?`},
		{with("listen", `[{"env":"PORT","name":"A"}]`), "listen[0].name: "},
		{with("listen", `[{"env":"PORT"},{"env":"OTHER"}]`), "listen[1].name: is missing, as in listen[0]: one port alone can be without; give it a name of its own"},
		{with("listen", `[{"env":"A","name":"x"},{"env":"B","name":"x"}]`), "listen[1].name: has the name of listen[0]; give it a name of its own"},
		{with("listen", `[{"protocol":"h2c"}]`), "listen[0]: says neither in which variable the port is given nor which it is; write {env: PORT}, or {port: 9090}"},
		{with("listen", `[{"env":"1X"}]`), `listen[0].env: "1X" is no name of a variable; letters, digits and _`},
		{with("listen", `[{"env":"P"},{"env":"P","name":"x"}]`), "listen[1].env: is the variable of listen[0]; give it a variable of its own"},
		{with("listen", `[{"port":70000}]`), "listen[0].port: 70000 is no port; 1 to 65535"},
		{with("listen", `[{"port":8000},{"port":8000,"name":"x"}]`), "listen[1].port: is the port of listen[0]; give one of them another"},
		{with("listen", `[{"port":9090}]`), "listen[0].port: 9090 is the port of service/a too; give one of them another"},
		{with("scale", `{"min":2}`, "listen", `[{"port":8000}]`), "listen[0].port: a fixed port is for one instance, but scale.min is more; let the port be chosen: {env: PORT}"},

		{with("env", `{"A":"${secret:s}"}`), ""},
		{with("env", `{"A B":"x"}`), `env.A B: "A B" is no name of a variable; letters, digits and _`},
		{with("env", `{"PORT":"80"}`), "env.PORT: is the variable of a port (listen); take it away, or name another variable in listen"},
		{with("env", `{"A":"${uses:b.url}"}`), `env.A: "b" is not among what it uses; add {service: b} to uses`},
		{with("env", `{"A":"${nope:b}"}`), "env.A: "},

		{with("health", `{"ready":"/readyz","live":"grpc","startup":"1s"}`), ""},
		{with("health", `{"ready":"htp"}`), `health.ready: "htp" is not valid here; valid: /path, grpc, tcp, exec, none`},
		{with("health", `{"ready":"exec"}`), "health.ready: there is no command to execute; add exec: [./healthcheck]"},
		{with("health", `{"exec":["x"]}`), "health.exec: is never executed; write ready: exec, or live: exec"},
		{with("health", `{"timeout":"0s"}`), "health.timeout: must be from 20ms to 1h; as in 5s"},
		{with("health", `{"listener":"grpc"}`), `health.listener: the service has no port named "grpc"; name a port in listen`},
		{with("listen", `[]`, "health", `{"ready":"/x"}`), "health.ready: the service has no port to ask; write exec or none, or give it a port (listen)"},
		{external("health", `{"ready":"exec","exec":["x"]}`), "health.ready: nothing is executed for a service that runs elsewhere; write a path, grpc, tcp or none"},
		{external("health", `{"live":"tcp"}`), "health.live: a service that runs elsewhere is never replaced; take it away, or write it as ready"},

		{with("scale", `{"min":0}`), "scale.min: 0 instances cannot be kept; 1 to 100"},
		{with("scale", `{"min":101}`), "scale.min: 101 instances cannot be kept; 1 to 100"},
		{external("scale", `{"min":2}`), "scale.min: nothing is started of a service that is external; take it away"},
		{with("stop", `{"grace":"0s"}`), ""},
		{with("watch", `["a/[b"]`), "watch[0]: \"[b\" is not a glob: a [ has no ]; as in cmd/**/*.go"},
		{with("ignore", `["a/[b"]`), "ignore[0]: \"[b\" is not a glob: a [ has no ]; as in cmd/**/*.go"},
	} {
		expect(t, strings.Join(c.sections, " "), findings(declared(core.KindService, "b", c.sections...), neighbour), c.want)
	}
	files := declared(core.KindService, "files", "run", `{"static":"."}`)
	for _, c := range []struct{ body, want string }{
		{`{"of":"a","command":["./migrate"],"when":"before-release"}`, ""},
		{`{"command":["x"]}`, "of: is missing; name the service whose environment and stores it shares"},
		{`{"of":"aa","command":["x"]}`, `of: there is no Service "aa"; did you mean a?`},
		{`{"of":"files","command":["x"]}`, "of: service/files is static: it has no environment; name a service that Stoa runs"},
		{`{"of":"a","go":".","command":["x"]}`, "command: goes not with go; give one of them"},
		{`{"of":"a"}`, "would run the program of its service without other arguments; give go, command or args"},
		{`{"of":"a","args":["x"],"when":"daily"}`, `when: "daily" is not valid here`},
		{`{"of":"a","args":["x"],"timeout":"0s"}`, "timeout: must be more than 0; as in 5m"},
		{`{"of":"a","args":["x"],"retries":11}`, "retries: 11 is out of bounds; 0 to 10"},
	} {
		expect(t, c.body, findings(declared(core.KindJob, "j", "", c.body), neighbour, files), c.want)
	}
}

// A service is not named as something that is shown beside services.
func TestReservedNames(t *testing.T) {
	for name, want := range map[string]string{
		"gateway": `name: "gateway" is the name of the gateway`, "stoa": `name: "stoa" is the name of Stoa itself`, "gateway-api": "", "stoas": "",
	} {
		expect(t, name, findings(declared(core.KindService, name, "run", `{"go":"."}`)), want)
	}
}

func expect(t *testing.T, given string, found []host.Finding, want string) {
	t.Helper()
	var got []string
	for _, f := range found {
		s := f.Msg + "; " + f.Hint
		if f.Path != "" {
			s = f.Path + ": " + s
		}
		if f.Hint == "" {
			t.Errorf("%s: %q offers nothing to do", given, s)
		}
		got = append(got, s)
	}
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("%s: got %q, want none", given, got)
	case want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], want)):
		t.Errorf("%s: got %q, want %q", given, got, want)
	}
}

// A plan says which instances a change starts, replaces, stops, or leaves alone.
func TestEffects(t *testing.T) {
	doc := func(program string, sections ...string) *core.Document {
		d := declared(core.KindService, "a", append([]string{"run", `{"go":"."}`}, sections...)...)
		d.Artefacts["program"] = program
		return &d
	}
	files := declared(core.KindService, "a", "run", `{"static":"dist"}`)
	for _, c := range []struct {
		name          string
		before, after *core.Document
		want          string
	}{
		{"new", nil, doc("1", "scale", `{"min":2}`), "start: 2 instances will start"},
		{"same", doc("1"), doc("1"), ""},
		{"a probe", doc("1"), doc("1", "health", `{"ready":"/x"}`), ""},
		{"another program", doc("1"), doc("2"), "restart: its instance will be replaced, without a gap"},
		{"another variable", doc("1"), doc("1", "env", `{"A":"b"}`), "restart: its instance will be replaced, without a gap"},
		{"a fixed port", doc("1"), doc("1", "listen", `[{"port":9090}]`), "restart: its instance is stopped, then the new one starts: its port is fixed"},
		{"more", doc("1"), doc("1", "scale", `{"min":3}`), "scale: 1 -> 3 instances"},
		{"gone", doc("1"), nil, "stop: 1 instance will be stopped; its data stays"},
		{"files", nil, &files, ""},
		{"files gone", &files, nil, ""},
		{"files instead", doc("1"), &files, "stop: 1 instance will be stopped: it is static now"},
		{"a program instead", &files, doc("1"), "start: 1 instance will start"},
	} {
		var before, after core.State
		if c.before != nil {
			before = stateOfDocs(*c.before)
		}
		if c.after != nil {
			after = stateOfDocs(*c.after)
		}
		var got []string
		for _, l := range effects(before, after) {
			got = append(got, l.Effect+": "+l.Text)
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A program's secret is hidden in however many writes it comes, and across the pieces of
// a line that is longer than a sink takes at once.
func TestSecretInPieces(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	long := strings.Repeat("x", process.MaxLine-7) // planted-secret lies across its end
	s.declare(job(s, `printf 'said plan'; printf 'ted-sec'; printf 'ret.\n'
		x='xxxxxxxxxxxxxxxx'; i=0; while [ $i -lt 12 ]; do x=$x$x; i=$((i+1)); done
		printf '%.`+strconv.Itoa(len(long))+`splanted-secret and more\n' "$x"`, ""), service("serve"))
	s.until("the job has run", func() bool { return len(s.endpoints()) == 1 })
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.lines, "")
	if !slices.Contains(s.lines, "said [redacted].") || !strings.Contains(all, long+"[redacted] and more") || strings.Contains(all, "planted") || strings.Contains(all, "d-secret") {
		t.Errorf("%d lines, %.200q ... %.200q", len(s.lines), all, all[max(0, len(all)-200):])
	}
}

// Evidence is the last lines, of bounded length, and steers no terminal.
func TestTailer(t *testing.T) {
	out := newTailer([]string{"planted"})
	for range 2 * maxTail {
		out.add([]byte("early"))
	}
	out.add([]byte("\x1b[31mred planted\xff"))
	out.add([]byte(strings.Repeat("x", 100_000)))
	last := out.lines()
	if len(last) != maxTail || last[maxTail-2] != "[31mred [redacted]\uFFFD" || len(last[maxTail-1]) != maxEvidenceLine+3 {
		t.Errorf("%d lines, the last two %.100q", len(last), last[maxTail-2:])
	}
}

// The environment is what is declared and nothing more; the later of two sources wins.
func TestEnvironment(t *testing.T) {
	doc := declared(core.KindService, "a", "run", `{"go":"."}`, "listen", `[{"env":"PORT"},{"name":"grpc","env":"GRPC_PORT"},{"name":"fixed","port":9000}]`,
		"env", `{"PLAIN":"x","URL":"${uses:b.url}/v1","TZ":"UTC"}`)
	m := New(Ports{}, Options{BaseEnv: []string{"PATH=/bin", "TZ=CET"}})
	g := &granted{env: map[string]string{"B_URL": "http://1"}, values: map[string]string{"uses:b.url": "http://1"}}
	got, err := m.environment(doc, map[string]string{"PLAIN": "y"}, g, []int{1001, 1002, 9000})
	want := []string{"B_URL=http://1", "GRPC_PORT=1002", "PATH=/bin", "PLAIN=y", "PORT=1001", "TZ=UTC", "URL=http://1/v1"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	doc.Sections["env"] = json.RawMessage(`{"A":"${secret:nope}"}`)
	if _, err := m.environment(doc, nil, g, nil); err == nil || !strings.Contains(err.Error(), "env.A") {
		t.Errorf("a value that nobody gave: %v", err)
	}
}

// Two modules that give one name are a conflict, and what was granted is given back.
func TestGrantConflict(t *testing.T) {
	freed := 0
	gives := func(name string) host.Grantor {
		return host.Grantor{Name: name, Do: func(context.Context, host.Instance) (host.Grant, error) {
			return host.Grant{Env: map[string]string{"DATABASE_URL": name}, Release: func() { freed++ }}, nil
		}}
	}
	m := New(Ports{Grants: func() []host.Grantor { return []host.Grantor{gives("mesh"), gives("stores")} }}, Options{})
	_, err := m.grant(t.Context(), host.Instance{Doc: declared(core.KindService, "a")})
	if err == nil || !strings.Contains(err.Error(), "DATABASE_URL is given by mesh and by stores") || freed != 2 {
		t.Errorf("%v, %d given back", err, freed)
	}
}

// A restart is another release of the same content, so that no migration runs again for it.
func TestRelease(t *testing.T) {
	doc := declared(core.KindService, "a", "run", `{"go":"."}`)
	a, _ := newRelease(doc, 0)
	b, _ := newRelease(doc, 1)
	doc.Sections[workload.HealthSection.Name] = json.RawMessage(`{"ready":"/x"}`)
	c, _ := newRelease(doc, 0)
	doc.Artefacts["envFile"] = "sha256:1"
	d, _ := newRelease(doc, 0)
	if a.id == b.id || a.content != b.content || a.id != c.id || a.id == d.id {
		t.Errorf("ids %s %s %s %s", a.id, b.id, c.id, d.id)
	}
}

// How calls are carried restarts nobody; whom one calls, and under which names, does.
func TestPolicyIsNoRelease(t *testing.T) {
	of := func(uses string) string {
		r, err := newRelease(core.Document{Kind: core.KindService, Name: "a", Sections: map[string]json.RawMessage{"uses": json.RawMessage(uses)}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return r.id
	}
	plain := of(`[{"service":"b"}]`)
	for uses, same := range map[string]bool{
		`[{"service":"b","timeout":"1s","retry":{"attempts":3},"fallback":{"cached":"5m"}}]`: true,
		`[{"service":"c"}]`:                   false,
		`[{"service":"b","as":{"B":"addr"}}]`: false,
		`[{"service":"b","listener":"grpc"}]`: false,
		`[{"service":"b"},{"service":"c"}]`:   false,
	} {
		if (of(uses) == plain) != same {
			t.Errorf("%s: the same release: %v, want %v", uses, !same, same)
		}
	}
}
