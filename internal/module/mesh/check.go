package mesh

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"stoa/api/blueprint"
	"stoa/api/core"
	"stoa/api/mesh"
	"stoa/api/workload"
	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/host"
)

var name = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func check(k *host.Checker, uses []mesh.Use) {
	seen := map[string]int{}
	variables := map[string]string{}
	for i, u := range uses {
		at := fmt.Sprintf("[%d]", i)
		if !k.Exists(at+".service", core.KindService, u.Service) {
			continue
		}
		if u.Service == k.Doc.Name {
			k.Bad(at+".service", "a service does not use itself through the mesh", "take it away")
			continue
		}
		callee := k.State.Docs[core.Ref{Kind: core.KindService, Name: u.Service}]
		if workload.RunSection.Of(callee).Static != "" {
			k.Bad(at+".service", "service/"+u.Service+" is files, which only the gateway serves", "use a service that runs")
			continue
		}
		upstream, l, ok := target(k.State, u)
		if !ok {
			var names []string
			for _, l := range listeners(callee) {
				if l.Name != "" {
					names = append(names, l.Name)
				}
			}
			if u.Listener == "" {
				k.Bad(at+".service", "service/"+u.Service+" has no port on which it could be called", "give it a listen")
			} else {
				k.Bad(at+".listener", fmt.Sprintf("service/%s has no port named %q", u.Service, u.Listener), nearest.Hint(u.Listener, names))
			}
			continue
		}
		if j, twice := seen[upstream]; twice {
			k.Bad(at+".service", fmt.Sprintf("is used by uses[%d] already", j), "put both into one")
			continue
		}
		seen[upstream] = i
		for _, v := range []string{variable(u) + "_URL", variable(u) + "_ADDR"} {
			if other, twice := variables[v]; twice && other != "uses"+at {
				k.Bad(at+".service", v+" is given by "+other+" too", "rename one of the services, or what "+other+" gives with as")
				break
			}
			variables[v] = "uses" + at
		}
		for _, v := range slices.Sorted(maps.Keys(u.As)) {
			if !name.MatchString(v) {
				k.Bad(at+".as."+v, fmt.Sprintf("%q is no name of a variable", v), "letters, digits and _")
			}
			k.OneOf(at+".as."+v, u.As[v], "url", "addr", "host", "port")
			if slices.ContainsFunc(workload.Listeners(k.Doc), func(l workload.Listen) bool { return l.Env == v }) {
				k.Bad(at+".as."+v, "is the variable of a port (listen)", "give it another name")
			}
			if other, twice := variables[v]; twice && other != "uses"+at {
				k.Bad(at+".as."+v, "is given by "+other+" too", "give it another name")
			}
			variables[v] = "uses" + at
		}
		checkPolicy(k, at, uses, u, l)
		checkContexts(k, at, callee)
	}
}

// checkContexts checks a use against the context map: contexts that use each other say so.
func checkContexts(k *host.Checker, at string, callee core.Document) {
	from, to := k.Doc.Context, callee.Context
	if from == "" || to == "" || from == to {
		return
	}
	if relation(k.State, from, to) == "" {
		k.Bad(at+".service", fmt.Sprintf("context/%s declares no relation to context/%s, which service/%s is of", from, to, callee.Name),
			"add {context: "+to+", relation: customer-supplier} to uses of context "+from)
		return
	}
	if path := back(k, from, to); path != nil && relation(k.State, from, to) != "partnership" {
		k.Bad(at+".service", fmt.Sprintf("contexts depend on each other in a cycle: %s", cycle(from, path)),
			"take one of the uses away, or declare the relation a partnership")
	}
}

// relation gives how context from stands to context to, or "".
func relation(state core.State, from, to string) string {
	doc, ok := state.Docs[core.Ref{Kind: core.KindContext, Name: from}]
	if !ok {
		return "undeclared" // no map is kept: the blueprint says so itself if it should be
	}
	for _, r := range blueprint.Uses.Of(doc) {
		if r.Context == to {
			return r.Relation
		}
	}
	return ""
}

// back finds a way of uses from context to back to context from, other than inside a context.
func back(k *host.Checker, from, to string) []string {
	edges := host.Once(k, "mesh.contexts", func() map[string]map[string]bool { return contextEdges(k.State) })
	seen := map[string]bool{}
	var walk func(at string) []string
	walk = func(at string) []string {
		if at == from {
			return []string{at}
		}
		if seen[at] {
			return nil
		}
		seen[at] = true
		for _, next := range slices.Sorted(maps.Keys(edges[at])) {
			if rest := walk(next); rest != nil {
				return append([]string{at}, rest...)
			}
		}
		return nil
	}
	return walk(to)
}

func cycle(from string, path []string) string {
	s := from
	for _, p := range path {
		s += " -> " + p
	}
	return s
}

// contextEdges gives which context calls which, partnerships aside.
func contextEdges(state core.State) map[string]map[string]bool {
	edges := map[string]map[string]bool{}
	for _, doc := range state.Of(core.KindService) {
		for _, u := range mesh.UsesSection.Of(doc) {
			callee := state.Docs[core.Ref{Kind: core.KindService, Name: u.Service}]
			if doc.Context == "" || callee.Context == "" || doc.Context == callee.Context {
				continue
			}
			if relation(state, doc.Context, callee.Context) == "partnership" {
				continue
			}
			if edges[doc.Context] == nil {
				edges[doc.Context] = map[string]bool{}
			}
			edges[doc.Context][callee.Context] = true
		}
	}
	return edges
}
