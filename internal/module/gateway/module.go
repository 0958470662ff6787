// Package gateway is the capability through which the outside reaches services: routes
// from `expose`, and the files of static services.
//
// The module is pure but for explain, which looks at the snapshot in force, or at a blueprint
// on disk: Fragment is a function of the documents, and the one proxy of the node carries it out.
package gateway

import (
	"context"
	"slices"

	"stoa/api/core"
	"stoa/api/gateway"
	"stoa/api/mesh"
	"stoa/api/workload"
	"stoa/internal/engine/build"
	"stoa/internal/engine/certs"
	"stoa/internal/engine/policy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
	"stoa/internal/kernel/host"
)

// Ports are what the module needs of others.
type Ports struct {
	// Folder gives where an artefact lies.
	Folder func(digest string) (string, error)
	// Listen gives the address of the gateway if something stronger than the System says it, or "".
	Listen func() string
	// TLS says whether the gateway speaks TLS although the System declares no certificates.
	TLS func() bool
	// Snapshot gives the snapshot in force, nil before the first.
	Snapshot func() *snapshot.Snapshot
	// State gives the documents in force.
	State func() core.State
	// Load reads the documents of a blueprint; Others gives what the other modules make of them.
	Load   func(ctx context.Context, dir, env string) (core.State, error)
	Others func(core.State) []snapshot.Fragment
}

// Module is the capability.
type Module struct{ p Ports }

var _ host.Module = (*Module)(nil)

// New returns the module.
func New(p Ports) *Module { return &Module{p: p} }

// Name is the module's name.
func (m *Module) Name() string { return "gateway" }

// Declare states the sections and the operation.
func (m *Module) Declare(c *host.Catalog) {
	host.Owns(c, gateway.GatewaySection, checkGateway)
	host.Beside(c, gateway.GatewaySection, besideGateway)
	host.Owns(c, gateway.ExposeSection, checkExpose)
	host.Handle(c, gateway.RouteOp, m.explain, printRoute)
	c.Effect("gateway", effects)
}

// Fragment gives the gateway's listener, its routes, and how their requests are carried.
func (m *Module) Fragment(state core.State) snapshot.Fragment {
	f := snapshot.Fragment{
		From: "gateway", Listeners: map[string]snapshot.Listener{}, Sites: map[string]snapshot.Site{}, Policies: map[string]snapshot.Policy{},
	}
	sys, ok := state.System()
	if !ok {
		return f
	}
	g, defaults := gateway.GatewaySection.Of(sys), mesh.DefaultsOf(state)
	l := snapshot.Listener{Protocol: snapshot.HTTP, Address: g.Listen, TLS: certificates(sys, g.TLS), Redirect: g.RedirectHTTP}
	l.Heads, l.NewTrace = heads(g.Heads), g.NewTrace
	if stronger := m.p.Listen(); stronger != "" {
		l.Address = stronger
	}
	if l.TLS == nil && m.p.TLS() {
		l.TLS = &certs.Config{Dev: true}
	}
	for _, doc := range state.Of(core.KindService) {
		exposed := gateway.ExposeSection.Of(doc)
		for i, r := range rules(state, doc) {
			if p := policyOf(state, exposed[i], r, defaults); policy.Says(p) {
				r.Policy = gateway.ListenerName + " " + r.Name
				f.Policies[r.Policy] = p
			}
			l.Routes = append(l.Routes, r)
		}
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

// effects says which paths of the gateway come, go, or lead elsewhere.
func effects(before, after core.State) []host.PlanLine {
	was, is := owners(before), owners(after)
	var out []host.PlanLine
	for _, doc := range after.Of(core.KindService) {
		for _, r := range rules(after, doc) {
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
		for _, r := range rules(before, doc) {
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
		for _, r := range rules(state, doc) {
			out[r.Pattern()] = doc.Name
		}
	}
	return out
}
