package workload

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/mesh"
	"stoa/api/workload"
	"stoa/internal/engine/build"
	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/blueprint"
	"stoa/internal/kernel/host"
)

// Bounds of what can be declared.
const (
	maxInstances = 100
	maxListeners = 16
	maxRetries   = 10
	leastProbe   = 20 * time.Millisecond // more often would be a load of its own
	mostProbe    = time.Hour
	maxGrace     = time.Hour // an end that takes longer is none
)

// reserved are the names that no service may have: they stand for something else
// wherever it is shown who calls whom and who said what.
var reserved = map[string]string{
	"gateway": "the gateway, through which the outside calls,",
	"stoa":    "Stoa itself",
}

func checkRun(k *host.Checker, r workload.Run) {
	if why := reserved[k.Doc.Name]; why != "" {
		whole := *k
		whole.Section = "" // it is the document's name that is wrong
		whole.Bad("name", fmt.Sprintf("%q is the name of %s in graphs, traces, rates and lines", k.Doc.Name, why), "give the service another name")
	}
	var forms []string
	for _, f := range []struct {
		name string
		set  bool
	}{{"go", r.Go != ""}, {"command", len(r.Command) > 0}, {"external", len(r.External) > 0}, {"static", r.Static != ""}} {
		if f.set {
			forms = append(forms, f.name)
		}
	}
	switch {
	case len(forms) == 0:
		k.Bad("", "says nothing that can run", "give one of go, command, external, static")
		return
	case len(forms) > 1:
		k.Bad(forms[1], "goes not with "+forms[0], "give one of go, command, external, static")
		return
	}
	allowed := map[string][]string{
		"go": {"args", "dir"}, "command": {"args", "build", "dir"}, "static": {"build", "dir", "spa"}, "external": nil,
	}[forms[0]]
	for _, f := range []struct {
		name string
		set  bool
	}{{"args", len(r.Args) > 0}, {"build", len(r.Build) > 0}, {"dir", r.Dir != ""}, {"spa", r.SPA}} {
		if f.set && !slices.Contains(allowed, f.name) {
			k.Bad(f.name, "means nothing with "+forms[0], "take it away")
		}
	}
	for _, f := range []struct{ path, v string }{{"dir", r.Dir}, {"static", r.Static}} {
		if strings.HasPrefix(f.v, "/") {
			k.Bad(f.path, "is absolute", "write it relative to the folder of this file")
		}
	}
	if r.Go != "" && strings.HasPrefix(r.Go, "-") || len(r.Command) > 0 && r.Command[0] == "" {
		k.Bad(forms[0], "is no program", "write a package as in ./cmd/orders, or a command as in [node, server.js]")
	}
	for i, a := range r.External {
		if err := checkAddress(a); err != nil {
			k.Bad(fmt.Sprintf("external[%d]", i), err.Error(), "write host:port, or https://host")
		} else if j := slices.Index(r.External, a); j < i {
			k.Bad(fmt.Sprintf("external[%d]", i), fmt.Sprintf("is external[%d] already", j), "take it away")
		}
	}
	if len(r.External) > 0 && k.Doc.Has(workload.ListenSection.Name) {
		if ls := workload.ListenSection.Of(k.Doc); len(ls) > 1 {
			k.Bad("external", "has one port only, but listen names more", "declare a service for each")
		}
	}
}

func checkAddress(a string) error {
	if strings.Contains(a, "://") {
		u, err := url.Parse(a)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
			return fmt.Errorf("%q is no https origin", a)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(a)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || perr != nil || n == 0 {
		return fmt.Errorf("%q is no host:port", a)
	}
	return nil
}

func checkListen(k *host.Checker, ls []workload.Listen) {
	if len(ls) > maxListeners {
		k.Bad("", fmt.Sprintf("has more than %d ports", maxListeners), "declare a service for some of them")
	}
	run := workload.RunSection.Of(k.Doc)
	if len(ls) > 0 && run.Static != "" {
		k.Bad("", "files have no port: the gateway serves them", "take it away")
	}
	names, envs, ports := map[string]int{}, map[string]int{}, map[int]int{}
	for i, l := range ls {
		at := fmt.Sprintf("[%d]", i)
		if l.Protocol != "" {
			k.OneOf(at+".protocol", l.Protocol, workload.HTTP, workload.H2C, workload.TCP)
		}
		if l.Name != "" {
			if err := core.CheckName(l.Name); err != nil {
				k.Bad(at+".name", err.Error(), "as in grpc")
			}
		}
		if j, twice := names[l.Name]; twice {
			what := fmt.Sprintf("has the name of listen[%d]", j)
			if l.Name == "" {
				what = fmt.Sprintf("is missing, as in listen[%d]: one port alone can be without", j)
			}
			k.Bad(at+".name", what, "give it a name of its own")
		}
		names[l.Name] = i
		if l.Env == "" && l.Port == 0 && len(run.External) == 0 {
			k.Bad(at, "says neither in which variable the port is given nor which it is", "write {env: PORT}, or {port: 9090}")
		}
		if l.Env != "" {
			if !variable.MatchString(l.Env) {
				k.Bad(at+".env", fmt.Sprintf("%q is no name of a variable", l.Env), "letters, digits and _")
			}
			if j, twice := envs[l.Env]; twice {
				k.Bad(at+".env", fmt.Sprintf("is the variable of listen[%d]", j), "give it a variable of its own")
			}
			envs[l.Env] = i
		}
		if l.Port < 0 || l.Port > 65535 {
			k.Bad(at+".port", fmt.Sprintf("%d is no port", l.Port), "1 to 65535")
		}
		if l.Port != 0 && workload.ScaleSection.Of(k.Doc).Min > 1 {
			k.Bad(at+".port", "a fixed port is for one instance, but scale.min is more", "let the port be chosen: {env: PORT}")
		}
		if j, twice := ports[l.Port]; twice && l.Port != 0 {
			k.Bad(at+".port", fmt.Sprintf("is the port of listen[%d]", j), "give one of them another")
		}
		ports[l.Port] = i
		if owner := fixedPorts(k)[l.Port]; l.Port != 0 && owner != k.Doc.Name {
			k.Bad(at+".port", fmt.Sprintf("%d is the port of service/%s too", l.Port, owner), "give one of them another")
		}
	}
}

// fixedPorts gives the first service, in the order of names, of each port that cannot be chosen.
func fixedPorts(k *host.Checker) map[int]string {
	return host.Once(k, "workload.fixedPorts", func() map[int]string {
		owners := map[int]string{}
		for _, d := range k.State.Of(core.KindService) {
			for _, l := range workload.ListenSection.Of(d) {
				if _, taken := owners[l.Port]; l.Port != 0 && !taken {
					owners[l.Port] = d.Name
				}
			}
		}
		return owners
	})
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func checkEnv(k *host.Checker, env map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !variable.MatchString(name) {
			k.Bad(name, fmt.Sprintf("%q is no name of a variable", name), "letters, digits and _")
		}
		checkText(k, name, env[name])
		for _, l := range workload.Listeners(k.Doc) {
			if l.Env == name {
				k.Bad(name, "is the variable of a port (listen)", "take it away, or name another variable in listen")
			}
		}
	}
}

// checkText checks the substitutions of one value.
func checkText(k *host.Checker, path, text string) {
	subs, err := blueprint.Substitutions(text)
	if err != nil {
		k.Bad(path, err.Error(), "write ${secret:NAME} or ${uses:NAME.url}")
		return
	}
	for _, s := range subs {
		if s.Kind == "uses" && !slices.ContainsFunc(mesh.UsesSection.Of(k.Doc), func(u mesh.Use) bool { return u.Service == s.Name }) {
			k.Bad(path, fmt.Sprintf("%q is not among what it uses", s.Name), "add {service: "+s.Name+"} to uses")
		}
	}
}

func checkHealth(k *host.Checker, h workload.Health) {
	forms := []string{"grpc", "tcp", "exec", "none"}
	for _, p := range []struct{ path, v string }{{"ready", h.Ready}, {"live", h.Live}} {
		if p.v != "" && !strings.HasPrefix(p.v, "/") {
			k.OneOf(p.path, p.v, append([]string{"/path"}, forms...)...)
		}
		if p.v == "exec" && len(h.Exec) == 0 {
			k.Bad(p.path, "there is no command to execute", "add exec: [./healthcheck]")
		}
		asks := p.v == "grpc" || p.v == "tcp" || strings.HasPrefix(p.v, "/")
		if run := workload.RunSection.Of(k.Doc); asks && len(run.External) == 0 && len(workload.Listeners(k.Doc)) == 0 {
			k.Bad(p.path, "the service has no port to ask", "write exec or none, or give it a port (listen)")
		}
	}
	if run := workload.RunSection.Of(k.Doc); len(run.External) > 0 {
		if h.Ready == "exec" {
			k.Bad("ready", "nothing is executed for a service that runs elsewhere", "write a path, grpc, tcp or none")
		}
		if h.Live != "" {
			k.Bad("live", "a service that runs elsewhere is never replaced", "take it away, or write it as ready")
		}
	}
	if len(h.Exec) > 0 && h.Ready != "exec" && h.Live != "exec" {
		k.Bad("exec", "is never executed", "write ready: exec, or live: exec")
	}
	for _, d := range []struct {
		path string
		v    core.Duration
	}{{"startup", h.Startup}, {"interval", h.Interval}, {"timeout", h.Timeout}} {
		if d.v.D() < leastProbe || d.v.D() > mostProbe {
			k.Bad(d.path, fmt.Sprintf("must be from %v to %v", core.Duration(leastProbe), core.Duration(mostProbe)), "as in 5s")
		}
	}
	if h.Listener != "" {
		var names []string
		for _, l := range workload.Listeners(k.Doc) {
			if l.Name != "" {
				names = append(names, l.Name)
			}
		}
		if !slices.Contains(names, h.Listener) {
			k.Bad("listener", fmt.Sprintf("the service has no port named %q", h.Listener), cmp.Or(nearest.Hint(h.Listener, names), "name a port in listen"))
		}
	}
}

func checkScale(k *host.Checker, s workload.Scale) {
	if s.Min < 1 || s.Min > maxInstances {
		k.Bad("min", fmt.Sprintf("%d instances cannot be kept", s.Min), fmt.Sprintf("1 to %d", maxInstances))
	}
	if r := workload.RunSection.Of(k.Doc); s.Min > 1 && (r.Static != "" || len(r.External) > 0) {
		k.Bad("min", "nothing is started of a service that is "+formOf(r), "take it away")
	}
}

func checkStop(k *host.Checker, s workload.Stop) {
	if s.Grace < 0 || s.Grace.D() > maxGrace {
		k.Bad("grace", fmt.Sprintf("must be from 0s to %v", core.Duration(maxGrace)), "0s kills at once")
	}
}

func checkGlobs(k *host.Checker, globs []string) {
	for i, g := range globs {
		if err := build.CheckGlob(g); err != nil {
			k.Bad(fmt.Sprintf("[%d]", i), err.Error(), "as in cmd/**/*.go")
		}
	}
}

func checkJob(k *host.Checker, j workload.Job) {
	if j.Of == "" {
		k.Bad("of", "is missing", "name the service whose environment and stores it shares")
	} else if k.Exists("of", core.KindService, j.Of) {
		of := k.State.Docs[core.Ref{Kind: core.KindService, Name: j.Of}]
		if f := formOf(workload.RunSection.Of(of)); f == formStatic || f == formExternal {
			k.Bad("of", "service/"+j.Of+" is "+f+": it has no environment", "name a service that Stoa runs")
		}
		if j.Go != "" && len(j.Command) > 0 {
			k.Bad("command", "goes not with go", "give one of them")
		}
		if j.Go == "" && len(j.Command) == 0 && len(j.Args) == 0 {
			k.Bad("", "would run the program of its service without other arguments", "give go, command or args")
		}
	}
	k.OneOf("when", j.When, workload.BeforeRelease, workload.Manual)
	if j.Timeout <= 0 {
		k.Bad("timeout", "must be more than 0", "as in 5m")
	}
	if j.Retries < 0 || j.Retries > maxRetries {
		k.Bad("retries", fmt.Sprintf("%d is out of bounds", j.Retries), fmt.Sprintf("0 to %d", maxRetries))
	}
}
