// Package mesh is the capability that lets services call each other.
//
// A service that declares `uses` gets a loopback listener of its own for each use,
// bound before its instance starts, and its address in the environment. Which listener
// a call arrives at says who calls and whom: there is nothing to configure in the
// service, and what is not declared has no address to go to.
//
// The module is pure but for the grant: Fragment is a function of the documents.
package mesh

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"stoa/api/core"
	"stoa/api/mesh"
	"stoa/api/workload"
	"stoa/internal/engine/policy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
	"stoa/internal/kernel/host"
)

// Ports are what the module needs of others.
type Ports struct {
	// Applied waits until the node carries traffic by the revision, or ctx ends.
	Applied func(ctx context.Context, revision uint64) error
	// Bind opens a logical listener on a loopback socket of its own.
	Bind func(name string) (addr string, release func(), err error)
	// State gives the documents in force.
	State func() core.State
	// Load reads the documents of a blueprint, for graph; it fails if there are problems.
	Load func(ctx context.Context, dir, env string) (core.State, error)
}

// Module is the capability.
type Module struct{ p Ports }

var _ host.Module = (*Module)(nil)

// New returns the module.
func New(p Ports) *Module { return &Module{p: p} }

// Name is the module's name.
func (m *Module) Name() string { return "mesh" }

// Declare states the sections, the grant and the operations.
func (m *Module) Declare(c *host.Catalog) {
	host.Owns(c, mesh.UsesSection, check)
	host.Owns(c, mesh.TrafficSection, checkTraffic)
	host.Owns(c, mesh.DefaultsSection, checkDefaults)
	host.Handle(c, mesh.GraphOp, m.graph, printGraph)
	host.Handle(c, mesh.MapOp, m.applied, printGraph)
	c.Grant("mesh", m.grant)
	c.Effect("mesh", effects)
}

// Fragment gives the upstreams of all services, the listeners of all uses, and how their
// calls are carried.
func Fragment(state core.State) snapshot.Fragment {
	f := snapshot.Fragment{
		From: "mesh", Listeners: map[string]snapshot.Listener{}, Upstreams: map[string]snapshot.Upstream{}, Policies: map[string]snapshot.Policy{},
	}
	defaults := mesh.DefaultsOf(state)
	for _, doc := range state.Of(core.KindService) {
		traffic := mesh.TrafficSection.Of(doc).Over(defaults.Traffic)
		for _, l := range listeners(doc) {
			u := snapshot.Upstream{Service: doc.Name, Protocol: protocol(doc, l)}
			policy.Upstream(traffic, &u)
			f.Upstreams[workload.Upstream(doc.Name, l)] = u
		}
	}
	for _, doc := range state.Of(core.KindService) {
		for i, u := range mesh.UsesSection.Of(doc) {
			upstream, l, ok := target(state, u)
			if !ok {
				continue
			}
			name := mesh.Listener(doc.Name, upstream)
			if l.Protocol == workload.TCP {
				f.Listeners[name] = snapshot.Listener{Caller: doc.Name, Protocol: snapshot.TCP, Upstream: upstream}
				continue
			}
			r := route.Rule{
				Name: name, Kind: route.Prefix, Path: "/", Upstream: upstream, Relaxed: u.Relaxed,
				Source: fmt.Sprintf("%s uses[%d]", doc.Ref(), i),
			}
			if p := policyOf(state, doc, u, defaults); policy.Says(p) {
				r.Policy = name
				f.Policies[name] = p
			}
			f.Listeners[name] = snapshot.Listener{Caller: doc.Name, Protocol: snapshot.HTTP, Routes: []route.Rule{r}}
		}
	}
	return f
}

// listeners gives the ports on which a service can be called; one for a service that runs elsewhere.
func listeners(doc core.Document) []workload.Listen {
	if len(workload.RunSection.Of(doc).External) > 0 {
		l := workload.Listen{Protocol: workload.HTTP}
		for _, declared := range workload.ListenSection.Of(doc) {
			l = declared
			l.Name = ""
		}
		return []workload.Listen{l}
	}
	return workload.Listeners(doc)
}

func protocol(doc core.Document, l workload.Listen) snapshot.Protocol {
	switch l.Protocol {
	case workload.H2C:
		return snapshot.H2C
	case workload.TCP:
		return snapshot.TCP
	}
	for _, a := range workload.RunSection.Of(doc).External {
		if strings.HasPrefix(a, "https://") {
			return snapshot.HTTPS
		}
	}
	return snapshot.HTTP1
}

// target finds what a use leads to.
func target(state core.State, u mesh.Use) (upstream string, l workload.Listen, ok bool) {
	doc, ok := state.Docs[core.Ref{Kind: core.KindService, Name: u.Service}]
	if !ok {
		return "", l, false
	}
	for i, l := range listeners(doc) {
		if l.Name == u.Listener || u.Listener == "" && i == 0 {
			return workload.Upstream(doc.Name, l), l, true
		}
	}
	return "", l, false
}

// grant binds a listener for each use and gives its address, under the standard names
// and those of as.
func (m *Module) grant(ctx context.Context, in host.Instance) (host.Grant, error) {
	g := host.Grant{Env: map[string]string{}, Values: map[string]string{}}
	uses := mesh.UsesSection.Of(in.Doc)
	if len(uses) == 0 {
		return g, nil
	}
	if err := m.p.Applied(ctx, in.State.Revision); err != nil {
		return g, err
	}
	var releases []func()
	g.Release = func() {
		for _, r := range releases {
			r()
		}
	}
	for _, u := range uses {
		upstream, l, ok := target(in.State, u)
		if !ok { // it was checked; its service has gone since
			continue
		}
		addr, release, err := m.p.Bind(mesh.Listener(in.Doc.Name, upstream))
		if err != nil {
			g.Release()
			g.Release = nil
			return g, err
		}
		releases = append(releases, release)
		give(g, u, l, addr)
	}
	return g, nil
}

// give puts one address into a grant.
func give(g host.Grant, u mesh.Use, l workload.Listen, addr string) {
	hostName, port, _ := net.SplitHostPort(addr)
	scheme := "http://"
	if l.Protocol == workload.TCP {
		scheme = "tcp://"
	}
	forms := map[string]string{"url": scheme + addr, "addr": addr, "host": hostName, "port": port}
	base := variable(u)
	g.Env[base+"_URL"], g.Env[base+"_ADDR"] = forms["url"], forms["addr"]
	for name, form := range u.As {
		g.Env[name] = forms[form]
	}
	for form, v := range forms {
		if u.Listener == "" {
			g.Values["uses:"+u.Service+"."+form] = v
		}
	}
}

// variable gives the standard name of a use: INVENTORY, or INVENTORY_GRPC for a named port.
func variable(u mesh.Use) string {
	name := u.Service
	if u.Listener != "" {
		name += "_" + u.Listener
	}
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// effects says who calls what changes, and whose permission to call comes or goes.
func effects(before, after core.State) []host.PlanLine {
	var out []host.PlanLine
	callersBefore, callersAfter := callers(before), callers(after)
	for _, doc := range after.Of(core.KindService) {
		old, had := before.Docs[doc.Ref()]
		if had && string(old.Canonical()) == string(doc.Canonical()) {
			continue
		}
		if who := callersAfter[doc.Name]; len(who) > 0 && had {
			out = append(out, host.PlanLine{Ref: doc.Ref(), Effect: "callers", Text: list(who) + call(who) + "it"})
		}
		for _, callee := range callees(doc) {
			if !slices.Contains(callersBefore[callee], doc.Name) {
				out = append(out, host.PlanLine{Ref: doc.Ref(), Effect: "route", Text: "may call " + callee})
			}
		}
		for _, callee := range callees(old) {
			if !slices.Contains(callersAfter[callee], doc.Name) {
				out = append(out, host.PlanLine{Ref: doc.Ref(), Effect: "route", Text: "may no longer call " + callee})
			}
		}
	}
	return out
}

func call(who []string) string {
	if len(who) == 1 {
		return " calls "
	}
	return " call "
}

func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// callees gives whom a service uses, each once, sorted.
func callees(doc core.Document) []string {
	var out []string
	for _, u := range mesh.UsesSection.Of(doc) {
		out = append(out, u.Service)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// callers gives who uses each service.
func callers(state core.State) map[string][]string {
	out := map[string]map[string]bool{}
	for _, doc := range state.Of(core.KindService) {
		for _, u := range mesh.UsesSection.Of(doc) {
			if out[u.Service] == nil {
				out[u.Service] = map[string]bool{}
			}
			out[u.Service][doc.Name] = true
		}
	}
	lists := map[string][]string{}
	for s, who := range out {
		lists[s] = slices.Sorted(maps.Keys(who))
	}
	return lists
}
