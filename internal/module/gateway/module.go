// Package gateway is the capability through which the outside reaches services: routes
// from `expose`, and the files of static services.
//
// The module is pure: Fragment is a function of the documents, and the one proxy of the
// node carries it out.
package gateway

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"stoa/api/core"
	"stoa/api/gateway"
	"stoa/api/workload"
	"stoa/internal/engine/build"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/host"
)

// Ports are what the module needs of others.
type Ports struct {
	// Folder gives where an artefact lies.
	Folder func(digest string) (string, error)
	// Listen gives the address of the gateway if something stronger than the System says it, or "".
	Listen func() string
}

// Module is the capability.
type Module struct{ p Ports }

var _ host.Module = (*Module)(nil)

// New returns the module.
func New(p Ports) *Module { return &Module{p: p} }

// Name is the module's name.
func (m *Module) Name() string { return "gateway" }

// Declare states the sections.
func (m *Module) Declare(c *host.Catalog) {
	host.Owns(c, gateway.GatewaySection, checkGateway)
	host.Owns(c, gateway.ExposeSection, checkExpose)
	c.Effect("gateway", effects)
}

// Fragment gives the gateway's listener and its routes.
func (m *Module) Fragment(state core.State) snapshot.Fragment {
	f := snapshot.Fragment{From: "gateway", Listeners: map[string]snapshot.Listener{}, Sites: map[string]snapshot.Site{}}
	sys, ok := state.System()
	if !ok {
		return f
	}
	l := snapshot.Listener{Protocol: snapshot.HTTP, Address: gateway.GatewaySection.Of(sys).Listen}
	if stronger := m.p.Listen(); stronger != "" {
		l.Address = stronger
	}
	for _, doc := range state.Of(core.KindService) {
		l.Routes = append(l.Routes, rules(doc)...)
		if run := workload.RunSection.Of(doc); run.Static != "" {
			if dir, err := m.p.Folder(doc.Artefacts[build.Static]); err == nil {
				f.Sites[doc.Name] = snapshot.Site{Service: doc.Name, Dir: dir, SPA: run.SPA, Digest: doc.Artefacts[build.Static]}
			} else { // not built yet: nothing to serve
				l.Routes = slices.DeleteFunc(l.Routes, func(r route.Rule) bool { return r.Site == doc.Name })
			}
		}
	}
	f.Listeners[gateway.ListenerName] = l
	return f
}

// rules gives the routes that lead to a service.
func rules(doc core.Document) []route.Rule {
	var out []route.Rule
	static := workload.RunSection.Of(doc).Static != ""
	for i, e := range gateway.ExposeSection.Of(doc) {
		r := route.Rule{
			Name: doc.Name + " " + e.Host + e.Path, Host: e.Host, Kind: kind(e), Path: e.Path, Methods: e.Methods,
			StripPrefix: e.StripPrefix, Relaxed: e.Relaxed, Source: fmt.Sprintf("%s expose[%d]", doc.Ref(), i),
		}
		if len(e.Methods) > 0 {
			r.Name += " " + strings.Join(e.Methods, ",")
		}
		if static {
			r.Site = doc.Name
		} else {
			r.Upstream = doc.Name
			for j, l := range workload.Listeners(doc) {
				if e.Listener != "" && l.Name == e.Listener || e.Listener == "" && j == 0 {
					r.Upstream = workload.Upstream(doc.Name, l)
				}
			}
		}
		out = append(out, r)
	}
	return out
}

func kind(e gateway.Expose) route.Kind {
	switch {
	case strings.Contains(e.Path, "{"):
		return route.Template
	case e.Exact:
		return route.Exact
	}
	return route.Prefix
}

func checkGateway(k *host.Checker, g gateway.Gateway) {
	_, port, err := net.SplitHostPort(g.Listen)
	if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil {
		k.Bad("listen", fmt.Sprintf("%q is no address", g.Listen), "write host:port, as in "+gateway.DefaultListen)
	}
}

func checkExpose(k *host.Checker, all []gateway.Expose) {
	mine := rules(k.Doc)
	conflicting := host.Once(k, "gateway.conflicting", func() bool { return conflicts(k.State) })
	for i, e := range all {
		at := fmt.Sprintf("[%d]", i)
		if e.Path == "" {
			k.Bad(at+".path", "is missing", "write path: /"+k.Doc.Name)
			continue
		}
		if err := route.Check(mine[i]); err != nil {
			k.Bad(at+".path", err.Error(), "")
			continue
		}
		if e.Exact && mine[i].Kind == route.Template {
			k.Bad(at+".exact", "means nothing with a template, which matches exactly anyway", "take it away")
		}
		if e.Listener != "" {
			var names []string
			for _, l := range workload.Listeners(k.Doc) {
				if l.Name != "" {
					names = append(names, l.Name)
				}
			}
			if !slices.Contains(names, e.Listener) {
				k.Bad(at+".listener", fmt.Sprintf("service/%s has no port named %q", k.Doc.Name, e.Listener), nearest.Hint(e.Listener, names))
			}
		}
		for j, l := range workload.Listeners(k.Doc) {
			if (e.Listener != "" && l.Name == e.Listener || e.Listener == "" && j == 0) && l.Protocol == workload.TCP {
				k.Bad(at+".path", "the port speaks tcp: the gateway routes HTTP", "expose a port that speaks http or h2c")
			}
		}
		if !conflicting {
			continue
		}
		// A conflict is reported once, at the later of the two in the order of names.
		for _, other := range k.State.Of(core.KindService) {
			if other.Name > k.Doc.Name {
				break
			}
			for j, r := range rules(other) {
				if other.Name == k.Doc.Name && j >= i || route.Check(r) != nil {
					continue
				}
				if _, conflicts := route.Compile([]route.Rule{r, mine[i]}); len(conflicts) > 0 {
					k.Bad(at+".path", conflicts[0].Error(), "change one of them, or give one a host or methods of its own")
				}
			}
		}
	}
	if len(all) > 0 && len(workload.Listeners(k.Doc)) == 0 && workload.RunSection.Of(k.Doc).Static == "" {
		k.Bad("", "the service has no port (listen)", "give it one, or take expose away")
	}
}

// conflicts says whether two routes of the state are in conflict, or may be because one
// of them is wrong: then it is worth looking which.
func conflicts(state core.State) bool {
	var all []route.Rule
	for _, doc := range state.Of(core.KindService) {
		all = append(all, rules(doc)...)
	}
	_, found := route.Compile(all)
	return len(found) > 0
}

// effects says which paths of the gateway come, go, or lead elsewhere.
func effects(before, after core.State) []host.PlanLine {
	was, is := owners(before), owners(after)
	var out []host.PlanLine
	for _, doc := range after.Of(core.KindService) {
		for _, r := range rules(doc) {
			key := r.Pattern()
			switch old, had := was[key]; {
			case !had:
				out = append(out, host.PlanLine{Ref: doc.Ref(), Effect: "route", Text: "gateway " + key + " leads to it"})
			case old != doc.Name:
				out = append(out, host.PlanLine{Ref: doc.Ref(), Effect: "route", Text: "gateway " + key + " leads to it, no longer to " + old})
			}
		}
	}
	for _, doc := range before.Of(core.KindService) {
		for _, r := range rules(doc) {
			if _, stays := is[r.Pattern()]; !stays {
				out = append(out, host.PlanLine{Ref: doc.Ref(), Effect: "route", Text: "gateway " + r.Pattern() + " is gone"})
			}
		}
	}
	return out
}

func owners(state core.State) map[string]string {
	out := map[string]string{}
	for _, doc := range state.Of(core.KindService) {
		for _, r := range rules(doc) {
			out[r.Pattern()] = doc.Name
		}
	}
	return out
}
