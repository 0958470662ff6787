package workload

import (
	"fmt"

	"stoa/api/core"
	"stoa/api/workload"
	"stoa/internal/kernel/host"
)

// effects says which instances a change replaces.
func effects(before, after core.State) []host.PlanLine {
	var out []host.PlanLine
	for _, doc := range after.Of(core.KindService) {
		old, had := before.Docs[doc.Ref()]
		form := formOf(workload.RunSection.Of(doc))
		if form == formExternal || form == formStatic {
			continue
		}
		n := workload.ScaleSection.Of(doc).Min
		if !had {
			out = append(out, host.PlanLine{Ref: doc.Ref(), Effect: "start", Text: plural(n, "instance") + " will start"})
			continue
		}
		a, errA := newRelease(old, 0)
		b, errB := newRelease(doc, 0)
		was := workload.ScaleSection.Of(old).Min
		switch {
		case errA != nil || errB != nil:
		case a.id != b.id && fixedPort(doc):
			out = append(out, host.PlanLine{Ref: doc.Ref(), Effect: "restart", Text: "its instance is stopped, then the new one starts: its port is fixed"})
		case a.id != b.id:
			out = append(out, host.PlanLine{Ref: doc.Ref(), Effect: "restart", Text: plural(n, "instance") + " will be replaced one by one"})
		case was != n:
			out = append(out, host.PlanLine{Ref: doc.Ref(), Effect: "scale", Text: fmt.Sprintf("%d -> %s", was, plural(n, "instance"))})
		}
	}
	for _, old := range before.Of(core.KindService) {
		if _, stays := after.Docs[old.Ref()]; !stays {
			out = append(out, host.PlanLine{Ref: old.Ref(), Effect: "stop", Text: "its instances will be stopped; its data stays"})
		}
	}
	return out
}
