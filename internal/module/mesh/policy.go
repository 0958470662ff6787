package mesh

import (
	"fmt"
	"slices"

	"stoa/api/core"
	"stoa/api/mesh"
	"stoa/api/workload"
	"stoa/internal/engine/policy"
	"stoa/internal/engine/snapshot"
	"stoa/internal/kernel/host"
)

// defaultsOf gives what a use has of the System's defaults: nothing of what is for
// outsiders.
func defaultsOf(d mesh.Defaults) core.EdgePolicy { return core.EdgePolicy{Policy: d.Policy} }

// policyOf gives how the calls of a use are carried.
func policyOf(state core.State, doc core.Document, u mesh.Use, d mesh.Defaults) snapshot.Policy {
	p := core.EdgePolicy{Policy: u.Policy}.Over(defaultsOf(d))
	return policy.Of(p, func(service string) string {
		other, ok := useOf(mesh.UsesSection.Of(doc), service)
		if !ok {
			return ""
		}
		upstream, l, ok := target(state, other)
		if !ok || l.Protocol == workload.TCP {
			return ""
		}
		return upstream
	})
}

// useOf gives the first use of a service.
func useOf(uses []mesh.Use, service string) (mesh.Use, bool) {
	for _, u := range uses {
		if u.Service == service {
			return u, true
		}
	}
	return mesh.Use{}, false
}

// checkPolicy checks how a use wants its calls carried; l is the port that it leads to.
func checkPolicy(k *host.Checker, at string, uses []mesh.Use, u mesh.Use, l workload.Listen) {
	if field := policy.First(core.EdgePolicy{Policy: u.Policy}); field != "" && l.Protocol == workload.TCP {
		k.Bad(at+"."+field, "the port speaks tcp, where no single calls are known", "take it away, or declare the port's protocol: http")
		return
	}
	if u.Relaxed && l.Protocol == workload.TCP {
		k.Bad(at+".relaxed", "the port speaks tcp, which has no paths", "take it away")
		return
	}
	if policy.SpeaksGRPC(k.State.Docs[core.Ref{Kind: core.KindService, Name: u.Service}], l) {
		policy.CheckGRPC(u.Policy, u.Service, func(path, text, hint string) { k.Bad(at+"."+path, text, hint) })
	}
	d := host.Once(k, "mesh.defaults", func() mesh.Defaults { return mesh.DefaultsOf(k.State) })
	policy.Check(core.EdgePolicy{Policy: u.Policy}, defaultsOf(d), func(path, text, hint string) { k.Bad(at+"."+path, text, hint) })
	f := u.Fallback
	if f == nil || f.Service == "" || !k.Exists(at+".fallback.service", core.KindService, f.Service) {
		return
	}
	path := at + ".fallback.service"
	other, ok := useOf(uses, f.Service)
	switch {
	case f.Service == u.Service:
		k.Bad(path, "is the service that has failed", "name another of the services in uses")
	case !ok:
		k.Bad(path, fmt.Sprintf("%q is not among what it uses", f.Service), "add {service: "+f.Service+"} to uses")
	default:
		switch _, l, ok := target(k.State, other); {
		case !ok:
		case l.Protocol == workload.TCP:
			k.Bad(path, "service/"+f.Service+" speaks tcp: it cannot answer", "name one that speaks http or h2c")
		case policy.SpeaksGRPC(k.State.Docs[core.Ref{Kind: core.KindService, Name: f.Service}], l):
			k.Bad(path, "service/"+f.Service+" speaks gRPC (h2c): it cannot answer a GET", "name one that speaks http; if the port serves plain HTTP, give its service a contract: {openapi: FILE}")
		}
	}
}

// checkTraffic checks how calls to a service are spread and bounded.
func checkTraffic(k *host.Checker, t mesh.Traffic) {
	if !k.Doc.Has(mesh.TrafficSection.Name) {
		return
	}
	if workload.RunSection.Of(k.Doc).Static != "" {
		k.Bad("", "the service is files, which the gateway serves by itself", "take it away")
		return
	}
	if len(listeners(k.Doc)) == 0 {
		k.Bad("", "the service has no port on which it could be called", "give it a listen, or take traffic away")
		return
	}
	policy.CheckTraffic(t, k.Bad)
	if slices.ContainsFunc(listeners(k.Doc), func(l workload.Listen) bool { return l.Protocol != workload.TCP }) {
		return
	}
	for _, f := range []struct {
		name string
		is   bool
	}{
		{"breaker", t.Breaker != nil}, {"concurrency", t.Concurrency != nil}, {"retryBudget", t.RetryBudget != nil}, {"balance.key", t.Balance != nil && t.Balance.Key != ""},
	} {
		if f.is {
			k.Bad(f.name, "the service speaks tcp, where no single calls are known", "take it away, or declare the port's protocol: http")
		}
	}
}

// checkDefaults checks what holds where nothing is said.
func checkDefaults(k *host.Checker, d mesh.Defaults) {
	policy.Check(d.EdgePolicy, core.EdgePolicy{}, k.Bad)
	policy.CheckTraffic(d.Traffic, k.Bad)
	if d.Fallback != nil && d.Fallback.Service != "" {
		k.Bad("fallback.service", "one service cannot stand in for all", "name it in the uses or expose whose fallback it is")
	}
}
