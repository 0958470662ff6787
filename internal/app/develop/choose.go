package develop

import (
	"slices"
	"strings"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/mesh"
	"stoa/api/workload"
)

// choose gives the documents of the services named and of all that they use, with
// everything that is no service; all if none is named.
func choose(docs []core.Document, services []string) ([]core.Document, error) {
	if len(services) == 0 {
		return slices.Clone(docs), nil
	}
	byName := map[string]core.Document{}
	var names []string
	for _, d := range docs {
		if d.Kind == core.KindService {
			byName[d.Name] = d
			names = append(names, d.Name)
		}
	}
	wanted := map[string]bool{}
	todo := slices.Clone(services)
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		d, ok := byName[name]
		if !ok {
			return nil, fault.New(fault.NotFound, "service/"+name, "not found").WithHint("There are %s.", strings.Join(names, ", "))
		}
		if wanted[name] {
			continue
		}
		wanted[name] = true
		for _, u := range mesh.UsesSection.Of(d) {
			todo = append(todo, u.Service)
		}
	}
	return slices.DeleteFunc(slices.Clone(docs), func(d core.Document) bool {
		switch d.Kind {
		case core.KindService:
			return !wanted[d.Name]
		case core.KindJob:
			return !wanted[workload.JobBody.Of(d).Of]
		}
		return false
	}), nil
}
